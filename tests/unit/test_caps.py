"""The hour that a cap is of."""

import pytest

from heed.errors import ConflictError
from heed.judge import Ledger, judge
from heed.model import Instant, Revision, TenantId
from heed_server.storage.caps import CapUse, Used, minute_of, spend
from heed_server.writes import Cap, Spender, Write
from tests.support.stores import imports, protection

MINUTE = 60_000_000
NOW = Instant(1_800_000_000_000_000)
USE = CapUse("importer", Cap.BULK)
ACT = imports(protection("a"), protection("b"))
WRITE = Write(
    tenant_id=TenantId(1),
    idempotency_key="k",
    payload_hash=b"",
    act=ACT,
    encode_answer=lambda _: b"",
    spender=Spender(principal="importer", most={Cap.BULK: 5}),
)


def taken(used: Used, now: int = NOW) -> dict[CapUse, int]:
    ruling = judge(ACT, Ledger(), after=Revision(0), commit_time=Instant(now))
    return spend(WRITE, ruling, used, Instant(now))


def test_what_was_used_counts_for_sixty_minutes_and_no_longer() -> None:
    used: Used = {USE: {minute_of(NOW): 4}}

    with pytest.raises(ConflictError):
        taken(used, NOW + 59 * MINUTE)

    assert taken(used, NOW + 60 * MINUTE) == {USE: 2}


def test_all_minutes_of_the_hour_count_together() -> None:
    minute = minute_of(NOW)
    used: Used = {USE: {minute - at: 1 for at in range(3)}}

    assert taken(used) == {USE: 2}
    used[USE][minute - 30] = 1
    with pytest.raises(ConflictError):
        taken(used)


def test_a_clock_that_went_back_gives_no_more() -> None:
    used: Used = {USE: {minute_of(NOW): 4}}

    with pytest.raises(ConflictError):
        taken(used, NOW - 10 * MINUTE)
