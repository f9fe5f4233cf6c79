"""How large a call may be, told from its arguments: its prompt, and what it may generate.

No tokenizer is asked. Those of most models cannot be had, and a bound has to hold for all of them.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Mapping
from enum import Enum
from types import FunctionType, MethodType
from typing import Any

from firedoor.core.budget import LARGEST
from firedoor.core.prices import DEFAULT_OUTPUT
from firedoor.extraction.fields import count, field

__all__ = ["IMAGE_TOKENS", "OVERHEAD", "SIZES", "input_bound", "output_cap"]

OVERHEAD = 4
"""Tokens added for every message, part, field and tool: what a chat template writes around each is
three or four (https://github.com/openai/openai-cookbook, "How to count tokens with tiktoken")."""

IMAGE_TOKENS = 5_000
"""Tokens an image is counted for, given by address or as data. Claude takes up to 4,784, GPT-4o
1,445; gpt-4o-mini alone bills more of them (at a thirtieth of the price)."""

_FRAME = 16
_MESSAGE = 2 * OVERHEAD + len("rolecontent")
_NUMBER = 24  # characters of the longest float
_UNSEEN = "?" * 64  # stands for a date, an id and the like; what else is not text is not sent
_WIDEST = 20_000
_DEEPEST = 32
_MOST = 1_000_000

_ADDRESSES = frozenset({"url", "image_url", "file_url", "uri", "file_uri", "fileUri"})
_MEDIA = _ADDRESSES | {"data", "bytes", "image_bytes", "imageBytes"}
_MIME = ("media_type", "mime_type", "mimeType")
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF")
_LEAVES = frozenset({str, int, float, bool, type(None), bytes, bytearray})
_PLAIN = range(-(2**63), 2**64)

_CAPS = frozenset(
    {
        "max_completion_tokens",
        "max_output_tokens",
        "max_tokens",
        "max_tokens_to_sample",
        "max_new_tokens",
        "maxOutputTokens",
        "maxTokens",
        "num_predict",
    }
)
_CHOICES = frozenset({"n", "best_of", "candidate_count", "candidateCount"})
_NESTED = frozenset(
    {
        "config",
        "extra_body",
        "generation_config",
        "generationConfig",
        "inferenceConfig",
        "options",
    }
)
SIZES = _CAPS | _CHOICES | _NESTED
"""Names of arguments that say how much may come."""


def input_bound(value: Any) -> int:
    """An upper bound of the tokens in all texts of `value`, however deep.

    Byte-pair tokenizers cut bytes, never join texts, and a token has at least one: a text has no
    more tokens than UTF-8 bytes. That is about four times the real figure of English and is exact
    for what no vocabulary knows. Numbers count as their digits, images as `IMAGE_TOKENS`, other
    files as their bytes. What the provider adds from elsewhere (an earlier response by its id, a
    file by its id) cannot be seen here.

    Never raises, and ends for structures that contain themselves: what is met again inside itself
    counts nothing, as it cannot be sent.
    """
    if type(value) is str:
        return _FRAME + _bytes(value)
    total = _FRAME
    level = [value]
    for _ in range(_DEEPEST):
        size, level = _read(level)
        total += size
        if not level:
            return total
        if len(level) > _WIDEST:
            break
    return _FRAME + _thoroughly(value)


def _read(level: list[Any]) -> tuple[int, list[Any]]:
    """The size of values without what is in them, and what is in them."""
    total = 0
    below: list[Any] = []
    for one in level:
        kind = type(one)
        if kind is dict:
            try:
                names = "".join(one)
            except TypeError:
                names = "".join([name if type(name) is str else _UNSEEN for name in one])
            total += OVERHEAD * len(one)
            total += len(names) if names.isascii() else _bytes(names)
            for name, inner in one.items():
                if name in _MEDIA:
                    total += _media(name, inner, one, below)
                elif type(inner) is str:
                    total += len(inner) if inner.isascii() else _bytes(inner)
                elif inner is not None:
                    below.append(inner)
        elif kind is list or kind is tuple:
            total += OVERHEAD
            for part in one:
                if (
                    type(part) is dict
                    and len(part) == 2
                    and type(text := part.get("content")) is str
                    and text.isascii()
                    and type(role := part.get("role")) is str
                ):
                    # Nearly every message there is, at a third of the time.
                    total += len(text) + 4 * len(role) + _MESSAGE
                else:
                    below.append(part)
        elif kind is str:
            total += len(one) if one.isascii() else _bytes(one)
        elif kind is float or kind is bool or one is None:
            total += _NUMBER
        elif kind is int:
            total += _NUMBER if one in _PLAIN else one.bit_length()
        elif kind is bytes or kind is bytearray:
            total += IMAGE_TOKENS if one.startswith(_PICTURES) else _base64(len(one))
        else:
            below += _inside(one)
    return total, below


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def _base64(size: int) -> int:
    return (size + 2) // 3 * 4 + OVERHEAD


def _media(name: str, value: Any, beside: dict[Any, Any], below: list[Any]) -> int:
    """What may be an image: an address, or data with its type beside it."""
    kind = type(value)
    if kind is not str and kind is not bytes:
        if value is not None:
            below.append(value)
        return 0
    mime = next((told for key in _MIME if type(told := beside.get(key)) is str), "")
    if name not in _ADDRESSES:
        if mime.startswith("image/"):
            return IMAGE_TOKENS
        below.append(value)
        return 0
    if kind is str and value.startswith("data:image/"):
        return IMAGE_TOKENS
    # An image's address, or a text that begins with one: whichever is more.
    size = _bytes(value) if kind is str else len(value)
    return max(size, IMAGE_TOKENS) if kind is str and "://" in value[:16] else size


def _thoroughly(value: Any) -> int:
    """As `input_bound`, each object read once: for what is very deep, very wide or has circles."""
    sizes: dict[int, int] = {}
    inner: dict[int, tuple[Any, int, list[Any]]] = {}  # keeps what it names alive, and so its id
    stack = [value]
    while stack:
        one = stack[-1]
        name = id(one)
        if name in sizes:
            stack.pop()
        elif name in inner:
            _, size, below = inner[name]
            size += sum(sizes.get(id(part), 0) for part in below)
            sizes[name] = min(size, LARGEST)
            stack.pop()
        else:
            size, below = _read([one])
            size += _read([part for part in below if type(part) in _LEAVES])[0]
            deeper = [part for part in below if type(part) not in _LEAVES]
            inner[name] = one, size, deeper
            if len(inner) > _MOST:
                return LARGEST  # it grows as it is read: nobody can tell how large it is
            stack += [part for part in deeper if id(part) not in inner]
    return sizes[id(value)]


_schemas: weakref.WeakKeyDictionary[type, Any] = weakref.WeakKeyDictionary()


def _inside(value: Any) -> list[Any]:
    """What there is to read in an object: a mapping, a sequence, or a message with fields."""
    try:
        kind = type(value)
        if issubclass(kind, str):
            return [str.__str__(value)]
        if issubclass(kind, Mapping):
            return [dict(value)]
        if issubclass(kind, list | tuple | set | frozenset | deque):
            return [list(value)]
        if issubclass(kind, int | float):
            return [int(value) if issubclass(kind, int) else float(value)]
        if kind is memoryview:
            return [b"\0" * value.nbytes]
        if issubclass(kind, Enum):
            return [value.value]
        fields = getattr(kind, "__pydantic_fields__", None) or getattr(
            kind, "__dataclass_fields__", None
        )
        if fields:
            found = {name: getattr(value, name, None) for name in fields}
            found.update(getattr(value, "__pydantic_extra__", None) or {})
            return [found]
        if issubclass(kind, type):
            return [_schema(value)]
        if kind is FunctionType or kind is MethodType:
            # A tool given as a function: its name, its parameters and what it says of itself.
            hints = [str(hint) for hint in value.__annotations__.values()]
            return [value.__name__, value.__doc__ or "", *value.__code__.co_varnames, *hints]
        if kind.__module__.startswith("PIL."):
            return [_PICTURES[0]]
    except Exception:
        return [_UNSEEN]
    return [_UNSEEN]


def _schema(kind: type) -> Any:
    """A response format given as a class: its schema is sent."""
    try:
        return _schemas[kind]
    except KeyError:
        pass
    read = getattr(kind, "model_json_schema", None)
    schema = _schemas[kind] = _UNSEEN if read is None else read()
    return schema


def output_cap(arguments: Mapping[str, Any], max_output: int | None = None) -> int:
    """The most tokens a call can generate: its own cap, else the tier's, else `DEFAULT_OUTPUT`.

    Times the number of choices asked for. Of several caps the largest counts, as firedoor cannot
    know which of them a provider heeds.
    """
    cap = choices = -1
    for name in arguments:
        if name in SIZES:
            value = arguments[name]
            if name in _CAPS:
                cap = max(cap, _told(value))
            elif name in _CHOICES:
                choices = max(choices, _told(value))
            else:
                cap = max(cap, *(_told(field(value, one)) for one in _CAPS))
                choices = max(choices, *(_told(field(value, one)) for one in _CHOICES))
    if cap < 0:
        cap = DEFAULT_OUTPUT if max_output is None else max_output
    return cap if choices < 1 else cap * choices


def _told(value: Any) -> int:
    """A number that was given, else -1."""
    if type(value) is int:
        return value
    told = count(value)
    return -1 if told is None else told
