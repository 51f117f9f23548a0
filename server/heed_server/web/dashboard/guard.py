"""What is asked of a request before anything is read of it: where it comes from, and what it sends.

Laws:
- A form is taken only from a page of this server's: the browser's own word for it (`Origin`) has to
  be there, and be this. Nor has a page of elsewhere a file made, which is noted as its reader's.
- An open server is entered only by a name of its own host, so that no page from elsewhere reaches
  it by a name of its own that leads here (DNS rebinding).
"""

from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from heed_server.web.dashboard.limits import FORM_BYTES_MAX
from heed_server.web.strangers import body_of

_OWN_SITES: Final = {"same-origin", "none"}
_OWN_NAMES: Final = {"localhost", "127.0.0.1", "::1"}
_FIELDS_MAX: Final = 20


def is_from_own_page(request: Request, *, is_secure: bool) -> bool:
    """Whether a form was sent by a page of this server. `is_secure`: it is reached by https."""
    origin = request.headers.get("origin", "")
    scheme = "https" if is_secure else "http"
    return origin.lower() == f"{scheme}://{request.headers.get('host', '')}".lower()


def is_asked_by_reader(request: Request) -> bool:
    """Whether a page of this server, or the reader by hand, asks, as far as the browser says.

    A cookie goes with what any page of the same site asks for: another port, another name beside.
    Source: Fetch Metadata Request Headers (W3C), `Sec-Fetch-Site`.
    """
    return request.headers.get("sec-fetch-site", "none").lower() in _OWN_SITES


def is_by_own_name(request: Request) -> bool:
    """Whether the request names this host itself."""
    try:
        name = urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:
        return False
    return name in _OWN_NAMES


async def form_of(request: Request) -> dict[str, str] | None:
    """Return the fields of a form, of several of one name the first; None: it is too large.

    What is not a form is one without fields.
    """
    body = await body_of(request, FORM_BYTES_MAX)
    if body is None:
        return None
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return {}
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError:
        return {}
    return dict(reversed(pairs))
