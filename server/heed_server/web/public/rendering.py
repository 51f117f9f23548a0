"""Pages, as what they say becomes HTML.

Laws:
- A page has no script and loads nothing. Whatever it shows is escaped.
- A form goes to the very address that the page came from.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from heed.topics import TopicTable
from heed_server.web.public.languages import ACCEPTED_CHARACTERS_MAX, Texts, preferred
from heed_server.web.public.looks import Look
from heed_server.web.public.words import Words

LANGUAGE: Final = "lang"
"""The parameter of an address by which somebody chose a language."""

PAGES_KEPT_MAX: Final = 512
"""So many pages that name nobody are kept as they were rendered, some 6 KiB each: of links, by
scope and language, and of what went wrong. Higher: more memory. Lower: a flood costs more."""

_HTML: Final = "text/html; charset=utf-8"
_PAGES: Final = Environment(
    loader=PackageLoader("heed_server.web.public"),
    autoescape=True,
    undefined=StrictUndefined,
    auto_reload=False,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Face:
    """How one request is answered: in whose look, and in which language."""

    def __init__(self, look: Look, request: Request) -> None:
        self.look = look
        asked = request.query_params.get(LANGUAGE, "")
        is_chosen = asked in look.languages
        tag = (
            asked
            if is_chosen
            else preferred(
                request.headers.get("accept-language", "")[:ACCEPTED_CHARACTERS_MAX], look.tags
            )
        )
        self.texts = look.languages[tag]
        self.action = f"?{LANGUAGE}={tag}" if is_chosen else ""
        """Where forms go: the same page in the same language. Empty: the same address."""

    def words(self, topics: TopicTable | None = None) -> Words:
        """Return the words to say things in."""
        return Words(self.look, self.texts, topics)

    def page(
        self,
        template: str,
        *,
        title: str,
        code: int = 200,
        headers: Mapping[str, str] | None = None,
        **values: object,
    ) -> Response:
        """Return a page as an answer."""
        said = (template, self.look, self.texts, self.action, title)
        return self._answer(_rendered(*said, values), code, headers)

    def plain_page(
        self,
        template: str,
        *,
        title: str,
        code: int = 200,
        headers: Mapping[str, str] | None = None,
        **values: str,
    ) -> Response:
        """Return a page that many are answered with, which is remembered."""
        said = (template, self.look, self.texts, self.action, title)
        return self._answer(_remembered(*said, tuple(values.items())), code, headers)

    def _answer(self, content: str, code: int, headers: Mapping[str, str] | None) -> Response:
        return Response(
            content,
            code,
            {**self.look.headers, "Content-Language": self.texts.tag, **(headers or {})},
            _HTML,
        )

    def problem(
        self,
        what: str,
        code: int,
        *,
        title: str = "refused",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Return a page that says what did not happen, and what to do: `problem.…` of the texts."""
        return self.plain_page(
            "message.html",
            title=self.texts(f"problem.{title}_title"),
            text=self.texts(f"problem.{what}"),
            code=code,
            headers=headers,
        )

    def file(self, name: str, text: str) -> Response:
        """Return a text to be kept as a file."""
        kept = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(text, 200, {**self.look.headers, **kept}, "text/plain; charset=utf-8")

    def empty(self, code: int, headers: Mapping[str, str]) -> Response:
        """Return an answer without a page."""
        return Response(None, code, {**self.look.headers, **headers})


def _rendered(
    template: str,
    look: Look,
    texts: Texts,
    action: str,
    title: str,
    values: Mapping[str, object],
) -> str:
    others = [one for one in look.languages.values() if one is not texts]
    return _PAGES.get_template(template).render(
        title=title, look=look, t=texts, languages=others, action=action, **values
    )


@lru_cache(maxsize=PAGES_KEPT_MAX)
def _remembered(
    template: str,
    look: Look,
    texts: Texts,
    action: str,
    title: str,
    values: tuple[tuple[str, str], ...],
) -> str:
    return _rendered(template, look, texts, action, title, dict(values))
