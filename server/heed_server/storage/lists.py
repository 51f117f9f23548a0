"""Lists of what stands, filtered: pages of suppressions, and whole exports, with their subjects."""

import base64
import binascii
from dataclasses import replace
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select, tuple_

from heed.model import Channel, Scope, Subject, SubjectType, TenantId
from heed.topics import MESSAGE_CHANNELS
from heed_server.storage.addresses import AddressReader
from heed_server.storage.errors import unknown_cursor
from heed_server.storage.keyring import Keyring
from heed_server.storage.log_reads import (
    CHANGE_COLUMNS,
    CHANGE_OF_RECORD,
    PLACE_COLUMNS,
    Place,
    standing_record_of,
)
from heed_server.storage.rows import RECORD_COLUMNS
from heed_server.storage.schema import (
    IS_STANDING_SUPPRESSION,
    addresses,
    changes,
    encrypted_addresses,
    records,
)
from heed_server.storage.statements import Row
from heed_server.store import Page, RecordFilter, StandingRecord

_LIST_COLUMNS = (
    records.c.cause,
    records.c.subject,
    records.c.slot_reach,
    records.c.channel,
    records.c.topic,
)
"""The order of pages of suppressions: that of the index which holds nothing else."""


def read_suppressions(
    connection: Connection,
    keyring: Keyring,
    tenant_id: TenantId,
    filter_: RecordFilter,
    cursor: str,
    limit: int,
) -> Page[StandingRecord]:
    """Return a page of standing suppressions, by cause and subject.

    Raises:
        InvalidArgumentError: the cursor is not one that an earlier page gave.
        SecretsError: the addresses cannot be decrypted.
    """
    rows = connection.execute(page_statement(tenant_id, filter_, cursor, limit + 1)).fetchall()
    page = rows[:limit]
    addresses_of = AddressReader(connection, keyring, tenant_id)
    return Page(
        items=tuple(_with_subject(row, addresses_of) for row in page),
        next_cursor=_encode_cursor(page[-1]) if len(rows) > limit else "",
    )


def page_statement(
    tenant_id: TenantId, filter_: RecordFilter, cursor: str, limit: int
) -> Select[*tuple[Any, ...]]:
    """Return the statement of a page, which begins in the index where the page before ended."""
    statement = _selected(tenant_id, filter_).where(IS_STANDING_SUPPRESSION)
    if cursor:
        place = _decode_cursor(cursor)
        # With the cause fixed, the index is entered at the rest of the place.
        fixed = 1 if len(filter_.causes) == 1 else 0
        statement = statement.where(tuple_(*_LIST_COLUMNS[fixed:]) > tuple_(*place[fixed:]))
    return statement.order_by(*_LIST_COLUMNS).limit(limit)


def read_export_batch(
    connection: Connection,
    keyring: Keyring,
    tenant_id: TenantId,
    filter_: RecordFilter,
    place: Place,
    limit: int,
) -> tuple[list[StandingRecord], Place | None]:
    """Return the next records that match in order, and from where to go on; None at the end.

    Raises:
        SecretsError: the addresses cannot be decrypted.
    """
    statement = (
        _selected(tenant_id, filter_)
        .where(records.c.standing, tuple_(*PLACE_COLUMNS) > tuple_(*place))
        .order_by(*PLACE_COLUMNS)
        .limit(limit)
    )
    rows = connection.execute(statement).fetchall()
    addresses_of = AddressReader(connection, keyring, tenant_id)
    found = [_with_subject(row, addresses_of) for row in rows]
    if len(rows) < limit:
        return found, None
    subject, kind, cause, _, channel, topic, *_ = rows[-1]
    return found, (subject, kind, cause, rows[-1][-1], channel, topic)


def _selected(tenant_id: TenantId, filter_: RecordFilter) -> Select[*tuple[Any, ...]]:
    encrypted, readable = encrypted_addresses.c, addresses.c
    encrypted_of_record = and_(
        encrypted.tenant_id == records.c.tenant_id, encrypted.subject == records.c.subject
    )
    readable_of_record = and_(
        readable.tenant_id == records.c.tenant_id, readable.subject == records.c.subject
    )
    return (
        select(
            *RECORD_COLUMNS,
            *CHANGE_COLUMNS,
            encrypted.type,
            encrypted.ciphertext,
            readable.type,
            readable.address,
            records.c.slot_reach,
        )
        .select_from(records)
        .join(changes, CHANGE_OF_RECORD)
        .outerjoin(encrypted_addresses, encrypted_of_record)
        .outerjoin(addresses, readable_of_record)
        .where(records.c.tenant_id == tenant_id, *_matches(filter_))
    )


def _matches(filter_: RecordFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if filter_.kinds:
        conditions.append(records.c.kind.in_([int(kind) for kind in filter_.kinds]))
    if filter_.causes:
        conditions.append(records.c.cause.in_([int(cause) for cause in filter_.causes]))
    if filter_.from_time is not None:
        conditions.append(records.c.decided_time >= filter_.from_time)
    if filter_.before_time is not None:
        conditions.append(records.c.decided_time < filter_.before_time)
    if filter_.scope is not None:
        conditions += _within(filter_.scope)
    return conditions


def _within(scope: Scope) -> list[ColumnElement[bool]]:
    """Say that a record's scope is covered by this one (`heed.topics.covers`)."""
    covered = {scope.channel}
    if scope.channel is Channel.ANY:
        covered |= MESSAGE_CHANNELS
    conditions: list[ColumnElement[bool]] = [
        records.c.channel.in_(sorted(int(channel) for channel in covered))
    ]
    if scope.topic:
        # All that begins with `topic.`: "/" is the character after ".".
        beneath = and_(records.c.topic >= f"{scope.topic}.", records.c.topic < f"{scope.topic}/")
        conditions.append(or_(records.c.topic == scope.topic, beneath))
    return conditions


def _with_subject(row: Row, addresses_of: AddressReader) -> StandingRecord:
    read = standing_record_of(row)
    encrypted_type, ciphertext, readable_type, address = row[-5:-1]
    if ciphertext is not None:
        if not ciphertext:  # of an erased subject
            return read
        subject = addresses_of.subject(read.key, encrypted_type, bytes(ciphertext))
    elif address is not None:  # of an earlier heed, and not yet encrypted
        subject = Subject(type=SubjectType(readable_type), value=address)
    else:
        return read
    return replace(read, subject=subject)


def _encode_cursor(row: Row) -> str:
    subject, _, cause, _, channel, topic, *_ = row
    place = [cause, subject.hex(), row[-1], channel, topic]
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def _decode_cursor(cursor: str) -> tuple[int, bytes, int, int, str]:
    try:
        decoded = base64.b64decode(f"{cursor}==", altchars=b"-_", validate=False)
        cause, subject, reach, channel, topic = _decode_place(decoded)
        return cause, bytes.fromhex(subject), reach, channel, topic
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise unknown_cursor() from error


_decode_place = msgspec.json.Decoder(tuple[int, str, int, int, str]).decode
