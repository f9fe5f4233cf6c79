"""Who of a fleet acts on an incident, and whose incident writes to a target: claims in the store.

Without a store that others share there is nobody to agree with, and every claim is granted. So it
is while the store is away: the ledger's compare-and-set decides then, where the ledger is shared.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from typing import Final

from firedoor.errors import FiredoorError
from firedoor.stores import Store

__all__ = ["LEASE", "Claims"]

LEASE: Final = 15.0
"""Seconds a process leads an incident after it last said so."""


class Claims:
    """The claims of one process.

    Args:
        store: The shared store, where there is one.
        on_fault: Told that it did not answer.
    """

    def __init__(self, store: Store | None, *, on_fault: Callable[[BaseException], object]) -> None:
        self._store = store if store is not None and store.shared else None
        self._on_fault = on_fault
        self._token = secrets.token_hex(6)
        self._led: set[str] = set()

    @property
    def owner(self) -> str:
        """This process, in claims; another one after a fork."""
        return f"{self._token}-{os.getpid()}"

    def leads(self, incident_id: str) -> bool:
        """Whether this process acts on the incident."""
        held = self._claim(f"incident:{incident_id}", self.owner, LEASE)
        if held:
            self._led.add(incident_id)
        return held

    def step_down(self) -> None:
        """Leave every incident to the other processes, for one that ends."""
        led, self._led = self._led, set()
        for incident_id in led:
            self._release(f"incident:{incident_id}", self.owner)

    def take(self, target: str, incident_id: str, seconds: float | None) -> bool:
        """Whether the incident may write to a target, for so long; None: as long as a lease."""
        return self._claim(f"target:{target}", incident_id, seconds or LEASE)

    def free(self, target: str, incident_id: str) -> None:
        """The incident writes to the target no more."""
        if target:
            self._release(f"target:{target}", incident_id)

    def _claim(self, name: str, owner: str, seconds: float) -> bool:
        if self._store is None:
            return True
        try:
            return self._store.claim(name, owner, seconds)
        except FiredoorError as error:
            self._on_fault(error)
            return True

    def _release(self, name: str, owner: str) -> None:
        if self._store is None:
            return
        try:
            self._store.release(name, owner)
        except FiredoorError as error:
            self._on_fault(error)
