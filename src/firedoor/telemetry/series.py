"""One histogram with one set of attributes: the API, or a way past it where that is the same."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import Histogram

if TYPE_CHECKING:
    from firedoor.telemetry.sdk_series import Target

__all__ = ["Series"]

_INFINITY = float("inf")


class Series:
    """Records amounts of one set of attributes.

    Args:
        histogram: The instrument, which may still wait for its provider.
        attributes: Never changed from now on.
    """

    __slots__ = ("_attributes", "_histogram", "_settled", "_target")

    def __init__(self, histogram: Histogram, attributes: Mapping[str, Any]) -> None:
        self._histogram = histogram
        self._attributes = attributes
        self._target: Target | None = None
        self._settled = False

    def record(self, amount: float) -> None:
        """Record one amount."""
        target = self._target
        if target is not None and 0 <= amount < _INFINITY and target.record(amount):
            return
        self._histogram.record(amount, self._attributes)
        if not self._settled:
            self._target = self._find()

    def _find(self) -> Target | None:
        """The way past the API, now that the SDK has made the series; None for no such way."""
        # An instrument made before its provider holds the real one once there is one.
        real = getattr(self._histogram, "_real_instrument", self._histogram)
        if real is None:
            return None
        if "opentelemetry.sdk.metrics" not in sys.modules:
            self._settled = True
            return None
        try:
            from firedoor.telemetry.sdk_series import (  # noqa: PLC0415 - only with the SDK
                can_shortcut,
                target_of,
            )

            found = target_of(real, self._attributes) if can_shortcut() else None
        except Exception:
            found = None
        self._settled = found is None
        return found
