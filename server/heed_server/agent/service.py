"""Checks by the replica, through the code that a server answers by."""

from heed.errors import NotFoundError
from heed.model import Instant
from heed_server.agent.following import AgentTenant, ReplicaFollower
from heed_server.auth.policy import Principal, Right, require
from heed_server.decisions import DecisionLog
from heed_server.service import Checks, MaxStaleness
from heed_server.service.logged import LoggedChecks
from heed_server.service.rights import RIGHT_OF_METHOD

CALLER = Principal(name="caller", rights=frozenset({Right.CHECK}))
"""Whoever may check at an agent: whose key the upstream took, or who may open its socket."""


class AgentChecks(Checks):
    """Answers the Checks of one tenant."""

    def __init__(self, follower: ReplicaFollower, max_staleness: MaxStaleness) -> None:
        super().__init__(now=follower.now, max_staleness=max_staleness)
        self.follower = follower

    def enter(self, method: str, principal: Principal, tenant: str) -> AgentTenant:
        """Return the agent's tenant.

        Raises:
            UnavailableError: STATE_STALE, there is no replica to answer by.
            NotFoundError: the call is about another tenant.
        """
        require(principal, RIGHT_OF_METHOD[method])
        found = self.follower.last or self.follower.tenant()
        if tenant and tenant != found.name:
            raise NotFoundError(
                f"this agent has no tenant {tenant[:63]!r}", metadata={"tenant": tenant[:63]}
            )
        return found

    def doubted(self, now: Instant) -> Instant | None:  # noqa: ARG002 - what every node is asked
        """Return None: a source that doubts its clock tells an endless age."""
        return None


class LoggedAgentChecks(LoggedChecks, AgentChecks):
    """The same, each noted."""


def agent_checks(
    follower: ReplicaFollower, max_staleness: MaxStaleness, decisions: DecisionLog | None
) -> AgentChecks:
    """Return what answers Checks, with a decision log if there is one."""
    if decisions is None:
        return AgentChecks(follower, max_staleness)
    checks = LoggedAgentChecks(follower, max_staleness)
    checks.decisions = decisions
    return checks
