"""How long closed incidents are kept: what is older is forgotten, few at a time, behind the calls."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from firedoor.clock import Clock
from firedoor.core.switches import duration
from firedoor.errors import StoreError
from firedoor.incidents.book import Incidents
from firedoor.ledger.base import BATCH

__all__ = ["EVERY", "FIRST", "RETENTION", "SOON", "Retention"]

logger = logging.getLogger("firedoor")

RETENTION: Final = "730d"
"""How long closed incidents are kept where nobody says: what comes back once a year is known."""

FIRST: Final = 60.0
"""Seconds after which a new door looks for the first time: it has more to do as it begins."""

SOON: Final = 1.0
"""Seconds between two batches while there are more."""

EVERY: Final = 3_600.0
"""Seconds between two looks where there were none left."""


class Retention:
    """Forgets old incidents. Thread-safe.

    Args:
        book: The incidents.
        keep: Seconds (or `"90d"`) that a closed one is kept after it was last changed. None: for
            ever.
        clock: Whose time it is.
        on_fault: Told of what goes wrong; a ledger that is away the book itself tells of.

    Raises:
        ConfigurationError: If `keep` is no time.
    """

    def __init__(
        self,
        book: Incidents,
        keep: float | str | None,
        *,
        clock: Clock,
        on_fault: Callable[[BaseException], object],
    ) -> None:
        self._book = book
        self._keep = None
        if keep is not None:
            self._keep = duration(keep, name="retention", otherwise="None keeps them for ever")
        self._clock = clock
        self._on_fault = on_fault
        self._next = clock.now() + FIRST

    def step(self) -> None:
        """Forget a batch, if it is time to. Never raises."""
        now = self._clock.now()
        if self._keep is None or now < self._next:
            return
        self._next = now + EVERY
        try:
            gone = self._book.prune(self._keep)
        except StoreError:
            return
        except Exception as error:
            self._on_fault(error)
            return
        if gone:  # what an auditor may look for leaves a line
            logger.info(
                "firedoor: %d closed incidents were forgotten, untouched for %g days: %s",
                len(gone),
                self._keep / 86_400,
                ", ".join(gone),
            )
        if len(gone) >= BATCH:
            self._next = now + SOON
