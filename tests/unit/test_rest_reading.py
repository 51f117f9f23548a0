"""A body of REST is exactly what is asked for: a member that is there twice is no body."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.errors import ErrorReason, InvalidArgumentError
from heed_server.web.rest.asked import Check, CheckBatch
from heed_server.web.rest.reading import read

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=6)
QUERIES = st.fixed_dictionaries(
    {"subjects": st.lists(st.fixed_dictionaries({"user": TEXTS}), min_size=1, max_size=2)},
    optional={"campaign": TEXTS, "topic": st.sampled_from(["", "news"]), "reference": TEXTS},
)
CALLS = st.fixed_dictionaries(
    {"queries": st.lists(QUERIES.map(lambda it: {"channel": "email", **it}), max_size=3)},
    optional={"token": TEXTS, "tenant": TEXTS},
)


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ('{"channel": "email", "channel": "sms", "subjects": [{"user": "u"}]}', "/channel"),
        ('{"channel": "email", "channel" : "email", "subjects": [{"user": "u"}]}', "/channel"),
        ('{"channel": "email", "ch\\u0061nnel": "sms", "subjects": [{"user": "u"}]}', "/channel"),
        ('{"channel": "email", "subjects": [{"user": "u", "user": "v"}]}', "/subjects/0/user"),
        ('{"channel": "email", "subjects": [{"user": "\\":", "user": ""}]}', "/subjects/0/user"),
        (
            '{"channel": "email", "channel": "sms", "subjects": [{"user": "\\u0022\\u0022\\u0022\\u0022"}]}',
            "/channel",
        ),
        ('{"channel": "email", "topic": "", "topic": "", "subjects": [{"user": "u"}]}', "/topic"),
    ],
)
def test_a_member_that_is_there_twice_is_refused_by_its_place(body: str, at: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        read(Check, body.encode())

    assert refused.value.reason is ErrorReason.INVALID_FIELD
    assert [one.field for one in refused.value.violations] == [at]


@given(CALLS, st.integers(0, 2**32), st.booleans(), st.booleans())
def test_whatever_member_is_there_twice_and_however_it_is_written(
    call: dict[str, object], seed: int, ascii_alone: bool, spaced: bool
) -> None:
    """The control is in it: once, the same is read."""
    text = json.dumps(call, ensure_ascii=ascii_alone, separators=(", ", " : ") if spaced else None)
    read(CheckBatch, text.encode())
    objects: list[dict[str, object]] = [call]
    for query in call["queries"]:  # type: ignore[attr-defined]  # a list, as CALLS has it
        objects += [query, *query["subjects"]]
    chosen = random.Random(seed)
    name = chosen.choice(list(chosen.choice(objects)))
    member = f'"{name}"{" : " if spaced else ": "}'
    value, _ = json.JSONDecoder().raw_decode(text, text.index(member) + len(member))
    again = member + json.dumps(value) + ", "
    twice = text.replace(member, again + member, 1)

    with pytest.raises(InvalidArgumentError, match="is there twice"):
        read(CheckBatch, twice.encode())
