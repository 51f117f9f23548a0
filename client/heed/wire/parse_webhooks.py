"""Messages about webhooks to values, by the laws of `heed.wire.parse`."""

from heed.wire import limits, values
from heed.wire.asked import DeadLettersAsked, LettersAsked, WebhookTargetsAsked
from heed.wire.parse import message
from heed.wire.parse_admin import page
from heed.wire.violations import Violations
from heed_proto.v1 import admin_service_pb2 as admin


def list_webhook_targets(data: bytes) -> WebhookTargetsAsked:
    """Read a ListWebhookTargetsRequest."""
    return WebhookTargetsAsked(tenant=message(admin.ListWebhookTargetsRequest, data).tenant)


def list_dead_letters(data: bytes) -> DeadLettersAsked:
    """Read a ListDeadLettersRequest."""
    asked = message(admin.ListDeadLettersRequest, data)
    violations = Violations()
    target = _target(asked.target, violations)
    found = page(
        asked.tenant,
        asked.page_size,
        asked.page_token,
        letters_list(target),
        violations=violations,
    )
    return DeadLettersAsked(
        tenant=found.tenant, target=target, page_size=found.page_size, cursor=found.cursor
    )


def replay_dead_letters(data: bytes) -> LettersAsked:
    """Read a ReplayDeadLettersRequest."""
    return _letters(message(admin.ReplayDeadLettersRequest, data))


def discard_dead_letters(data: bytes) -> LettersAsked:
    """Read a DiscardDeadLettersRequest."""
    return _letters(message(admin.DiscardDeadLettersRequest, data))


def letters_list(target: str) -> str:
    """The name of the list of a target's dead letters, as page tokens know it."""
    return f"dead-letters/{target}"


def _letters(
    asked: admin.ReplayDeadLettersRequest | admin.DiscardDeadLettersRequest,
) -> LettersAsked:
    violations = Violations()
    target = _target(asked.target, violations)
    letter_ids: tuple[str, ...] | None = None
    match asked.WhichOneof("which"):
        case "letters":
            letter_ids = tuple(asked.letters.letter_ids)
            _require_ids(letter_ids, violations)
        case "every":
            pass
        case _:
            violations.add("which", "is required: say letters, or every")
    violations.raise_if_any()
    return LettersAsked(tenant=asked.tenant, target=target, letter_ids=letter_ids)


def _require_ids(letter_ids: tuple[str, ...], violations: Violations) -> None:
    most = limits.DEAD_LETTERS_NAMED_MAX
    if not 1 <= len(letter_ids) <= most:
        violations.add("letters.letter_ids", f"has {len(letter_ids)}; name 1 to {most}, or every")
        return
    for at, letter_id in enumerate(letter_ids):
        values.ascii_name(
            letter_id,
            f"letters.letter_ids[{at}]",
            violations,
            limits.LETTER_ID_CHARACTERS_MAX,
        )


def _target(name: str, violations: Violations) -> str:
    return values.ascii_name(name, "target", violations, limits.TARGET_CHARACTERS_MAX)
