"""Anthropic's Messages shape."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from firedoor.extraction.fields import count, field, items, text
from firedoor.extraction.usage import counted, usage_of
from firedoor.extraction.words import finish_reason, provider_of
from firedoor.types import Extract, ToolCall, Usage, UsageCertainty

__all__ = ["MessageStream", "extract_message", "is_message", "is_message_event"]

_EVENTS = frozenset(
    {
        "message_start",
        "message_delta",
        "message_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "ping",
        # Derived by `client.messages.stream()` from the ones above.
        "text",
        "input_json",
        "thinking",
        "signature",
        "citation",
    }
)


def is_message(value: Any) -> bool:
    """Whether `value` is a whole message of a model."""
    return text(field(value, "type")) == "message" and issubclass(
        type(field(value, "content")), list | tuple
    )


def is_message_event(value: Any) -> bool:
    """Whether `value` is one event of a streamed message."""
    return text(field(value, "type")) in _EVENTS


def extract_message(value: Any) -> Extract:
    """A whole message. Several text blocks are joined as they stand."""
    texts: list[str] = []
    calls: list[ToolCall] = []
    parsed = False
    for block in items(field(value, "content")):
        kind = text(field(block, "type"))
        if kind == "text":
            said = text(field(block, "text"))
            if said:
                texts.append(said)
            parsed |= field(block, "parsed_output") is not None
        elif kind == "tool_use":
            name = text(field(block, "name"))
            if name is not None:
                given = _json(field(block, "input"))
                calls.append(ToolCall(name, text(field(block, "id")), given))
    stop = text(field(value, "stop_reason"))
    reason = finish_reason(stop)
    return Extract(
        model=text(field(value, "model")),
        provider=provider_of(value),
        response_id=text(field(value, "id")),
        usage=usage_of(field(value, "usage")),
        finish_reasons=(reason,) if reason else (),
        tool_calls=tuple(calls),
        refusal="stop_reason" if reason == "content_filter" else None,
        text="".join(texts) or None,
        complete=True if reason else None,
        output_type="json" if parsed else None,
    )


def _json(value: Any) -> str | None:
    if value is None or issubclass(type(value), str):
        return text(value)
    try:
        return json.dumps(value, ensure_ascii=False)
    except Exception:
        return None


class MessageStream:
    """What the events of a streamed message have said so far."""

    __slots__ = ("_blocks", "_deltas", "_parts", "_start", "_stop", "_usage", "error")

    def __init__(self) -> None:
        self._start: Any = None
        self._stop: str | None = None
        self._usage: Usage | None = None
        self._parts: list[str] = []
        self._blocks: dict[int, tuple[str, str | None, list[str]]] = {}
        self._deltas = 0
        self.error: str | None = None

    def feed(self, event: Any) -> bool:
        """Whether the event brought text or a piece of a tool call."""
        # The common event, read as `ChatStream.feed` reads its own.
        try:
            held = event.__dict__
            if held["type"] == "content_block_delta":
                piece = held["delta"].__dict__["text"]
                if piece and type(piece) is str:
                    self._parts.append(piece)
                    self._deltas += 1
                    return True
        except Exception:  # noqa: S110 - whatever this event is, the careful reader takes it
            pass
        return self._read(event)

    def _read(self, event: Any) -> bool:
        kind = field(event, "type")
        if kind == "content_block_delta":
            delta = field(event, "delta")
            piece = text(field(delta, "text"))
            if piece is not None:
                self._parts.append(piece)
                self._deltas += 1
                return True
            piece = text(field(delta, "partial_json"))
            if piece is None:
                return False
            block = self._blocks.get(count(field(event, "index")) or 0)
            if block is not None:
                block[2].append(piece)
            self._deltas += 1
            return True
        if kind == "content_block_start":
            return self._open(event)
        if kind == "message_start":
            self._start = field(event, "message")
            self._usage = usage_of(field(self._start, "usage"), UsageCertainty.AT_LEAST)
        elif kind == "message_delta":
            self._stop = text(field(field(event, "delta"), "stop_reason")) or self._stop
            self._usage = _later(self._usage, usage_of(field(event, "usage")))
        elif kind == "error":
            self.error = text(field(field(event, "error"), "type")) or "error_event"
        return False

    def _open(self, event: Any) -> bool:
        block = field(event, "content_block")
        name = text(field(block, "name"))
        if text(field(block, "type")) == "tool_use" and name is not None:
            place = count(field(event, "index")) or 0
            self._blocks[place] = (name, text(field(block, "id")), [])
            return True
        piece = text(field(block, "text"))
        if piece is not None:
            self._parts.append(piece)
        return piece is not None

    def result(self) -> Extract:
        """The stream as one message, as far as it came."""
        reason = finish_reason(self._stop)
        if reason == "error" and self.error is None:
            self.error = "error"
        written = "".join(self._parts)
        calls = [ToolCall(n, i, "".join(a) or None) for n, i, a in self._blocks.values()]
        usage = self._usage
        if usage is None or reason is None:
            arguments = "\n".join(call.arguments or "" for call in calls)
            floor = counted(f"{written}\n{arguments}", self._deltas)
            usage = _at_least(usage, floor)
        found = Extract(
            model=text(field(self._start, "model")),
            provider=provider_of(self._start),
            response_id=text(field(self._start, "id")),
            usage=usage,
            finish_reasons=(reason,) if reason else (("error",) if self.error else ()),
            tool_calls=tuple(calls),
            refusal="stop_reason" if reason == "content_filter" else None,
            text=written or None,
            complete=reason is not None and self.error is None,
        )
        if self.error:
            found.extra["error"] = self.error
        return found


def _later(first: Usage | None, second: Usage | None) -> Usage | None:
    """The cumulative counts of `message_delta` over those of `message_start`."""
    if first is None or second is None:
        return second or first
    parts = {
        name: getattr(second, name) if getattr(second, name) is not None else getattr(first, name)
        for name in ("cached_input_tokens", "cache_write_tokens", "reasoning_tokens")
    }
    return Usage(
        # A message_delta may report the uncached input alone: the larger one has all of it.
        max((n for n in (first.input_tokens, second.input_tokens) if n is not None), default=None),
        second.output_tokens if second.output_tokens is not None else first.output_tokens,
        **parts,
    )


def _at_least(told: Usage | None, floor: Usage) -> Usage:
    if told is None:
        return floor
    made = max(told.output_tokens or 0, floor.output_tokens or 0)
    return dataclasses.replace(told, output_tokens=made, certainty=UsageCertainty.AT_LEAST)
