"""A sender with a cache, as a program of its own: it runs by whatever release PYTHONPATH names.

It says a line once it is live, and then one for each line that it reads: whether a message may be
sent to that address, and who said so.
"""

import sys

import heed


def main(address: str, folder: str) -> None:
    """Answer until the input ends."""
    with heed.SyncClient(address, cache=folder, subscriber="earlier") as client:
        client.wait_live()
        print("live", flush=True)
        for line in sys.stdin:
            answer = client.check(email=line.strip(), channel="email")
            print(answer.allowed, answer.source.value, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
