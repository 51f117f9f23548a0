"""The asynchronous client.

`heed.sync_client` is generated from this package (`scripts/generate_sync_client.py`): the same
methods over synchronous stubs, never a second implementation.
"""

from heed.client.check_stream import CheckStream
from heed.client.client import Client

__all__ = ["CheckStream", "Client"]
