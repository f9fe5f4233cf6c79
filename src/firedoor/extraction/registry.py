"""The extractors of a door: the known shapes, and the application's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields as dataclass_fields
from typing import Any, cast

from firedoor.errors import ConfigurationError
from firedoor.extraction.chat import extract_chat, is_chat
from firedoor.extraction.fields import count, field, text
from firedoor.extraction.langchain import extract_chain, is_chain
from firedoor.extraction.messages import extract_message, is_message
from firedoor.extraction.quick import quick_chat, quick_message
from firedoor.extraction.responses import extract_response, is_response
from firedoor.extraction.retrieval import extract_retrieval
from firedoor.extraction.stream import StreamReader
from firedoor.extraction.usage import usage_of
from firedoor.extraction.words import finish_reason, provider_of
from firedoor.types import Extract

__all__ = ["Extractor", "Extractors"]

Extractor = Callable[[Any], "Extract | dict[str, Any] | str | None"]
"""Reads a value of a registered type: an Extract, its fields as a dict, the text, or None."""

_SHAPES: tuple[tuple[Callable[[Any], bool], Callable[[Any], Extract]], ...] = (
    (is_chat, extract_chat),
    (is_response, extract_response),
    (is_message, extract_message),
    (is_chain, extract_chain),
)
_QUICK: dict[Callable[[Any], Extract], Callable[[Any], Extract | None]] = {
    extract_chat: quick_chat,
    extract_message: quick_message,
}
# Classes of these libraries have one shape each: it need not be found out twice.
_ONE_SHAPE_EACH = ("openai.types.", "anthropic.types.", "langchain_core.messages.")
_DECIDED_KEPT = 256
_decided: dict[type, Callable[[Any], Extract]] = {}
_FIELDS = frozenset(f.name for f in dataclass_fields(Extract))
_MAX_SOURCES = 100


class Extractors:
    """Reads what guarded functions return. One per door: `door.extractors`.

    Reading never raises: what is not understood comes back as `Extract(unknown="<why>")`.
    """

    __slots__ = ("_types",)

    def __init__(self) -> None:
        self._types: dict[type, Extractor] = {}

    def register(self, type_: type, fn: Extractor) -> None:
        """Read values of `type_` and its subclasses with `fn`; the most specific class wins.

        Args:
            type_: The class. Registered ones are asked before the shapes firedoor knows.
            fn: Gets a value (for streams: a chunk) and answers an `Extract`, a dict of its
                fields, the text, or None where there is nothing to tell.

        Raises:
            ConfigurationError: If `type_` is not a class, is `object`, or `fn` cannot be called.
        """
        if not isinstance(cast("object", type_), type) or type_ is object:
            raise ConfigurationError(
                f"extractors.register(type_={type_!r}): give a class other than object, "
                "the one your client returns"
            )
        if not callable(fn):
            raise ConfigurationError(
                f"extractors.register(fn={fn!r}): give a function of one argument, the value"
            )
        # A new dict, as other threads may be reading the old one.
        self._types = {**self._types, type_: fn}

    def extract(self, value: Any) -> Extract:
        """What the result of a model call says."""
        try:
            kind = type(value)
            read = self._registered(kind) if self._types else None
            if read is not None:
                return read(value)
            if kind is str:
                return Extract(text=value or None)
            quick = quick_chat(value) if kind is dict else None
            return _known(value) if quick is None else quick
        except Exception as error:
            return Extract(unknown=f"{_name(value)}: {type(error).__name__}")

    def extract_retrieval(self, value: Any, limit: int = _MAX_SOURCES) -> Extract:
        """What a retriever returned: `.sources` and `.documents`, the first `limit`.

        `.extra["count"]` has the number of all of them. Generators are not consumed.
        """
        try:
            read = self._registered(type(value)) if self._types else None
            if read is not None:
                return read(value)
            return extract_retrieval(value, limit, self._registered if self._types else None)
        except Exception as error:
            return Extract(unknown=f"{_name(value)}: {type(error).__name__}")

    def extract_tool(self, value: Any) -> Extract:
        """The text of a tool's result (JSON for plain structures); `.extra["size"]` in characters."""
        try:
            read = self._registered(type(value)) if self._types else None
            if read is not None:
                return read(value)
            if value is None:
                return Extract()
            written = value if type(value) is str else json.dumps(value, ensure_ascii=False)
        except Exception:
            return Extract(unknown=f"tool result {_name(value)}")
        return Extract(text=written, extra={"size": len(written)})

    def reader(self, source: Any = None) -> StreamReader:
        """A fresh reader for one stream.

        Args:
            source: The stream object, where there is one: a provider's stream that ends without
                a single chunk is then known to be incomplete.
        """
        return StreamReader(self._registered if self._types else None, source)

    def _registered(self, kind: type) -> Callable[[Any], Extract] | None:
        types = self._types
        for base in kind.__mro__:
            fn = types.get(base)
            if fn is not None:
                return _Checked(fn)
        return None


