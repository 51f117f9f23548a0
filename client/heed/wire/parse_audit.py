"""Messages about the past and about one person to values, by the laws of `heed.wire.parse`."""

from heed.model import Instant, Revision
from heed.tokens import decode_token
from heed.wire import parse_admin, values
from heed.wire.asked import AsOf, AsOfPosition, ExplainAsked, HistoryAsked
from heed.wire.parse import message, query, reference
from heed.wire.violations import Violations
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import audit_service_pb2 as audit
from heed_proto.v1 import types_pb2 as pb

HISTORY = "history"
"""The name of the list of a person's changes, as page tokens know it."""
EXPORTED = "export"
"""The same of the list that is told with all else that is known of them."""

_REVISION_CHARACTERS_MAX = 19


def explain(data: bytes) -> ExplainAsked:
    """Read an ExplainRequest.

    Raises:
        InvalidArgumentError: BAD_TOKEN, the position's token is none.
    """
    asked = message(audit.ExplainRequest, data)
    violations = Violations()
    subjects = values.subjects(asked.query.subjects, "query.subjects", violations, distinct=False)
    asks = query(asked.query, "query", violations)
    reference(asked.query.reference, "query.reference", violations)
    as_of = _as_of(asked, violations)
    violations.raise_if_any()
    return ExplainAsked(tenant=asked.tenant, subjects=subjects, query=asks, as_of=as_of)


def get_history(data: bytes) -> HistoryAsked:
    """Read a GetHistoryRequest."""
    return _history(message(audit.GetHistoryRequest, data), HISTORY)


def export_subject(data: bytes) -> HistoryAsked:
    """Read an ExportSubjectRequest."""
    return _history(message(admin.ExportSubjectRequest, data), EXPORTED)


def _history(
    asked: audit.GetHistoryRequest | admin.ExportSubjectRequest, list_name: str
) -> HistoryAsked:
    violations = Violations()
    subjects = values.subjects(asked.subjects, "subjects", violations, distinct=True)
    page = parse_admin.page(
        asked.tenant, asked.page_size, asked.page_token, list_name, violations=violations
    )
    return HistoryAsked(
        tenant=page.tenant, subjects=subjects, page_size=page.page_size, after=_after(page.cursor)
    )


def _as_of(asked: audit.ExplainRequest, violations: Violations) -> AsOf | None:
    if asked.HasField("position"):
        return _position(asked.position, violations)
    if asked.HasField("time"):
        return values.instant(asked.time, "time", violations)
    return None


def _position(asked: pb.Position, violations: Violations) -> AsOfPosition:
    for name in ("revision", "rule_version"):
        if getattr(asked, name) < 0:
            violations.add(f"position.{name}", "must be 0 or more")
    if asked.token and decode_token(asked.token).revision != asked.revision:
        violations.add("position.revision", "is not that of the token; give both as they were told")
    now: Instant | None = None
    if asked.HasField("now"):
        now = values.instant(asked.now, "position.now", violations)
    return AsOfPosition(
        revision=Revision(asked.revision),
        now=now,
        rule_version=asked.rule_version,
        token=asked.token,
    )


def _after(cursor: str) -> Revision:
    is_number = cursor.isascii() and cursor.isdigit()
    if cursor and not (is_number and len(cursor) <= _REVISION_CHARACTERS_MAX):
        violations = Violations()
        violations.add("page_token", "is not the next_page_token of a page of this list")
        raise violations.as_error()
    return Revision(int(cursor or 0))
