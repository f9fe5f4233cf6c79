"""What hears the raw texts of calls: checks that score answers, and what users thought of them.

The texts live only in the process. Nothing is kept for a witness that is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from firedoor.records import Decision
    from firedoor.shell.call import Call
    from firedoor.shell.scope import Request

__all__ = ["Listener", "Witness"]


class Witness(Protocol):
    """Is told of every finished call, with what was said in it."""

    def ended(self, call: Call, decision: Decision) -> None:
        """A call has ended; `call.said` is its raw text or texts. Must not block."""
        ...


class Listener(Protocol):
    """Is told of requests, and of what users say of them afterwards."""

    def remember(self, request: Request) -> None:
        """A request has ended."""
        ...

    def given(self, request: Request, score: float, comment: str | None) -> None:
        """The user of a request has judged it."""
        ...
