"""What many calls have in common, worked out once: span name and kind, attributes, dimensions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, TypeVar

from opentelemetry.trace import SpanKind

from firedoor.records import SCHEMA_VERSION, Decision
from firedoor.telemetry import names
from firedoor.types import RouteKind

__all__ = ["MAX_TEXT", "Common", "Commons", "Dimensions", "cut", "within"]

S = TypeVar("S")

MAX_TEXT = 8192
"""Characters of the longest attribute value. Collectors refuse whole batches over a few MiB."""
_MAX_COMMON = 1024
_MAX_DIMENSIONS = 64

_OPERATIONS = {
    RouteKind.LLM: ("chat", SpanKind.CLIENT),
    RouteKind.RETRIEVAL: ("retrieval", SpanKind.CLIENT),
    RouteKind.TOOL: ("execute_tool", SpanKind.INTERNAL),
}

_identity: Callable[[Decision], tuple[Any, ...]] = attrgetter(
    "kind", "route", "journey", "alias", "model", "provider", "prompt_name", "prompt_revision", "service"
)  # fmt: skip


def cut(text: str) -> str:
    """`text`, or its beginning and its length where it is too long."""
    if len(text) <= MAX_TEXT:
        return text
    mark = f"…[{len(text)}]"
    return text[: MAX_TEXT - len(mark)] + mark


def within(attributes: Mapping[str, Any], held: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """As many of `attributes`, in their order, as fit beside those `held` already."""
    room = limit - len(held)
    kept: dict[str, Any] = {}
    for key, value in attributes.items():
        if key not in held:
            if room <= 0:
                continue
            room -= 1
        kept[key] = value
    return kept


class Common:
    """What calls of one route, journey, model, provider and prompt have in common.

    Attributes:
        operation: The convention's word for what is done.
        name: Of the span.
        kind: Of the span.
        target: What the operation is done on: a model, a data source or a tool.
        start: Attributes a sampler may want to see. Shared between calls: never changed.
        base: Every attribute that is the same for all of these calls; `start` included.
    """

    __slots__ = ("_series", "base", "kind", "name", "operation", "start", "target")

    def __init__(self, record: Decision) -> None:
        kind = record.kind
        operation, self.kind = _OPERATIONS[kind]
        self.operation = operation
        name = record.route.partition(":")[2]
        start: dict[str, Any] = {names.OPERATION: operation}
        target: str | None = name
        if kind is RouteKind.RETRIEVAL:
            start[names.DATA_SOURCE] = name
        elif kind is RouteKind.TOOL:
            start[names.TOOL_NAME] = name
            start[names.TOOL_TYPE] = "function"
        else:
            target = record.model
        self.target = target
        self.name = f"{operation} {cut(target)}" if target else operation
        if record.provider is not None:
            start[names.PROVIDER] = record.provider
        if record.model is not None:
            start[names.REQUEST_MODEL] = record.model
        start[names.ROUTE] = record.route
        if record.journey is not None:
            start[names.JOURNEY] = record.journey
        base = {**start, names.SCHEMA_VERSION_KEY: SCHEMA_VERSION, names.SERVICE: record.service}
        if kind is RouteKind.RETRIEVAL:
            base[names.SPAN_KIND] = "RETRIEVER"
        if record.alias is not None:
            base[names.ALIAS] = record.alias
        if record.prompt_name is not None:
            # One backend takes official prompt keys for the prompt's text and hides them; the
            # mirror is what is seen there.
            base[names.PROMPT_NAME] = base[names.PROMPT_NAME_MIRROR] = record.prompt_name
        if record.prompt_revision is not None:
            base[names.PROMPT_VERSION] = base[names.PROMPT_VERSION_MIRROR] = record.prompt_revision
        self.start = {key: cut(value) for key, value in start.items()}
        self.base = {key: cut(value) for key, value in base.items()}
        self._series: dict[tuple[str | None, str | None], Any] = {}

    def series(self, record: Decision, bind: Callable[[Dimensions], S]) -> S:
        """What `bind` made of the metric dimensions of a call like this one; made once."""
        key = (record.response_model, record.error_type)
        found = self._series.get(key)
        if found is None:
            if len(self._series) >= _MAX_DIMENSIONS:
                # A provider that answers with ever new model names must not grow the metrics.
                key = (None, None if record.error_type is None else "_OTHER")
            found = self._series.get(key) or bind(Dimensions(self, *key))
            found = self._series.setdefault(key, found)
        return found  # type: ignore[no-any-return]


class Dimensions:
    """Attributes of a call's metric records. No identifier is among them."""

    __slots__ = ("duration", "tokens")

    def __init__(self, common: Common, response_model: str | None, error_type: str | None) -> None:
        start = common.start
        kept: tuple[str, ...] = (names.OPERATION, names.TOOL_NAME)
        if common.operation != "execute_tool":
            kept = (names.OPERATION, names.PROVIDER, names.REQUEST_MODEL)
        self.tokens = {key: start[key] for key in kept if key in start}
        if response_model is not None and common.operation == "chat":
            self.tokens[names.RESPONSE_MODEL] = cut(response_model)
        self.duration = {**self.tokens, names.ROUTE: start[names.ROUTE]}
        if error_type is not None:
            self.duration[names.ERROR_TYPE] = cut(error_type)


class Commons:
    """Finds the `Common` of a call; holds a bounded number of them."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Common] = {}

    def of(self, record: Decision) -> Common:
        """What this call shares with others like it."""
        key = _identity(record)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MAX_COMMON:
                self._known.clear()
            found = self._known.setdefault(key, Common(record))
        return found
