"""What the preference page shows of a person: topics, what is sent of each, what can be done.

Pure: of what stands, and of the tenant's look, in the words of one language.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from heed.model import (
    CHANNELS_OF_SUBJECT_TYPE,
    TOPIC_ROOT,
    Cause,
    Channel,
    Choice,
    ChoiceKind,
    Instant,
    RecordKind,
    Rule,
    Scope,
    Subject,
    SubjectType,
)
from heed.names import word_of
from heed_server.service.links import EVERYTHING, SIGNALLED
from heed_server.service.personal import PersonalStanding, Place, place_of, standing_records, stands
from heed_server.store import StandingRecord
from heed_server.web.public.forms import day_after, said_of, said_of_day
from heed_server.web.public.looks import PAGE_TOPICS_MAX, Look
from heed_server.web.public.words import Words

_ZONES: Final = (
    "Europe/London", "Europe/Berlin", "Europe/Vienna", "Europe/Zurich", "Europe/Paris",
    "Europe/Madrid", "Europe/Rome", "Europe/Warsaw", "Europe/Athens", "Europe/Kyiv",
    "Europe/Istanbul", "America/New_York", "America/Chicago", "America/Denver",
    "America/Los_Angeles", "America/Toronto", "America/Mexico_City", "America/Sao_Paulo",
    "Africa/Cairo", "Africa/Lagos", "Africa/Johannesburg", "Asia/Dubai", "Asia/Kolkata",
    "Asia/Singapore", "Asia/Shanghai", "Asia/Tokyo", "Australia/Sydney", "Pacific/Auckland",
)  # fmt: skip
_PAUSES: Final = (("week", 7), ("month", 30), ("quarter", 91))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceView:
    """One way in which messages about a topic come, and the one thing that can be done."""

    heading: str
    status: str
    scope: str
    """As a form says it."""
    what: str
    can_stop: bool = False
    can_start: bool = False
    is_left_alone: bool = False
    """Whether the person wants not to be asked to start it again."""
    is_new: bool = False
    """Whether starting it is for the first time: nothing was stopped here."""
    is_stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicView:
    """A topic, as people read it."""

    title: str
    description: str
    kind: str
    places: tuple[PlaceView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseView:
    """A pause, or quiet hours, under way."""

    scope: str
    """As a form says it."""
    what: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that a page shows of a person."""

    who: str
    """Whose page it is, as far as it helps them; empty: no name would."""
    everything: PlaceView
    topics: tuple[TopicView, ...]
    has_more_topics: bool
    processing: PlaceView
    """All of it, which is started again by asking for it, not here."""
    pauses: tuple[PauseView, ...]
    quiets: tuple[PauseView, ...]
    """Quiet hours that stand."""
    zones: tuple[str, ...]
    """Names of time zones to choose from, of which the first is offered; any other may be typed."""
    days: tuple[tuple[str, str], ...]
    """Of the week: as a form says them, and in words."""
    pause_scopes: tuple[tuple[str, str], ...]
    """What can be paused: as a form says it, and in words."""
    pause_days: tuple[tuple[str, str], ...]
    """Until when: as a form says it, and in words."""
    has_left_alone: bool
    """Whether something is not offered again because the person wants not to be asked."""
    standing: tuple[str, ...]
    """What was chosen, in words, the newest first."""
    stood: str
    """The newest revision, as a form says it."""


