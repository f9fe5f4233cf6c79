"""The OpenAI Chat Completions wire format: bodies, stream chunks, errors and SSE framing.

Source: the API reference of Chat Completions, and what the `openai` client parses.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

__all__ = [
    "DONE",
    "Reply",
    "count_tokens",
    "error_body",
    "event",
    "piece_of",
    "read_events",
    "saying",
]

DONE = b"data: [DONE]\n\n"
"""The event that ends a complete stream."""

_TOKEN = re.compile(r"\w+|[^\w\s]")
_PIECE = re.compile(r"\s*\S+")


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, ready to be said as a body or as a stream.

    Attributes:
        text: What the assistant says.
        model: The model that says it.
        prompt_tokens: Tokens of the request, as `count_tokens` counts.
        finish_reason: `stop`, `length`, `content_filter`, `tool_calls`.
        refusal: Why the model declines, instead of `text`.
    """

    text: str | None
    model: str
    prompt_tokens: int
    finish_reason: str = "stop"
    refusal: str | None = None
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def usage(self) -> dict[str, int]:
        """Token counts."""
        output = count_tokens(self.refusal or self.text or "")
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": output,
            "total_tokens": self.prompt_tokens + output,
        }

    def body(self) -> dict[str, Any]:
        """The answer as one `chat.completion`."""
        message = {"role": "assistant", "content": self.text, "refusal": self.refusal}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        return self._envelope("chat.completion", [choice]) | {"usage": self.usage}

    def events(self, *, include_usage: bool) -> Iterator[bytes]:
        """The answer as server-sent events, a word each, `[DONE]` last."""
        yield self._chunk({"role": "assistant", "content": ""})
        key = "content" if self.refusal is None else "refusal"
        for piece in _PIECE.findall(self.refusal or self.text or ""):
            yield self._chunk({key: piece})
        yield self._chunk({}, self.finish_reason)
        if include_usage:
            yield event(self._envelope("chat.completion.chunk", []) | {"usage": self.usage})
        yield DONE

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return event(self._envelope("chat.completion.chunk", [choice]))

    def _envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


def event(payload: object) -> bytes:
    """`payload` as one server-sent event."""
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def error_body(message: str, kind: str, code: str | None = None) -> dict[str, Any]:
    """An error as the API words it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def read_events(stream: BinaryIO) -> Iterator[bytes]:
    """Each server-sent event of `stream` as soon as its last line is there, framing included."""
    lines: list[bytes] = []
    while line := stream.readline():
        lines.append(line)
        if not line.strip():
            yield b"".join(lines)
            lines.clear()
    if lines:
        yield b"".join(lines)


def piece_of(raw: bytes) -> tuple[str, bool]:
    """The text that one stream event adds to the answer, and whether it ends the answer."""
    payload = _payload(raw)
    if payload is None:
        return "", raw == DONE
    choices = payload.get("choices") or ()
    text = "".join(choice.get("delta", {}).get("content") or "" for choice in choices)
    return text, any(choice.get("finish_reason") for choice in choices)


def saying(raw: bytes, text: str) -> bytes:
    """A stream event like `raw` that adds `text` to the answer instead of what `raw` says."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return event((_payload(raw) or {}) | {"choices": [choice]})


def _payload(raw: bytes) -> dict[str, Any] | None:
    data = raw.strip().removeprefix(b"data:").strip()
    if not data.startswith(b"{"):
        return None
    try:
        payload: dict[str, Any] = json.loads(data)
    except ValueError:
        return None
    return payload


def count_tokens(text: str | Iterable[str]) -> int:
    """Words and punctuation marks: a count for servers that have no tokenizer."""
    texts = (text,) if isinstance(text, str) else text
    return sum(len(_TOKEN.findall(each)) for each in texts)
