"""The text of chunks and responses: found, and replaced in a copy.

The walk follows the field names in which the known shapes keep text (`choices`, `delta`,
`content`, `output`, ...), so one function serves chunks, events, whole responses, dicts and
LangChain messages. Nothing is changed in place: what is on the way to a text is copied, the rest
is shared with the original.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from firedoor.extraction.fields import field, items, text

__all__ = ["map_texts", "replace_text", "text_of"]

_TEXTS = frozenset({"content", "text", "refusal", "output_text", "snapshot", "delta"})
_WAYS = frozenset(
    {
        "choices",
        "message",
        "delta",
        "content",
        "output",
        "response",
        "item",
        "part",
        "content_block",
        "snapshot",
        "chunk",
        "generations",
    }
)
# Made by the library from the texts: stale, and still readable, once those are replaced.
_DERIVED = ("parsed", "parsed_output")
_FIELDS = tuple(sorted(_TEXTS | _WAYS))
# Events whose `delta`, `snapshot` or `content` is not text a user reads.
_NOT_TEXT = ("arguments", "input", "audio", "code", "logprobs", "tool_calls", "reasoning")
_DEEPEST = 12


def text_of(chunk: Any) -> str | None:
    """The text a chunk of a stream adds for the user, or None.

    Answer and refusal alike; not tool arguments, not hidden reasoning. Events that repeat what
    earlier ones said (`response.output_text.done`, snapshots, the final response) add nothing:
    see `map_texts` for them.
    """
    if type(chunk) is str:
        return chunk or None
    found = _added(chunk)
    return text(field(found[0], found[1])) if found is not None else None


def replace_text(chunk: Any, replacement: str) -> Any:
    """An equal chunk whose added text is `replacement`; the same object where it adds none."""
    if type(chunk) is str:
        return replacement
    found = _added(chunk)
    if found is None:
        return chunk
    holder, name = found
    return _with(chunk, holder, name, replacement, 0)


def _added(chunk: Any) -> tuple[Any, str] | None:
    """The object and the field that hold the text a chunk adds."""
    choices = items(field(chunk, "choices"))
    if choices:
        for choice in choices:
            delta = field(choice, "delta")
            for holder, name in ((delta, "content"), (delta, "refusal"), (choice, "text")):
                if text(field(holder, name)) is not None:
                    return holder, name
        return None
    kind = text(field(chunk, "type"))
    if kind in ("response.output_text.delta", "response.refusal.delta"):
        return (chunk, "delta") if text(field(chunk, "delta")) else None
    if kind == "content_block_delta":
        delta = field(chunk, "delta")
        return (delta, "text") if text(field(delta, "text")) else None
    if kind == "content_block_start":
        block = field(chunk, "content_block")
        return (block, "text") if text(field(block, "text")) else None
    if issubclass(type(field(chunk, "response_metadata")), dict):
        return (chunk, "content") if text(field(chunk, "content")) else None
    return None


def _with(value: Any, holder: Any, name: str, replacement: str, depth: int) -> Any:
    if value is holder:
        return _copy(value, {name: replacement})
    for key in ("choices", "delta", "content_block"):
        inner = field(value, key)
        if inner is None or depth >= _DEEPEST:
            continue
        if items(inner):
            changed: Any = [_with(i, holder, name, replacement, depth + 1) for i in inner]
            same = all(a is b for a, b in zip(changed, inner, strict=True))
        else:
            changed = _with(inner, holder, name, replacement, depth + 1)
            same = changed is inner
        if not same:
            return _copy(value, {key: changed})
    return value


def map_texts(value: Any, change: Callable[[str], str]) -> Any:
    """A copy of a chunk, event or whole response in which each text has passed through `change`.

    The same object comes back where nothing changed. Values parsed from a changed text are set
    to None. Plain strings are texts.
    """
    if issubclass(type(value), str):
        return change(value)
    return _mapped(value, change, 0)


def _mapped(value: Any, change: Callable[[str], str], depth: int) -> Any:
    if depth > _DEEPEST or value is None:
        return value
    if issubclass(type(value), list | tuple):
        changed = [_mapped(item, change, depth + 1) for item in value]
        if all(new is old for new, old in zip(changed, value, strict=True)):
            return value
        return changed if issubclass(type(value), list) else tuple(changed)
    kind = text(field(value, "type"))
    if kind is not None and any(word in kind for word in _NOT_TEXT):
        return value
    updates: dict[str, Any] = {}
    for name in _FIELDS:
        old = field(value, name)
        if old is None:
            continue
        if issubclass(type(old), str):
            new: Any = change(old) if old and name in _TEXTS else old
        elif name in _WAYS and not callable(old):
            new = _mapped(old, change, depth + 1)
        else:
            continue
        if new is not old and new != old:
            updates[name] = new
    if not updates:
        return value
    for name in _DERIVED:
        if field(value, name) is not None:
            updates[name] = None
    return _copy(value, updates)


def _copy(value: Any, updates: dict[str, Any]) -> Any:
    if issubclass(type(value), dict):
        return {**value, **updates}
    copier = getattr(value, "model_copy", None)
    if callable(copier):
        return copier(update=updates)
    made = copy.copy(value)
    for name, new in updates.items():
        # Frozen dataclasses are copied too: the copy is ours.
        object.__setattr__(made, name, new)
    return made