def view_of(
    standing: PersonalStanding, look: Look, words: Words, *, asked_again: bool = False
) -> View:
    """Return what a person's page shows.

    `asked_again`: also how to start again what they do not want to be asked about.
    """
    topics = shown_topics(standing, look)
    counting = standing_records(standing)
    views = tuple(
        _topic_view(name, channels, standing, look, words, asked_again=asked_again)
        for name, channels in topics[:PAGE_TOPICS_MAX]
    )
    return View(
        who=who(standing.subjects, words),
        everything=_everything(standing, counting, words),
        topics=views,
        has_left_alone=any(place.is_left_alone for one in views for place in one.places),
        has_more_topics=len(topics) > PAGE_TOPICS_MAX,
        processing=_processing(standing, words),
        pauses=_under_way(RecordKind.PAUSE, counting, words),
        quiets=_under_way(RecordKind.QUIET_HOURS, counting, words),
        zones=look.time_zones or _ZONES,
        days=tuple((f"d{at}", name) for at, name in enumerate(words.texts.days, start=1)),
        pause_scopes=tuple(
            (said_of(scope), words.what(scope))
            for scope in (
                EVERYTHING,
                *(Scope(channel=Channel.ANY, topic=name) for name, _ in topics[:PAGE_TOPICS_MAX]),
            )
        ),
        pause_days=tuple(
            (
                said_of_day(day_after(standing.now, days)),
                words.texts(f"pause.{key}", date=words.date(day_after(standing.now, days))),
            )
            for key, days in _PAUSES
        ),
        standing=tuple(record_in_words(one, words) for one in counting),
        stood=str(standing.newest),
    )


def shown_topics(standing: PersonalStanding, look: Look) -> list[tuple[str, tuple[Channel, ...]]]:
    """Return the topics of a page, in order, with the channels on which each can be chosen."""
    channels = look.channels or channels_of(standing.subjects)
    found = {one.topic: one.channels or channels for one in look.topics}
    if look.other_topics:
        for topic in standing.topics.declared:
            if topic.name != TOPIC_ROOT and not topic.retired:
                found.setdefault(topic.name, channels)
    return list(found.items())


def channels_of(subjects: Iterable[Subject]) -> tuple[Channel, ...]:
    """Return the channels on which somebody with these identifiers is written to."""
    found = {channel for one in subjects for channel in CHANNELS_OF_SUBJECT_TYPE[one.type]}
    return tuple(sorted(found - {Channel.ANY})) or (Channel.ANY,)


def description_of(topic: str, look: Look, tag: str) -> str:
    """Return what a tenant says of a topic in a language; empty: nothing."""
    return next((one.description for one in look.topics if one.topic == topic), {}).get(tag, "")


def who(subjects: Sequence[Subject], words: Words) -> str:
    """Return whose page it is, told to whom knows it already: `a…@example.com`."""
    told: list[str] = []
    for one in subjects:
        if one.type is SubjectType.EMAIL:
            local, _, domain = one.value.rpartition("@")
            told.append(f"{local[:1]}…@{domain}")
        elif one.type is SubjectType.PHONE:
            told.append(f"…{one.value[-2:]}")
    return words.texts.joined(told)


def status(place: Place, words: Words) -> str:
    """Return whether something is sent at a place, and why not."""
    texts, reason = words.texts, place.decision.reasons[0]
    record = reason.record
    if place.is_partly:
        return texts("status.partly")
    if record is None:
        key = {
            Rule.MANDATORY: "status.mandatory",
            Rule.NO_CONSENT: "status.no_consent",
            Rule.UNDECLARED_TOPIC: "status.no_consent",
        }.get(reason.rule, "status.sent")
        return texts(key)
    since = words.date(record.decided_time)
    until = "" if record.end_time is None else words.date(record.end_time)
    if reason.rule is Rule.OPT_IN:
        return texts("status.agreed", date=since)
    if reason.rule is Rule.PAUSE:
        return texts("status.paused", date=until)
    if reason.rule is Rule.SUPPRESSION:
        return texts(f"status.{_cause(record.cause)}", date=until)
    scope = Scope(channel=record.channel, topic=record.topic)
    if scope == place.scope:
        return texts("status.stopped", date=since)
    return texts("status.stopped_with", date=since, what=words.what(scope))