class _Checked:
    """An application's extractor whose answer is brought into form, and whose errors are notes."""

    __slots__ = ("_fn",)

    def __init__(self, fn: Extractor) -> None:
        self._fn = fn

    def __call__(self, value: Any) -> Extract:
        try:
            said: Any = self._fn(value)
        except Exception as error:
            return Extract(unknown=f"extractor of {_name(value)} raised {type(error).__name__}")
        if isinstance(said, Extract):
            return said
        if said is None:
            return Extract()
        if isinstance(said, str):
            return Extract(text=said or None)
        if isinstance(said, dict) and said.keys() <= _FIELDS:
            try:
                return _formed(said)
            except Exception as error:
                return Extract(unknown=f"extractor of {_name(value)}: {type(error).__name__}")
        return Extract(unknown=f"extractor of {_name(value)} returned {type(said).__name__}")


def _formed(said: dict[str, Any]) -> Extract:
    usage = said.get("usage")
    if isinstance(usage, dict):
        said = {**said, "usage": usage_of(usage)}
    found = Extract(**said)
    for name in ("finish_reasons", "tool_calls", "sources", "documents"):
        held = getattr(found, name)
        setattr(found, name, (held,) if isinstance(held, str) else tuple(held))
    return found


def _known(value: Any) -> Extract:
    kind = type(value)
    decided = _decided.get(kind)
    if decided is not None:
        quick = _QUICK[decided](value) if decided in _QUICK else None
        return decided(value) if quick is None else quick
    for matches, read in _SHAPES:
        if matches(value):
            if kind.__module__.startswith(_ONE_SHAPE_EACH) and len(_decided) < _DECIDED_KEPT:
                _decided[kind] = read
            return read(value)
    inner = _parsed(value)
    if inner is not None:
        return _known(inner)
    found = _plain(value)
    return found if found is not None else Extract(unknown=_name(value))


def _parsed(value: Any) -> Any:
    """The object in a `with_raw_response` answer, where its body has been read already."""
    kind = type(value)
    if not kind.__module__.startswith(("openai.", "anthropic.")):
        return None
    response = field(value, "http_response")
    if field(response, "is_stream_consumed") is not True or field(value, "_is_sse_stream"):
        return None
    parsed = value.parse()
    # An async client's answer parses by a coroutine: not ours to await.
    if hasattr(parsed, "__await__"):
        parsed.close()
        return None
    return parsed if type(parsed) is not kind else None


def _plain(value: Any) -> Extract | None:
    """Any object or dict with usage, or with text and a model, by the common names."""
    usage = usage_of(field(value, "usage") or field(value, "usage_metadata"))
    said = None
    for name in ("text", "output_text", "content", "answer", "output"):
        said = text(field(value, name))
        if said is not None:
            break
    model = text(field(value, "model")) or text(field(value, "model_name"))
    if usage is None and (said is None or model is None):
        return None
    reason = finish_reason(field(value, "finish_reason")) or finish_reason(
        field(value, "stop_reason")
    )
    return Extract(
        model=model,
        provider=provider_of(value),
        response_id=text(field(value, "id")) or _number_id(field(value, "id")),
        usage=usage,
        finish_reasons=(reason,) if reason else (),
        refusal="stop_reason" if reason == "content_filter" else None,
        text=said,
        complete=True if reason else None,
    )


def _number_id(value: Any) -> str | None:
    number = count(value)
    return str(number) if number is not None else None


def _name(value: Any) -> str:
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"
