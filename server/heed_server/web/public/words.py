"""What is said of scopes, times and classes of message, in the words of one language and tenant."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from heed.hours import Hours, QuietPeriod
from heed.model import TOPIC_ROOT, Channel, Instant, Scope, TopicClass
from heed.names import word_of
from heed.topics import TopicTable
from heed_server.web.public.languages import Texts
from heed_server.web.public.looks import Look

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Words:
    """The words of one answer."""

    def __init__(self, look: Look, texts: Texts, topics: TopicTable | None = None) -> None:
        """`topics` are those that are declared; None: none is known here."""
        self.texts = texts
        self._topics = topics
        self._titles = {
            one.topic: one.title[texts.tag] for one in look.topics if texts.tag in one.title
        }

    def topic(self, name: str) -> str:
        """Return what people call a topic."""
        titled = self._titles.get(name)
        if titled is not None:
            return titled
        declared = None if self._topics is None else self._topics.get(name)
        return name if declared is None or not declared.title else declared.title

    def channel(self, channel: Channel) -> str:
        """Return by which way: `by email`."""
        return self.texts(f"channel.{word_of(channel)}")

    def what(self, scope: Scope) -> str:
        """Return what a scope covers: `“Weekly letter” by email`."""
        is_root = scope.topic == TOPIC_ROOT
        if scope.channel is Channel.PROCESSING:
            key = "what.processing_root" if is_root else "what.processing_topic"
        elif scope.channel is Channel.ANY:
            key = "what.root_any" if is_root else "what.topic_any"
        else:
            key = "what.root_channel" if is_root else "what.topic_channel"
        return self.texts(key, topic=self.topic(scope.topic), channel=self.channel(scope.channel))

    def where(self, scope: Scope) -> str:
        """Return where a stop at a scope holds, in a sentence."""
        if scope.channel is Channel.PROCESSING:
            return self.texts("done.where_processing")
        if scope.channel is Channel.ANY:
            return self.texts("done.where_any")
        return self.texts("done.where_channel", channel=self.channel(scope.channel))

    def still_sent(self, classes: Iterable[TopicClass], topics: Sequence[str]) -> list[str]:
        """Return what is still sent: a line a class of message, and the topics that always are."""
        said = [self.texts(f"still.{word_of(one)}") for one in classes]
        if not said:
            return [self.texts("still.nothing")]
        if topics:
            named = self.texts.joined([self.topic(one) for one in topics])
            said.append(self.texts("still.topics", topics=named))
        return said

    def hours(self, hours: Hours | None) -> str:
        """Return when it is quiet; None: at every hour."""
        texts = self.texts
        if hours is None:
            return texts("quiet.always")
        periods = texts.joined([self._period(one) for one in hours.periods])
        return texts("quiet.hours", periods=periods, zone=hours.time_zone)

    def _period(self, period: QuietPeriod) -> str:
        texts = self.texts
        begin, end = (
            f"{minute // 60:02}:{minute % 60:02}"
            for minute in (period.start_minute, period.end_minute)
        )
        days = texts.joined([texts.days[day - 1] for day in period.days])
        said = texts("quiet.period", begin=begin, end=end)
        return f"{said} ({days or texts('quiet.every_day')})"

    def date(self, instant: Instant) -> str:
        """Return the day of an instant, by UTC."""
        at = _EPOCH + timedelta(microseconds=instant)
        return self.texts(
            "date", day=str(at.day), month=self.texts.months[at.month - 1], year=str(at.year)
        )

    def moment(self, instant: Instant) -> str:
        """Return an instant to the minute, by UTC."""
        at = _EPOCH + timedelta(microseconds=instant)
        return self.texts("moment", date=self.date(instant), time=f"{at:%H:%M}")