def record_in_words(one: StandingRecord, words: Words) -> str:
    """Return a record as a line of what stands."""
    record, texts = one.record, words.texts
    what = words.what(_scope_of(one))
    since = words.date(record.decided_time)
    until = "" if record.end_time is None else words.date(record.end_time)
    match record.kind:
        case RecordKind.OPT_OUT:
            return texts("record.stopped", what=what, date=since)
        case RecordKind.OPT_IN:
            return texts("record.agreed", what=what, date=since)
        case RecordKind.PAUSE:
            return texts("record.paused", what=what, date=until)
        case RecordKind.QUIET_HOURS:
            return texts("record.quiet", what=what, hours=words.hours(record.quiet_hours))
        case _:
            return texts(
                "record.suppressed",
                what=what,
                why=texts(f"status.{_cause(record.cause)}", date=until),
            )


def place_view(place: Place, words: Words, now: Instant, *, asked_again: bool = False) -> PlaceView:
    """Return a place, with the one thing that can be done there."""
    reason = place.decision.reasons[0]
    rule, no_ask_until = reason.rule, None if reason.record is None else reason.record.no_ask_until
    is_left_alone = no_ask_until is not None and now < no_ask_until and not asked_again
    is_allowed = place.is_partly or place.decision.is_allowed
    return PlaceView(
        heading=words.texts(f"heading.{word_of(place.scope.channel)}"),
        status=status(place, words),
        scope=said_of(place.scope),
        what=words.what(place.scope),
        can_stop=(is_allowed and rule is not Rule.MANDATORY) or rule is Rule.PAUSE,
        can_start=not is_allowed and not is_left_alone and rule in {Rule.OPT_OUT, Rule.NO_CONSENT},
        is_left_alone=is_left_alone,
        is_new=rule is Rule.NO_CONSENT,
        is_stopped=not is_allowed,
    )


def _everything(
    standing: PersonalStanding, counting: Sequence[StandingRecord], words: Words
) -> PlaceView:
    stop = next(
        (
            one.record
            for one in counting
            if one.record.kind is RecordKind.OPT_OUT and _scope_of(one) == EVERYTHING
        ),
        None,
    )
    status_ = (
        "" if stop is None else words.texts("status.stopped", date=words.date(stop.decided_time))
    )
    return PlaceView(
        heading=words.texts("everything.title"),
        status=status_,
        scope=said_of(EVERYTHING),
        what=words.what(EVERYTHING),
        can_stop=not stands(standing, Choice(kind=ChoiceKind.OPT_OUT, scope=EVERYTHING)),
        is_stopped=stop is not None,
    )


def _processing(standing: PersonalStanding, words: Words) -> PlaceView:
    view = place_view(place_of(standing, SIGNALLED), words, standing.now)
    return PlaceView(
        heading=view.heading,
        status=view.status if view.is_stopped else words.texts("status.used"),
        scope=view.scope,
        what=view.what,
        can_stop=view.can_stop,
        can_start=view.can_start,
        is_stopped=view.is_stopped,
    )


def _under_way(
    kind: RecordKind, counting: Sequence[StandingRecord], words: Words
) -> tuple[PauseView, ...]:
    return tuple(
        PauseView(
            scope=said_of(_scope_of(one)),
            what=words.what(_scope_of(one)),
            text=record_in_words(one, words),
        )
        for one in counting
        if one.record.kind is kind
    )


def _topic_view(
    name: str,
    channels: tuple[Channel, ...],
    standing: PersonalStanding,
    look: Look,
    words: Words,
    *,
    asked_again: bool,
) -> TopicView:
    places = [place_of(standing, Scope(channel=one, topic=name)) for one in channels]
    topic_class = max(one.decision.topic_class for one in places)
    return TopicView(
        title=words.topic(name),
        description=description_of(name, look, words.texts.tag),
        kind=words.texts(f"class.{word_of(topic_class)}"),
        places=tuple(
            place_view(one, words, standing.now, asked_again=asked_again) for one in places
        ),
    )


def _scope_of(one: StandingRecord) -> Scope:
    return Scope(channel=one.record.channel, topic=one.record.topic)


def _cause(cause: Cause) -> str:
    return word_of(cause) if cause in _CAUSES else "manual"


_CAUSES: Final = frozenset(Cause) - {Cause.NONE}
