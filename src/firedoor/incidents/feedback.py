"""What users say of requests, at once or later over another connection."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, NamedTuple

from firedoor.errors import ConfigurationError
from firedoor.incidents.signals import Signals
from firedoor.shell.runtime import Runtime
from firedoor.shell.scope import Request
from firedoor.telemetry.evaluations import Evaluated
from firedoor.types import RouteKind

__all__ = ["EVALUATION", "Feedback"]

EVALUATION = "user_feedback"
"""The name under which feedback is an evaluation event."""

NEGATIVE_BELOW = 0.5
"""Score below which feedback counts as negative."""

_REMEMBERED = 10_000


class _Place(NamedTuple):
    """Where a request's answer came from; holds no text."""

    journey: str
    answer: Evaluated | None
    synthetic: bool


class Feedback:
    """The feedback of one door. Thread-safe.

    The last 10,000 requests are remembered by their id, so that feedback may come after them.
    """

    def __init__(self, runtime: Runtime, signals: Signals) -> None:
        self._runtime = runtime
        self._signals = signals
        self._lock = threading.Lock()
        self._recent: OrderedDict[str, _Place] = OrderedDict()

    def remember(self, request: Request) -> None:
        """A request has ended."""
        with self._lock:
            self._recent[request.id] = _place(request)
            self._recent.move_to_end(request.id)
            while len(self._recent) > _REMEMBERED:
                self._recent.popitem(last=False)

    def given(self, request: Request, score: float, comment: str | None) -> None:
        """Feedback on a request that is at hand, running or ended.

        Raises:
            ConfigurationError: If the score is not within 0 to 1.
        """
        self._count(_place(request), _checked(score), comment)

    def late(self, request_id: str, score: float, comment: str | None) -> bool:
        """Feedback by a request's id; whether it was known. An unknown one counts for the door.

        Raises:
            ConfigurationError: If the score is not within 0 to 1.
        """
        value = _checked(score)
        name = self._runtime.clean(str(request_id))
        with self._lock:
            place = self._recent.get(name)
        self._count(place, value, comment)
        return place is not None

    def _count(self, place: _Place | None, score: float, comment: str | None) -> None:
        if place is not None and place.synthetic:
            return
        runtime = self._runtime
        answer = None if place is None else place.answer
        try:
            negative = score < NEGATIVE_BELOW
            self._signals.observe(
                "negative_feedback_rate",
                negative,
                journey=None if place is None else place.journey,
                route=None if answer is None else answer.route,
                alias=None if answer is None else answer.alias,
            )
            kept = comment if runtime.capture == "redacted" else None
            runtime.recorder.evaluation(
                EVALUATION,
                answer,
                value=score,
                label="negative" if negative else "positive",
                explanation=None if kept is None else runtime.clean(str(kept)),
            )
        except Exception as error:
            runtime.internal("feedback", error)


def _checked(score: Any) -> float:
    if isinstance(score, int | float) and 0 <= score <= 1:
        return float(score)
    raise ConfigurationError(
        f"feedback(score={score!r}): give 0 (bad) to 1 (good); a thumb is 0.0 or 1.0"
    )


def _place(request: Request) -> _Place:
    answer = next((d for d in reversed(request.decisions) if d.kind is RouteKind.LLM), None)
    return _Place(
        request.journey, None if answer is None else Evaluated.of(answer), request.synthetic
    )
