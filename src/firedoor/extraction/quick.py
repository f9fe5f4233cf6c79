"""The commonest answer, read at the least cost: one choice, one text, a usage.

Nearly every model call returns just that, and every guarded call pays for reading it. Anything off
the beaten track (several choices, tools, refusals, audio, a field of an unexpected type) is left to
the careful readers, which trust nothing.
"""

from __future__ import annotations

from typing import Any

from firedoor.extraction.words import FINISH, provider_of
from firedoor.types import Extract, Usage

__all__ = ["quick_chat", "quick_message"]

_ODD = frozenset({"tool_calls", "refusal", "function_call", "audio", "parsed"})


def quick_chat(value: Any) -> Extract | None:
    """A chat completion with one plain text, as a dict or as the SDK's object; None otherwise."""
    try:
        held = value if type(value) is dict else value.__dict__
        (choice,) = held["choices"]
        if type(choice) is not dict:
            choice = choice.__dict__
        message = choice["message"]
        if type(message) is not dict:
            message = message.__dict__
        said = message["content"]
        usage = held["usage"]
        if type(usage) is not dict:
            usage = usage.__dict__
        reason = choice.get("finish_reason")
        reasons = () if reason is None else _REASONS[reason]
        if type(said) is not str or not said or reasons == _FILTERED:
            return None
        if not _ODD.isdisjoint(message) and any(message.get(n) is not None for n in _ODD):
            return None
        given, made = usage["prompt_tokens"], usage["completion_tokens"]
        if type(given) is not int or type(made) is not int or given < 0 or made < 0:
            return None
        if "cache_read_input_tokens" in usage:
            return None
        cached = written = thought = None
        details = usage.get("prompt_tokens_details")
        if details is not None:
            if type(details) is not dict:
                details = details.__dict__
            cached, written = details.get("cached_tokens"), details.get("cache_write_tokens")
            if not (_counts(cached) and _counts(written)):
                return None
        details = usage.get("completion_tokens_details")
        if details is not None:
            if type(details) is not dict:
                details = details.__dict__
            thought = details.get("reasoning_tokens")
            if not _counts(thought):
                return None
        model, name = held.get("model"), held.get("id")
        if model is not None and (type(model) is not str or not model):
            return None
        if name is not None and (type(name) is not str or not name):
            return None
    except Exception:
        return None
    return Extract(
        model,
        None if type(value) is dict else provider_of(value),
        name,
        Usage(given, made, cached, written, thought),
        reasons,
        (),
        None,
        said,
        True if reasons else None,
    )


def quick_message(value: Any) -> Extract | None:
    """An Anthropic message with one plain text, as the SDK's object; None otherwise."""
    try:
        held = value.__dict__
        (block,) = held["content"]
        block = block.__dict__
        said, usage = block["text"], held["usage"].__dict__
        reasons = _REASONS[held["stop_reason"]]
        if (
            block["type"] != "text"
            or type(said) is not str
            or not said
            or reasons == _FILTERED
            or block.get("parsed_output") is not None
            or usage.get("output_tokens_details") is not None
        ):
            return None
        given, made = usage["input_tokens"], usage["output_tokens"]
        read, written = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
        if type(given) is not int or type(made) is not int or given < 0 or made < 0:
            return None
        if not (_counts(read) and _counts(written)):
            return None
        model, name = held["model"], held["id"]
        if type(model) is not str or type(name) is not str or not model or not name:
            return None
    except Exception:
        return None
    return Extract(
        model,
        provider_of(value),
        name,
        Usage(given + (read or 0) + (written or 0), made, read, written),
        reasons,
        text=said,
        complete=True,
    )


# One tuple for each word, instead of one for each call.
_TUPLES = {word: (word,) for word in FINISH.values()}
_REASONS = {word: _TUPLES[found] for word, found in FINISH.items()}
_FILTERED = _TUPLES["content_filter"]


def _counts(value: Any) -> bool:
    return value is None or (type(value) is int and value >= 0)
