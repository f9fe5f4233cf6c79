"""What every ledger does. One conformance suite runs on all.

A ledger keeps incidents whole: one record, one write, so that nothing is ever half there. What may
happen to an incident is `core/lifecycle.py`'s matter.
"""

from __future__ import annotations

from typing import Final, Protocol

from firedoor.core.incident import IncidentRecord

__all__ = ["BATCH", "Ledger"]

BATCH: Final = 100
"""Incidents forgotten in one transaction: a few milliseconds for those who wait behind it."""


class Ledger(Protocol):
    """A place for incidents. Every operation is atomic; what it has answered survives a crash.

    Operations raise `StoreError` when the ledger does not answer. Thread-safe and fork-safe.
    """

    @property
    def shared(self) -> bool:
        """Whether other processes use the same incidents."""
        ...

    def save(self, record: IncidentRecord, *, expected: int) -> bool:
        """Write `record` if the version that is there is still `expected`; whether it was.

        Args:
            record: As it is to be, with its new version.
            expected: The version it was made from; 0: there is none yet.
        """
        ...

    def open_one(self, record: IncidentRecord, key: str) -> IncidentRecord | None:
        """Write a new open incident, unless one with the correlation key `key` is open already.

        Keys belong to a service. Closing an incident frees its key.

        Returns:
            The open incident of that key: `record`, or the one that was first. None if the id of
            `record` is taken by another incident.
        """
        ...

    def load(self, incident_id: str) -> IncidentRecord | None:
        """The incident with this id, or None."""
        ...

    def incidents(
        self,
        *,
        service: str | None = None,
        open_only: bool = False,
        fingerprint: str | None = None,
        limit: int = 100,
    ) -> tuple[IncidentRecord, ...]:
        """Incidents, the one detected last first.

        Args:
            service: Only of this service.
            open_only: Only those that are not closed.
            fingerprint: Only those with this recurrence key.
            limit: At most so many.
        """
        ...

    def prune(
        self,
        *,
        before: float,
        service: str | None = None,
        limit: int = BATCH,
        dry_run: bool = False,
    ) -> tuple[str, ...]:
        """Forget closed incidents that were changed last before `before`, the oldest first.

        One that is open stays, however old it is, and so does the one that an incident repeats
        (`recurrence_of`) which is open or young enough to stay itself. The one before that goes:
        what happens every week would be kept for ever.

        Several processes may do it at once: each incident is forgotten by one.

        Args:
            before: Seconds since the epoch.
            service: Only of this service.
            limit: At most so many, in one transaction.
            dry_run: Forget nothing: only say which it would be.

        Returns:
            The ids of those that are gone. Fewer than `limit`: there are no more.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
