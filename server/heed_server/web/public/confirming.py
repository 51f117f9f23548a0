"""What is said once a choice is committed: what stops, where, since when, and the receipt."""

from typing import assert_never

from starlette.responses import Response

from heed.acts import STOPS
from heed.model import Channel, Choice, ChoiceKind, Instant, RecordKind, Scope
from heed_server.service.links import SIGNALLED
from heed_server.service.pages import Chosen
from heed_server.service.personal import place_of, standing_records, still_sent
from heed_server.store import StandingRecord
from heed_server.web.public.rendering import Face
from heed_server.web.public.view import place_view, record_in_words
from heed_server.web.public.words import Words

_KINDS = {
    ChoiceKind.OPT_OUT: RecordKind.OPT_OUT,
    ChoiceKind.OPT_IN: RecordKind.OPT_IN,
    ChoiceKind.PAUSE: RecordKind.PAUSE,
    ChoiceKind.END_PAUSE: RecordKind.PAUSE,
    ChoiceKind.QUIET_HOURS: RecordKind.QUIET_HOURS,
    ChoiceKind.END_QUIET_HOURS: RecordKind.QUIET_HOURS,
}
_STOPS = frozenset(RecordKind) - {RecordKind.OPT_IN}
_WEAKENS = frozenset(ChoiceKind) - STOPS

Facts = list[tuple[str, str | list[str]]]
"""What is said, in one line or several, each under what it is about."""


def stopped_page(
    face: Face,
    words: Words,
    scope: Scope,
    *,
    still: list[str],
    reference: str,
    now: Instant,
    signalled: bool,
) -> Response:
    """Return the page of a stop by whoever has a link: the same whoever it is of."""
    texts = face.texts
    is_processing = scope.channel is Channel.PROCESSING
    facts: Facts = [
        (texts("done.what"), words.what(scope)),
        (texts("done.where"), words.where(scope)),
        (texts("done.since"), texts("done.since_now", moment=words.moment(now))),
    ]
    if not is_processing:
        facts.append((texts("done.still"), still))
    return face.page(
        "stopped.html",
        title=texts("done.title_stop_processing" if is_processing else "done.title_stop"),
        facts=facts,
        reference=reference,
        signal=texts("done.signal", what=words.what(SIGNALLED)) if signalled else "",
    )


def done_page(face: Face, choice: Choice, chosen: Chosen, *, signalled: bool) -> Response:
    """Return the page of what a person chose on their page."""
    texts, standing = face.texts, chosen.standing
    words = face.words(standing.topics)
    record = _record_of(choice, chosen)
    signal = _signal_of(choice, chosen, words) if signalled else ""
    return face.page(
        "done.html",
        title=_title_of(choice, words),
        facts=_facts_of(choice, chosen, record, words),
        also=[
            record_in_words(one, words)
            for one in standing_records(standing)
            if one.record.kind in _STOPS
        ]
        if choice.kind in _WEAKENS
        else [],
        also_title=texts("done.also"),
        revision=0 if record is None else record.record.revision,
        claim="" if chosen.claim is None else str(chosen.claim),
        signal=signal,
    )


def _title_of(choice: Choice, words: Words) -> str:
    texts = words.texts
    match choice.kind:
        case ChoiceKind.OPT_OUT if choice.scope.channel is Channel.PROCESSING:
            return texts("done.title_stop_processing")
        case ChoiceKind.OPT_OUT:
            return texts("done.title_stop")
        case ChoiceKind.OPT_IN:
            return texts("done.title_start")
        case ChoiceKind.PAUSE:
            return texts("done.title_pause")
        case ChoiceKind.END_PAUSE:
            return texts("done.title_end_pause")
        case ChoiceKind.QUIET_HOURS:
            return texts("done.title_quiet")
        case ChoiceKind.END_QUIET_HOURS:
            return texts("done.title_end_quiet")
        case _:
            assert_never(choice.kind)


def _facts_of(choice: Choice, chosen: Chosen, record: StandingRecord | None, words: Words) -> Facts:
    texts, scope, standing = words.texts, choice.scope, chosen.standing
    decided_time = standing.now if record is None else record.record.decided_time
    since: tuple[str, str | list[str]] = (texts("done.since"), words.moment(decided_time))
    place = place_of(standing, scope) if scope.topic else None
    now: Facts = (
        []
        if place is None
        else [(texts("done.now"), place_view(place, words, standing.now).status)]
    )
    match choice.kind:
        case ChoiceKind.OPT_IN:
            return [(texts("done.what_start"), words.what(scope)), since, *now]
        case ChoiceKind.END_PAUSE:
            return [(texts("done.what_end_pause"), words.what(scope)), since, *now]
        case ChoiceKind.END_QUIET_HOURS:
            return [(texts("done.what_end_quiet"), words.what(scope)), since, *now]
        case ChoiceKind.QUIET_HOURS:
            told: Facts = [
                (texts("done.what_quiet"), words.what(scope)),
                (texts("done.hours"), words.hours(choice.quiet_hours)),
                since,
            ]
        case ChoiceKind.PAUSE:
            told = [
                (texts("done.what_pause"), words.what(scope)),
                since,
                (texts("done.until"), words.moment(choice.end_time or standing.now)),
            ]
        case _:
            told = [(texts("done.what"), words.what(scope)), since]
    told.insert(1, (texts("done.where"), words.where(scope)))
    if scope.channel is not Channel.PROCESSING:
        key = "still_quiet" if choice.kind is ChoiceKind.QUIET_HOURS else "still"
        told.append((texts(f"done.{key}"), words.still_sent(*still_sent(standing, scope))))
    return told


def _signal_of(choice: Choice, chosen: Chosen, words: Words) -> str:
    if choice.kind is ChoiceKind.OPT_IN and choice.scope.channel is Channel.PROCESSING:
        return words.texts("signal.against")
    if choice.scope == SIGNALLED:
        return words.texts("signal.recorded")
    standing = chosen.standing
    place = place_view(place_of(standing, SIGNALLED), words, standing.now)
    if place.is_stopped:
        return words.texts("done.signal", what=words.what(SIGNALLED))
    return words.texts("signal.waits", what=words.what(SIGNALLED))


def _record_of(choice: Choice, chosen: Chosen) -> StandingRecord | None:
    """The record that a choice became, or that stood already."""
    kind, scope = _KINDS[choice.kind], choice.scope
    return next(
        (
            one
            for one in chosen.standing.each()
            if one.record.kind is kind
            and (kind is not RecordKind.OPT_OUT or one.record.reach is choice.reach)
            and (one.record.channel, one.record.topic) == (scope.channel, scope.topic)
        ),
        None,
    )
