"""What every ledger does. One conformance suite runs on all.

A ledger keeps incidents whole: one record, one write, so that nothing is ever half there. What may
happen to an incident is `core/lifecycle.py`'s matter.
"""

from __future__ import annotations

from typing import Protocol

from firedoor.core.incident import IncidentRecord

__all__ = ["Ledger"]


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

    def close(self) -> None:
        """Let go of connections."""
        ...
