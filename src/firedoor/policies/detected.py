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
_PLAIN_RUN = re.compile(r"(?:(?<!\S)[A-Za-z.,;!?'\"()]{1,15}[ \n])+")
_WORD_END = re.compile(r"(?<!earer)(?<!asic)(?<=[a-z])[.,;!?]? ")
_RECENT = 512
_LAST_WORDS = 32
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
    stretches = [start]
    block = text.find(_BEGIN, start)
    while block >= 0:
        end = _END.search(text, block)
        stretches += (block, len(text) if end is None else end.end())
        block = -1 if end is None else text.find(_BEGIN, end.end())
    stretches.append(len(text))
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
    for run in reversed(list(_PLAIN_RUN.finditer(text, recent, end))):
        first, last = run.span()
        # A word cut off where the text at hand begins could be the end of a long token.
        least = first if at_beginning and first == 0 else first + _AROUND - 16
        ended = _last_word_end(text, first, last)
        if ended > max(line, least):
            return ended
    return line


def _last_word_end(text: str, first: int, last: int) -> int:
    """Where the last whole word of a run of plain words ends; -1 if it has none.

    The last words are looked at first: there it is almost always, and a run may be long.
    """
    ended = -1
    for since in (max(first, last - _LAST_WORDS), first):
        for match in _WORD_END.finditer(text, since, last):
            ended = match.end()
        if ended >= 0 or since == first:
            break
    return ended


def _line_end(text: str, start: int, end: int) -> int:
    at = text.rfind("\n", start, end)
    while at >= 0:
        if text[max(0, at - 80) : at].rstrip()[-1:] not in {":", "=", ""}:
            return at + 1
        at = text.rfind("\n", start, at)
    return start
