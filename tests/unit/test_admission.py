"""Places among the calls under way: of one caller, of all, and those kept for single opt-outs."""

from dataclasses import replace

import pytest

from heed.errors import ErrorReason, ExhaustedError
from heed_server.auth.policy import Principal
from heed_server.service.admission import Admission, CallLimits

ADA = Principal(name="ada", rights=frozenset())
BOB = Principal(name="bob", rights=frozenset())


def test_one_caller_cannot_take_all_places() -> None:
    admission = Admission(CallLimits(calls_max=80, calls_of_principal_max=2))

    with admission.place(ADA), admission.place(ADA):
        assert not admission.calls.has_room(ADA.identity)
        with pytest.raises(ExhaustedError) as refused, admission.place(ADA):
            pytest.fail("there was a third place")
        with admission.place(BOB):
            pass

    assert refused.value.reason is ErrorReason.OVERLOADED
    assert refused.value.metadata == {"limit": "calls_of_principal_max"}
    assert admission.calls.has_room(ADA.identity)
    assert admission.calls.refused == 1


def test_a_caller_of_the_same_name_in_another_tenant_has_places_of_its_own() -> None:
    admission = Admission(CallLimits(calls_max=80, calls_of_principal_max=1))
    elsewhere = replace(ADA, tenant="another")

    with admission.place(ADA):
        assert admission.calls.has_room(elsewhere.identity)
        assert not admission.calls.has_room(ADA.identity)


def test_an_eighth_of_all_places_is_kept() -> None:
    admission = Admission(CallLimits(calls_max=8, calls_of_principal_max=100))
    held = [admission.place(ADA) for _ in range(7)]
    for place in held:
        place.__enter__()

    with pytest.raises(ExhaustedError) as refused, admission.place(BOB):
        pytest.fail("the last eighth was given")

    assert refused.value.metadata == {"limit": "calls_max"}
    for place in held:
        place.__exit__(None, None, None)
    assert admission.calls.has_room(BOB.identity)


def test_a_call_that_fails_gives_its_place_back() -> None:
    admission = Admission(CallLimits(calls_max=8, calls_of_principal_max=1))

    with pytest.raises(ZeroDivisionError), admission.place(ADA):
        raise ZeroDivisionError

    assert admission.calls.has_room(ADA.identity)
