"""GitHub's own OpenAPI document, held against every request that the stand-in gets and every answer that it gives."""

import importlib
import json
import re
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jsonschema_rs

from permalog_server.standin.running import Exchange

DOCUMENT = Path(__file__).parents[2] / "shared" / "data" / "github-openapi-dependabot.json"
# What GitHub answers on every operation, and its document leaves out. 301 and 307: a renamed repository.
EVERYWHERE = {301, 307, 401, 429, *range(500, 600)}
# Its own links name a repository by its number, which the document leaves out as well.
BY_NUMBER = re.compile(r"^/repositories/\d+(/dependabot/.*)$")
# The one operation that the document, cut to seven, does not have: githubkit's model is made from the whole one.
INSTALLATION = re.compile(r"^/app/installations/\d+$")


class Broken(AssertionError):
    """A request or an answer is not what GitHub's document says."""


def schema_of(node: Any) -> Any:
    """OpenAPI 3.0's dialect as plain JSON Schema: `nullable` is a type of its own there."""
    if isinstance(node, list):
        return [schema_of(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {name: schema_of(value) for name, value in node.items() if name not in {"example", "examples", "nullable"}}
    # A member may be called "nullable"; only the keyword's value is a truth.
    if node.get("nullable") is True:
        made["type"] = [made["type"], "null"]
        if "enum" in made:
            made["enum"] = [*made["enum"], None]
    return made


class GitHubDocument:
    """The operations, and what is valid in them."""

    def __init__(self) -> None:
        self.text: dict[str, Any] = json.loads(DOCUMENT.read_text())
        self._schemas = schema_of(self.text["components"]["schemas"])

    @cache  # noqa: B019  one document lives as long as the tests
    def validator(self, *place: str) -> Any:
        """For the schema at a place of the document."""
        node: Any = self.text
        for name in place:
            node = node[name]
        schema = {**schema_of(node), "components": {"schemas": self._schemas}}
        return jsonschema_rs.Draft4Validator(schema, validate_formats=True)

    def valid(self, what: str, value: Any, *place: str) -> None:
        for error in self.validator(*place).iter_errors(value):
            raise Broken(f"{what}: {'.'.join(map(str, error.instance_path))}: {error.message[:300]}")

    @cached_property
    def _paths(self) -> list[tuple[re.Pattern[str], str]]:
        return [(re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)), path) for path in self.text["paths"]]

    def operation(self, method: str, path: str) -> tuple[tuple[str, ...], dict[str, str]] | None:
        """Where an operation stands, and the parameters in the path."""
        path = BY_NUMBER.sub(r"/repos/owner/repo\1", path)
        for pattern, template in self._paths:
            match = pattern.fullmatch(path)
            if match and method.lower() in self.text["paths"][template]:
                return ("paths", template, method.lower()), match.groupdict()
        return None

    def check(self, exchange: Exchange) -> None:
        """Raises Broken where the exchange is not one that GitHub would have."""
        asked = exchange.asked
        what = f"{asked.method} {asked.path}"
        found = self.operation(asked.method, asked.path)
        if found is None:
            self._check_unknown(what, exchange)
            return
        place, in_path = found
        operation = self._at(place)
        if exchange.status not in {400, 422}:
            self._check_request(what, exchange, place, operation, in_path)
        self._check_answer(what, exchange, place, operation)

    def _check_unknown(self, what: str, exchange: Exchange) -> None:
        body = json.loads(exchange.body) if exchange.body else None
        if INSTALLATION.match(exchange.asked.path) and exchange.status == 200:
            described_installation(body)
        elif exchange.status != 304:
            if exchange.status not in EVERYWHERE | {403, 404, 422}:
                raise Broken(f"{what}: {exchange.status} from an operation that is not there")
            self.valid(what, body, "components", "schemas", "basic-error")

    def _check_request(
        self, what: str, exchange: Exchange, place: tuple[str, ...], operation: Any, in_path: Mapping[str, str]
    ) -> None:
        given = {("query", name): value for name, value in parse_qsl(exchange.asked.query)}
        given |= {("path", name): value for name, value in in_path.items()}
        for position, parameter in enumerate(operation.get("parameters", [])):
            where = self._resolved((*place, "parameters", str(position)), parameter)
            described = self._at(where)
            value = given.pop((described["in"], described["name"]), None)
            if value is None:
                if described.get("required"):
                    raise Broken(f"{what}: {described['name']} is missing")
                continue
            schema = self._at(self._resolved((*where, "schema"), described["schema"]))
            typed = int(value) if schema.get("type") == "integer" else value
            self.valid(f"{what}: {described['name']}", typed, *where, "schema")
        if given:
            raise Broken(f"{what}: parameters that GitHub does not know: {sorted(given)}")
        if "requestBody" in operation and (exchange.asked.body or operation["requestBody"]["required"]):
            media = (*place, "requestBody", "content", "application/json", "schema")
            self.valid(f"{what}: request", json.loads(exchange.asked.body), *media)
        elif exchange.asked.body:
            raise Broken(f"{what}: a body, where there is none")

    def _check_answer(self, what: str, exchange: Exchange, place: tuple[str, ...], operation: Any) -> None:
        what = f"{what}: {exchange.status}"
        described = operation["responses"].get(str(exchange.status))
        if described is None:
            if exchange.status not in EVERYWHERE:
                raise Broken(f"{what} is not one of its answers")
            self.valid(what, json.loads(exchange.body), "components", "schemas", "basic-error")
            return
        where = self._resolved((*place, "responses", str(exchange.status)), described)
        content = self._at(where).get("content")
        if content is None:
            if exchange.body:
                raise Broken(f"{what}: a body, where there is none")
            return
        self.valid(what, json.loads(exchange.body), *where, "content", "application/json", "schema")

    def _resolved(self, place: tuple[str, ...], node: Any) -> tuple[str, ...]:
        return tuple(node["$ref"].removeprefix("#/").split("/")) if "$ref" in node else place

    def _at(self, place: tuple[str, ...]) -> Any:
        node: Any = self.text
        for name in place:
            node = node[int(name)] if isinstance(node, list) else node[name]
        return node


def described_installation(body: Any) -> None:
    """Raises Broken where this is not an installation as githubkit, made from GitHub's whole document, knows it."""
    # Imported here: it takes a while, and few tests need it.
    models: Any = importlib.import_module("githubkit_schemas.latest.models")
    try:
        models.Installation.model_validate(body)
    except ValueError as error:
        raise Broken(f"an installation: {error}") from None


@cache
def document() -> GitHubDocument | None:
    """Read once; None where ../shared/data is missing."""
    return GitHubDocument() if DOCUMENT.exists() else None
