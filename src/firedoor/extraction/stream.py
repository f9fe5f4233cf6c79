"""One stream read chunk by chunk, whatever the library: the shape is decided at the first chunk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from firedoor.extraction.chat import ChatStream, is_chat
from firedoor.extraction.fields import field
from firedoor.extraction.langchain import ChainStream, is_chain
from firedoor.extraction.messages import MessageStream, is_message_event
from firedoor.extraction.responses import ResponseStream, is_response_event
from firedoor.extraction.rewrite import replace_text, text_of
from firedoor.extraction.usage import counted
from firedoor.extraction.words import provider_of
from firedoor.types import Extract

__all__ = ["StreamReader"]


class _Shape(Protocol):
    """What reads one shape of stream."""

    @property
    def error(self) -> str | None: ...

    def feed(self, chunk: Any, /) -> bool: ...

    def result(self) -> Extract: ...


class _TextStream:
    """A stream of strings. It has no notion of being complete."""

    __slots__ = ("_parts",)

    error: str | None = None

    def __init__(self) -> None:
        self._parts: list[str] = []

    def feed(self, chunk: Any) -> bool:
        if chunk and type(chunk) is str:
            self._parts.append(chunk)
            return True
        return chunk is not None and chunk != ""

    def result(self) -> Extract:
        written = "".join(self._parts)
        return Extract(text=written or None, usage=counted(written, 0))


class _ChatHelperStream(ChatStream):
    """`client.chat.completions.stream()`: the raw chunks come among events derived from them."""

    __slots__ = ()

    def feed(self, event: Any) -> bool:
        return field(event, "type") == "chunk" and super().feed(field(event, "chunk"))


class _Registered:
    """Chunks of a type the application registered: what each one says is put together."""

    __slots__ = ("_answered", "_found", "_read", "_texts")

    error: str | None = None

    def __init__(self, read: Callable[[Any], Extract]) -> None:
        self._read = read
        self._found: Extract | None = None
        self._texts: list[str] = []
        self._answered: list[str] = []

    def feed(self, chunk: Any) -> bool:
        said = self._read(chunk)
        if said.text:
            self._texts.append(said.text)
        beside = said.answered if said.refusal == "refusal_block" else said.text
        if beside:
            self._answered.append(beside)
        found = self._found = self._found or Extract()
        found.model = found.model or said.model
        found.provider = found.provider or said.provider
        found.response_id = found.response_id or said.response_id
        found.usage = said.usage or found.usage
        found.finish_reasons = said.finish_reasons or found.finish_reasons
        found.tool_calls += said.tool_calls
        if found.refusal is None or said.refusal == "stop_reason":  # that layer is the surest
            found.refusal = said.refusal
        found.unknown = found.unknown or said.unknown
        if said.complete is not None:
            found.complete = said.complete
        return bool(said.text or said.tool_calls or said.unknown)

    def result(self) -> Extract:
        found = self._found or Extract()
        found.text = "".join(self._texts) or None
        found.answered = "".join(self._answered) or None
        if found.usage is None:
            found.usage = counted(found.text or "", 0)
        return found


class _UnknownStream:
    """Chunks of no known shape: each counts as content, none is read."""

    __slots__ = ("_why",)

    error: str | None = None

    def __init__(self, why: str) -> None:
        self._why = why

    def feed(self, chunk: Any) -> bool:
        return chunk is not None and chunk != b""

    def result(self) -> Extract:
        return Extract(unknown=self._why)


class StreamReader:
    """Accumulates one stream. Made anew for each; used by one reader at a time.

    Nothing here raises: a chunk that cannot be read counts as content, and `result` says so.
    """

    __slots__ = ("_failed", "_feed", "_registered", "_shape", "_source")

    def __init__(
        self,
        registered: Callable[[type], Callable[[Any], Extract] | None] | None = None,
        source: Any = None,
    ) -> None:
        self._registered = registered
        self._source = provider_of(source) if source is not None else None
        self._shape: _Shape | None = None
        self._failed: str | None = None
        self._feed: Callable[[Any], bool] = self._first

    def feed(self, chunk: Any) -> bool:
        """Whether the chunk brought content for the user: text, a refusal, a tool call.

        Metadata, usage, keep-alives and hidden reasoning are not content.
        """
        try:
            return self._feed(chunk)
        except Exception as error:
            self._failed = f"stream of {_name(chunk)}: {type(error).__name__}"
            return True

    def _first(self, chunk: Any) -> bool:
        self._shape = self._decide(chunk)
        self._feed = self._shape.feed
        return self._feed(chunk)

    def _decide(self, chunk: Any) -> _Shape:
        kind = type(chunk)
        if self._registered is not None:
            read = self._registered(kind)
            if read is not None:
                return _Registered(read)
        if kind is str:
            return _TextStream()
        if is_chat(chunk):
            return ChatStream()
        if is_message_event(chunk):
            return MessageStream()
        if is_response_event(chunk):
            return ResponseStream()
        if is_chain(chunk):
            return ChainStream()
        if is_chat(field(chunk, "chunk")) or field(chunk, "type") == "content.delta":
            return _ChatHelperStream()
        return _UnknownStream(f"stream of {_name(chunk)}")

    @property
    def error(self) -> str | None:
        """The code of an error that came as an event of the stream, without an exception."""
        return self._shape.error if self._shape is not None else None

    def text_of(self, chunk: Any) -> str | None:
        """The text a chunk adds, as `rewrite.text_of`."""
        return text_of(chunk)

    def replace_text(self, chunk: Any, text: str) -> Any:
        """An equal chunk with another text, as `rewrite.replace_text`."""
        return replace_text(chunk, text)

    def result(self) -> Extract:
        """What the stream said in all, as far as it came. May be asked more than once.

        `complete` is False when a provider's stream gave no finish reason. Usage is exact when
        the provider reported it at the end; else it is a lower bound (see `usage.counted`).
        """
        if self._shape is None:
            # Nothing came. Of a provider's stream that is not an answer; of a generator it may be.
            return Extract(provider=self._source, complete=False if self._source else None)
        try:
            found = self._shape.result()
        except Exception as error:
            return Extract(unknown=f"stream could not be put together: {type(error).__name__}")
        if self._failed is not None:
            found.unknown = self._failed
        return found


def _name(value: Any) -> str:
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"
