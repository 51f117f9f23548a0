"""Links under a flood, in this process: of reads, of forged ones, of one address."""

import base64
import os
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from heed_server.links import PATH
from heed_server.page_links import PATH as PAGE_PATH
from heed_server.web.limits import LinkLimits, PageLimits
from tests.support.servers import Running, running_server
from tests.support.web import app_of, ask, choose, link_for, page_for

FORGED = int(os.environ.get("HEED_TEST_FORGED_LINKS", "50_000"))
"""`make soak` tries a million."""
READS = 100_000
PAGE_READS = int(os.environ.get("HEED_TEST_PAGE_READS", "2_000"))
"""`make soak` reads a hundred thousand."""


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path) as server:
        yield server


@pytest.mark.slow
async def test_100_000_reads_of_links_change_nothing(running: Running) -> None:
    """By GET and HEAD, as scanners and prefetchers do, with what they send along."""
    app = app_of(running.service, LinkLimits(invalid_links_per_second_max=1e6))
    paths = [await link_for(running), await link_for(running, topic=""), PATH + "v1.0", "/"]
    sent = [{}, {"purpose": "prefetch"}, {"sec-purpose": "prefetch;prerender"}, {"cookie": "a=b"}]
    codes: set[int] = set()

    for at in range(READS):
        answer = await ask(
            app, ("GET", "HEAD")[at // 4 % 2], paths[at % 4], headers=sent[at // 8 % 4]
        )
        codes.add(answer.code)

    assert codes == {200, 404}
    assert await running.head() == 0


@pytest.mark.slow
async def test_thousands_of_reads_of_a_page_change_nothing(running: Running) -> None:
    app = app_of(running.service, page_limits=PageLimits(reads_per_second_max=1e6))
    path = await page_for(running)
    paths = [path, f"{path}?start=email/news", f"{path}?receipt=1", f"{path}?lang=de"]
    sent = [{}, {"purpose": "prefetch"}, {"sec-gpc": "1"}]
    codes: set[int] = set()

    for at in range(PAGE_READS):
        method = ("GET", "HEAD")[at // 4 % 2]
        answer = await ask(app, method, paths[at % 4], headers=sent[at // 8 % 3])
        codes.add(answer.code)

    assert codes == {200, 404}
    assert await running.head() == 0


async def test_a_page_has_a_rate_for_reading_and_none_for_choosing(running: Running) -> None:
    app = app_of(running.service, page_limits=PageLimits(reads_per_second_max=0.05))  # 3 at once
    path = await page_for(running)

    reads = [await ask(app, "GET", path) for _ in range(4)]
    chosen = [await choose(app, path, act="stop", scope="any/") for _ in range(20)]
    others = await ask(app, "GET", await page_for(running, "bob@example.com"))

    assert [answer.code for answer in reads] == [200, 200, 200, 429]
    assert int(reads[-1].headers["retry-after"]) >= 1
    assert {answer.code for answer in chosen} == {200}
    assert others.code == 200


async def test_of_many_forged_page_links_none_is_accepted(running: Running) -> None:
    path = await page_for(running)
    opened = sum(
        running.service.open_page(token) is not None
        for token in forged(path.removeprefix(PAGE_PATH), FORGED // 5, random.Random(46))
    )

    assert opened == 0
    assert running.service.open_page(path.removeprefix(PAGE_PATH)) is not None


async def test_addresses_of_ipv4_have_a_rate_each_also_where_they_come_by_ipv6(
    running: Running,
) -> None:
    app = app_of(running.service, LinkLimits(invalid_links_per_second_max=1 / 60))

    codes = [
        (await ask(app, "GET", PATH + "v1.0", client=f"::ffff:192.0.2.{at}")).code
        for at in (1, 2, 3, 3)
    ]

    assert codes == [404, 404, 404, 429]


async def test_of_many_forged_links_none_is_accepted(running: Running) -> None:
    path = await link_for(running)
    opened = sum(
        running.service.open_link(token) is not None
        for token in forged(path.removeprefix(PATH), FORGED, random.Random(8058))
    )

    assert opened == 0
    assert running.service.open_link(path.removeprefix(PATH)) is not None


def forged(token: str, count: int, chance: random.Random) -> Iterator[str]:
    """Tokens that a forger would try: bits turned, ends cut, other keys, and plain chance."""
    version, key_id, text = token.split(".")
    sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    for at in range(count):
        raw, key = bytearray(sealed), key_id
        if at % 4 == 0:
            raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        elif at % 4 == 1:
            raw = bytearray(chance.randbytes(len(raw)))
        elif at % 4 == 2:
            raw = raw[: chance.randrange(18, len(raw))]
        else:
            key = f"{chance.getrandbits(32):08x}"
        body = base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")
        yield f"{version}.{key}.{body}"


async def test_invalid_links_have_a_rate_by_address_and_valid_ones_have_none(
    running: Running,
) -> None:
    app = app_of(running.service, LinkLimits(invalid_links_per_second_max=0.05))  # 3 at once
    path = await link_for(running)

    codes = [(await ask(app, "GET", PATH + "v1.0", client="2001:db8::1")).code for _ in range(4)]
    of_the_network = await ask(app, "POST", PATH + "v1.0", client="2001:db8::2")
    valid = [await ask(app, "GET", path, client="2001:db8::1") for _ in range(50)]
    others = await ask(app, "GET", PATH + "v1.0", client="192.0.2.7")

    assert codes == [404, 404, 404, 429]
    assert of_the_network.code == 429
    assert int(of_the_network.headers["retry-after"]) >= 1
    assert {answer.code for answer in valid} == {200}
    assert others.code == 404


async def test_on_every_interface_each_ipv4_address_has_a_rate_of_its_own(
    running: Running,
) -> None:
    """There the system names them as IPv6 addresses, all of one /64."""
    app = app_of(running.service, LinkLimits(invalid_links_per_second_max=1 / 60))
    path = PATH + "v1.0"

    first = await ask(app, "GET", path, client="::ffff:192.0.2.1")
    again = await ask(app, "GET", path, client="::ffff:192.0.2.1")
    other = await ask(app, "GET", path, client="::ffff:192.0.2.2")

    assert [first.code, again.code, other.code] == [404, 429, 404]


async def test_behind_a_proxy_the_rate_is_of_whom_the_proxy_names_last(running: Running) -> None:
    app = app_of(
        running.service, LinkLimits(invalid_links_per_second_max=1 / 60), behind_proxy=True
    )

    async def tries(forwarded: str) -> int:
        sent = {"x-forwarded-for": forwarded}
        return (await ask(app, "GET", PATH + "v1.0", headers=sent)).code

    assert await tries("198.51.100.1") == 404
    assert await tries("203.0.113.9, 198.51.100.1") == 429
    assert await tries("198.51.100.1, 198.51.100.2") == 404
