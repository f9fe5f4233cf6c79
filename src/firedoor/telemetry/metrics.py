"""The metrics of a door: a few histogram records a call, and sums that are read when collected.

A record through the SDK costs about as much as a whole span, so only distributions are recorded
as they happen: seconds and tokens. What is merely counted is summed in memory and handed over by
observable counters when a reader collects, at a twentieth of the price.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter, itemgetter
from typing import Any

from opentelemetry.metrics import (
    CallbackOptions,
    Histogram,
    Meter,
    MeterProvider,
    Observation,
    get_meter_provider,
)

from firedoor._version import __version__
from firedoor.records import Decision
from firedoor.telemetry import names
from firedoor.telemetry.common import Common, Dimensions, cut
from firedoor.telemetry.names import SCOPE, Convention, MetricName
from firedoor.telemetry.series import Series
from firedoor.types import Outcome, RouteKind

__all__ = ["Metrics", "make_histogram"]

_LLM = RouteKind.LLM
_MAX_SERIES = 2000
_BATCH = 64
"""Calls, or amounts, left before somebody takes the lock to sum them up."""
_OVERFLOW = "otel.metric.overflow"

_DECISION_KEYS = (names.ROUTE, names.JOURNEY, names.REQUEST_MODEL, names.OUTCOME, names.FAULT, names.ERROR_TYPE)  # fmt: skip
_ATTEMPT_KEYS = (names.ROUTE, names.REQUEST_MODEL, names.OUTCOME)
_COST_KEYS = (names.ROUTE, names.JOURNEY, names.REQUEST_MODEL)


class Metrics:
    """Records what calls and requests took, used and came to.

    Args:
        provider: Where metrics go. None: the global provider, also one that is set later.
        convention: The names to use.
    """

    def __init__(self, provider: MeterProvider | None, convention: Convention) -> None:
        source: Any = get_meter_provider() if provider is None else provider
        meter: Meter = source.get_meter(SCOPE, __version__, convention.schema_url)
        self._meter = meter
        made: dict[str, Histogram] = {}

        def histogram(metric: MetricName) -> Histogram:
            if metric.name not in made:
                made[metric.name] = make_histogram(meter, metric)
            return made[metric.name]

        self._inference = histogram(convention.duration)
        self._retrieval = histogram(names.RETRIEVAL_DURATION)
        self._tool = histogram(names.TOOL_DURATION)
        self._request = histogram(names.REQUEST_DURATION)
        self._requests: dict[tuple[str, Outcome], Series] = {}
        self._input = histogram(convention.input_tokens)
        self._output = histogram(convention.output_tokens)
        self._first_chunk = histogram(convention.first_chunk)
        self._per_chunk = histogram(convention.per_chunk)
        self._by_type = convention.token_type
        self._errors = meter.create_counter(
            names.INTERNAL_ERRORS.name,
            names.INTERNAL_ERRORS.unit,
            names.INTERNAL_ERRORS.description,
        )
        self._unknown = meter.create_counter(
            names.UNKNOWN_SHAPES.name, names.UNKNOWN_SHAPES.unit, names.UNKNOWN_SHAPES.description
        )
        self._thresholds = meter.create_counter(
            names.THRESHOLDS.name, names.THRESHOLDS.unit, names.THRESHOLDS.description
        )
        totals = _totals_of(source)
        schema = convention.schema_url

        def total(metric: MetricName, *keys: str) -> Total:
            return totals.get(meter, schema, metric, keys)

        self._calls = totals.calls(meter, schema)
        self._cost = total(names.COST, *_COST_KEYS)
        self._gates = total(names.GATE_DECISIONS, names.ROUTE, names.GATE_NAME, names.GATE_VERDICT)
        self._redactions = total(names.REDACTIONS, names.REDACTION_TYPE)
        self._checks = total(names.CHECKS, names.CHECK_NAME, names.CHECK_STATUS)
        self._input_total = self._output_total = None
        if convention.input_total is not None and convention.output_total is not None:
            keys = (names.OPERATION, names.PROVIDER, names.REQUEST_MODEL, names.RESPONSE_MODEL, names.TOKEN_MODALITY)  # fmt: skip
            self._input_total = total(convention.input_total, *keys)
            self._output_total = total(convention.output_total, *keys)

    @property
    def live(self) -> bool:
        """Whether the instruments have a provider; those that wait for one record nothing."""
        return getattr(self._inference, "_real_instrument", self) is not None

    def call(self, record: Decision, common: Common | None, *, ran: bool) -> None:
        """Record one finished call.

        Args:
            record: Its decision.
            common: What it shares with others; None where the instruments are not live.
            ran: Whether anything was asked at all; a call that a gate stopped has no duration.
        """
        self._calls.add(record)
        if ran and common is not None:
            kind = record.kind
            series = common.series(record, self._bind)
            if kind is _LLM:
                series.inference.record(record.latency_s)
                if record.usage is not None or self._input_total is not None:
                    self._tokens(record, common, series)
                if record.first_token_s is not None:
                    _stream(record, record.first_token_s, series)
            elif kind is RouteKind.RETRIEVAL:
                series.retrieval.record(record.latency_s)
            else:
                series.tool.record(record.latency_s)
        if record.cost_usd:
            self._cost.add((record.route, record.journey, record.model), record.cost_usd)
        if record.verdicts:
            for verdict in record.verdicts:
                self._gates.add((record.route, verdict.gate, verdict.status), 1)
        if record.redactions:
            for label, count in record.redactions.items():
                self._redactions.add((label,), count)

    def _bind(self, dimensions: Dimensions) -> _CallSeries:
        return _CallSeries(self, dimensions)

    def _tokens(self, record: Decision, common: Common, series: _CallSeries) -> None:
        usage = record.usage
        given = usage.input_tokens if usage is not None else None
        made = usage.output_tokens if usage is not None else None
        if given is not None:
            series.input.record(given)
        if made is not None:
            series.output.record(made)
        if self._input_total is not None and self._output_total is not None:
            for total, count in ((self._input_total, given), (self._output_total, made)):
                modality = "unknown" if count is None else "text"
                key = (common.operation, record.provider, record.model, record.response_model, modality)  # fmt: skip
                total.add(key, count or 0)

    def request(self, journey: str, outcome: Outcome, duration_s: float) -> None:
        """Record how long a user waited, and what came of it."""
        series = self._requests.get((journey, outcome))
        if series is None:
            if len(self._requests) >= _MAX_SERIES:
                self._requests.clear()
            attributes = {names.JOURNEY: cut(journey), names.OUTCOME: outcome._value_}
            series = self._requests[journey, outcome] = Series(self._request, attributes)
        series.record(duration_s)

    def internal_error(self, seam: str, error_type: str) -> None:
        """Count a fault of ours."""
        self._errors.add(1, {names.SEAM: seam, names.ERROR_TYPE: error_type})

    def checked(self, name: str, status: str) -> None:
        """Count what came of a check."""
        self._checks.add((name, status), 1)

    def prices(self, age: Callable[[], float | None]) -> None:
        """Observe how old the table of prices is, as far as it is known."""

        def observe(_: CallbackOptions) -> list[Observation]:
            seconds = age()
            return [] if seconds is None else [Observation(seconds)]

        self._meter.create_observable_gauge(
            names.PRICES_AGE.name,
            callbacks=[observe],
            unit=names.PRICES_AGE.unit,
            description=names.PRICES_AGE.description,
        )

    def threshold(self, budget: str, share: float) -> None:
        """Count a soft threshold that was passed."""
        self._thresholds.add(1, {names.BUDGET_NAME: budget, names.BUDGET_THRESHOLD: share})

    def unknown_shape(self, route: str) -> None:
        """Count a response that was not understood."""
        self._unknown.add(1, {names.ROUTE: route})


class _CallSeries:
    """The histograms of a call, each with the attributes of calls like it."""

    __slots__ = ("first_chunk", "inference", "input", "output", "per_chunk", "retrieval", "tool")

    def __init__(self, metrics: Metrics, dimensions: Dimensions) -> None:
        tokens = dimensions.tokens
        by_type = metrics._by_type
        given = {**tokens, names.TOKEN_TYPE: "input"} if by_type else tokens
        made = {**tokens, names.TOKEN_TYPE: "output"} if by_type else tokens
        self.inference = Series(metrics._inference, dimensions.duration)
        self.retrieval = Series(metrics._retrieval, dimensions.duration)
        self.tool = Series(metrics._tool, dimensions.duration)
        self.input = Series(metrics._input, given)
        self.output = Series(metrics._output, made)
        self.first_chunk = Series(metrics._first_chunk, tokens)
        self.per_chunk = Series(metrics._per_chunk, tokens)


def _stream(record: Decision, first: float, series: _CallSeries) -> None:
    series.first_chunk.record(first)
    if record.chunks is not None and record.chunks > 1:
        series.per_chunk.record(max(record.latency_s - first, 0.0) / (record.chunks - 1))


def make_histogram(meter: Meter, metric: MetricName) -> Histogram:
    """The histogram of a name, with its buckets as advice where the API takes it."""
    try:
        return meter.create_histogram(
            metric.name,
            metric.unit,
            metric.description,
            explicit_bucket_boundaries_advisory=metric.buckets,
        )
    except TypeError:  # a provider older than the advisory
        return meter.create_histogram(metric.name, metric.unit, metric.description)


class Total:
    """A sum for each set of attributes, read when metrics are collected."""

    __slots__ = ("_keys", "_left", "_lock", "_sums")

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._keys = keys
        self._lock = threading.Lock()
        self._sums: dict[tuple[Any, ...], float] = {}
        # Others pass here: an append is atomic with and without the GIL, a lock costs more, and
        # threads queue before it.
        self._left: list[tuple[tuple[Any, ...], float]] = []

    def add(self, values: tuple[Any, ...], amount: float) -> None:
        """Add to the sum of the attributes that have these values, in the order of the keys."""
        left = self._left
        left.append((values, amount))
        if len(left) > _BATCH:
            with self._lock:
                self._take_in()

    def add_all(self, amounts: Mapping[tuple[Any, ...], float]) -> None:
        """Add to several sums at once."""
        if amounts:
            with self._lock:
                self._sum_up(amounts.items())

    def _take_in(self) -> None:
        """Sum up what was left; the caller holds the lock."""
        left = self._left
        batch = left[:]
        del left[: len(batch)]
        self._sum_up(batch)

    def _sum_up(self, amounts: Iterable[tuple[tuple[Any, ...], float]]) -> None:
        sums = self._sums
        for values, amount in amounts:
            if values in sums:
                sums[values] += amount
            elif len(sums) < _MAX_SERIES:
                sums[values] = amount
            else:
                sums[()] = sums.get((), 0) + amount

    def observe(self, options: CallbackOptions) -> Iterable[Observation]:  # noqa: ARG002
        """Every sum so far."""
        with self._lock:
            self._take_in()
            rows = list(self._sums.items())
        return [Observation(amount, self._attributes(values)) for values, amount in rows]

    def _attributes(self, values: tuple[Any, ...]) -> dict[str, Any]:
        if not values:
            return {_OVERFLOW: True}
        return {
            key: cut(str(value))
            for key, value in zip(self._keys, values, strict=True)
            if value is not None
        }


_key_of = attrgetter("route", "journey", "model", "outcome", "fault", "error_type")
_tried_of = itemgetter(1, 2)


def _story(record: Decision) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """What a call counts for: its attributes, and the models of several attempts with what came."""
    attempts = record.attempts
    return _key_of(record), tuple(map(_tried_of, attempts)) if len(attempts) > 1 else ()


class _Calls:
    """How many calls and attempts there were: what every call adds to.

    A call leaves its decision behind; a batch of them is summed up at once.
    """

    __slots__ = ("_attempts", "_decisions", "_left", "_lock")

    def __init__(self, meter: Meter) -> None:
        self._lock = threading.Lock()
        self._left: list[Decision] = []
        self._decisions = Total(_DECISION_KEYS)
        self._attempts = Total(_ATTEMPT_KEYS)
        _observed(meter, names.DECISIONS, self.decisions)
        _observed(meter, names.ATTEMPTS_METRIC, self.attempts)

    def decisions(self, options: CallbackOptions) -> Iterable[Observation]:
        """How many calls there were so far."""
        self._settle()
        return self._decisions.observe(options)

    def attempts(self, options: CallbackOptions) -> Iterable[Observation]:
        """How many attempts those with several of them made."""
        self._settle()
        return self._attempts.observe(options)

    def add(self, record: Decision) -> None:
        """Count a finished call. Never waits: an append is atomic with and without the GIL."""
        left = self._left
        left.append(record)
        if len(left) >= _BATCH and self._lock.acquire(blocking=False):
            try:
                self._take_in()
            finally:
                self._lock.release()

    def _settle(self) -> None:
        with self._lock:
            self._take_in()

    def _take_in(self) -> None:
        left = self._left
        batch = left[:]
        del left[: len(batch)]
        decisions: Counter[tuple[Any, ...]] = Counter()
        attempts: Counter[tuple[Any, ...]] = Counter()
        for (key, tried), count in Counter(map(_story, batch)).items():
            decisions[key] += count
            for model, outcome in tried:
                attempts[key[0], model, outcome or "skipped"] += count
        self._decisions.add_all(decisions)
        self._attempts.add_all(attempts)


class _Totals:
    """The sums that go to one meter provider.

    Shared by all doors of it: the SDK asks only the first of several observable counters that
    have the same name.
    """

    __slots__ = ("__weakref__", "_calls", "_lock", "_made")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str], Total] = {}
        self._calls: dict[str, _Calls] = {}

    def calls(self, meter: Meter, schema: str) -> _Calls:
        """The sums over calls."""
        with self._lock:
            found = self._calls.get(schema)
            if found is None:
                found = self._calls[schema] = _Calls(meter)
            return found

    def get(self, meter: Meter, schema: str, metric: MetricName, keys: tuple[str, ...]) -> Total:
        """The sum of a name."""
        with self._lock:
            total = self._made.get((schema, metric.name))
            if total is None:
                total = self._made[schema, metric.name] = Total(keys)
                _observed(meter, metric, total.observe)
            return total


def _observed(
    meter: Meter,
    metric: MetricName,
    observe: Callable[[CallbackOptions], Iterable[Observation]],
) -> None:
    meter.create_observable_counter(metric.name, [observe], metric.unit, metric.description)


_lock = threading.Lock()
_by_provider: weakref.WeakKeyDictionary[MeterProvider, _Totals] = weakref.WeakKeyDictionary()
_before_any: list[_Totals] = []
"""Sums of doors that were built before the global provider was set; at most one."""


def _totals_of(provider: MeterProvider) -> _Totals:
    try:
        with _lock:
            found = _by_provider.get(provider)
            if found is None and _before_any and provider is get_meter_provider():
                found = _before_any[0]
            if found is None:
                found = _Totals()
                if type(provider).__name__ == "_ProxyMeterProvider":
                    _before_any.append(found)
            _by_provider[provider] = found
            return found
    except TypeError:  # not hashable, or has no room for a weak reference
        return _Totals()
