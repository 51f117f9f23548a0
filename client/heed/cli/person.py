"""`heed export-subject` and `heed erase`: what is known of one person."""

import json
import sys

from heed.cli.arguments import (
    DEFAULT_SOURCE,
    Actor,
    Devices,
    Emails,
    IdempotencyKey,
    Phones,
    Reference,
    Source,
    Users,
    Why,
    origin_named,
    subjects_named,
)
from heed.cli.options import Session, connected
from heed.cli.output import (
    RECORD_COLUMNS,
    as_json,
    print_json,
    print_table,
    record_row,
    time_of,
)


@connected
def export_subject(
    session: Session,
    emails: Emails = None,
    phones: Phones = None,
    users: Users = None,
    devices: Devices = None,
) -> None:
    """Write all that is known of one person to stdout, as JSON (docs/privacy.md has its fields).

    Name every identifier of theirs: what is known under another one is not told.
    """
    subjects = subjects_named(emails, phones, users, devices)
    with session.connect() as client:
        known = client.export_subject(subjects)
    if session.json:
        print_json(known)
    else:
        print(json.dumps(as_json(known), ensure_ascii=False, indent=2))


@connected
def erase(
    session: Session,
    reason: Why,
    emails: Emails = None,
    phones: Phones = None,
    users: Users = None,
    devices: Devices = None,
    source: Source = DEFAULT_SOURCE,
    actor: Actor = "",
    reference: Reference = "",
    idempotency_key: IdempotencyKey = None,
) -> None:
    """Erase what is known of one person, for ever; what stops messages to them stands on.

    Name every identifier of theirs: what is known under another one stays.
    """
    subjects = subjects_named(emails, phones, users, devices)
    with session.connect() as client:
        answer = client.erase_subject(
            subjects,
            reason=reason,
            origin=origin_named(source=source, actor=actor, reference=reference),
            idempotency_key=idempotency_key,
        )
    if session.json:
        print_json(answer)
        return
    for one in answer.erasures:
        print(
            f"erased: identifier {one.subject_index + 1} at revision {one.revision}, "
            f"{time_of(one.erase_time)}, with what {one.changes_erased:,} changes said"
        )
    erased = {one.subject_index for one in answer.erasures}
    for at in range(len(subjects)):
        if at not in erased:
            print(f"nothing is known under identifier {at + 1}")
    rows = (record_row(record) for record in answer.standing)
    print_table(RECORD_COLUMNS, rows, empty="nothing stands for them")
    if not answer.overwritten:
        print("the database's files will be overwritten later (docs/privacy.md)", file=sys.stderr)
