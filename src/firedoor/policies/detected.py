"""Secrets and personal data, as the redactor's detectors find them.

The detectors judge a text as a whole: they look around for words that say what a number is, and
their tokens have no longest form. So a stream is scanned up to places where nothing can reach
across, and held from there:

* after a line, unless it ends in `:` or `=` (what follows may be the value it announces);
* between two words, if the text before holds nothing but short plain words for a while: no digit,
  no sign that a detector starts from, no token long enough to be a key.

Prose flows word by word; a number, a key or an address is held until its line ends or plain words
have followed. A PEM block is held from its header to its end.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from pydantic import Field

from firedoor.config import declarative
from firedoor.policies.base import Finding, SpanPolicy
from firedoor.privacy import PERSONAL_KINDS, SECRET_KINDS, Redactor

__all__ = ["PersonalData", "Secrets"]

_AROUND = 128
"""Characters in which a detector looks for words beside a value; its own windows are 64 at most."""
_WORD_END = re.compile(r"(?<!earer)(?<!asic)(?<=[a-z])[.,;!?]? ")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.,;!?'\"()"
_SHAPE = bytes(
    ord("a") if code in _PLAIN else ord(" ") if code in b" \n" else ord("#") for code in range(256)
)
"""What each character is to plain words: part of one (`a`), between two (a space), or neither."""
_RECENT = 512
"""Characters at the end of a text in which plain words are looked for."""
_BEGIN, _END = "-----BEGIN", re.compile(r"-----END[A-Z0-9 ]{0,40}-----")


@declarative
class _Detected(SpanPolicy):
    """Finds what the redactor's detectors find, of one group of kinds.

    Attributes:
        kinds: Which kinds. None: all of the group.
        redactor: Makes the markers of `action="redact"`. None: the door's.
    """

    group: ClassVar[frozenset[str]] = frozenset()
    behind: ClassVar[int] = _AROUND

    kinds: frozenset[str] | None = Field(default=None, kw_only=True)
    redactor: Any = Field(default=None, kw_only=True)

    def check(self) -> None:
        """Only kinds that there are."""
        super().check()
        kinds = self.group if self.kinds is None else self.kinds
        unknown = kinds - self.group
        if unknown or not kinds:
            raise ValueError(
                f"kinds={sorted(kinds)!r}: use some of {', '.join(sorted(self.group))}"
            )
        # Detectors of the application's own are not asked: nothing is known of their reach.
        scanner = Redactor(kinds)
        object.__setattr__(self, "_scanner", scanner)
        object.__setattr__(self, "_marker", (self.redactor or scanner).token)

    def bound(self, redactor: Any) -> Self:
        """With the door's redactor, unless it was given one of its own."""
        if redactor is None or self.redactor is not None:
            return self
        return dataclasses.replace(self, redactor=redactor)

    def marker(self, kind: str, found: str) -> str:
        """The redactor's own marker: the kind and a keyed token."""
        return str(self._marker(found, kind))  # type: ignore[attr-defined]

    def advance(
        self, text: str, start: int = 0, *, offset: int = 0, final: bool = True
    ) -> tuple[Sequence[Finding], int]:
        """What lies before the last place that nothing can reach across."""
        position = len(text) if final else _boundary(text, start, at_beginning=offset == 0)
        if position <= start:
            return (), start
        found = self._scanner.scan(text if final else text[:position])  # type: ignore[attr-defined]
        return [Finding(*match) for match in found if match.start >= start], position


@declarative
class Secrets(_Detected):
    """Finds keys, tokens, passwords and credentials (`privacy.SECRET_KINDS`)."""

    kind: ClassVar[str] = "secrets"
    group: ClassVar[frozenset[str]] = SECRET_KINDS


@declarative
class PersonalData(_Detected):
    """Finds addresses, telephone, card, account and identity numbers (`privacy.PERSONAL_KINDS`)."""

    kind: ClassVar[str] = "personal_data"
    group: ClassVar[frozenset[str]] = PERSONAL_KINDS


def _boundary(text: str, start: int, *, at_beginning: bool) -> int:
    """The last position that no finding, and nothing that a detector looks at, reaches across."""
    size = len(text)
    block = text.find(_BEGIN, start)
    if block < 0:
        return _open_ground(text, start, size, at_beginning=at_beginning)
    stretches = [start]
    while block >= 0:
        end = _END.search(text, block)
        stretches += (block, size if end is None else end.end())
        block = -1 if end is None else text.find(_BEGIN, end.end())
    stretches.append(size)
    # From the last stretch without a block to the first; within a block there is no such place.
    while stretches:
        last, first = stretches.pop(), stretches.pop()
        position = _open_ground(text, first, last, at_beginning=at_beginning)
        if position > first:
            return position
    return start


def _open_ground(text: str, start: int, end: int, *, at_beginning: bool) -> int:
    """The last line end or word end of a stretch that nothing reaches across, or its start."""
    line = _line_end(text, start, end)
    # The run of plain words may begin before the stretch: what is kept there is looked at too.
    recent = max(line - _AROUND, end - _RECENT, 0)
    shape = _shape(text[recent:end])
    stop = len(shape)
    while stop and recent + stop > line:
        odd = shape.rfind(b"#", 0, stop)
        # A word cut off where the text at hand begins could be the end of a long token.
        whole = odd < 0 and recent == 0
        first = 0 if whole else shape.find(b" ", odd + 1, stop) + 1 or stop
        least = max(line, recent + first + (0 if whole and at_beginning else _AROUND - 16))
        if least < recent + stop:
            ended = _last_word_end(text, least, recent + stop)
            if ended > least:
                return ended
        stop = shape.rfind(b" ", 0, max(odd, 0)) + 1
    return line


def _shape(text: str) -> bytes:
    """`text` as `_SHAPE` says, where words of more than 15 characters and double spaces are neither.

    Reading the end of a text from behind in this form costs a third of what an expression does.
    """
    if not text.isascii():
        text = _NOT_ASCII.sub("#", text)
    shape = text.encode().translate(_SHAPE)
    return shape.replace(b"a" * 16, b"#" * 16).replace(b"  ", b"##")


def _last_word_end(text: str, first: int, last: int) -> int:
    """Where the last whole word of plain words ends, behind `first`; -1 if none does."""
    space = text.rfind(" ", first, last)
    while space >= 0:
        if _WORD_END.search(text, max(0, space - 1), space + 1):
            return space + 1
        space = text.rfind(" ", first, space)
    return -1


def _line_end(text: str, start: int, end: int) -> int:
    at = text.rfind("\n", start, end)
    while at >= 0:
        if text[max(0, at - 80) : at].rstrip()[-1:] not in {":", "=", ""}:
            return at + 1
        at = text.rfind("\n", start, at)
    return start
