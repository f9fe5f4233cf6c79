"""The text of chunks and responses: found, and replaced in a copy.

The walk follows the field names in which the known shapes keep text (`choices`, `delta`,
`content`, `output`, ...), so one function serves chunks, events, whole responses, dicts and
LangChain messages. Nothing is changed in place: what is on the way to a text is copied, the rest
is shared with the original.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from enum import Enum
from types import MemberDescriptorType
from typing import Any, TypeAlias

from firedoor.extraction.fields import count, field, items, path, text, texts_in
from firedoor.extraction.words import REASONING

__all__ = [
    "End",
    "Way",
    "end_of",
    "is_reasoning",
    "lane_of",
    "map_texts",
    "pieces_of",
    "replace_text",
    "text_of",
    "way_to",
]

Way: TypeAlias = tuple[str | int, ...]
"""The fields and places that lead from a chunk to a text."""

_DELTA_TEXTS = ("content", "refusal", *REASONING)
_TEXTS = frozenset({"content", "text", "refusal", "output_text", "snapshot", "delta", *REASONING})
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
        "summary",
        "additional_kwargs",
    }
)
_REASONING_EVENTS = ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")
_LANE_ENDS = (
    "response.output_text.done",
    "response.refusal.done",
    "response.reasoning_summary_text.done",
    "response.reasoning_text.done",
    "response.output_item.done",
    "content_block_stop",
)
_ALL_END = ("response.completed", "response.incomplete", "message_delta", "message_stop")
# Made by the library from the texts: stale, and still readable, once those are replaced.
_DERIVED = ("parsed", "parsed_output")
_FIELDS = tuple(sorted(_TEXTS | _WAYS))
# Events whose `delta`, `snapshot` or `content` is not text a user reads.
_NOT_TEXT = ("arguments", "input", "audio", "code", "logprobs", "tool_calls")
_DEEPEST = 50
_PARTS = 1000


def text_of(chunk: Any, way: Way | None = None) -> str | None:
    """The text a chunk of a stream adds for the user, or None. `way`: `way_to(chunk)`, if known.

    Answer and refusal alike; not tool arguments, not hidden reasoning. Events that repeat what
    earlier ones said (`response.output_text.done`, snapshots, the final response) add nothing:
    see `map_texts` for them.
    """
    if type(chunk) is str:
        return chunk or None
    for key in way_to(chunk) if way is None else way:
        chunk = chunk[key] if type(key) is int else field(chunk, str(key))
    return text(chunk)


def lane_of(chunk: Any, way: Way | None = None) -> int:
    """Which of several texts written at once a chunk adds to; 0 where there is one.

    The choice of a chat completion (`n` > 1 comes interleaved), the part of a response, the block
    of a message. A filter that looks across chunks needs a window for each.
    """
    if type(chunk) is str:
        return 0
    way = way_to(chunk) if way is None else way
    if len(way) > 2 and type(way[1]) is int:
        return count(field(field(chunk, str(way[0]))[way[1]], "index")) or 0
    output = count(field(chunk, "output_index"))
    if output is not None:
        parts = (count(field(chunk, name)) for name in ("content_index", "summary_index"))
        return output * _PARTS + next((part for part in parts if part), 0)
    return count(field(chunk, "index")) or 0


class End(Enum):
    """What a chunk that adds no text says of the end of those before it."""

    NONE = 0
    LANE = 1
    """The text that `lane_of` names is complete."""
    ALL = 2
    """All are."""
    SAID = 3
    """Its writer says so; some go on all the same, so that only the end of the stream is sure."""


def end_of(chunk: Any) -> End:
    """Whether a chunk tells that a text is over. An application may read no further than this."""
    kind = text(field(chunk, "type"))
    if kind in _LANE_ENDS:
        return End.LANE
    if kind in _ALL_END:
        return End.ALL
    told = (*items(field(chunk, "choices")), field(chunk, "response_metadata"))
    said = field(chunk, "done") is True
    said = said or any(
        text(field(one, "finish_reason")) or text(field(one, "stop_reason")) for one in told
    )
    return End.SAID if said else End.NONE


def is_reasoning(chunk: Any, way: Way) -> bool:
    """Whether one of `pieces_of` is reasoning, and not the answer."""
    return way[-1] in REASONING or text(field(chunk, "type")) in _REASONING_EVENTS


def replace_text(chunk: Any, replacement: str, way: Way | None = None) -> Any:
    """An equal chunk whose added text is `replacement`; the same object where it adds none."""
    if type(chunk) is str:
        return replacement
    way = way_to(chunk) if way is None else way
    return _with(chunk, way, replacement) if way else chunk


def way_to(chunk: Any) -> Way:
    """The fields and places that lead to the text a chunk adds; empty where it adds none."""
    for place, choice in enumerate(items(field(chunk, "choices"))):
        delta = field(choice, "delta")
        for name in ("content", "refusal"):
            if text(field(delta, name)) is not None:
                return ("choices", place, "delta", name)
        if text(field(choice, "text")) is not None:
            return ("choices", place, "text")
    kind = text(field(chunk, "type"))
    if kind in ("response.output_text.delta", "response.refusal.delta"):
        return ("delta",) if text(field(chunk, "delta")) else ()
    if kind == "content_block_delta":
        return ("delta", "text") if text(path(chunk, "delta", "text")) else ()
    if kind == "content_block_start":
        return ("content_block", "text") if text(path(chunk, "content_block", "text")) else ()
    if issubclass(type(field(chunk, "response_metadata")), dict):
        return ("content",) if text(field(chunk, "content")) else ()
    return ()


def pieces_of(chunk: Any) -> list[tuple[Way, str]]:
    """Every text a chunk adds, and the way to it: of several choices or blocks, and of reasoning."""
    found: list[tuple[Way, str]] = []
    for place, choice in enumerate(items(field(chunk, "choices"))):
        delta = field(choice, "delta")
        if delta is None:
            found += [
                (("choices", place, name), said) for name, said in texts_in(choice, ("text",))
            ]
        else:
            said_in = texts_in(delta, _DELTA_TEXTS)
            found += [(("choices", place, "delta", name), said) for name, said in said_in]
    if found:
        return found
    if way := way_to(chunk):
        found = [(way, text_of(chunk, way) or "")]
        return found + _aside(chunk) if way[0] == "content" else found
    kind = text(field(chunk, "type"))
    if kind in _REASONING_EVENTS:
        return [(("delta",), said) for _, said in texts_in(chunk, ("delta",))]
    if kind in ("content_block_delta", "content_block_start"):
        part = "delta" if kind == "content_block_delta" else "content_block"
        thought = texts_in(field(chunk, part), ("thinking",))
        return [((part, name), said) for name, said in thought]
    if type(field(chunk, "done")) is bool:  # Ollama's
        said_in = texts_in(field(chunk, "message"), ("content", "thinking"))
        found += [(("message", name), said) for name, said in said_in]
        return found + [((name,), said) for name, said in texts_in(chunk, ("response", "thinking"))]
    if issubclass(type(field(chunk, "response_metadata")), dict):
        for place, block in enumerate(items(field(chunk, "content"))):
            said_in = texts_in(block, ("text", "refusal", *REASONING))
            found += [(("content", place, name), said) for name, said in said_in]
        found += _aside(chunk)
    return found


def _aside(chunk: Any) -> list[tuple[Way, str]]:
    """What LangChain keeps beside the content."""
    said_in = texts_in(field(chunk, "additional_kwargs"), ("refusal", *REASONING))
    return [(("additional_kwargs", name), said) for name, said in said_in]


def _with(value: Any, way: Way, replacement: str) -> Any:
    if not way:
        return replacement
    key, rest = way[0], way[1:]
    if type(key) is int:
        changed = list(value)
        changed[key] = _with(value[key], rest, replacement)
        return changed
    return _copy(value, {str(key): _with(field(value, str(key)), rest, replacement)})


def map_texts(
    value: Any, change: Callable[[str], str], *, reasoning: Callable[[str], str] | None = None
) -> Any:
    """A copy of a chunk, event or whole response in which each text has passed through `change`.

    What a model tells of its reasoning passes through `reasoning` instead, if that is given.

    The same object comes back where nothing changed. Values parsed from a changed text are set
    to None. Plain strings are texts. Only what an object holds is read, never what it computes.
    """
    if issubclass(type(value), str):
        return change(value)
    return _mapped(value, change, reasoning or change, {}, 0)


def _mapped(
    value: Any,
    change: Callable[[str], str],
    reasoning: Callable[[str], str],
    seen: dict[int, Any],
    depth: int,
) -> Any:
    if value is None or depth > _DEEPEST:
        return value
    # Each object is visited once, so rings end and shared parts stay cheap.
    if id(value) in seen:
        return seen[id(value)]
    seen[id(value)] = value
    if issubclass(type(value), list | tuple):
        changed = [_mapped(item, change, reasoning, seen, depth + 1) for item in value]
        if any(new is not old for new, old in zip(changed, value, strict=True)):
            seen[id(value)] = changed if issubclass(type(value), list) else tuple(changed)
        return seen[id(value)]
    held = _held(value)
    kind = text(held("type"))
    if kind is not None and any(word in kind for word in _NOT_TEXT):
        return value
    if kind is not None and "reasoning" in kind:
        change = reasoning
    updates: dict[str, Any] = {}
    for name in _FIELDS:
        old = held(name)
        if issubclass(type(old), str):
            changed_by = reasoning if name in REASONING else change
            new: Any = changed_by(old) if old and name in _TEXTS else old
            if new == old:
                continue
        elif old is not None and name in _WAYS:
            new = _mapped(old, change, reasoning, seen, depth + 1)
            if new is old:
                continue
        else:
            continue
        updates[name] = new
    if updates:
        for name in _DERIVED:
            if held(name) is not None:
                updates[name] = None
        seen[id(value)] = _copy(value, updates)
    return seen[id(value)]


def _held(value: Any) -> Callable[[str], Any]:
    """Reads what an object holds itself: entries, instance attributes, slots, pydantic's extras.

    Properties and `__getattr__` are passed by: they make objects without end, and a text they
    show is held elsewhere.
    """
    kind = type(value)
    if issubclass(kind, dict):
        return lambda name: dict.get(value, name)
    try:
        own: dict[str, Any] = object.__getattribute__(value, "__dict__")
    except AttributeError:
        own = {}
    try:
        extra = object.__getattribute__(value, "__pydantic_extra__") or {}
    except AttributeError:
        extra = {}

    def held(name: str) -> Any:
        found = own.get(name)
        if found is None and name in extra:
            found = extra[name]
        if found is None and type(getattr(kind, name, None)) is MemberDescriptorType:
            found = getattr(value, name, None)
        return found

    return held


def _copy(value: Any, updates: dict[str, Any]) -> Any:
    if issubclass(type(value), dict):
        return {**value, **updates}
    copier = getattr(type(value), "model_copy", None)
    if callable(copier):
        return copier(value, update=updates)
    made = copy.copy(value)
    for name, new in updates.items():
        # Frozen dataclasses are copied too: the copy is ours.
        object.__setattr__(made, name, new)
    return made
