"""The commands of `heed-server`."""

import os

# gRPC's core, which reads this when it is imported, writes lines of its own to stderr, such as one
# for each handshake that failed; the log is JSON.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
