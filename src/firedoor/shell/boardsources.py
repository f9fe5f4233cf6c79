"""What the switchboard follows and tells: the shared store, other sources, and changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from firedoor.core.snapshot import Snapshot
from firedoor.core.switches import Switch

__all__ = ["BoardStore", "Change", "Problems", "Source"]


class BoardStore(Protocol):
    """What a shared store offers the switchboard."""

    def board(self) -> tuple[int, str]:
        """Version and text; `(0, "")` when never written."""
        ...

    def swap_board(self, expected: int, text: str) -> int | None:
        """Write if the version is still `expected`: the new version, or None if it is not."""
        ...

    def watch_board(
        self,
        on_change: Callable[[int, str], None],
        *,
        poll: float,
        on_error: Callable[[Exception], None],
    ) -> Callable[[], None]:
        """Call `on_change` with every new version, at the latest after `poll` seconds."""
        ...


class Source(Protocol):
    """Somewhere else that says switches: a file, a flag system."""

    name: str
    problem: str | None
    """What part of it could not be heard at the last look, though the rest was; None: nothing."""

    def read(self) -> tuple[Switch, ...]:
        """All it says now. An exception leaves what it said last in force."""
        ...


@dataclass(frozen=True, slots=True)
class Change:
    """What is in force now and was not, and the other way round.

    Attributes:
        added: Switches that came into force, by being set, restored or uncovered.
        removed: Switches that left it, by being reverted, hidden or expired.
        snapshot: The new snapshot.
    """

    added: tuple[Switch, ...]
    removed: tuple[Switch, ...]
    snapshot: Snapshot


class Problems:
    """Which sources are not heard now, and why; told of once, not at every look.

    Args:
        on_fault: Told of each new problem: the source's name and the error.
    """

    def __init__(self, on_fault: Callable[[str, Exception], None] | None) -> None:
        self._on_fault = on_fault
        self._known: dict[str, str] = {}

    def __call__(self) -> dict[str, str]:
        """Every problem by source."""
        return dict(self._known)

    def fault(self, name: str, error: Exception) -> None:
        """The source went bad."""
        said = f"{type(error).__name__}: {error}"
        if self._known.get(name) == said:
            return
        self._known = {**self._known, name: said}
        if self._on_fault is not None:
            self._on_fault(name, error)

    def heard(self, name: str) -> None:
        """The source is well."""
        if name in self._known:
            self._known = {n: p for n, p in self._known.items() if n != name}
