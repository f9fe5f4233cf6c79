"""OpenAI's Chat Completions shape, which most other providers and servers speak too."""

from __future__ import annotations

from typing import Any

from firedoor.extraction.fields import count, field, items, path, text
from firedoor.extraction.usage import counted, usage_of
from firedoor.extraction.words import finish_reason, provider_of
from firedoor.types import Extract, ToolCall, Usage, UsageCertainty

__all__ = ["ChatStream", "extract_chat", "is_chat", "tool_calls_of"]


def is_chat(value: Any) -> bool:
    """Whether `value` is a chat completion or a chunk of one."""
    if not issubclass(type(field(value, "choices")), list | tuple):
        return False
    return bool(field(value, "choices")) or text(field(value, "object")) in _OBJECTS


_OBJECTS = ("chat.completion", "chat.completion.chunk", "text_completion")


def extract_chat(value: Any) -> Extract:
    """A whole chat completion. Several choices: their texts are joined by a newline."""
    texts: list[str] = []
    answered: list[str] = []
    reasons: list[str] = []
    calls: list[ToolCall] = []
    refusal = output_type = None
    for choice in items(field(value, "choices")):
        message = field(choice, "message")
        content = text_of_content(field(message, "content")) or text(field(choice, "text"))
        declined = text(field(message, "refusal"))
        if content:
            answered.append(content)
        if content or declined:
            texts.append(f"{content or ''}{declined or ''}")  # as a stream of it reads
        if declined:
            refusal = "refusal_block"
        if not isinstance(field(message, "parsed"), type(None) | str):
            output_type = "json"
        if text(path(message, "audio", "id")) and not content:
            output_type = "speech"
        calls.extend(tool_calls_of(message))
        reason = finish_reason(field(choice, "finish_reason"))
        if reason is not None:
            reasons.append(reason)
    if "content_filter" in reasons:
        refusal = "stop_reason"
    return Extract(
        model=text(field(value, "model")),
        provider=provider_of(value),
        response_id=text(field(value, "id")),
        usage=usage_of(field(value, "usage")),
        finish_reasons=tuple(reasons),
        tool_calls=tuple(calls),
        refusal=refusal,
        text="\n".join(texts) if texts else None,
        complete=True if reasons else None,
        output_type=output_type,
        answered="\n".join(answered) if refusal and answered else None,
    )


def text_of_content(content: Any) -> str | None:
    """The text of a `content` field: a string, or a list of parts with `text`."""
    if issubclass(type(content), str):
        return text(content)
    parts = [text(part) or text(field(part, "text")) for part in items(content)]
    return "".join(part for part in parts if part) or None


def tool_calls_of(message: Any) -> list[ToolCall]:
    """The tools a message asks for: functions, custom tools, and the old `function_call`."""
    calls: list[ToolCall] = []
    for call in items(field(message, "tool_calls")):
        function = field(call, "function")
        arguments = field(function, "arguments")
        if text(field(function, "name")) is None:
            function = field(call, "custom")
            arguments = field(function, "input")
        name = text(field(function, "name"))
        if name is not None:
            calls.append(ToolCall(name, text(field(call, "id")), text(arguments)))
    old = field(message, "function_call")
    name = text(field(old, "name"))
    if name is not None:
        calls.append(ToolCall(name, None, text(field(old, "arguments"))))
    return calls


_ODD_DELTA = frozenset({"tool_calls", "refusal", "function_call"})


