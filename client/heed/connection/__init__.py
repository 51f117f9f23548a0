"""How the library reaches a server: where it is, which calls there are, and what failures mean.

- `target`: an address, its TLS and credential, as what gRPC opens.
- `methods`: every call of the contract, with its deadline and its retries.
- `options`: the settings of a channel, the retries of `methods` among them.
- `failures`: what gRPC raises, as heed's errors.
- `calls`: what a client needs of a connection; `aio` and `blocking` are the two that there are.
- `asking`: the checks of a stream; `aio_conversation` and `blocking_conversation` carry them.
"""
