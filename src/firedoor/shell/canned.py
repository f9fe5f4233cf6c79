"""Safe responses in the shape the caller expects: a value, a stream of it, or an SDK's own object.

The SDKs are imported only when a response of theirs is asked for, and only their types are used.
"""

from __future__ import annotations

import importlib
import inspect
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Self

from firedoor.config import Canned
from firedoor.errors import ConfigurationError

__all__ = ["CannedStream", "require_shape", "respond", "said"]

_ID = "canned"
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_MODULES = {
    "openai.chat": "openai.types.chat",
    "openai.responses": "openai.types.responses",
    "anthropic.messages": "anthropic.types",
}


def require_shape(canned: Canned) -> None:
    """Fail at construction, not at 3 a.m.: the SDK of the shape must be installed.

    Raises:
        ConfigurationError: If it is not; it names the extra to install.
    """
    if canned.shape is None or canned.shape == "plain":
        return
    package = canned.shape.split(".")[0]
    try:
        importlib.import_module(_MODULES[canned.shape])
    except ImportError:
        raise ConfigurationError(
            f"Canned(shape={canned.shape!r}) needs the {package} SDK: "
            f"pip install 'firedoor[{package}]'"
        ) from None
    if not isinstance(canned.response, str):
        raise ConfigurationError(
            f"Canned(shape={canned.shape!r}) makes a response object of a string, not of "
            f"{type(canned.response).__name__}: give the text, or leave shape out to return the "
            "object as it is"
        )


def respond(
    canned: Canned, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, stream: bool
) -> Any:
    """What the caller gets.

    Args:
        canned: The tier.
        args: The call's positional arguments.
        kwargs: The call's keyword arguments.
        stream: A stream is expected.
    """
    value = said(canned, args, kwargs)
    if canned.shape is None or canned.shape == "plain":
        return CannedStream(_as_stream(value)) if stream else value
    model = str(kwargs.get("model") or _ID)
    make, pieces = _MAKERS[canned.shape]
    return CannedStream(pieces(value, model)) if stream else make(value, model)


def said(canned: Canned, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The response; a callable one is called with those of the call's arguments that it takes."""
    value: Any = canned.response
    if not callable(value):
        return value
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return value(*args, **kwargs)
    kinds = [parameter.kind for parameter in parameters]
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        args = args[: sum(kind in _BY_POSITION for kind in kinds)]
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        names = {parameter.name for parameter in parameters if parameter.kind in _BY_NAME}
        kwargs = {name: given for name, given in kwargs.items() if name in names}
    return value(*args, **kwargs)


def _as_stream(value: Any) -> list[Any]:
    """A value as the chunks of a stream; a response object of an SDK as that SDK's."""
    kind = type(value)
    read = _READ.get((kind.__module__.partition(".")[0], kind.__name__))
    if read is None:
        return [value]
    shape, text_of = read
    pieces: list[Any] = _MAKERS[shape][1](text_of(value), str(value.model))
    return pieces


class CannedStream:
    """A stream that is already there: iterable both ways, closable, usable in `with`."""

    def __init__(self, items: list[Any]) -> None:
        self._items = iter(items)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._items)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self._items)
        except StopIteration:
            raise StopAsyncIteration from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._items = iter(())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._items = iter(())

    def close(self) -> None:
        """Nothing is held."""
        self._items = iter(())


def _chat(text: str, model: str) -> Any:
    from openai.types.chat import ChatCompletion  # noqa: PLC0415 - optional

    return ChatCompletion.model_validate(
        {
            "id": _ID,
            "object": "chat.completion",
            "created": int(time.time()),
            "model": model,
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": text},
                }
            ],
        }
    )


def _chat_pieces(text: str, model: str) -> list[Any]:
    from openai.types.chat import ChatCompletionChunk  # noqa: PLC0415 - optional

    def chunk(delta: dict[str, Any], finish: str | None) -> Any:
        return ChatCompletionChunk.model_validate(
            {
                "id": _ID,
                "object": "chat.completion.chunk",
                "created": int(time.time()),
                "model": model,
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            }
        )

    return [chunk({"role": "assistant", "content": text}, None), chunk({}, "stop")]


def _response(text: str, model: str) -> Any:
    from openai.types.responses import Response  # noqa: PLC0415 - optional

    return Response.model_validate(_response_data(text, model))


def _response_data(text: str, model: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {
        "id": _ID,
        "object": "response",
        "created_at": int(time.time()),
        "model": model,
        "status": "completed",
        "output": [
            {
                "id": _ID,
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [part],
            }
        ],
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
    }


def _response_pieces(text: str, model: str) -> list[Any]:
    from openai.types import responses  # noqa: PLC0415 - optional

    delta = responses.ResponseTextDeltaEvent.model_validate(
        {
            "type": "response.output_text.delta",
            "delta": text,
            "item_id": _ID,
            "output_index": 0,
            "content_index": 0,
            "sequence_number": 0,
            "logprobs": [],
        }
    )
    completed = responses.ResponseCompletedEvent.model_validate(
        {
            "type": "response.completed",
            "response": _response_data(text, model),
            "sequence_number": 1,
        }
    )
    return [delta, completed]


def _message(text: str, model: str) -> Any:
    from anthropic.types import Message  # noqa: PLC0415 - optional

    return Message.model_validate(_message_data(text, model))


def _message_data(text: str | None, model: str) -> dict[str, Any]:
    return {
        "id": _ID,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [] if text is None else [{"type": "text", "text": text}],
        "stop_reason": None if text is None else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }


def _message_pieces(text: str, model: str) -> list[Any]:
    from anthropic import types  # noqa: PLC0415 - optional

    events: list[tuple[Any, dict[str, Any]]] = [
        (
            types.RawMessageStartEvent,
            {"type": "message_start", "message": _message_data(None, model)},
        ),
        (
            types.RawContentBlockStartEvent,
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "text", "text": ""},
            },
        ),
        (
            types.RawContentBlockDeltaEvent,
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": text},
            },
        ),
        (types.RawContentBlockStopEvent, {"type": "content_block_stop", "index": 0}),
        (
            types.RawMessageDeltaEvent,
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 0},
            },
        ),
        (types.RawMessageStopEvent, {"type": "message_stop"}),
    ]
    return [kind.model_validate(data) for kind, data in events]


_MAKERS = {
    "openai.chat": (_chat, _chat_pieces),
    "openai.responses": (_response, _response_pieces),
    "anthropic.messages": (_message, _message_pieces),
}

_READ: dict[tuple[str, str], tuple[str, Callable[[Any], str]]] = {
    ("openai", "ChatCompletion"): (
        "openai.chat",
        lambda said: said.choices[0].message.content or "",
    ),
    ("openai", "Response"): ("openai.responses", lambda said: said.output_text),
    ("anthropic", "Message"): (
        "anthropic.messages",
        lambda said: "".join(block.text for block in said.content if block.type == "text"),
    ),
}
"""How the text is read of the response objects that may be given."""
