"""Whether a body is the one that presses a link: `List-Unsubscribe=One-Click`, and nothing else.

Pure. Source: RFC 8058, sections 3.1 and 3.2: as application/x-www-form-urlencoded, or as
multipart/form-data with that one field.
"""

from email.message import Message
from email.parser import BytesParser
from typing import Final

FIELD: Final = "List-Unsubscribe"
VALUE: Final = "One-Click"

_BODY: Final = f"{FIELD}={VALUE}".encode()
_URLENCODED: Final = "application/x-www-form-urlencoded"
_MULTIPART: Final = "multipart/form-data"


def is_press(content_type: str, body: bytes) -> bool:
    """Whether a POST of this type and body presses a link."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == _URLENCODED:
        return body == _BODY
    return kind == _MULTIPART and _is_one_field(content_type, body)


def _is_one_field(content_type: str, body: bytes) -> bool:
    if "\r" in content_type or "\n" in content_type:
        return False
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", "replace")
    form = BytesParser().parsebytes(head + body)
    parts = form.get_payload()
    if form.defects or not isinstance(parts, list) or len(parts) != 1:
        return False
    (part,) = parts
    if not isinstance(part, Message) or part.is_multipart() or part.defects:
        return False
    name = part.get_param("name", header="content-disposition")
    return (
        part.get_content_disposition() == "form-data"
        and name == FIELD
        and part.get_filename() is None
        and part.get_payload() == VALUE
    )
