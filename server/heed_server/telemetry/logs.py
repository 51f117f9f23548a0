"""Structured logs: an event's name and its fields, one line each, on standard error.

Laws:
- No line holds an address of a person. Nothing logs one; and since libraries put values into the
  texts of their errors, whatever looks like an email address or a phone number is taken out of
  every line before it is written, tracebacks included. What looks like one in the URL of a server
  is its user or password and its host: the password is hidden, the rest is not.
- Tracebacks show no local variables.
- What libraries log by the standard library (gRPC, asyncio) goes the same way.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO, cast

import structlog

from heed_server.config.masking import masked_url

LogFormat = Literal["auto", "console", "json"]

REDACTED = "[address]"
"""What stands where an address was."""

LINE_CHARACTERS_MAX = 20_000
"""A longer field of a line is cut: a traceback through C can hold a whole message."""

_OUR_LOGGERS = ("heed", "heed_server")
_EMAIL = re.compile(r"[^\s\"'<>()\[\]{},;:=]{1,128}@[^\s\"'<>()\[\]{},;:@/]{1,255}")
_PHONE = re.compile(r"(?<![\w.])\+[\d][\d .()/-]{5,22}\d")
# A user without a password is one only where a setting may name it: elsewhere it may be a person.
_SERVER = re.compile(
    r"""
    \b(?:
        (?:postgres(?:ql)?(?:\+[a-z0-9]+)?|nats|tls|wss?)://[^\s/?#@:"'<>]{0,128}
        (?::[^\s/?#@"'<>]{0,1024})?
    |
        [a-z][a-z0-9+.-]{0,31}://[^\s/?#@:"'<>]{0,128}:[^\s/?#@"'<>]{0,1024}
    )
    @(?:\[[0-9A-Fa-f:.]{2,45}\]|[^\s/?#@,;:"'<>()\[\]]{1,255})(?::[0-9]{0,5})?
    (?=[\s/?#,;)"'<>]|:?(?:\s|$))  # nothing more that a password might be of
    """,
    re.VERBOSE,
)


def configure_logs(*, log_format: LogFormat, level: str, stream: TextIO | None = None) -> None:
    """Send every log line of this process to `stream` (standard error) in one format.

    `auto` is for people when the stream is a terminal, and JSON elsewhere.
    """
    if stream is None:
        stream = cast("TextIO", sys.stderr)
    is_terminal = stream.isatty()
    is_console = log_format == "console" or (log_format == "auto" and is_terminal)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,  # as text, without locals
            redact,  # after the traceback has become text, before the line does
            _renderer(is_console=is_console, colors=is_terminal),
        ],
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Of libraries only what is wrong is worth a line, unless somebody looks for a fault.
    wanted = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(wanted if wanted == logging.DEBUG else max(wanted, logging.WARNING))
    for ours in _OUR_LOGGERS:
        logging.getLogger(ours).setLevel(wanted)


def redact(
    _logger: object, _method: str, line: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Take out of a line whatever looks like an address (a processor of structlog)."""
    for name, value in line.items():
        line[name] = _redacted(value)
    return line


def redact_text(text: str) -> str:
    """Return the text without whatever looks like an email address or a phone number."""
    text = text[:LINE_CHARACTERS_MAX]
    parts: list[str] = []
    after = 0
    for server in _SERVER.finditer(text):
        parts += (_without_addresses(text[after : server.start()]), _shown(server[0]))
        after = server.end()
    return "".join((*parts, _without_addresses(text[after:])))


def _without_addresses(text: str) -> str:
    return _PHONE.sub(REDACTED, _EMAIL.sub(REDACTED, text))


def _shown(url: str) -> str:
    try:
        return masked_url(url)
    except ValueError:  # it only looked like one
        return REDACTED


def _redacted(value: object) -> object:
    match value:
        case str():
            return redact_text(value)
        case bool() | int() | float() | None:
            return value
        case dict():
            return {_redacted(key): _redacted(part) for key, part in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redacted(part) for part in value]
        case _:
            return redact_text(str(value))


def _renderer(*, is_console: bool, colors: bool) -> structlog.typing.Processor:
    if is_console:
        return structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback
        )
    return structlog.processors.JSONRenderer()
