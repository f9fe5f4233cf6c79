"""Faults inside firedoor: counted always, logged now and then, and never by their text."""

from __future__ import annotations

import logging
import time

from firedoor.telemetry.metrics import Metrics
from firedoor.telemetry.names import INTERNAL_ERRORS

__all__ = ["Faults"]

logger = logging.getLogger("firedoor")

_LOG_EVERY = 60.0
_MAX_KINDS = 256


class Faults:
    """Counts and logs what went wrong inside firedoor itself."""

    __slots__ = ("_logged", "_metrics")

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._logged: dict[tuple[str, str], float] = {}

    def tell(self, seam: str, error: BaseException) -> None:
        """Count a fault, and log its type once a minute for each seam. Never raises.

        An exception's text may hold anything, so it is neither logged nor exported.
        """
        try:
            kind = type(error).__name__
            self._metrics.internal_error(seam, kind)
            now = time.monotonic()
            if now - self._logged.get((seam, kind), float("-inf")) < _LOG_EVERY:
                return
            if len(self._logged) >= _MAX_KINDS:
                self._logged.clear()
            self._logged[seam, kind] = now
            logger.error(
                "firedoor: an internal fault in %s (%s); the call went on without it. "
                "Counted in %s.",
                seam,
                kind,
                INTERNAL_ERRORS.name,
            )
        except Exception:  # noqa: S110 - telling of a fault must not become one
            pass
