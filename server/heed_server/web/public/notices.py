"""What somebody is shown before they opt in, and what names all of it.

Pure.
"""

import hashlib
from dataclasses import astuple, dataclass

from heed.model import Channel, Scope
from heed_server.service.personal import PersonalStanding
from heed_server.web.public.rendering import Face
from heed_server.web.public.view import description_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """All the words of the page, in their order."""

    title: str
    text: str
    description: str
    signal: str
    """That this goes before the signal that their browser sends; empty: it sends none, or this has
    nothing to do with it."""
    withdraw: str
    statement: str
    """The words beside the box."""
    button: str

    @property
    def version(self) -> str:
        """Return the SHA-256 of all of them, each on a line of its own, in hexadecimal."""
        return hashlib.sha256("\n".join(astuple(self)).encode()).hexdigest()


def notice_of(face: Face, standing: PersonalStanding, scope: Scope, *, signalled: bool) -> Notice:
    """Return what is shown before somebody opts in at a scope.

    `signalled`: their browser sends the signal of Global Privacy Control.
    """
    texts, words = face.texts, face.words(standing.topics)
    what = words.what(scope)
    is_processing = scope.channel is Channel.PROCESSING
    return Notice(
        title=texts("consent.title"),
        text=texts("consent.text_processing" if is_processing else "consent.text", what=what),
        description=description_of(scope.topic, face.look, texts.tag),
        signal=texts("signal.against") if signalled and is_processing else "",
        withdraw=texts("consent.withdraw"),
        statement=texts(
            "consent.statement_processing" if is_processing else "consent.statement", what=what
        ),
        button=texts("consent.button"),
    )
