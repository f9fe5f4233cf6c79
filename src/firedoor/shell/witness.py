"""What hears the raw texts of calls: checks that score answers, and what users thought of them.

The texts live only in the process. Nothing is kept for a witness that is not there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from firedoor.records import Decision
    from firedoor.shell.call import Call
    from firedoor.shell.scope import Request

__all__ = ["Heard", "Listener", "Witness"]

MOST_HEARD = 256_000
"""Characters of sources kept for one request; the oldest go first."""


class Heard:
    """What a request has to answer from. Appended to by any of its threads.

    Attributes:
        documents: Texts that were retrieved, the newest last.
        results: Texts of tools.
        retrieved: A retrieval was asked for, whatever came of it.
        unread: Something was found whose text could not be read.
    """

    __slots__ = ("_size", "documents", "results", "retrieved", "unread")

    def __init__(self) -> None:
        self.documents: deque[str] = deque()
        self.results: deque[str] = deque()
        self.retrieved = False
        self.unread = False
        self._size = 0

    def found(self, texts: Iterable[str]) -> None:
        """Keep texts that were retrieved."""
        self._keep(self.documents, texts)

    def told(self, text: str) -> None:
        """Keep what a tool answered."""
        self._keep(self.results, (text,))

    def _keep(self, kept: deque[str], texts: Iterable[str]) -> None:
        for text in texts:
            kept.append(text[:MOST_HEARD])
            self._size += len(kept[-1])
        while self._size > MOST_HEARD and len(kept) > 1:
            self._size -= len(kept.popleft())


class Witness(Protocol):
    """Is told of every finished call, with what was said in it."""

    def ended(self, call: Call, decision: Decision) -> None:
        """A call has ended; `call.said` is its raw text, or what was extracted of a retrieval.

        Must not block.
        """
        ...


class Listener(Protocol):
    """Is told what users say of requests."""

    def given(self, request: Request, score: float, comment: str | None) -> None:
        """The user of a request has judged it."""
        ...
