"""`heed history`: what the log has of a person."""

from heed.answers import HistoricChange
from heed.cli.arguments import Devices, Emails, Phones, Users, subjects_named
from heed.cli.options import Session, connected
from heed.cli.output import print_json, print_table, record_of, time_of
from heed.model import ChangeKind, Effect, Evidence
from heed.names import word_of

_COLUMNS = ("revision", "committed", "what", "came of it", "said by", "how", "evidence", "why")
_ERASED = "erased"


@connected
def history(
    session: Session,
    emails: Emails = None,
    phones: Phones = None,
    users: Users = None,
    devices: Devices = None,
) -> None:
    """Show every change about a person, oldest first: what, when, who said so, how and why.

    With --json one change a line.
    """
    subjects = subjects_named(emails, phones, users, devices)
    with session.connect() as client:
        changes = client.get_history(subjects=subjects)
        if session.json:
            for change in changes:
                print_json(change)
            return
        found = list(changes)
    several = len(subjects) > 1
    print_table(
        ("whose", *_COLUMNS) if several else _COLUMNS,
        [_row(change, several=several) for change in found],
        empty="the log has nothing of them",
    )


def _row(change: HistoricChange, *, several: bool) -> list[str]:
    origin = change.origin
    row = [
        str(change.revision),
        time_of(change.commit_time),
        _what(change),
        _effect(change),
        "" if origin is None else "/".join(filter(None, (origin.source, origin.actor))),
        "" if origin is None else word_of(origin.method),
        "" if change.evidence is None else _evidence(change.evidence),
        _why(change),
    ]
    return [str(change.subject_index + 1), *row] if several else row


def _what(change: HistoricChange) -> str:
    if change.kind is ChangeKind.ERASURE:
        return "erasure of all that was known, but for the stops"
    if change.kind is ChangeKind.REKEY:
        return "known under another lookup key since, with all that stood"
    if change.asked is None and change.erased:
        return _ERASED
    if change.asked is None:
        return "of a kind that this version does not know"
    # Its own revision and source stand in columns of their own.
    asked, _, _ = record_of(change.asked).partition(", revision ")
    match change.kind:
        case ChangeKind.RELEASE:
            return f"release of {asked}"
        case ChangeKind.REVERT:
            return f"undoing of the list, where stood: {asked}"
        case _:
            return asked


def _evidence(evidence: Evidence) -> str:
    """What the person was shown and did: `newsletter 2026-03 (de-AT): ticked the box`."""
    notice = " ".join(filter(None, (evidence.notice, evidence.notice_version)))
    language = f" ({evidence.language})" if evidence.language else ""
    address = f", from {evidence.truncated_ip}" if evidence.truncated_ip else ""
    return f"{notice}{language}: {evidence.act}{address}"


def _why(change: HistoricChange) -> str:
    said = [change.reason, change.batch_id and f"list {change.batch_id}"]
    if change.approved_by:
        said.append(f"asked by {change.asked_by}, approved by {change.approved_by}")
    return "; ".join(filter(None, said))


def _effect(change: HistoricChange) -> str:
    if _what(change) == _ERASED:
        return ""  # what it did went with what it said
    if change.effect is Effect.SUPERSEDED:
        return "nothing: something later stood"
    if change.stood is None:
        return word_of(change.effect)
    stood, _, _ = record_of(change.stood).partition(", revision ")
    return f"stood: {stood}"
