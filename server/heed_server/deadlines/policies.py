"""Deadline policies: what each regime allows, where, on which channels, since when; all data.

The shipped ones stand in `policies.toml`; an operator's file adds to them or replaces some by name.
None of it is legal advice (docs/deadlines.md).
"""

import calendar
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, lru_cache
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, model_validator

from heed.errors import HeedError
from heed.model import Channel, Instant
from heed.names import named
from heed_server.config.section import Section
from heed_server.deadlines.calendars import Calendar

EVERYWHERE = "*"
"""The jurisdiction of a policy that holds in all of them, also where none is known."""

HOURS_MAX = 24 * 366
DAYS_MAX = 366
MONTHS_MAX = 12
"""A policy that allows more is refused: somebody mistyped it."""

QUARTER = timedelta(minutes=15)

_ENDS_KEPT = 4_096
_PLACE = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")
_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def _channel(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return Channel(named(Channel, value, "channels"))
    except HeedError as error:
        raise ValueError(error.message) from None


class Policy(Section):
    """One regime's time limit; exactly one of hours, days, months and business_days."""

    title: str
    jurisdictions: tuple[str, ...] = Field(min_length=1)
    """`DE`, `US-CA`, the name of a region, or `*`."""
    channels: tuple[Annotated[Channel, BeforeValidator(_channel)], ...] = ()
    """Empty: every channel, and processing."""
    hours: Annotated[int, Field(ge=0, le=HOURS_MAX)] | None = None
    days: Annotated[int, Field(ge=1, le=DAYS_MAX)] | None = None
    months: Annotated[int, Field(ge=1, le=MONTHS_MAX)] | None = None
    business_days: Annotated[int, Field(ge=1, le=DAYS_MAX)] | None = None
    calendar: str = ""
    with_first_day: bool = False
    """The day of the opt-out is the first of the days, if it is such a day."""
    without_last_day: bool = False
    """The time ends when the last of the days begins."""
    time_zones: tuple[str, ...] = ()
    """Where its days end; of several, the end that comes first counts."""
    since: date | None = None
    """Opt-outs of before this date have no deadline by it."""
    until: date | None = None
    """Nor those of this date and later."""
    source: str

    @model_validator(mode="after")
    def _require_whole(self) -> Self:
        given = [one is not None for one in (self.hours, self.days, self.months)]
        if sum(given) + (self.business_days is not None) != 1:
            raise ValueError("must give one of hours, days, months and business_days")
        if (self.business_days is not None) != bool(self.calendar):
            raise ValueError("must name a calendar if it counts business_days, and only then")
        if (self.hours is None) != bool(self.time_zones):
            raise ValueError("must name time_zones if it counts days, and only then")
        if self.with_first_day or self.without_last_day:
            if self.days is None and self.business_days is None:
                raise ValueError("must count days or business_days if it says which of them count")
            if self.with_first_day and self.without_last_day:
                raise ValueError("must have with_first_day or without_last_day, not both")
        return self

    def reaches(self, channel: Channel) -> bool:
        """Whether it speaks of opt-outs on a channel, or on any."""
        if channel is Channel.ANY:
            return not self.channels or any(one is not Channel.PROCESSING for one in self.channels)
        return not self.channels or channel in self.channels


class TenantDefault(Section):
    """What is other for one tenant."""

    default: tuple[str, ...] = Field(min_length=1)


class Policies(Section):
    """All policies in force, with what they count by. Every name in it is defined in it."""

    version: str
    """That of the shipped file; an operator's own follows it after a plus."""
    default: tuple[str, ...] = Field(min_length=1)
    """The policies for opt-outs of whose jurisdiction no policy speaks."""
    regions: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    calendars: dict[str, Calendar] = Field(default_factory=dict)
    policies: dict[str, Policy]
    tenants: dict[str, TenantDefault] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _require_known(self) -> Self:
        for name, places in self._named_places():
            for place in places:
                if place != EVERYWHERE and not _PLACE.fullmatch(place):
                    raise ValueError(
                        f"{name} holds in {place!r}, which is no region here and no place; "
                        "write `DE`, `US-CA`, the name of a region, or `*`"
                    )
        defaults = [self.default, *(one.default for one in self.tenants.values())]
        for name in (name for names in defaults for name in names):
            if name not in self.policies:
                raise ValueError(f"default names {name!r}, which is no policy")
        for name, policy in self.policies.items():
            if policy.calendar and policy.calendar not in self.calendars:
                raise ValueError(f"{name} counts by {policy.calendar!r}, which is no calendar")
            for zone in policy.time_zones:
                _require_zone(name, zone)
        return self

    def _named_places(self) -> Iterator[tuple[str, Iterable[str]]]:
        for name, policy in self.policies.items():
            yield name, (one for one in policy.jurisdictions if one not in self.regions)
        yield from self.regions.items()

    @cached_property
    def places(self) -> dict[str, frozenset[str]]:
        """Where each policy holds, regions resolved."""
        return {
            name: frozenset(
                place for one in policy.jurisdictions for place in (one, *self.regions.get(one, ()))
            )
            for name, policy in self.policies.items()
        }

    @cached_property
    def ends(self) -> Callable[[str, int], Instant]:
        """Return when a policy's days end, for what was decided in a quarter of an hour since 1970.

        Wherever a day begins, it does so with a quarter.
        """
        return lru_cache(_ENDS_KEPT)(self._ends)

    def _ends(self, name: str, quarter: int) -> Instant:
        policy, decided = self.policies[name], _EPOCH + quarter * QUARTER
        zones = map(ZoneInfo, policy.time_zones)
        ends = min(
            datetime.combine(self._end_day(policy, decided.astimezone(zone).date()), time(), zone)
            for zone in zones
        )
        return Instant((ends - _EPOCH) // _MICROSECOND)

    def _end_day(self, policy: Policy, decided: date) -> date:
        """Return the day by whose beginning the time of a policy has ended."""
        before = decided - _DAY if policy.with_first_day else decided
        if policy.business_days is not None:
            last = self.calendars[policy.calendar].after(before, policy.business_days)
        elif policy.months is not None:
            last = _months_after(before, policy.months)
        else:
            last = before + (policy.days or 0) * _DAY
        return last if policy.without_last_day else last + _DAY

    def default_of(self, tenant: str) -> tuple[str, ...]:
        """Return the policies for a tenant's opt-outs of unknown jurisdiction."""
        own = self.tenants.get(tenant)
        return self.default if own is None else own.default


def is_within(jurisdiction: str, places: frozenset[str]) -> bool:
    """Whether a jurisdiction may be one of these: `US-CA` is in `US`, and `US` may be `US-CA`."""
    return bool(jurisdiction) and any(
        jurisdiction == place
        or jurisdiction.startswith(f"{place}-")
        or place.startswith(f"{jurisdiction}-")
        for place in places
    )


def _months_after(day: date, months: int) -> date:
    """The same day of a later month, or its last, where it has no such day."""
    years, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + years, month + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def _require_zone(name: str, zone: str) -> None:
    try:
        ZoneInfo(zone)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{name} counts in the time zone {zone!r}, which this host does not know; "
            "mend its name, or install the system's time zones (the package tzdata)"
        ) from error