class ChatStream:
    """What a stream of chat completion chunks has said so far."""

    __slots__ = (
        "_broke",
        "_calls",
        "_choices",
        "_deltas",
        "_finished",
        "_heads",
        "_parts",
        "_refusals",
        "_usage",
    )

    def __init__(self) -> None:
        self._broke: str | None = None
        self._parts: list[str] = []
        self._choices: dict[int, list[str]] = {0: self._parts}
        self._deltas = 0
        self._refusals: list[tuple[int, int]] = []
        """Which pieces of which choices are of a refusal block."""
        self._calls: dict[tuple[int, int], _Call] = {}
        self._finished: dict[int, str] = {}
        self._heads: list[Any] = []
        self._usage: Any = None

    def feed(self, chunk: Any) -> bool:
        """Whether the chunk brought text, a refusal or a piece of a tool call."""
        # Nearly every chunk is one choice with a piece of text. Its instance dicts are read as
        # they are: pydantic's `__getattr__` keeps the interpreter from caching attributes, and
        # the safe readers cost several times as much.
        try:
            if type(chunk) is dict:
                choices = chunk["choices"]
                choice = choices[0]
                delta = choice["delta"]
                piece = delta["content"]
                if (
                    piece.__class__ is str
                    and piece
                    and choice["finish_reason"] is None
                    and choice["index"] == 0
                    and len(choices) == 1
                    and (len(delta) == 1 or not _ODD_DELTA.intersection(delta))
                    and chunk.get("usage") is None
                    and "error" not in chunk
                    and len(self._heads) > 1
                ):
                    self._parts.append(piece)
                    self._deltas += 1
                    return True
                return self._read(chunk)
            held = chunk.__dict__
            (choice,) = held["choices"]
            choice = choice.__dict__
            delta = choice["delta"].__dict__
            piece = delta["content"]
            if (
                type(piece) is str
                and piece
                and choice["finish_reason"] is None
                and delta["tool_calls"] is None
                and delta["refusal"] is None
                and held["usage"] is None
                and choice["index"] == 0
                and self._heads
            ):
                self._parts.append(piece)
                self._deltas += 1
                return True
        except Exception:  # noqa: S110 - whatever this chunk is, the careful reader below takes it
            pass
        return self._read(chunk)

    def _read(self, chunk: Any) -> bool:
        if len(self._heads) < 2:
            self._heads.append(chunk)
        usage = field(chunk, "usage")
        if usage is not None:
            self._usage = usage
        broke = field(chunk, "error")
        if broke is not None:
            self._broke = text(field(broke, "code")) or text(field(broke, "type")) or "error"
        content = False
        for choice in items(field(chunk, "choices")):
            index = count(field(choice, "index")) or 0
            parts = self._choices.setdefault(index, [])
            delta = field(choice, "delta")
            declined = text(field(delta, "refusal"))
            for piece in (
                text_of_content(field(delta, "content")),
                text(field(choice, "text")),
                declined,
            ):
                if piece is not None:
                    parts.append(piece)
                    self._deltas += 1
                    content = True
            if declined is not None:
                self._refusals.append((index, len(parts) - 1))
            content |= self._read_calls(index, delta)
            reason = finish_reason(field(choice, "finish_reason"))
            if reason is not None:
                self._finished[index] = reason
        return content

    def _read_calls(self, index: int, delta: Any) -> bool:
        fragments = items(field(delta, "tool_calls"))
        old = field(delta, "function_call")
        if old is not None:
            fragments = [*fragments, {"index": -1, "function": old}]
        for fragment in fragments:
            position = field(fragment, "index")
            key = (index, position if type(position) is int else len(self._calls))
            call = self._calls.setdefault(key, _Call())
            function = field(fragment, "function") or field(fragment, "custom")
            call.id = call.id or text(field(fragment, "id"))
            call.name += text(field(function, "name")) or ""
            piece = text(field(function, "arguments")) or text(field(function, "input"))
            if piece is not None:
                call.arguments.append(piece)
                self._deltas += 1
        return bool(fragments)

    @property
    def error(self) -> str | None:
        """What a chunk told of an error: gateways answer 200 and break in the stream."""
        return self._broke or ("error" if "error" in self._finished.values() else None)

    def _answered(self) -> str | None:
        """What was said beside the refusal blocks."""
        declined = set(self._refusals)
        said = [
            "".join(piece for place, piece in enumerate(parts) if (index, place) not in declined)
            for index, parts in sorted(self._choices.items())
        ]
        return "\n".join(filter(None, said)) or None

    def result(self) -> Extract:
        """The stream as one response, as far as it came."""
        reasons = tuple(self._finished[i] for i in sorted(self._finished))
        error = self.error
        complete = bool(reasons) and error is None and self._finished.keys() >= self._choices_seen()
        texts = ["".join(parts) for _, parts in sorted(self._choices.items())]
        refusal = "refusal_block" if self._refusals else None
        if "content_filter" in reasons:
            refusal = "stop_reason"
        found = Extract(
            model=self._head("model"),
            provider=provider_of(self._heads[0]) if self._heads else None,
            response_id=self._head("id"),
            usage=self._usage_at_end(texts, complete=complete),
            finish_reasons=reasons,
            tool_calls=tuple(call.made() for _, call in sorted(self._calls.items()) if call.name),
            refusal=refusal,
            text="\n".join(t for t in texts if t) or None,
            complete=complete,
            answered=self._answered() if refusal else None,
        )
        if error is not None:
            found.extra["error"] = error
            found.finish_reasons = reasons or ("error",)
        return found

    def _head(self, name: str) -> str | None:
        # Azure's first chunk holds only the prompt's filter results, with empty names.
        return next((t for t in (text(field(h, name)) for h in self._heads) if t), None)

    def _choices_seen(self) -> set[int]:
        seen = {index for index, parts in self._choices.items() if parts}
        return seen | {index for index, _ in self._calls}

    def _usage_at_end(self, texts: list[str], *, complete: bool) -> Usage:
        certainty = UsageCertainty.EXACT if complete else UsageCertainty.AT_LEAST
        usage = usage_of(self._usage, certainty)
        if usage is not None:
            return usage
        arguments = ["".join(call.arguments) for call in self._calls.values()]
        return counted("\n".join([*texts, *arguments]), self._deltas)


class _Call:
    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id: str | None = None
        self.name = ""
        self.arguments: list[str] = []

    def made(self) -> ToolCall:
        return ToolCall(self.name, self.id, "".join(self.arguments) or None)
