"""Whether the installed SDK's code is what firedoor's shortcuts through it were written against."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from types import CodeType, FunctionType
from typing import Any

__all__ = ["fingerprint"]


def fingerprint(functions: Iterable[Any]) -> int | None:
    """A number for all that these functions touch; None where something is wrapped around one.

    A release that does a thing in a new way touches other names: its number is then unknown, and
    the plain API is used until the shortcut has learnt the new way.
    """
    touched: list[str] = []
    for function in functions:
        if type(function) is not FunctionType:
            return None
        touched += sorted(_names(function.__code__))
    return zlib.crc32(" ".join(touched).encode())


def _names(code: CodeType) -> set[str]:
    """With those of comprehensions, which are code of their own up to Python 3.11 and not after."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names(constant)
    return found
