"""How much one person may take by their page links, however many they have.

Laws:
- A stop is never refused for its rate.
- It is counted by person and not by page link: a tenant's systems make as many as are asked for.
- Each process counts by itself.
"""

import time
from typing import Final

from heed.model import Choice, ChoiceKind
from heed_server.auth.policy import Principal
from heed_server.rates import Rate
from heed_server.service.pages import OpenedPage
from heed_server.web.limits import INVALID_BURST_SECONDS, PageLimits

_MINUTE: Final = 60.0
_HOUR: Final = 3_600.0


class PageRates:
    """The rates of all people. Written on the event loop alone."""

    def __init__(self, limits: PageLimits) -> None:
        def rate(name: str, most: float, seconds: float, burst_seconds: float) -> Rate:
            return Rate(name, most / seconds, burst_seconds, time.monotonic)

        self._reads = rate(
            "reads_per_second_max", limits.reads_per_second_max, 1.0, INVALID_BURST_SECONDS
        )
        self._choices = rate(
            "choices_per_minute_max", limits.choices_per_minute_max, _MINUTE, _MINUTE
        )
        self._opt_ins = rate("opt_ins_per_hour_max", limits.opt_ins_per_hour_max, _HOUR, _HOUR)

    def read(self, page: OpenedPage) -> None:
        """Take what reading a page costs. Raises ExhaustedError."""
        self._reads.take(_person_of(page))

    def choose(self, page: OpenedPage, choice: Choice) -> None:
        """Take what a choice costs. Raises ExhaustedError, never for a stop."""
        if choice.kind is ChoiceKind.OPT_OUT:
            return
        person = _person_of(page)
        self._choices.take(person)
        if choice.kind is ChoiceKind.OPT_IN:
            self._opt_ins.take(person)


def _person_of(page: OpenedPage) -> Principal:
    """Whose rate it is: the first subject's, whom a tenant's systems name by the same each time."""
    first = page.context.lookup.key(page.link.target.subjects[0])
    return Principal(name=first.hex(), rights=frozenset(), tenant=page.context.name)
