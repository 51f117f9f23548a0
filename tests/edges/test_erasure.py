"""An erased person is still suppressed, wherever and in whatever spelling they are asked about."""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import heed
from tests.support.agents import ServedAgent
from tests.support.caches import wait_until
from tests.support.postgres import Postgres
from tests.support.served import Served, run_command

pytestmark = pytest.mark.slow  # each starts processes

ORIGIN = heed.Origin(source="tests")
ADA = "ada@exämple.com"
SPELLINGS = (ADA, "ADA@EXÄMPLE.COM", "Ada@xn--exmple-cua.com", "ada@exa\u0308mple.com")
"""One person: another case, punycode, and the letter as two characters."""
PHONE = "+43 660 1234567"
BOB = "bob@example.com"
EVIDENCE = heed.Evidence(
    notice="newsletter", notice_version="3", act="ticked the box", language="de-AT"
)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def variables(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Where the server keeps its log."""
    if request.param == "sqlite":
        yield {}
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database("erasure") as url:
        yield {"HEED_STORAGE_URL": url, "HEED_STORAGE_MIGRATE": "true"}


def ago(**of_a_while: float) -> datetime:
    return datetime.now(UTC) - timedelta(**of_a_while)


def opt_in(client: heed.SyncClient, when: datetime, email: str = ADA) -> heed.SetAnswer:
    consented = heed.Origin(source="page", method=heed.Method.WEB_FORM, decided_time=when)
    choice = heed.OptIn(channel="email", topic="news", evidence=EVIDENCE)
    return client.set_preference(email=email, choices=[choice], origin=consented)


def opted_out(row: int, email: str) -> heed.ImportRow:
    stop = heed.ImportedOptOut(subject=heed.email(email))
    return heed.ImportRow(row=row, protection=stop)


def told_of_ada(client: heed.SyncClient) -> None:
    client.set_preference(
        email=ADA,
        phone=PHONE,
        choices=[heed.OptOut(reach="all")],
        origin=heed.Origin(source="page", reference="ticket 4711", decided_time=ago(hours=3)),
    )
    opt_in(client, ago(hours=2))
    client.opt_out(email=BOB, source="page")


def subjects() -> list[heed.Subject]:
    return [heed.email(ADA), heed.phone(PHONE)]


def assert_stopped(client: heed.SyncClient, token: str = "") -> None:
    """Every spelling is suppressed, asked one by one, at once, and over a stream."""
    queries = [heed.Query(email=one, channel="email", topic="news") for one in SPELLINGS]
    one_by_one = [
        client.check(email=one, channel="email", topic="news", token=token) for one in SPELLINGS
    ]
    at_once = client.check_many(queries, token=token)
    with client.check_stream() as stream:
        streamed = [stream.check(email=one, channel="email", topic="news") for one in SPELLINGS]
    for answer in (*one_by_one, *at_once, *streamed):
        assert not answer.allowed
        assert answer.rule is heed.Rule.OPT_OUT
    assert not client.check(phone=PHONE, channel="sms").allowed
    assert client.check(email="cy@example.com", channel="email").allowed


def test_the_suppression_holds_everywhere_and_after_everything(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    with ExitStack() as opened:
        server = opened.enter_context(Served(tmp_path, variables=variables))
        agent = opened.enter_context(ServedAgent(tmp_path, server.address)).wait_in_step()
        client = opened.enter_context(server.client())
        here = opened.enter_context(agent.client())
        cached = opened.enter_context(server.client(cache=tmp_path / "cache"))
        cached.wait_live(20)
        told_of_ada(client)
        allowed = client.check(email=ADA, channel="email", topic="news")

        answer = here.erase_subject(subjects(), reason="asked by letter", origin=ORIGIN)

        agent.wait_for_revision(answer.revision)
        wait_until(lambda: cached.check(email=BOB, channel="email").revision >= answer.revision)
        for asked in (client, here, cached):
            assert_stopped(asked)
        assert_stopped(client, answer.token)
        source = cached.check(email=ADA, channel="email", topic="news").source
        assert [one.subject_index for one in answer.erasures] == [0, 1]
        assert answer.overwritten == (not variables)
        assert source is heed.AnswerSource.CACHE
        # The opt-in had let it through before.
        assert allowed.allowed

    with Served(tmp_path, variables=variables) as server, server.client() as client:
        assert_stopped(client, answer.token)

        again = client.import_records(
            [opted_out(row, one) for row, one in enumerate(SPELLINGS, start=1)],
            batch_id="b",
            origin=ORIGIN,
        )
        late = opt_in(client, ago(hours=1), SPELLINGS[1])

        assert (again.added, again.unchanged + again.strengthened + again.superseded) == (1, 3)
        assert late.stored[0].effect is heed.Effect.SUPERSEDED
        assert_stopped(client, late.token)
        exported = [one.subject for one in client.export_records()]
        assert sum(one is None for one in exported) == len(exported) - 1
        assert client.erase_subject(subjects(), reason="again", origin=ORIGIN).erasures

    shutil.rmtree(next(tmp_path.glob("heed-data/index*"), tmp_path / "none"), ignore_errors=True)
    with Served(tmp_path, variables=variables) as server, server.client() as client:
        assert_stopped(client, late.token)
        begun = opt_in(client, datetime.now(UTC), SPELLINGS[2])
        assert begun.stored[0].effect is heed.Effect.APPLIED
        assert client.check(email=ADA, channel="email", topic="news").allowed


def test_what_stands_is_shown_as_erased(tmp_path: Path) -> None:
    with Served(tmp_path) as server, server.client() as client:
        told_of_ada(client)
        client.erase_subject(subjects(), reason="asked by letter", origin=ORIGIN)

        shown = client.get_preferences(email=SPELLINGS[1], phone=PHONE)
        explained = client.explain(email=ADA, channel="email", topic="news")

    assert [one.kind for one in shown.records] == [heed.RecordKind.OPT_OUT] * 2
    for record in (*shown.records, explained.reasons[0].record):
        assert record is not None
        assert record.erased
        assert (record.origin, record.evidence, record.reason) == (None, None, "")


def test_the_past_of_an_erased_person_has_their_stops_and_nothing_else(tmp_path: Path) -> None:
    with Served(tmp_path) as server, server.client() as client:
        told_of_ada(client)
        before = client.check(email=ADA, channel="email", topic="news")
        client.erase_subject(subjects(), reason="asked by letter", origin=ORIGIN)

        history = list(client.get_history(subjects=subjects()))
        then = client.explain(email=ADA, channel="email", topic="news", as_of=before)

    assert [one.kind for one in history] == [
        *[heed.ChangeKind.CHOICE] * 3,
        *[heed.ChangeKind.ERASURE] * 2,
    ]
    assert [one.erased for one in history] == [True, True, True, False, False]
    opted_out, _, opted_in, erasure, _ = history
    assert opted_out.asked is not None
    assert opted_out.asked.kind is heed.RecordKind.OPT_OUT
    assert (opted_out.origin, opted_in.asked, opted_in.evidence) == (None, None, None)
    assert (erasure.origin, erasure.reason) == (ORIGIN, "asked by letter")
    # It was allowed by the opt-in that is gone; what can be told of then is the stop.
    assert (before.allowed, then.allowed) == (True, False)
    assert then.reasons[0].record is not None
    assert then.reasons[0].record.erased


def test_all_that_is_known_of_a_person_is_told_and_after_an_erasure_the_stops(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    with Served(tmp_path, variables=variables) as server, server.client() as client:
        told_of_ada(client)
        before = client.export_subject([*subjects(), heed.user("nobody")])
        client.erase_subject(subjects(), reason="asked by letter", origin=ORIGIN)
        after = client.export_subject(subjects())

    assert [one.subject for one in before.subjects] == [
        heed.email("ada@xn--exmple-cua.com"),
        heed.phone("+436601234567"),
        None,
    ]
    assert [(one.kind, one.subject_index) for one in before.standing] == [
        (heed.RecordKind.OPT_OUT, 0),
        (heed.RecordKind.OPT_IN, 0),
        (heed.RecordKind.OPT_OUT, 1),
    ]
    origins = [one.origin.reference for one in before.standing if one.origin is not None]
    assert origins == ["ticket 4711", "", "ticket 4711"]
    assert before.standing[1].evidence == EVIDENCE
    assert [one.revision for one in before.changes] == [1, 2, 3]
    assert {one.channel: one.answer.allowed for one in before.decisions} == {
        channel: channel is heed.Channel.PROCESSING
        for channel in heed.Channel
        if channel is not heed.Channel.ANY
    }
    assert [one.subject for one in after.subjects] == [None, None]
    assert all(one.erase_time is not None for one in after.subjects)
    assert [one.erased for one in after.standing] == [True, True]
    assert [one.kind for one in after.changes][3:] == [heed.ChangeKind.ERASURE] * 2


def test_a_call_sent_again_after_an_erasure_is_a_replay_and_consents_to_nothing(
    tmp_path: Path,
) -> None:
    when = ago(hours=2)
    consented = heed.Origin(source="page", method=heed.Method.WEB_FORM, decided_time=when)
    choice = heed.OptIn(channel="email", topic="news", evidence=EVIDENCE)

    def consent(client: heed.SyncClient) -> heed.SetAnswer:
        return client.set_preference(
            email=ADA, choices=[choice], origin=consented, idempotency_key="once"
        )

    with Served(tmp_path) as server, server.client() as client:
        client.set_preference(
            email=ADA,
            choices=[heed.OptOut()],
            origin=heed.Origin(source="page", decided_time=ago(hours=3)),
        )
        first = consent(client)
        client.erase_subject(subjects(), reason="asked", origin=ORIGIN)

        again = consent(client)
        asked = client.check(email=ADA, channel="email", topic="news")

    assert (again.replayed, again.stored) == (True, first.stored)
    assert not asked.allowed


def test_the_same_erasure_sent_again_is_a_replay(tmp_path: Path) -> None:
    with Served(tmp_path) as server, server.client() as client:
        told_of_ada(client)
        first, again = (
            client.erase_subject(
                subjects(), reason="asked", origin=ORIGIN, idempotency_key="erase-ada"
            )
            for _ in range(2)
        )

    assert (first.replayed, again.replayed) == (False, True)
    assert (first.erasures, first.standing) == (again.erasures, again.standing)
    assert again.overwritten


def test_the_ledger_is_exported_while_the_server_runs(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    with Served(tmp_path, variables=variables) as server, server.client() as client:
        told_of_ada(client)
        client.erase_subject(subjects(), reason="asked", origin=ORIGIN)

        told = run_command("erasures", "export", cwd=tmp_path, variables=variables)
        kept = run_command(
            "erasures", "export", str(tmp_path / "l.jsonl"), cwd=tmp_path, variables=variables
        )
        no_file = run_command(
            "erasures", "export", str(tmp_path), cwd=tmp_path, variables=variables
        )

    assert (told.returncode, kept.returncode) == (0, 0), told.stderr + kept.stderr
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert [set(line) for line in lines] == [{"v", "tenant_id", "subject", "us"}] * 2
    assert "l.jsonl: 2 erasures" in kept.stdout
    assert (tmp_path / "l.jsonl").read_text() == told.stdout
    assert (tmp_path / "l.jsonl").stat().st_mode & 0o777 == 0o600
    assert no_file.returncode == 2
    assert "is no file" in no_file.stderr


def test_only_the_right_admin_erases(tmp_path: Path) -> None:
    def key(name: str, *rights: str) -> str:
        made = run_command(
            *("keys", "create", name, "--json"),
            *(part for right in rights for part in ("--right", right)),
            cwd=tmp_path,
        )
        return str(json.loads(made.stdout)["key"])

    every_other = ["check", "watch", "write", "consent", "suppress", "audit", "operate", "export"]
    with Served(tmp_path) as server:
        others, admin = key("others", *every_other), key("admin", "admin", "write")
        with server.client(api_key=others) as client:
            told_of_ada(client)
            with pytest.raises(heed.RightRequiredError) as refused:
                client.erase_subject(subjects(), reason="asked", origin=ORIGIN)
            assert client.get_preferences(email=ADA).records[0].origin is not None
        with server.client(api_key=admin) as client:
            client.erase_subject(subjects(), reason="asked", origin=ORIGIN)

    assert refused.value.metadata["right"] == "admin"
