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
    messages = [field(entry, "message") for entry in chosen]
    if messages[0] is not None:
        told = [_message(message) for message in messages]
        found = told[0]
        layers = {one.refusal for one in told}
        found.refusal = next(
            (one for one in ("stop_reason", "refusal_block") if one in layers), None
        )
        found.text = "\n".join(one.text for one in told if one.text) or None
        answered = "\n".join(
            said for m in messages if (said := text_of_content(field(m, "content")))
        )
        found.answered = answered if found.refusal and answered else None
    else:
        reason = finish_reason(path(chosen[0], "generation_info", "finish_reason"))
        found = Extract(
            finish_reasons=(reason,) if reason else (), complete=True if reason else None
        )
        texts = [text(field(entry, "text")) for entry in chosen]
        found.text = "\n".join(t for t in texts if t) or None
    output = field(value, "llm_output")
    found.model = found.model or text(field(output, "model_name"))
    found.usage = found.usage or usage_of(field(output, "token_usage"))
    return found


def _message(value: Any) -> Extract:
    about = field(value, "response_metadata")
    reason = finish_reason(field(about, "finish_reason")) or finish_reason(
        field(about, "stop_reason")
    )
    said, declined = text_of_content(field(value, "content")), _declined(value)
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
        text=f"{said or ''}{declined or ''}" or None,
        answered=said if refusal else None,
        complete=True if reason else None,
    )


def _declined(value: Any) -> str | None:
    """The text of its refusal: a keyword beside the content, or blocks in it."""
    blocks = [text(field(part, "refusal")) for part in items(field(value, "content"))]
    aside = text(path(value, "additional_kwargs", "refusal"))
    return "".join(piece for piece in (*blocks, aside) if piece) or None


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

    __slots__ = ("_declined", "_parts", "_text")

    error: str | None = None

    def __init__(self) -> None:
        self._parts: list[Any] = []
        self._text: list[str] = []
        self._declined: list[str] = []

    def feed(self, chunk: Any) -> bool:
        """Whether the chunk brought text, a refusal or a piece of a tool call."""
        self._parts.append(chunk)
        piece = text_of_content(field(chunk, "content"))
        if piece is not None:
            self._text.append(piece)
        declined = _declined(chunk)
        if declined is not None:
            self._declined.append(declined)
        return (
            piece is not None
            or declined is not None
            or bool(items(field(chunk, "tool_call_chunks")))
        )

    def result(self) -> Extract:
        """The sum of the chunks as one message."""
        first, *rest = self._parts
        # One addition of them all: adding one by one would copy the text once for each chunk.
        whole = first + rest if rest else first
        found = _message(whole)
        # Not from the sum: what the library makes of pieces of blocks is its own affair.
        said, declined = "".join(self._text), "".join(self._declined)
        if declined and found.refusal is None:
            found.refusal = "refusal_block"
        found.text = f"{said}{declined}" or None
        found.answered = said if found.refusal and said else None
        ended = bool(found.finish_reasons) or field(whole, "chunk_position") == "last"
        found.complete = ended
        if found.usage is None:
            found.usage = counted(found.text or "", 0)
        elif not ended:
            found.usage = usage_of(field(whole, "usage_metadata"), UsageCertainty.AT_LEAST)
        return found
