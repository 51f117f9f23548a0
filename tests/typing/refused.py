"""What type checkers refuse. Each ignore is used: the checkers complain of one that is not."""

import heed


def truth(answer: heed.CheckAnswer) -> bool:
    """An answer has no truth of its own."""
    return not answer  # pyright: ignore[reportGeneralTypeIssues]


async def arguments(client: heed.Client) -> None:
    """Mistakes that would ask about nothing, or by nobody."""
    await client.check(email="ada@example.com")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await client.check("ada@example.com", channel="email")  # type: ignore[misc]  # pyright: ignore[reportCallIssue]
    await client.opt_out(email="ada@example.com")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    heed.OptIn(channel="email", topic="news")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def spelling(client: heed.Client) -> bool:
    """A field that an answer does not have."""
    answer = await client.check(user="u", channel="sms")
    return bool(answer.allow)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
