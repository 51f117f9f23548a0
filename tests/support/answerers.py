"""Whoever answers checks: each must answer alike (`tests/parity`).

An answerer is told where a server is, and gives something that answers questions about a tenant of
it. To add one, write a context manager of that shape and put it into `ANSWERERS`.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import heed
from heed import model
from heed.requests import Query
from tests.support.worlds import Ask

SECONDS_MAX = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Asks = Callable[[str, Sequence[Ask]], list[str]]
"""Ask about people of a tenant; each answer as `plain` shows it."""
Answerer = Callable[[str, Path], AbstractContextManager[Asks]]
"""By a server's address, and a folder that is the answerer's."""


def plain(answer: heed.CheckAnswer) -> str:
    """An answer without who gave it, and when."""
    bare = replace(answer, source=heed.AnswerSource.SERVER, age=None, state=None, now=_EPOCH)
    return repr(bare)


@contextmanager
def by_server(address: str, folder: Path) -> Generator[Asks]:
    """A server, one question a call."""
    assert not folder.exists()
    with heed.SyncClient(address, timeout=SECONDS_MAX) as client:
        yield lambda tenant, asks: [plain(_check(client, ask, tenant)) for ask in asks]


@contextmanager
def by_batch(address: str, folder: Path) -> Generator[Asks]:
    """A server, all questions in one call."""
    assert not folder.exists()
    with heed.SyncClient(address, timeout=SECONDS_MAX) as client:
        yield lambda tenant, asks: [
            plain(answer)
            for answer in client.check_many([ask.asked() for ask in asks], tenant=tenant)
        ]


@contextmanager
def by_stream(address: str, folder: Path) -> Generator[Asks]:
    """A server, over one stream by several threads."""
    assert not folder.exists()
    with heed.SyncClient(address, timeout=SECONDS_MAX) as client, ThreadPoolExecutor(8) as pool:

        def ask(tenant: str, asks: Sequence[Ask]) -> list[str]:
            with client.check_stream(tenant=tenant) as stream:
                return [plain(one) for one in pool.map(lambda one: _check(stream, one), asks)]

        yield ask


@contextmanager
def by_cache(address: str, folder: Path) -> Generator[Asks]:
    """A client with a cache, which follows."""
    with ExitStack() as opened:

        def ask(tenant: str, asks: Sequence[Ask]) -> list[str]:
            client = opened.enter_context(_cached(address, folder, tenant))
            return cached_answers(client, asks)

        yield ask


@contextmanager
def by_shared_cache(address: str, folder: Path) -> Generator[Asks]:
    """Another process, which reads a cache that this one keeps in step."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.answerers", address, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    written, read = process.stdin, process.stdout
    with ExitStack() as opened:

        def ask(tenant: str, asks: Sequence[Ask]) -> list[str]:
            opened.enter_context(_cached(address, folder, tenant)).wait_live()
            written.write(json.dumps([tenant, [_said(one) for one in asks]]) + "\n")
            written.flush()
            line = read.readline()
            assert line, "the reader ended"
            found: list[str] = json.loads(line)
            return found

        yield ask
        written.close()
        assert process.wait(SECONDS_MAX) == 0
        read.close()


@contextmanager
def by_agent(address: str, folder: Path) -> Generator[Asks]:
    """An agent a tenant, in another process, each asked one by one and all at once."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.agent_process", address, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    written, read = process.stdin, process.stdout

    def ask(tenant: str, asks: Sequence[Ask]) -> list[str]:
        written.write(tenant + "\n")
        written.flush()
        agent = read.readline().strip()
        assert agent, "the agents ended"
        with heed.SyncClient(agent, timeout=SECONDS_MAX) as client:
            singly = [plain(_check(client, one)) for one in asks]
            at_once = [plain(one) for one in client.check_many([one.asked() for one in asks])]
            with client.check_stream() as stream:
                streamed = [plain(_check(stream, one)) for one in asks]
        assert at_once == streamed == singly
        return singly

    with process:
        try:
            yield ask
            written.close()
            assert int(read.readline()) == 0, "the upstream was asked"
            assert process.wait(SECONDS_MAX) == 0
        except BaseException:
            process.kill()
            raise


ANSWERERS: dict[str, Answerer] = {
    "server": by_server,
    "server, a batch": by_batch,
    "server, a stream": by_stream,
    "cache": by_cache,
    "shared cache": by_shared_cache,
    "agent": by_agent,
}


def cached_answers(client: heed.SyncClient, asks: Sequence[Ask]) -> list[str]:
    """What a cache says by every way that it has, which must be one answer."""
    client.wait_live()
    found: list[str] = []
    batch = client.check_many([ask.asked() for ask in asks])
    for ask, in_batch in zip(asks, batch, strict=True):
        ways = [in_batch, _check(client, ask), _check(client, ask)]
        assert {answer.source for answer in ways} == {heed.AnswerSource.CACHE}
        (one,) = {plain(answer) for answer in ways}
        found.append(one)
    return found


def main(address: str, folder: str) -> None:
    """Answer lines of questions, as a process that reads what another one keeps."""
    for line in sys.stdin:
        tenant, said = json.loads(line)
        asks = [Ask(emails=tuple(emails), query=_query(*rest)) for emails, *rest in said]
        with _cached(address, Path(folder), tenant) as client:
            found = cached_answers(client, asks)
            assert not client.cache.stats().is_owner
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


def _cached(address: str, folder: Path, tenant: str) -> heed.SyncClient:
    return heed.SyncClient(address, tenant=tenant, cache=folder / tenant, timeout=SECONDS_MAX)


def _check(
    client: "heed.SyncClient | heed.SyncCheckStream", ask: Ask, tenant: str | None = None
) -> heed.CheckAnswer:
    asked: Query = ask.asked()
    return client.check(
        channel=asked.channel,
        topic=asked.topic,
        campaign=asked.campaign,
        email=asked.email,
        tenant=tenant,
    )


def _said(ask: Ask) -> tuple[tuple[str, ...], int, str, str]:
    return ask.emails, int(ask.query.channel), ask.query.topic, ask.query.campaign


def _query(channel: int, topic: str, campaign: str) -> model.Query:
    return model.Query(channel=heed.Channel(channel), topic=topic, campaign=campaign)


if __name__ == "__main__":
    main(*sys.argv[1:])
