"""Whether the installed SDK's code is what firedoor's shortcuts through it were written against."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from types import FunctionType
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
        touched += sorted(function.__code__.co_names)
    return zlib.crc32(" ".join(touched).encode())
