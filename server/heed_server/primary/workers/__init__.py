"""Several processes that serve one address: a supervisor, the owner of the log, and workers.

The supervisor (`supervisor`) starts the others and keeps them running. The owner (`owner`) is the
whole server of `heed_server.primary.node`, listening on a unix socket alone. Each worker (`worker`)
answers Checks from the owner's indexes and hands everything else on to the owner. ADR 0021 says
why.
"""
