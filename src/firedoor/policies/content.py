"""Where the texts are in what an application passes around, and how to put others in their place.

Two ways of looking, by stage. What goes to or comes from a model (`input`, `output`) is a known
shape: text stands under a few names (`content`, `text`, `arguments`, ...), and the rest are ids,
roles, model names and encoded images that no policy should touch. Arguments, results and documents
are the application's own: every string in them is text, but for the ids of documents.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from pydantic import BaseModel

from firedoor.extraction.words import REASONING
from firedoor.policies.base import Stage

__all__ = ["rewrite", "texts", "told"]

Change = Callable[[str], str]

_MODEL_TEXT = frozenset({
    "completion", "content", "input", "input_text", "instructions", "output", "output_text", "prompt", "query",
    "reasoning", "reasoning_content", "refusal", "summary", "system", "text", "thinking", "partial_json",
})  # fmt: skip
"""Names under which OpenAI's, Anthropic's and look-alike shapes keep text, or more structure."""

_REASONING = frozenset({*REASONING, "summary"})
"""Those of them that are not the answer itself."""

_MODEL_JSON = frozenset({"arguments"})
"""Names under which they keep a tool call's arguments, as JSON in a string."""

_MODEL_STRUCTURE = frozenset({
    "additional_kwargs", "choices", "custom", "delta", "document", "documents", "function", "function_call",
    "generations", "message", "messages", "parts", "source", "tool_calls",
})  # fmt: skip
"""Names of structure in which text is found further down; a string right there is no text."""

_DERIVED = frozenset({"parsed", "parsed_arguments", "parsed_output"})
"""Names under which their libraries keep what they made of a text: stale once that is changed."""

_IDENTITY = frozenset({"id", "doc_id", "document_id", "chunk_id", "role", "type"})
"""Names in documents that say which one it is: a redactor that changed them would break citations."""

_DEPTH = 64
"""Deeper nesting is refused (as ValueError): not looked at must not pass for looked at."""


def texts(value: Any, stage: Stage | str = Stage.INPUT) -> Iterator[str]:
    """The texts in `value`, in the order in which `rewrite` asks for them.

    Understands strings, bytes that are UTF-8, lists, tuples, named tuples, mappings, dataclasses
    and pydantic models (the response objects of the openai and anthropic SDKs are such), and
    objects with `page_content` (LangChain's documents); tool arguments as JSON in a string give
    the strings within. In objects of other classes it finds nothing.

    Raises:
        ValueError: If the nesting is deeper than 64 levels, as in a structure that holds itself.
    """
    return iter([text for text, _ in told(value, stage)])


def told(value: Any, stage: Stage | str = Stage.INPUT) -> list[tuple[str, bool]]:
    """As `texts`, each with whether it is a model's reasoning ahead of its answer.

    Raises:
        ValueError: If the nesting is deeper than 64 levels.
    """
    found: list[tuple[str, bool]] = []

    def note(text: str, *, reasoning: bool = False) -> str:
        found.append((text, reasoning))
        return text

    rewrite(value, note, stage, reasoning=partial(note, reasoning=True))
    return found


def rewrite(
    value: Any,
    change: Change,
    stage: Stage | str = Stage.INPUT,
    *,
    reasoning: Change | None = None,
) -> Any:
    """`value` with `change(text)` in the place of each text, `reasoning(text)` of told reasoning.

    The value itself is never changed. What holds no changed text is the very object it was; along
    the path of a change there are copies of the same types.

    Raises:
        ValueError: If the nesting is deeper than 64 levels.
    """
    if stage in (Stage.INPUT, Stage.OUTPUT):
        return _model_shape(value, change, reasoning or change, 0)
    return _every_string(value, change, 0, _IDENTITY if stage == Stage.RETRIEVAL else frozenset())


def _model_shape(value: Any, change: Change, reasoning: Change, depth: int) -> Any:
    """A string, or a list of them, is text at this place; a mapping is looked up by name."""
    if isinstance(value, str):
        return change(value)
    if not isinstance(value, list | tuple) and _type_of(value) == "reasoning":
        change = reasoning

    # A plain-text document of Anthropic's: other types of source keep encoded bytes under `data`.
    has_data = isinstance(value, Mapping) and value.get("type") == "text"

    def field(name: str, inner: Any) -> Any:
        if inner is None:
            return inner
        if name in _MODEL_TEXT or (has_data and name == "data"):
            # A tool's input (Anthropic's `tool_use`) is a mapping with the application's names.
            if name == "input" and isinstance(inner, Mapping):
                return _every_string(inner, change, depth + 1, frozenset())
            within = reasoning if name in _REASONING else change
            return _model_shape(inner, within, reasoning, depth + 1)
        if name in _MODEL_JSON:
            if isinstance(inner, str):
                return _json_text(inner, change)
            return _every_string(inner, change, depth + 1, frozenset())
        if name in _MODEL_STRUCTURE and not isinstance(inner, str):
            return _model_shape(inner, change, reasoning, depth + 1)
        return inner

    def item(inner: Any) -> Any:
        return _model_shape(inner, change, reasoning, depth + 1)

    rebuilt = _rebuilt(value, field, item, depth)
    return (
        rebuilt if rebuilt is value else _rebuilt(rebuilt, _underived, lambda inner: inner, depth)
    )


def _type_of(value: Any) -> Any:
    return value.get("type") if isinstance(value, Mapping) else getattr(value, "type", None)


def _underived(name: str, inner: Any) -> Any:
    return None if name in _DERIVED else inner


def _every_string(value: Any, change: Change, depth: int, spared: frozenset[str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, bytes):
        try:
            text = value.decode()
        except UnicodeDecodeError:
            return value
        changed = change(text)
        return value if changed == text else changed.encode()

    def field(name: str, inner: Any) -> Any:
        return inner if name in spared else _every_string(inner, change, depth + 1, spared)

    def item(inner: Any) -> Any:
        return _every_string(inner, change, depth + 1, spared)

    return _rebuilt(value, field, item, depth)


def _json_text(text: str, change: Change) -> str:
    """JSON stays JSON: the strings in it are changed, not the text of it."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return change(text)
    changed = _every_string(value, change, 0, frozenset())
    return text if changed is value else json.dumps(changed, ensure_ascii=False)


def _rebuilt(
    value: Any, field: Callable[[str, Any], Any], item: Callable[[Any], Any], depth: int
) -> Any:
    """`value` with its parts passed through `field` (by name) or `item`, copied only if one differs."""
    if depth > _DEPTH:
        raise ValueError(f"nested deeper than {_DEPTH} levels")
    if isinstance(value, dict):
        changes = {
            key: new for key, old in value.items() if (new := field(str(key), old)) is not old
        }
        if not changes:
            return value
        copied = value.copy()
        copied.update(changes)
        return copied
    if isinstance(value, list | tuple):
        items = [item(old) for old in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        make = getattr(value, "_make", None)
        return make(items) if make is not None else type(value)(items)
    if isinstance(value, BaseModel):
        # Extra fields are where SDK models keep what a provider added to the shape.
        held = {**value.__dict__, **(value.model_extra or {})}
        changes = {name: new for name, old in held.items() if (new := field(name, old)) is not old}
        return value.model_copy(update=changes) if changes else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [one.name for one in dataclasses.fields(value) if one.init]
        changes = {
            name: new
            for name in names
            if (new := field(name, old := getattr(value, name))) is not old
        }
        return dataclasses.replace(value, **changes) if changes else value
    return value
