"""The request parameters a decision may keep: numbers, flags and short names, never messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from firedoor.extraction.fields import field, items, number

__all__ = ["parameters"]

_NUMBERS = (
    "temperature",
    "top_p",
    "top_k",
    "k",
    "n",
    "seed",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "max_tool_calls",
    "frequency_penalty",
    "presence_penalty",
    "top_logprobs",
    "timeout",
    "limit",
)
_FLAGS = ("stream", "logprobs", "parallel_tool_calls", "store", "background")
_WORDS = ("reasoning_effort", "service_tier", "verbosity", "truncation", "speed")
_LONGEST_WORD = 32


def parameters(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a call that are safe to keep, under the names they were given.

    Nested ones appear under a plain name: `reasoning_effort`, `response_format`, `tool_choice`
    and `thinking` hold only the kind, `thinking_budget` the figure, `tools` and `stop` a count.
    """
    if _READ.isdisjoint(kwargs):
        return {}
    kept: dict[str, Any] = {}
    for name, value in kwargs.items():
        read = _READERS.get(name)
        if read is None or value is None:
            continue
        try:
            found = read(value)
        except Exception:  # noqa: S112 - a parameter that cannot be read is not kept
            continue
        if found is not None:
            kept[name] = found
    if "reasoning" not in kwargs and "thinking" not in kwargs:
        return kept
    if "reasoning" in kwargs and "reasoning_effort" not in kept:
        effort = _word(field(kwargs["reasoning"], "effort"))
        if effort is not None:
            kept["reasoning_effort"] = effort
    budget = _number(field(kwargs.get("thinking"), "budget_tokens"))
    if budget is not None:
        kept["thinking_budget"] = budget
    return kept


def _number(value: Any) -> int | float | None:
    if type(value) is int:
        return value
    return number(value)


def _flag(value: Any) -> bool | None:
    return value if type(value) is bool else None


def _word(value: Any) -> str | None:
    """A name as an enumeration has it: short, and of letters, digits, `_`, `-` and `.`."""
    if not issubclass(type(value), str) or not 0 < len(value) <= _LONGEST_WORD:
        return None
    plain = str.__str__(value)
    return plain if plain.replace("_", "a").replace("-", "a").replace(".", "a").isalnum() else None


def _kind(value: Any) -> str | None:
    """`auto` of `"auto"`, `json_schema` of `{"type": "json_schema", ...}`, `json` of a class."""
    if issubclass(type(value), type):
        return "json_schema"
    return _word(value) or _word(field(value, "type"))


def _stops(value: Any) -> int | None:
    return 1 if issubclass(type(value), str) else _length(value)


def _length(value: Any) -> int | None:
    return len(items(value)) or None


_READERS: dict[str, Any] = {
    **dict.fromkeys(_NUMBERS, _number),
    **dict.fromkeys(_FLAGS, _flag),
    **dict.fromkeys(_WORDS, _word),
    "response_format": _kind,
    "tool_choice": _kind,
    "thinking": _kind,
    "tools": _length,
    "stop": _stops,
    "stop_sequences": _stops,
}
_READ = frozenset({*_READERS, "reasoning", "thinking"})
