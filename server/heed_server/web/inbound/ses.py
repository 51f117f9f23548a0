"""Amazon SES: bounces, complaints and subscriptions, as a topic of SNS carries them.

Both shapes are read: notifications of an identity (`notificationType`) and published events of a
configuration set (`eventType`).

Source: the SES developer guide, "Amazon SNS notification contents for Amazon SES" and "Contents of
event data that Amazon SES publishes to Amazon SNS".
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

from heed.formats import ImportedRow
from heed.formats.rows import RowRejectedError
from heed_server.web.inbound.becoming import Meaning, Said, email, row_of, seen, word
from heed_server.web.inbound.notification import (
    OTHER,
    RECIPIENTS_MAX,
    Event,
    Read,
    Record,
    decoded,
    event_of,
    member,
    members,
    unreadable,
)
from heed_server.web.inbound.sources import Reading

_TRANSIENT: Final = {
    "ContentRejected": Meaning.NOTHING,
    "AttachmentRejected": Meaning.NOTHING,
    "MessageTooLarge": Meaning.NOTHING,
}
"""It was the message that was refused, not the address."""
_PASSED_OVER: Final = frozenset(
    {"Send", "Reject", "Delivery", "Open", "Click", "Rendering Failure"}
)


def read_ses(message: str, reading: Reading) -> tuple[Event, ...]:
    """Return what a message of a topic reports of each recipient.

    What is no event of SES reports nothing: it says in plain words that it may publish.
    """
    try:
        record = decoded(message)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        return (Event(word=OTHER),)
    kind = word(record, "eventType") or word(record, "notificationType")
    read = _READERS.get(kind)
    if read is None:
        return (Event(word=kind if kind in _PASSED_OVER else OTHER),)
    try:
        events = tuple(event_of(kind, one) for one in read(record, reading))
    except RowRejectedError as error:
        return (unreadable(kind, error),)
    return events or (Event(word=kind),)


def _bounced(record: Record, reading: Reading) -> Iterator[Read]:
    bounce = member(record, "bounce")
    kind, subtype = word(bounce, "bounceType"), word(bounce, "bounceSubType")
    when = seen(bounce, "timestamp")

    def read(one: Record) -> ImportedRow | None:
        meaning = _meaning_of_bounce(kind, subtype)
        if word(one, "action").lower() == "delayed" and meaning is Meaning.BOUNCE:
            meaning = Meaning.TEMPORARY
        diagnosis = word(one, "diagnosticCode") or word(one, "status")
        said = Said(
            meaning=meaning,
            address=email(one, "emailAddress", path="bounce.bouncedRecipients."),
            seen=when,
            why=f"{kind}/{subtype} {diagnosis}".strip(),
        )
        return row_of(said, reading)

    for one in members(bounce, "bouncedRecipients", path="bounce."):
        yield partial(read, one)


def _meaning_of_bounce(kind: str, subtype: str) -> Meaning:
    """What is of no known type is taken for temporary: it stops, and it ends."""
    if kind == "Permanent":
        return Meaning.OPT_OUT if subtype == "UnsubscribedRecipient" else Meaning.BOUNCE
    if kind == "Transient":
        return _TRANSIENT.get(subtype, Meaning.TEMPORARY)
    return Meaning.TEMPORARY


def _complained(record: Record, reading: Reading) -> Iterator[Read]:
    complaint = member(record, "complaint")
    feedback = word(complaint, "complaintFeedbackType")
    # Not spam: no reason to stop anything, and none to lift what stands.
    meaning = Meaning.NOTHING if feedback.lower() == "not-spam" else Meaning.COMPLAINT
    why = f"Complaint {feedback or word(complaint, 'complaintSubType')}".strip()
    yield from _of_each(complaint, "complaint", "complainedRecipients", meaning, why, reading)


def _delayed(record: Record, reading: Reading) -> Iterator[Read]:
    delay = member(record, "deliveryDelay")
    why = f"DeliveryDelay {word(delay, 'delayType')}".strip()
    yield from _of_each(delay, "deliveryDelay", "delayedRecipients", Meaning.DEFERRAL, why, reading)


def _of_each(
    said_of: Record, name: str, key: str, meaning: Meaning, why: str, reading: Reading
) -> Iterator[Read]:
    """The same of each of the recipients in a list."""
    when = seen(said_of, "timestamp")

    def read(one: Record) -> ImportedRow | None:
        address = email(one, "emailAddress", path=f"{name}.{key}.")
        return row_of(Said(meaning=meaning, address=address, seen=when, why=why), reading)

    for one in members(said_of, key, path=f"{name}."):
        yield partial(read, one)


def _unsubscribed(record: Record, reading: Reading) -> Iterator[Read]:
    subscription = member(record, "subscription")
    labels = _opted_out(member(subscription, "newTopicPreferences", path="subscription."))
    before = subscription.get("oldTopicPreferences")
    if isinstance(before, dict):
        labels -= _opted_out(before)  # said before, and not said again now
    when = seen(subscription, "timestamp")

    def read(one: object, label: str) -> ImportedRow | None:
        address = email({"destination": one}, "destination", path="mail.")
        said = Said(meaning=Meaning.OPT_OUT, address=address, seen=when, label=label)
        return row_of(said, reading)

    addresses = member(record, "mail").get("destination")
    if not isinstance(addresses, list) or not 0 < len(addresses) <= RECIPIENTS_MAX:
        raise RowRejectedError("mail.destination", f"has no list of 1 to {RECIPIENTS_MAX}")
    for one in addresses:
        for label in sorted(labels):
            yield partial(read, one, label)


_ALL_TOPICS: Final = ""
"""Stands for "unsubscribe all", which is no label."""


def _opted_out(preferences: Record) -> frozenset[str]:
    """What somebody is unsubscribed from, by these preferences."""
    labels: set[str] = set()
    if preferences.get("unsubscribeAll") is True:
        labels.add(_ALL_TOPICS)
    statuses = preferences.get("topicSubscriptionStatus")
    for one in statuses if isinstance(statuses, list) else ():
        if not isinstance(one, dict):
            raise RowRejectedError("topicSubscriptionStatus", "is no list of objects")
        if word(one, "subscriptionStatus").replace("_", "").lower() == "optout":
            labels.add(word(one, "topicName"))
    return frozenset(labels)


_READERS: Final[Mapping[str, Callable[[Record, Reading], Iterator[Read]]]] = {
    "Bounce": _bounced,
    "Complaint": _complained,
    "DeliveryDelay": _delayed,
    "Subscription": _unsubscribed,
}
