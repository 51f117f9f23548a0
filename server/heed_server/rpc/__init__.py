"""The gRPC edge: bytes in, bytes out, and every error as a status that names its reason."""

from heed_server.rpc.calls import Observe
from heed_server.rpc.check_streams import CheckStreamLimits, CheckStreams
from heed_server.rpc.health import Health, health_of
from heed_server.rpc.server import RpcLimits, build_server

__all__ = [
    "CheckStreamLimits",
    "CheckStreams",
    "Health",
    "Observe",
    "RpcLimits",
    "build_server",
    "health_of",
]
