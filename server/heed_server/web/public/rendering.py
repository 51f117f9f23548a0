"""Pages, as what they say becomes HTML.

Laws:
- A page has no script and loads nothing. Whatever it shows is escaped.
- A form goes to the very address that the page came from.
"""

from collections.abc import Mapping
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from heed.topics import TopicTable
from heed_server.web.public.languages import preferred
from heed_server.web.public.looks import Look
from heed_server.web.public.words import Words

LANGUAGE: Final = "lang"
"""The parameter of an address by which somebody chose a language."""

_HTML: Final = "text/html; charset=utf-8"
_PAGES: Final = Environment(
    loader=PackageLoader("heed_server.web.public"),
    autoescape=True,
    undefined=StrictUndefined,
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
            else preferred(request.headers.get("accept-language", ""), look.languages)
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
        others = [one for tag, one in self.look.languages.items() if tag != self.texts.tag]
        content = _PAGES.get_template(template).render(
            title=title,
            look=self.look,
            t=self.texts,
            languages=others,
            action=self.action,
            **values,
        )
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
        return self.page(
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
