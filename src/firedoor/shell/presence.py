"""What a process says of its gates to whoever has the store: `firedoor status` reads it.

It is written behind the calls' path every few seconds, in figures only, after the redactor. A
process that is gone says nothing any more, and is forgotten with the time its last word had.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from firedoor.shell.chores import Chores
from firedoor.stores.base import Store

if TYPE_CHECKING:
    from firedoor.shell.runtime import Runtime

__all__ = ["EVERY", "Presence", "Process", "gates", "processes"]

SPACE = "doors"

EVERY = 2.0
"""Seconds between two words of a process."""

LASTS = 10.0
"""Seconds a word is known: some may be late, by a store that stumbles or a busy process."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process as it described itself last.

    Attributes:
        name: Host and process number, as in `web-1:4711`.
        service: The application's name.
        at: When it said so, seconds since the epoch by the store's clock.
        told: Everything: `enabled`, `enforce`, `breakers`, `limiters`, `retries`, `workers`.
    """

    name: str
    service: str
    at: float
    told: Mapping[str, Any]


def gates(runtime: Runtime) -> dict[str, Any]:
    """The state of a door's gates that live in its process, as plain data."""
    now = runtime.now()
    return {
        "service": runtime.service,
        "enabled": runtime.enabled,
        "enforce": runtime.enforce,
        "breakers": runtime.breakers.snapshot(now),
        "limiters": runtime.limiters.snapshot(),
        "retries": runtime.retries.snapshot(now),
        "workers": runtime.workers.snapshot(),
    }


class Presence:
    """Says every few seconds how one door's gates stand."""

    def __init__(self, runtime: Runtime, store: Store) -> None:
        self._runtime = weakref.ref(runtime)
        self._store = store
        self._token = secrets.token_hex(4)
        self._host = socket.gethostname()
        self._chores = Chores("firedoor-presence", on_fault=self._fault)
        self._failed = False
        self._chores.add(EVERY, self.say, soon=True)

    def say(self) -> None:
        """Write it now.

        Raises:
            StoreError: If the store does not answer.
        """
        runtime = self._runtime()
        if runtime is None:  # a door that was dropped without being closed
            self._chores.close()
            return
        # Worked out anew: a forked worker is another process.
        name = f"{self._host}:{os.getpid()}"
        told = runtime.redactor.redact(gates(runtime))
        said = {"process": name, "at": self._store.now(), **told}
        self._store.publish(SPACE, f"{name}:{self._token}", json.dumps(said), LASTS)
        self._failed = False

    @property
    def running(self) -> bool:
        """Whether it goes on saying so."""
        return self._chores.running

    def close(self) -> None:
        """Say no more."""
        self._chores.close()

    def _fault(self, error: Exception) -> None:
        runtime = self._runtime()
        if not self._failed and runtime is not None:  # once, not all the time the store is away
            self._failed = True
            runtime.internal("presence", error)


def processes(store: Store) -> tuple[Process, ...]:
    """Every process that was heard of lately, by service and name.

    Raises:
        StoreError: If the store does not answer.
    """
    found = []
    for text in store.members(SPACE).values():
        try:
            told = json.loads(text)
            found.append(
                Process(str(told["process"]), str(told["service"]), float(told["at"]), told)
            )
        except (ValueError, TypeError, KeyError):
            continue  # by another version
    return tuple(sorted(found, key=lambda one: (one.service, one.name)))
