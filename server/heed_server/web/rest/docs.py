"""The docs that REST serves: one page made of its OpenAPI, which loads nothing and has no script.

Law: whatever the page shows is escaped, and it shows nothing that the OpenAPI does not say.
"""

import base64
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any, Final

from jinja2 import Environment

from heed_server.web.rest import reasons
from heed_server.web.rest.exchange import JSON
from heed_server.web.rest.openapi import Json, document

PATH: Final = "/v1/docs"
HTML: Final = "text/html; charset=utf-8"

_STYLE: Final = """
:root { color-scheme: light dark; }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }
h2 { margin-top: 3rem; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; font-weight: bold; }
th, td { border-bottom: 1px solid; padding: .25rem .5rem; text-align: left; vertical-align: top; }
pre { border: 1px solid; overflow-x: auto; padding: .5rem; }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}
"""Of the page."""

_ANY: Final = "anything"


@functools.cache
def page() -> bytes:
    """Return the page."""
    described = document()
    schemas: Mapping[str, Json] = described["components"]["schemas"]
    template = resources.files(__package__ or "").joinpath("docs.html").read_text("utf-8")
    return (
        Environment(autoescape=True)
        .from_string(template)
        .render(
            title=described["info"]["title"],
            version=described["info"]["version"],
            introduction=described["info"]["description"].strip().split("\n\n"),
            credential=described["components"]["securitySchemes"]["bearer"]["description"],
            operations=[
                _operation(path, method, said, schemas)
                for path, item in described["paths"].items()
                for method, said in item.items()
            ],
            reasons=[
                {"name": reason.value, "advice": advice}
                for reason, advice in reasons.ADVICE.items()
            ],
            schemas=[
                {"name": name, "does": schema["description"], "members": list(_members(schema))}
                for name, schema in schemas.items()
            ],
            style=_STYLE,
        )
        .encode()
    )


def example_of(schema: Json, schemas: Mapping[str, Json]) -> Any:
    """Return the example of a body: of each member that is required, or needed to say something."""
    if "$ref" in schema:
        return example_of(schemas[_name_of(schema)], schemas)
    if schema.get("examples"):
        return schema["examples"][0]
    match schema.get("type"):
        case "array":
            return [example_of(schema["items"], schemas)]
        case "object":
            members: Mapping[str, Json] = schema["properties"]
            named = schema["required"] or list(members)[:1]
            shown = [name for name in members if name in named or name in _SHOWN]
            return {name: example_of(members[name], schemas) for name in shown}
        case _:
            return schema.get("default", "")


_SHOWN: Final = frozenset({"scopes", "topic", "channel"})
"""Members of examples that are not required, and that nearly every request has."""


def _operation(path: str, method: str, said: Json, schemas: Mapping[str, Json]) -> Json:
    body = said.get("requestBody", {}).get("content", {}).get(JSON, {}).get("schema")
    return {
        "id": said["operationId"],
        "method": method.upper(),
        "path": path,
        "summary": said["summary"],
        "does": said["description"],
        "body": None if body is None else _name_of(body),
        "parameters": [_parameter(one) for one in said.get("parameters", [])],
        "answers": [
            {"status": status, "schema": _schema_of(one), "meaning": one["description"]}
            for status, one in said["responses"].items()
        ],
        "example": _example(path, said, body, schemas),
    }


def _example(path: str, said: Json, body: Json | None, schemas: Mapping[str, Json]) -> str:
    """A command that asks it; words in capitals are for whoever reads it to fill in."""
    lines = ["curl --header 'Authorization: Bearer API_KEY'"]
    query: list[str] = []
    for one in said.get("parameters", []):
        if "example" in one and one["in"] == "header":
            lines.append(f"--header '{one['name']}: {one['example']}'")
        elif "example" in one:
            query.append(f"{one['name']}={one['example']}")
    if body is not None:
        lines.append(f"--header 'Content-Type: {JSON}'")
        lines.append(f"--data '{json.dumps(example_of(body, schemas))}'")
    url = path + ("?" + "&".join(query) if query else "")
    return " \\\n  ".join([*lines, f"'https://HOST{url}'"])


def _parameter(one: Json) -> Json:
    required = " (required)" if one.get("required") else ""
    return {
        "name": one["name"],
        "where": one["in"] + required,
        "type": _type_of(one["schema"]),
        "meaning": one["description"],
    }


def _members(schema: Json) -> Iterator[Json]:
    for name, one in schema["properties"].items():
        of_items = one.get("items")
        inner = one if of_items is None else of_items
        yield {
            "name": name,
            "required": name in schema["required"],
            "list": of_items is not None,
            "schema": _name_of(inner) if "$ref" in inner else None,
            "type": _type_of(inner),
            "meaning": one.get("description", ""),
        }


def _type_of(schema: Json) -> str:
    """What a value is, in words: its type, and the bounds of it."""
    if "enum" in schema:
        return " | ".join(schema["enum"])
    if "items" in schema:
        return f"list of {_type_of(schema['items'])}"
    said = [str(schema.get("type", _ANY))]
    said += [str(schema[name]) for name in ("format",) if name in schema]
    said += [
        f"{word} {schema[name]:,}"
        for name, word in (("minimum", "from"), ("maximum", "to"), ("maxLength", "at most"))
        if name in schema
    ]
    return " ".join(said)


def _schema_of(answer: Json) -> str | None:
    for content in answer.get("content", {}).values():
        if "$ref" in content["schema"]:
            return _name_of(content["schema"])
    return None


def _name_of(schema: Json) -> str:
    return str(schema["$ref"]).rpartition("/")[2]
