"""Redacting nested values: every string, wherever it hides, and nothing passed on unseen."""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any

from firedoor.privacy.markers import LIMIT, MARKER
from firedoor.privacy.network import credible, secret_name

if TYPE_CHECKING:
    from firedoor.privacy.redactor import Redactor

__all__ = ["Walk"]

_LEAST_NUMBER = 10**7
"""Smaller numbers are no card, account or identifier."""
_INERT = (dt.date, dt.time, dt.timedelta, uuid.UUID)


class Walk:
    """One pass over one value, with its limits."""

    __slots__ = ("_budget", "_depth", "_found", "_max_text", "_path", "_redactor")

    def __init__(
        self, redactor: Redactor, found: dict[str, int] | None, depth: int, items: int, text: int
    ) -> None:
        self._redactor = redactor
        self._found = found
        self._depth = depth
        self._budget = items
        self._max_text = text
        self._path: set[int] = set()

    def visit(self, value: Any, name: str | None = None) -> Any:
        """`value` redacted; `name` is the key it stands under."""
        self._budget -= 1
        if self._budget < 0:
            return LIMIT
        if name is not None and value is not None:
            hidden = self._by_name(value, name)
            if hidden is not None:
                return hidden
        if isinstance(value, str):
            return self._redactor.redact_text(str(value), self._found)
        if value is None or isinstance(value, (bool, *_INERT)):
            return value
        if isinstance(value, int | float | Decimal):
            return self._number(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return self._bytes(value)
        return self._container(value)

    def _by_name(self, value: Any, name: str) -> str | bytes | None:
        said = secret_name(name)
        if (
            said is None
            or not isinstance(value, str | bytes | int | float)
            or isinstance(value, bool)
        ):
            return None
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        if not text or MARKER.fullmatch(text):
            return None
        if said == "certain" or credible(text, certain=False, quoted=True):
            self._count("secret")
            marker = self._redactor.token(text, "secret")
            return marker.encode() if isinstance(value, bytes) else marker
        return None

    def _number(self, value: Any) -> Any:
        try:
            if abs(value) < _LEAST_NUMBER:
                return value
            text = str(int(value)) if value == int(value) else str(value)
        except (ValueError, OverflowError, ArithmeticError):
            return value
        redacted = self._redactor.redact_text(text, self._found)
        return value if redacted == text else redacted

    def _bytes(self, value: bytes | bytearray | memoryview) -> bytes:
        data = bytes(value)
        if len(data) > self._max_text:
            return LIMIT.encode()
        try:
            text, encoding = data.decode(), "utf-8"
        except UnicodeDecodeError:
            text, encoding = data.decode("latin-1"), "latin-1"
        if b"\x00" in data and self._redactor.scan(data.replace(b"\x00", b"").decode("latin-1")):
            # Two bytes a character, or a text cut up by zeros: nothing of it can be kept.
            self._count("encoded")
            return self._redactor.token(text, "encoded").encode()
        redacted = self._redactor.redact_text(text, self._found)
        return data if redacted is text else redacted.encode(encoding)

    def _container(self, value: Any) -> Any:
        if len(self._path) >= self._depth or id(value) in self._path:
            return LIMIT
        self._path.add(id(value))
        try:
            if isinstance(value, Mapping):
                return self._mapping(value)
            if isinstance(value, AbstractSet):
                members = map(self.visit, value)
                return frozenset(members) if isinstance(value, frozenset) else set(members)
            if isinstance(value, tuple):
                return tuple(map(self.visit, value))
            if isinstance(value, Sequence):
                return [*map(self.visit, value)]
            if dataclasses.is_dataclass(value) and not isinstance(value, type):
                return self._mapping(
                    {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
                )
            if isinstance(value, Enum):
                return self.visit(value.value)
            dump = getattr(value, "model_dump", None)
            if callable(dump):
                return self.visit(dump())
        finally:
            self._path.discard(id(value))
        self._count("object")
        return self._redactor.redact_text(f"<{type(value).__name__} object>", self._found)

    def _mapping(self, value: Mapping[Any, Any]) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key, item in value.items():
            if self._budget <= 0:
                result[LIMIT] = LIMIT
                break
            name = key if isinstance(key, str) else None
            result[self.visit(key)] = self.visit(item, name)
        return result

    def _count(self, kind: str) -> None:
        if self._found is not None:
            self._found[kind] = self._found.get(kind, 0) + 1
