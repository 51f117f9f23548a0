"""No write of any kind weakens a person's protection but those of the closed list (design, 3).

`tests.support.protection_machine` is the state machine that this runs, and breaks.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from heed.acts import Move, RekeySubjects
from heed.judge import Ruling, Said, choices, erasures, protections, rekeying, reverting
from heed.model import Cause, ChoiceKind, Hold, Method, Reach, Record
from heed_server.storage import epochs, restoring, settling
from tests.support.postgres import Postgres
from tests.support.protection_machine import Protection
from tests.support.protection_words import FUTURE, PAST, SCOPES
from tests.support.stores import DAY


def quick(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        # Its enum has a metaclass that pyright does not see through.
        suppress_health_check=[  # pyright: ignore[reportArgumentType]
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
        ],
        print_blob=False,
    )


def test_no_write_weakens_but_those_of_the_closed_list_on_sqlite() -> None:
    run_state_machine_as_test(Protection, settings=quick(20, 25))


@pytest.mark.postgres
def test_no_write_weakens_but_those_of_the_closed_list_on_postgres(postgres: Postgres) -> None:
    class OnPostgres(Protection):
        kind = "postgres"

    OnPostgres.postgres = postgres
    run_state_machine_as_test(OnPostgres, settings=quick(4, 20))


def newest(_current: Record | None, new: Record) -> Record:
    """A judge by which whatever came last stands."""
    return new


def nothing_kept(*_: object) -> None:
    """A judge that forgets what rows asked for without a change."""


def without_what_others_said(said: list[Said], undone: set[str]) -> Any:
    """An undoing that forgets what was chosen otherwise."""
    return FOLD([one for one in said if one.batch_id], undone)


FOLD = reverting.fold


def narrow_hold(**said: Any) -> Hold:
    """A hold that stops something else than what a restore's is to."""
    return Hold(topic="elsewhere", **said)


def erase_all(*asked: Any) -> Any:
    """An erasure that takes the stops too."""
    key, ruling = asked[0], asked[-1]
    for slot in list(ruling.slots(key)):
        ruling.empty_slot(key, slot)
    return ERASE(*asked)


ERASE = erasures._erase


def told_of_two_lists(machine: Protection) -> None:
    for batch, decided in (("list-1", PAST + DAY), ("list-2", PAST)):
        machine.import_row("ada", Cause.BOUNCE, SCOPES[0], decided, None, batch)
    machine.revert("list-1")


def told_by_a_person_and_a_list(machine: Protection) -> None:
    opted_out(machine, Method.WEB_FORM, PAST)
    machine.import_row("ada", Cause.NONE, SCOPES[0], PAST + DAY, None, "list-1")
    machine.revert("list-1")


def told_by_an_operator(machine: Protection) -> None:
    opted_out(machine, Method.WEB_FORM, PAST)
    kind, reach = ChoiceKind.OPT_IN, Reach.PROMOTIONAL
    machine.choose("ada", kind, SCOPES[0], reach, PAST + DAY, None, Method.OPERATOR, "")


def told_late(machine: Protection) -> None:
    opted_out(machine, Method.WEB_FORM, PAST + DAY)
    opted_out(machine, Method.WEB_FORM, PAST)


def told_twice(machine: Protection) -> None:
    for end in (None, FUTURE):
        machine.add("ada", Cause.MANUAL, SCOPES[0], PAST, end)


def erased_late(machine: Protection) -> None:
    opted_in(machine, PAST + DAY)
    machine.erase("ada")
    opted_in(machine, PAST)


def erased_after_a_stop(machine: Protection) -> None:
    opted_out(machine, Method.WEB_FORM, PAST)
    machine.erase("ada")


def erased_after_a_backup(machine: Protection) -> None:
    opted_in(machine, PAST)
    machine.back_up()
    machine.erase("ada")
    machine.restore()


def erased_before_a_late_opt_in(machine: Protection) -> None:
    """The backup does not know the person, and what they decided before comes after it."""
    machine.back_up()
    opted_in(machine, PAST + DAY)
    machine.erase("ada")
    machine.restore()
    opted_in(machine, PAST)


def stopped_after_a_backup(machine: Protection) -> None:
    machine.back_up()
    opted_out(machine, Method.WEB_FORM, PAST)
    machine.restore()


def moved_after_a_stop(machine: Protection) -> None:
    opted_out(machine, Method.WEB_FORM, PAST)
    machine.replace_the_lookup_key()
    machine.move(2)


def stopped_again_before_the_move(machine: Protection) -> None:
    opted_out(machine, Method.WEB_FORM, PAST)
    machine.replace_the_lookup_key()
    opted_out(machine, Method.WEB_FORM, PAST + DAY)
    machine.move(2)


def move_the_name_alone(move: Move, act: RekeySubjects, ruling: Ruling) -> None:
    """A move that forgets what stands."""
    slots = ruling.ledger.records.pop(move.previous, {})
    MOVE(move, act, ruling)
    ruling.ledger.records[move.previous] = slots


MOVE = rekeying._move


def opted_in(machine: Protection, decided: int) -> None:
    kind, reach = ChoiceKind.OPT_IN, Reach.PROMOTIONAL
    machine.choose("ada", kind, SCOPES[0], reach, decided, None, Method.WEB_FORM, "")


def opted_out(machine: Protection, method: Method, decided: int) -> None:
    kind, reach = ChoiceKind.OPT_OUT, Reach.PROMOTIONAL
    machine.choose("ada", kind, SCOPES[0], reach, decided, None, method, "")


@pytest.mark.parametrize(
    ("module", "name", "mutant", "script"),
    [
        (protections, "merge", newest, told_twice),
        (choices, "merge", newest, told_late),
        (protections, "note_reserve", nothing_kept, told_of_two_lists),
        (reverting, "fold", without_what_others_said, told_by_a_person_and_a_list),
        (choices, "require_act_of_person", nothing_kept, told_by_an_operator),
        (Ruling, "erase_time", nothing_kept, erased_late),
        (erasures, "_erase", erase_all, erased_after_a_stop),
        (restoring, "_erase_again", lambda *_: 0, erased_after_a_backup),
        (erasures, "_NOTHING_KNOWN", None, erased_before_a_late_opt_in),
        (epochs, "Hold", narrow_hold, stopped_after_a_backup),
        (rekeying, "_move", move_the_name_alone, moved_after_a_stop),
        (settling, "_standing", lambda *_: {}, stopped_again_before_the_move),
    ],
    ids=[
        "list",
        "choice",
        "unlogged",
        "undoing",
        "method",
        "late",
        "erasure",
        "ledger",
        "unknown",
        "hold",
        "move",
        "two keys",
    ],
)
def test_a_step_that_weakens_is_found_out(
    module: Any,
    name: str,
    mutant: Callable[..., Any],
    script: Callable[[Protection], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same steps pass by the code that there is, and fail by what was broken."""
    play(script)
    monkeypatch.setattr(module, name, mutant)

    with pytest.raises(AssertionError):
        play(script)


def play(script: Callable[[Protection], None]) -> None:
    machine = Protection()
    try:
        script(machine)
        machine.tables_hold_what_was_acknowledged()
        machine.the_log_and_the_index_say_the_same()
        machine.nothing_but_mandatory_passes_until_the_hold_of_a_restore_is_lifted()
    finally:
        machine.teardown()
