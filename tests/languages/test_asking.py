"""Send, or do not send: what each language's snippet makes of every answer that there may be."""

import threading
from collections.abc import Callable
from uuid import uuid4

import grpc
import pytest

from heed_proto.v1 import preference_service_pb2 as pb
from scripts.build_examples import Language
from tests.languages.conftest import Target, program_at
from tests.languages.programs import Program
from tests.support.fake_server import UNUSED_ADDRESS, Answer, fake_server

pytestmark = [pytest.mark.languages, pytest.mark.slow]

ATTEMPTS = 3
"""What the programs' service config says of a check that is UNAVAILABLE."""


def _verdict(number: int) -> Answer:
    """An answer whose verdict is this number, be it one of the contract's or not."""
    return lambda _data, _context: bytes([0x0A, 2, 0x08, number])  # decision { verdict: number }


def _no_decision(_data: bytes, _context: grpc.ServicerContext) -> bytes:
    return b""


def _failure(code: grpc.StatusCode) -> Answer:
    def answer(_data: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(code, "as the test wants it")
        raise AssertionError

    return answer


ANSWERS: list[tuple[Answer, str, Callable[[bool], bool]]] = [
    (_verdict(1), "allowed", lambda _: True),
    (_verdict(2), "suppressed", lambda _: False),
    (_verdict(0), "unknown verdict", lambda _: False),
    (_verdict(99), "unknown verdict", lambda _: False),
    (_no_decision, "unknown verdict", lambda _: False),
    (_failure(grpc.StatusCode.UNAVAILABLE), "no answer", lambda is_mandatory: is_mandatory),
    (_failure(grpc.StatusCode.DEADLINE_EXCEEDED), "no answer", lambda is_mandatory: is_mandatory),
    (_failure(grpc.StatusCode.INVALID_ARGUMENT), "refused", lambda _: False),
    (_failure(grpc.StatusCode.UNAUTHENTICATED), "refused", lambda _: False),
    (_failure(grpc.StatusCode.PERMISSION_DENIED), "refused", lambda _: False),
    (_failure(grpc.StatusCode.INTERNAL), "refused", lambda _: False),
    (_failure(grpc.StatusCode.UNIMPLEMENTED), "refused", lambda _: False),
]
"""(what the server says, what the snippet calls it, whether it sends: by whether it is mandatory)"""


def test_only_allowed_sends_and_without_an_answer_only_what_the_caller_knows_as_mandatory(
    language: Language,
) -> None:
    with (
        fake_server() as server,
        Program(language=language, address=server.address).start("may-send") as asking,
    ):
        assert pb.CheckSuppressionResponse.FromString(b"\x0a\x02\x08\x63").decision.verdict == 99
        for answer, why, sends in ANSWERS:
            server.answers["CheckSuppression"] = answer
            for is_mandatory in (False, True):
                line = "ada@example.com news" + (" mandatory" if is_mandatory else "")

                assert asking.ask(line) == {"send": sends(is_mandatory), "why": why}


def test_a_check_that_is_unavailable_is_tried_again_as_the_service_config_says(
    language: Language,
) -> None:
    with (
        fake_server() as server,
        Program(language=language, address=server.address).start("may-send") as asking,
    ):
        server.answers["CheckSuppression"] = _failure(grpc.StatusCode.UNAVAILABLE)
        asking.ask("ada@example.com news")

        assert [name for name, _ in server.calls] == ["CheckSuppression"] * ATTEMPTS


@pytest.mark.parametrize("is_mandatory", [False, True], ids=["promotional", "mandatory"])
def test_a_check_that_outlasts_its_deadline_is_no_answer(
    language: Language, *, is_mandatory: bool
) -> None:
    is_over = threading.Event()

    def never(_data: bytes, _context: grpc.ServicerContext) -> bytes:
        is_over.wait()
        return b""

    with (
        fake_server() as server,
        Program(language=language, address=server.address, check_seconds=0.3).start(
            "may-send"
        ) as asking,
    ):
        server.answers["CheckSuppression"] = never
        try:
            answer = asking.ask("ada@example.com news" + (" mandatory" if is_mandatory else ""))
        finally:
            is_over.set()

    assert answer == {"send": is_mandatory, "why": "no answer"}


def test_where_nothing_listens_nothing_promotional_is_sent(language: Language) -> None:
    with Program(language=language, address=UNUSED_ADDRESS).start("may-send") as asking:
        assert asking.ask("ada@example.com news") == {"send": False, "why": "no answer"}
        assert asking.ask("ada@example.com news mandatory") == {"send": True, "why": "no answer"}


def test_an_opt_out_is_known_at_once_and_happens_once(
    language: Language, lasting_target: Target
) -> None:
    ada, bob, key = f"ada-{uuid4()}@example.com", f"bob-{uuid4()}@example.com", str(uuid4())
    program = program_at(language, lasting_target)

    first = program.run("opt-out", ada, "news", key)
    again = program.run("opt-out", ada, "news", key)
    with program.start("may-send") as asking:
        hers = asking.ask(f"{ada.upper()} news.weekly")
        of_another = asking.ask(f"{bob} news.weekly")

    told = {"event": "opted out", "revision": first[0]["revision"], "standing": 1}
    suppressed = {"event": "check", "send": False, "why": "suppressed"}
    assert first == [{**told, "replayed": False}, suppressed]
    assert again == [{**told, "replayed": True}, suppressed]
    assert hers == {"send": False, "why": "suppressed"}
    assert of_another == {"send": True, "why": "allowed"}


def test_without_a_key_nothing_is_written(language: Language, lasting_target: Target) -> None:
    before = lasting_target.opt_out(f"{uuid4()}@example.com")
    stranger = program_at(language, lasting_target, api_key="")
    with stranger.start("opt-out", "ada@example.com", "news", str(uuid4())) as writing:
        assert writing.read_to_end() == []
        assert writing.exit_code() != 0

    assert lasting_target.opt_out(f"{uuid4()}@example.com") == before + 1


def test_a_key_that_is_wrong_sends_nothing(language: Language, lasting_target: Target) -> None:
    stranger = program_at(language, lasting_target, api_key=lasting_target.api_key[:-1])
    with stranger.start("may-send") as asking:
        answer = asking.ask("ada@example.com news mandatory")

    assert answer == {"send": False, "why": "refused"}
