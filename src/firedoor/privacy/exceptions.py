"""What may be told of an exception: its type, and a fingerprint of where it came from. No text."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from firedoor.privacy.redactor import Redactor

__all__ = ["ErrorRecord", "KnownError", "KnownErrors", "describe_exception"]

_MOST = 32
"""Exceptions of one chain or group that are looked at."""
_KEPT = 256
"""Failures a door remembers; then it begins again."""
# Not from sysconfig, whose tables cost more to import than the rest of this package.
_STANDARD = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120 - code objects name files by strings
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_OURS = __name__.partition(".")[0] + "."


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """An exception without a word of its text.

    Attributes:
        type: The qualified name of its type (`openai.RateLimitError`), redacted like any string.
        fingerprint: 16 hexadecimal digits: the same for the same failure under the same key.
    """

    type: str
    fingerprint: str


def describe_exception(error: BaseException, redactor: Redactor) -> ErrorRecord:
    """Type and fingerprint of `error`.

    The fingerprint is a keyed hash over type and raising place of the error, of its causes and
    contexts, and of the members of a group: the module, function and line of the innermost frame
    that belongs to the application (else the innermost of all). Messages, notes and arguments are
    not looked at, so nothing of them can leave, and two failures that differ in nothing else are
    the same.
    """
    return ErrorRecord(redactor.redact_text(_name(type(error))), _fingerprint(error, redactor))


class KnownError:
    """A failure that was met before.

    Attributes:
        fingerprint: As `describe_exception` tells it.
        codes: What its tracebacks went through; kept, so that no other code object can come to
            have the identity of one of these.
        note: For whoever asked: what else was found out about failures like this one.
    """

    __slots__ = ("codes", "fingerprint", "note")

    def __init__(self, fingerprint: str, codes: list[CodeType]) -> None:
        self.fingerprint = fingerprint
        self.codes = codes
        self.note: Any = None


class KnownErrors:
    """The failures a process has met, under one redactor's key: each is looked into once.

    In an outage the same exception is raised at the same place by every call. It is known again by
    its type, and those it is told with, and by the code objects and instructions that their
    tracebacks name.
    """

    __slots__ = ("_known", "_redactor")

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._known: dict[tuple[object, ...], KnownError] = {}

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._known)

    def find(self, error: BaseException) -> KnownError:
        """What is known of failures like `error`."""
        single = (
            error.__cause__ is None
            and error.__context__ is None
            and not isinstance(error, BaseExceptionGroup)
        )
        steps: list[object] = []
        for one in (error,) if single else _related(error):
            steps.append(type(one))
            traceback = one.__traceback__
            while traceback is not None:
                steps.append(id(traceback.tb_frame.f_code))
                steps.append(traceback.tb_lasti)
                traceback = traceback.tb_next
        key = tuple(steps)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            known = KnownError(_fingerprint(error, self._redactor), _codes(error))
            self._known[key] = known
        return known


def _codes(error: BaseException) -> list[CodeType]:
    """The code that the tracebacks of `error` and of those it is told with went through."""
    codes = []
    for one in _related(error):
        traceback = one.__traceback__
        while traceback is not None:
            codes.append(traceback.tb_frame.f_code)
            traceback = traceback.tb_next
    return codes


def _fingerprint(error: BaseException, redactor: Redactor) -> str:
    parts = [f"{_name(type(one))} {_place(one.__traceback__)}" for one in _related(error)]
    return redactor.digest("\n".join(parts), "error", size=8)


def _related(error: BaseException) -> Iterator[BaseException]:
    """The error, its causes and contexts, and the members of groups, each once."""
    seen: set[int] = set()
    queue = [error]
    while queue and len(seen) < _MOST:
        error = queue.pop(0)
        if id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        if isinstance(error, BaseExceptionGroup):
            queue.extend(error.exceptions[:_MOST])
        if error.__cause__ is not None:
            queue.append(error.__cause__)
        elif error.__context__ is not None and not error.__suppress_context__:
            queue.append(error.__context__)


def _name(kind: type[BaseException]) -> str:
    module = kind.__module__
    return (
        kind.__qualname__ if module in {"builtins", "__main__"} else f"{module}.{kind.__qualname__}"
    )


def _place(traceback: TracebackType | None) -> str:
    """Module, function and line of the innermost frame of the application."""
    place = inner = "?"
    while traceback is not None:
        frame = traceback.tb_frame
        code = frame.f_code
        module = frame.f_globals.get("__name__", "?")
        inner = f"{module}:{code.co_qualname}:{traceback.tb_lineno}"
        if _is_application(code, module):
            place = inner
        traceback = traceback.tb_next
    return inner if place == "?" else place


def _is_application(code: CodeType, module: str) -> bool:
    path = code.co_filename
    return not (
        path.startswith((_STANDARD, "<frozen"))
        or module.startswith(_OURS)
        or any(folder in path for folder in _INSTALLED)
    )
