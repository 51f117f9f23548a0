"""The settings as the bounds that the parts of heed declare."""

import dataclasses
from typing import TypeVar

from pydantic import BaseModel

from heed_server.config import Config
from heed_server.rates import RateLimits
from heed_server.service import MaxStaleness
from heed_server.service.admission import Admission, CallLimits
from heed_server.service.caps import CapLimits, Caps

L = TypeVar("L")


def limits_of(kind: type[L], section: BaseModel) -> L:
    """Return the limits that a part of heed declares, as a section of the settings has them."""
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]  # a dataclass
    return kind(**{name: value for name, value in section if name in names})


def admission_of(config: Config) -> Admission:
    """Return what decides which calls one process takes on."""
    return Admission(limits_of(CallLimits, config.limits), limits_of(RateLimits, config.rates))


def caps_of(config: Config) -> Caps:
    """Return what a principal may do in an hour."""
    return Caps(limits_of(CapLimits, config.caps))


def max_staleness_of(config: Config) -> MaxStaleness:
    """Return how old what is known may be, by the class of message."""
    return MaxStaleness(
        promotional=config.staleness.promotional_seconds,
        transactional=config.staleness.transactional_seconds,
        mandatory=config.staleness.mandatory_seconds,
    )
