"""LangChain's messages and results, recognised by their fields."""

from __future__ import annotations

import json
from typing import Any

from firedoor.extraction.chat import text_of_content
from firedoor.extraction.fields import field, items, path, text
from firedoor.extraction.usage import counted, usage_of
from firedoor.extraction.words import finish_reason, provider_of
from firedoor.types import Extract, ToolCall, UsageCertainty

__all__ = ["ChainStream", "extract_chain", "is_chain"]


def is_chain(value: Any) -> bool:
    """Whether `value` is an AIMessage, a chunk of one, or an LLM or chat result."""
    if issubclass(type(field(value, "response_metadata")), dict):
        return field(value, "content") is not None
    return bool(items(field(value, "generations")))


def extract_chain(value: Any) -> Extract:
    """An AIMessage, or the first generation of each prompt of a result."""
    generations = items(field(value, "generations"))
    if not generations:
        return _message(value)
    chosen = [items(entry)[0] if items(entry) else entry for entry in generations]
    message = field(chosen[0], "message")
    if message is not None:
        found = _message(message)
    else:
        reason = finish_reason(path(chosen[0], "generation_info", "finish_reason"))
        found = Extract(
            finish_reasons=(reason,) if reason else (), complete=True if reason else None
        )
    texts = [text(field(entry, "text")) for entry in chosen]
    found.text = "\n".join(t for t in texts if t) or found.text
    output = field(value, "llm_output")
    found.model = found.model or text(field(output, "model_name"))
    found.usage = found.usage or usage_of(field(output, "token_usage"))
    return found


def _message(value: Any) -> Extract:
    about = field(value, "response_metadata")
    reason = finish_reason(field(about, "finish_reason")) or finish_reason(
        field(about, "stop_reason")
    )
    declined = text(path(value, "additional_kwargs", "refusal"))
    refusal = "refusal_block" if declined else None
    if reason == "content_filter":
        refusal = "stop_reason"
    usage = usage_of(field(value, "usage_metadata")) or usage_of(field(about, "token_usage"))
    return Extract(
        model=text(field(about, "model_name")) or text(field(about, "model")),
        provider=provider_of(text(field(about, "model_provider")) or ""),
        response_id=text(field(about, "id")) or text(field(value, "id")),
        usage=usage or usage_of(field(about, "usage")),
        finish_reasons=(reason,) if reason else (),
        tool_calls=tuple(_calls(value)),
        refusal=refusal,
        text=text_of_content(field(value, "content")) or declined,
        answered=text_of_content(field(value, "content")) if declined else None,
        complete=True if reason else None,
    )


def _calls(value: Any) -> list[ToolCall]:
    calls = []
    for call in items(field(value, "tool_calls")):
        name = text(field(call, "name"))
        if name is None:
            continue
        try:
            arguments = json.dumps(field(call, "args"), ensure_ascii=False)
        except Exception:
            arguments = None
        calls.append(ToolCall(name, text(field(call, "id")), arguments))
    return calls


class ChainStream:
    """What a stream of AIMessageChunks has said so far.

    LangChain chunks add up: the library's own addition is what merges usage and tool calls.
    """

    __slots__ = ("_parts", "_text")

    error: str | None = None

    def __init__(self) -> None:
        self._parts: list[Any] = []
        self._text: list[str] = []

    def feed(self, chunk: Any) -> bool:
        """Whether the chunk brought text or a piece of a tool call."""
        self._parts.append(chunk)
        piece = text_of_content(field(chunk, "content"))
        if piece is not None:
            self._text.append(piece)
        return piece is not None or bool(items(field(chunk, "tool_call_chunks")))

    def result(self) -> Extract:
        """The sum of the chunks as one message."""
        first, *rest = self._parts
        # One addition of them all: adding one by one would copy the text once for each chunk.
        whole = first + rest if rest else first
        found = _message(whole)
        found.text = "".join(self._text) or None
        ended = bool(found.finish_reasons) or field(whole, "chunk_position") == "last"
        found.complete = ended
        if found.usage is None:
            found.usage = counted(found.text or "", 0)
        elif not ended:
            found.usage = usage_of(field(whole, "usage_metadata"), UsageCertainty.AT_LEAST)
        return found
