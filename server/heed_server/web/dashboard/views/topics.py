"""Topics: what is sent whatever people chose, by whose word, and how much of it."""

from collections.abc import Mapping, Sequence
from typing import Final

from heed.model import Change, Channel, Topic, TopicClass
from heed.names import word_of
from heed_server.auth.policy import Right
from heed_server.service.tally import Volume
from heed_server.web.dashboard.charts import Bar, BarChart, Tone
from heed_server.web.dashboard.tables import Cell, Column, Kind, Look, State, Table
from heed_server.web.dashboard.view import Asking, Shown, View

_BARS_MAX: Final = 10

Volumes = Mapping[tuple[Channel, str], Volume]


async def read(asking: Asking) -> Shown:
    """Read the declared topics, and what this server allowed because they are mandatory."""
    service, who, tenant = asking.service, asking.principal, asking.tenant
    mandatory = await service.mandatory_topics(who, tenant, asking.rows_max + 1)
    volumes = service.tally_to_look_at(who, tenant).mandatory.copy()
    context = service.look(who, tenant)
    declared = context.follower.index.topics.declared
    rows = [_topic(topic) for topic in declared[: asking.rows_max]]
    return Shown(
        now=service.now(),
        revision=context.follower.head_revision,
        tables=(
            _figures(declared, volumes),
            _mandatory(mandatory, volumes, asking.rows_max),
            _overrides(volumes, asking.rows_max),
            Table(
                name="topics",
                title="Declared topics",
                columns=_TOPICS,
                rows=rows,
                is_cut=len(declared) > len(rows),
                note="What is beneath a declared topic and was not declared itself takes its class "
                "and what it asks for, but is never mandatory.",
                empty="No topic was declared: all are promotional, and sent until somebody opts "
                "out.",
            ),
        ),
    )


def _figures(declared: Sequence[Topic], volumes: Volumes) -> Table:
    mandatory = (one for one in declared if one.topic_class is TopicClass.MANDATORY)
    return Table(
        name="now",
        title="Now",
        columns=(
            Column("mandatory_topics", "Mandatory topics", Kind.NUMBER),
            Column("messages", "Allowed as mandatory", Kind.NUMBER),
            Column("overriding", "Of them over a choice", Kind.NUMBER),
        ),
        rows=[
            [
                sum(not topic.retired for topic in mandatory),
                sum(volume.messages for volume in volumes.values()),
                sum(volume.overriding for volume in volumes.values()),
            ]
        ],
        look=Look.FIGURES,
    )


def _mandatory(
    mandatory: Sequence[tuple[Topic, Change | None]], volumes: Volumes, rows_max: int
) -> Table:
    return Table(
        name="mandatory",
        title="Mandatory topics",
        columns=_MANDATORY,
        rows=[_mandatory_topic(topic, change, volumes) for topic, change in mandatory[:rows_max]],
        is_cut=len(mandatory) > rows_max,
        note="A message about one is sent to whoever opted out of all. Only an operator makes a "
        "topic mandatory, each channel by name. Source, who and why are those of its last change.",
        empty="No topic is mandatory.",
    )


def _overrides(volumes: Volumes, rows_max: int) -> Table:
    most = sorted(volumes.items(), key=lambda one: (-one[1].overriding, -one[1].messages, one[0]))
    rows: list[list[Cell]] = [
        [topic, word_of(channel), volume.messages, volume.overriding, _share(volume)]
        for (channel, topic), volume in most[:rows_max]
    ]
    return Table(
        name="overrides",
        title="Volume",
        columns=_OVERRIDES,
        rows=rows,
        is_cut=len(most) > rows_max,
        note="Checks that this server, with its workers, allowed because the topic is mandatory, "
        "since it started; other nodes, agents and caches answer beside it. Over a choice: to "
        "people whose opt-out or pause would have suppressed a promotional message of the same "
        "topic and channel.",
        empty="This server has allowed no message because it is mandatory.",
        charts=(_chart(most),) if most else (),
    )


def _chart(most: list[tuple[tuple[Channel, str], Volume]]) -> BarChart:
    return BarChart(
        name="overrides",
        title="Sent over a choice, by topic",
        description="The mandatory topics that overrode most choices since the server started.",
        bars=[
            Bar(
                label=f"{topic} · {word_of(channel)}",
                value=volume.overriding,
                shown=f"{volume.overriding:,} of {volume.messages:,}",
                tone=Tone.WARN,
            )
            for (channel, topic), volume in most[:_BARS_MAX]
        ],
    )


_MANDATORY: Final = (
    Column("topic", "Topic"),
    Column("title", "Title"),
    Column("channels", "Channels"),
    Column("state", "State", Kind.STATE),
    Column("messages", "Messages", Kind.NUMBER),
    Column("overriding", "Over a choice", Kind.NUMBER),
    Column("since", "Last changed", Kind.INSTANT),
    Column("source", "Source"),
    Column("actor", "Who"),
    Column("reason", "Why"),
    Column("revision", "Revision", Kind.NUMBER),
)
_OVERRIDES: Final = (
    Column("topic", "Topic"),
    Column("channel", "Channel"),
    Column("messages", "Messages", Kind.NUMBER),
    Column("overriding", "Over a choice", Kind.NUMBER),
    Column("overriding_share", "Share", Kind.SHARE),
)
_TOPICS: Final = (
    Column("topic", "Topic"),
    Column("title", "Title"),
    Column("class", "Class"),
    Column("asks_consent", "Needs an opt-in"),
    Column("undeclared", "Undeclared beneath"),
    Column("state", "State", Kind.STATE),
    Column("revision", "Revision", Kind.NUMBER),
)


def _mandatory_topic(topic: Topic, change: Change | None, volumes: Volumes) -> list[Cell]:
    channels = sorted(topic.mandatory_channels)
    of_topic = [volumes[place] for place in volumes if place[1] == topic.name]
    origin = None if change is None else change.origin
    return [
        topic.name,
        topic.title or None,
        tuple(word_of(channel) for channel in channels),
        _state(topic),
        sum(volume.messages for volume in of_topic),
        sum(volume.overriding for volume in of_topic),
        None if change is None else change.commit_time,
        None if origin is None else origin.source,
        (origin.actor or None) if origin is not None else None,
        (change.reason or None) if change is not None else None,
        topic.revision,
    ]


def _topic(topic: Topic) -> list[Cell]:
    return [
        topic.name or "everything",
        topic.title or None,
        word_of(topic.topic_class),
        "yes" if topic.requires_opt_in else "no",
        "suppressed" if topic.suppress_undeclared else "as this one",
        _state(topic),
        topic.revision,
    ]


def _state(topic: Topic) -> State:
    return State("retired", Tone.QUIET) if topic.retired else State("in use")


def _share(volume: Volume) -> float | None:
    return volume.overriding / volume.messages if volume.messages else None


VIEW: Final = View(
    name="topics",
    title="Topics",
    lead="What is sent whatever people chose: mandatory topics, who made them so, and how many "
    "messages went out over somebody's choice.",
    rights=frozenset({Right.AUDIT, Right.OPERATE}),
    read=read,
)
