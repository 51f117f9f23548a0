"""A channel beneath the client's, for commands that speak to a server without its contract."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

import grpc

from heed.cli.options import Session
from heed.connection.failures import Failed, error_from_rpc
from heed.connection.options import channel_options
from heed.connection.target import pem
from heed.errors import ErrorReason, HeedError, UnavailableError


@contextmanager
def opened(session: Session) -> Generator[grpc.Channel]:
    """Open a channel, to be closed at the end."""
    target = session.target()
    options = channel_options(target)
    if target.tls is None:
        channel = grpc.insecure_channel(target.name, options)
    else:
        credentials = grpc.ssl_channel_credentials(
            root_certificates=pem(target.tls.root_certificates),
            private_key=pem(target.tls.private_key),
            certificate_chain=pem(target.tls.certificate_chain),
        )
        channel = grpc.secure_channel(target.name, credentials, options)
    with channel:
        yield channel


def failure_of(error: grpc.RpcError, session: Session) -> HeedError:
    """Return what a failed call says, by heed's reason where it has one."""
    failed = cast("Failed", error)
    told = error_from_rpc(failed)
    if told is not None:
        return told
    return UnavailableError(
        f"{failed.code().name} from {session.address}: {failed.details() or 'no more is said'}",
        reason=ErrorReason.SERVER_UNREACHABLE,
    )
