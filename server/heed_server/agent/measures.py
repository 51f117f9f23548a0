"""What an agent knows of itself, as metrics; docs/agent.md says what each is good for.

Law: numbers are read off the event loop, so each is a plain one that a single assignment sets. What
the replica knows of itself is read by its state, which any thread may read.
"""

from heed.replica.follower import Follower
from heed_server.agent.callers import Callers
from heed_server.agent.edge import Asked
from heed_server.agent.following import ReplicaFollower
from heed_server.service.tally import of_tallies
from heed_server.telemetry.metrics import Declaration, Reading, build_info, single


def declared(
    known: ReplicaFollower, follower: Follower, callers: Callers, asked: Asked
) -> list[Declaration]:
    """Return every metric of an agent but those of calls."""
    counts = follower.counts
    return [
        build_info(),
        single(
            "heed_index_revision",
            "The revision that Checks are answered at.",
            lambda: known.revision,
        ),
        single(
            "heed_source_age_seconds",
            "How old what Checks are answered by may be.",
            known.state_age_seconds,
        ),
        *of_tallies(lambda: [] if known.last is None else [(known.last.name, known.last.tally)]),
        single(
            "heed_agent_owner",
            "1 where this process follows, 0 where another one does and this one reads.",
            lambda: follower.is_owner,
        ),
        single(
            "heed_agent_streams_total",
            "Streams opened at the upstream.",
            lambda: counts.streams,
            is_counter=True,
        ),
        Declaration(
            name="heed_agent_resyncs_total",
            meaning="Snapshots of the upstream, by reason.",
            labels=("reason",),
            read=lambda: [
                Reading(value=count, labels=(reason.value,))
                for reason, count in tuple(counts.resyncs.by_reason.items())
            ],
            is_counter=True,
        ),
        single(
            "heed_agent_probes_failed_total",
            "Probes that the upstream did not take.",
            lambda: counts.probes_failed,
            is_counter=True,
        ),
        Declaration(
            name="heed_agent_asked_total",
            meaning="Checks that the upstream was asked for, by whether it answered.",
            labels=("answered",),
            read=lambda: [
                Reading(value=asked.answered, labels=("yes",)),
                Reading(value=asked.unanswered, labels=("no",)),
            ],
            is_counter=True,
        ),
        *_of_callers(callers),
    ]


def _of_callers(callers: Callers) -> list[Declaration]:
    return [
        single(
            "heed_agent_credentials",
            "Keys of callers that the upstream took.",
            lambda: callers.known,
        ),
        single(
            "heed_credentials_refused_total",
            "Calls refused for want of a key.",
            lambda: callers.refused,
            is_counter=True,
        ),
    ]
