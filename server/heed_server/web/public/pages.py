"""The pages of the public edge, and the headers of every answer.

Laws:
- A page has no script, loads nothing, and names nobody: who holds a link is not told whose it is.
- Whatever a page shows is escaped.
- Every answer says that it is not to be kept, shown in a frame, or told of as a referrer.
"""

import base64
import hashlib
from typing import Final

from jinja2 import Environment

from heed.model import TOPIC_ROOT, Channel, Scope
from heed.names import word_of
from heed_server.web.public.one_click import FIELD, VALUE

_STYLE: Final = """
:root { color-scheme: light dark; }
body { margin: 3rem auto; max-width: 34rem; padding: 0 1rem;
  font: 1.125rem/1.5 system-ui, sans-serif; }
button { font: inherit; padding: .75rem 1.5rem; }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}
"""Of every answer."""
METHODS: Final = "GET, HEAD, POST, OPTIONS"
"""What a link answers to."""

_LAYOUT: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>{{ style | safe }}</style>
</head>
<body>
<main>
<h1>{{ title }}</h1>
<p>{{ text }}</p>
{%- if button %}
<form method="post">
<input type="hidden" name="{{ field }}" value="{{ value }}">
<button type="submit">{{ button }}</button>
</form>
{%- endif %}
</main>
</body>
</html>
"""
_TEMPLATE: Final = Environment(autoescape=True).from_string(_LAYOUT)


def asking(scope: Scope) -> bytes:
    """Return the page that a link shows, with its one button."""
    text = f"Press the button to get no more {_what(scope)}."
    return _page("Unsubscribe", text, button="Unsubscribe")


def done(scope: Scope) -> bytes:
    """Return the page that a press is answered with, the same for the first and every later one."""
    return _page("Unsubscribed", f"You will get no more {_what(scope)}.")


def invalid() -> bytes:
    """Return the page of what is no link: the text may have been cut on its way."""
    return _page(
        "This link does not work",
        "Nothing was changed. It may have been cut: copy all of it, or use the link of another "
        "message.",
    )


def too_many() -> bytes:
    """Return the page for an address that tried too many of them."""
    return _page("Too many links that do not work", "Nothing was changed. Try again in a minute.")


def not_done() -> bytes:
    """Return the page of a press that is not known to be committed."""
    return _page(
        "Not unsubscribed yet",
        "We could not record it just now. Please press once more in a while.",
    )


def refused(what: str) -> bytes:
    """Return the page of a request that is none of those above."""
    return _page("This cannot be done here", what)


def _page(title: str, text: str, *, button: str = "") -> bytes:
    return _TEMPLATE.render(
        title=title, text=text, button=button, style=_STYLE, field=FIELD, value=VALUE
    ).encode()


def _what(scope: Scope) -> str:
    if scope.channel is Channel.ANY:
        messages = "messages"
    elif scope.channel is Channel.PROCESSING:
        messages = "of your data processed for purposes other than messages"
    else:
        messages = f"messages by {word_of(scope.channel).replace('_', '-')}"
    return messages if scope.topic == TOPIC_ROOT else f"{messages} about {scope.topic}"
