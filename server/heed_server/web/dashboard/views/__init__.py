"""The views, in the order in which they are shown.

A view is a module here with a `VIEW`, which reads typed tables through the service; that it is
named below is all that its page, its live update, its exports and its tests need.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from heed_server.web.dashboard.view import View
from heed_server.web.dashboard.views import (
    batches,
    checkpoints,
    clock,
    history,
    now,
    propagation,
    topics,
    webhooks,
)

VIEWS: Final = (
    now.VIEW,
    propagation.VIEW,
    clock.VIEW,
    topics.VIEW,
    batches.VIEW,
    webhooks.VIEW,
    history.VIEW,
    checkpoints.VIEW,
)
BY_NAME: Final[Mapping[str, View]] = MappingProxyType({view.name: view for view in VIEWS})
