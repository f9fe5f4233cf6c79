"""What is told of incidents: a span for each state one was in, events, and metrics.

Everything of one incident is in one trace, whichever processes tell of it: the trace's id is made
from the incident's. The record in the ledger is the truth; none of this is needed to handle one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from opentelemetry.metrics import Counter, MeterProvider, get_meter_provider
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags

from firedoor._version import __version__
from firedoor.core.incident import ActionRecord, AlertRecord, IncidentRecord, to_dict
from firedoor.core.lifecycle import ORDER
from firedoor.records import SCHEMA_VERSION
from firedoor.telemetry import names
from firedoor.telemetry.common import cut
from firedoor.telemetry.events import Events
from firedoor.telemetry.metrics import make_histogram
from firedoor.telemetry.names import SCOPE, MetricName
from firedoor.telemetry.spans import Spans
from firedoor.types import IncidentClass, IncidentState, Severity

__all__ = ["IncidentTelemetry"]

_UNKNOWN = "unknown"


class IncidentTelemetry:
    """Turns changes of incidents into spans, events and metrics.

    The strings of a record are redacted before it is kept, and so before they get here.
    """

    def __init__(
        self, spans: Spans, provider: MeterProvider | None, events: Events | None, schema_url: str
    ) -> None:
        source: Any = get_meter_provider() if provider is None else provider
        meter = source.get_meter(SCOPE, __version__, schema_url)

        def counter(metric: MetricName) -> Counter:
            made: Counter = meter.create_counter(metric.name, metric.unit, metric.description)
            return made

        self._spans = spans
        self._events = events
        self._incidents = counter(names.INCIDENTS)
        self._actions = counter(names.INCIDENT_ACTIONS)
        self._transitions = counter(names.ALERT_TRANSITIONS)
        self._notifications = counter(names.NOTIFICATIONS)
        self._detect = make_histogram(meter, names.TIME_TO_DETECT)
        self._contain = make_histogram(meter, names.TIME_TO_CONTAIN)
        self._recover = make_histogram(meter, names.TIME_TO_RECOVER)

    def changed(self, before: IncidentRecord | None, after: IncidentRecord) -> None:
        """Tell of a change; `before` is None for an incident that is new.

        States are told of from the one that was told of last, so that what another process did
        without telling is caught up on.
        """
        last = None if before is None else before.told
        if after.told is not last and after.told is not None:
            for old, new in _path(last, after.told):
                self._state(after, old, new)
        if before is None or (before.recovered_at is None and after.recovered_at is not None):
            _record(self._recover, after.time_to_recover, after)
        had_actions = {} if before is None else {a.id: a.state for a in before.actions}
        for action in after.actions:
            if had_actions.get(action.id) is not action.state:
                self._action(after, action)
        firing = set() if before is None else {a for a in before.alerts if a.recovered_at is None}
        for alert in after.alerts:
            if alert.recovered_at is not None and any(_same(alert, one) for one in firing):
                self._firing(after, alert)

    def alert_changed(
        self,
        name: str,
        state: str,
        *,
        signal: str = "",
        journey: str | None = None,
        route: str | None = None,
        alias: str | None = None,
        value: float | None = None,
        baseline: float | None = None,
        reason: str = "",
        time_ns: int | None = None,
    ) -> None:
        """Tell that an alert has come to `state`."""
        where = {names.JOURNEY: journey, names.ROUTE: route, names.ALIAS: alias}
        labels = {names.ALERT_NAME: cut(name), names.ALERT_STATE: state}
        labels |= {key: cut(text) for key, text in where.items() if text is not None}
        self._transitions.add(1, labels)
        if self._events is None:
            return
        attributes: dict[str, Any] = {**labels, names.ALERT_SIGNAL: signal}
        if value is not None:
            attributes[names.ALERT_VALUE] = value
        if baseline is not None:
            attributes[names.ALERT_BASELINE] = baseline
        if reason:
            attributes[names.ALERT_REASON] = cut(reason)
        self._emit(names.ALERT_EVENT, attributes, NonRecordingSpan(_NOWHERE), time_ns)

    def notified(self, sink: str, result: str) -> None:
        """Count a message: `sent`, `failed` or `dropped`."""
        self._notifications.add(
            1, {names.NOTIFICATION_SINK: sink, names.NOTIFICATION_RESULT: result}
        )

    def _state(self, record: IncidentRecord, old: IncidentState | None, new: IncidentState) -> None:
        self._incidents.add(1, {**_labels(record), names.INCIDENT_STATE: new.value})
        if old is None:
            _record(self._detect, record.time_to_detect, record)
        elif new is IncidentState.CONTAINED:
            _record(self._contain, record.time_to_contain, record)
        end = _ns(_entered(record, new) or record.updated_at)
        parent = _root(record)
        attributes = _attributes(record)
        entry = next((e for e in reversed(record.timeline) if e.event == new.value), None)
        if entry is not None:
            attributes[names.INCIDENT_ACTOR] = cut(entry.actor)
            attributes[names.INCIDENT_REASON] = cut(entry.text)
        if old is not None:
            begun = _entered(record, old)
            start = end if begun is None else min(_ns(begun), end)
            self._spans.child(
                parent,
                f"{names.INCIDENT_SPAN} {old.value}",
                SpanKind.INTERNAL,
                {**attributes, names.INCIDENT_STATE: old.value},
                start_ns=start,
                end_ns=end,
            )
        self._emit(
            names.INCIDENT_EVENT,
            {**attributes, names.INCIDENT_STATE: new.value},
            parent,
            end,
            failed=new is IncidentState.OPEN,
        )

    def _action(self, record: IncidentRecord, action: ActionRecord) -> None:
        labels = {
            names.ACTION_KIND: action.kind,
            names.ACTION_STATE: action.state.value,
            names.ACTION_MODE: action.mode.value,
        }
        self._actions.add(1, labels)
        attributes = {**_attributes(record), **labels, names.INCIDENT_ACTOR: cut(action.actor)}
        attributes[names.INCIDENT_REASON] = cut(action.text)
        if action.error is not None:
            attributes[names.ERROR_TYPE] = cut(action.error)
        self._emit(names.ACTION_EVENT, attributes, _root(record), None)

    def _firing(self, record: IncidentRecord, alert: AlertRecord) -> None:
        attributes = {
            names.SCHEMA_VERSION_KEY: SCHEMA_VERSION,
            names.SERVICE: record.service,
            names.INCIDENT_ID: record.id,
            names.ALERT_NAME: cut(alert.name),
            names.ALERT_SIGNAL: cut(alert.signal),
            names.ALERT_VALUE: alert.value,
            names.ALERT_REASON: cut(alert.why),
        }
        where = {
            names.JOURNEY: alert.journey,
            names.ROUTE: alert.route,
            names.ALIAS: alert.alias,
            names.ALERT_BASELINE: alert.baseline,
        }
        attributes |= {key: value for key, value in where.items() if value is not None}
        end = _ns(alert.recovered_at or record.updated_at)
        self._spans.child(
            _root(record),
            f"{names.ALERT_SPAN} {cut(alert.name)}",
            SpanKind.INTERNAL,
            attributes,
            start_ns=min(_ns(alert.since or alert.fired_at), end),
            end_ns=end,
        )

    def _emit(
        self,
        name: str,
        attributes: dict[str, Any],
        parent: Span,
        time_ns: int | None,
        *,
        failed: bool = False,
    ) -> None:
        if self._events is not None:
            self._events.emit(attributes, parent, failed=failed, time_ns=time_ns, name=name)


_NOWHERE = SpanContext(0, 0, is_remote=False)


def _root(record: IncidentRecord) -> Span:
    """What everything of an incident hangs on: the same ids in every process, always sampled."""
    digest = hashlib.blake2b(f"{record.service}\0{record.id}".encode(), digest_size=24).digest()
    return NonRecordingSpan(
        SpanContext(
            int.from_bytes(digest[:16]) or 1,
            int.from_bytes(digest[16:]) or 1,
            is_remote=True,
            trace_flags=TraceFlags(TraceFlags.SAMPLED),
        )
    )


def _path(
    last: IncidentState | None, now: IncidentState
) -> Iterator[tuple[IncidentState | None, IncidentState]]:
    """Every step from the state that was told of last."""
    if last is None:
        yield None, ORDER[0]
        last = ORDER[0]
    here, there = ORDER.index(last), ORDER.index(now)
    if there < here:
        yield last, now  # open again
        return
    for index in range(here, there):
        yield ORDER[index], ORDER[index + 1]


def _entered(record: IncidentRecord, state: IncidentState) -> float | None:
    """When the incident came to a state; None where it has left it by a relapse."""
    if state is IncidentState.OPEN:
        opened = [e.at for e in record.timeline if e.event == IncidentState.OPEN.value]
        return opened[-1] if opened else record.detected_at
    return {
        IncidentState.CONTAINED: record.contained_at,
        IncidentState.STABILISED: record.stabilised_at,
        IncidentState.DIAGNOSING: record.diagnosed_at,
        IncidentState.CLOSED: record.closed_at,
    }[state]


def _labels(record: IncidentRecord) -> dict[str, str]:
    kind: IncidentClass | None = record.incident_class
    severity: Severity = record.severity
    labels = {
        names.INCIDENT_CLASS: _UNKNOWN if kind is None else kind.value,
        names.INCIDENT_SEVERITY: severity.value,
    }
    if record.journey is not None:
        labels[names.JOURNEY] = cut(record.journey)
    return labels


def _attributes(record: IncidentRecord) -> dict[str, Any]:
    known = {
        names.SERVICE: record.service,
        names.ROUTE: record.route,
        names.ALIAS: record.alias,
        names.INCIDENT_ID: record.id,
        names.INCIDENT_TITLE: record.title or None,
        names.INCIDENT_SHARE: record.share,
        names.INCIDENT_FINGERPRINT: record.fingerprint or None,
        names.INCIDENT_RECURRENCE: record.recurrence_of,
        names.INCIDENT_EVIDENCE: json.dumps(to_dict(record.evidence), default=str)
        if record.evidence
        else None,
    }
    made = {
        key: cut(value) if isinstance(value, str) else value
        for key, value in known.items()
        if value is not None
    }
    return {names.SCHEMA_VERSION_KEY: SCHEMA_VERSION, **_labels(record), **made}


def _record(histogram: Any, seconds: float | None, record: IncidentRecord) -> None:
    if seconds is not None:
        histogram.record(seconds, _labels(record))


def _same(one: AlertRecord, other: AlertRecord) -> bool:
    return (one.name, one.journey, one.route, one.alias) == (
        other.name,
        other.journey,
        other.route,
        other.alias,
    )


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
