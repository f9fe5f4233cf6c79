"""The monitor: from what alerts say to incidents, and from incidents to actions.

One look (`evaluate`) does all of it, in this order: judge every alert; put what has begun to fire
into an incident, a new one or one at hand; work out its class and how severe it is; do what is
next on its ladder; see what has recovered. It reads the clock it is given and nothing else, so
that under a fake clock the same traffic gives the same incidents.

A look is taken by a timer thread once a second (`pulse.py`), or where time is faked on the tail of
decisions and by `door.evaluate()`. Nothing of it is raised into a call.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from firedoor.core import lifecycle
from firedoor.core.classify import PRECEDENCE, Classification, Observation, classify
from firedoor.core.incident import IN_FORCE, AlertRecord, IncidentRecord
from firedoor.core.series import Selector, Shape
from firedoor.core.severity import Exposure, assess
from firedoor.errors import FiredoorError
from firedoor.incidents.alert import Alert
from firedoor.incidents.book import Incidents
from firedoor.incidents.claims import Claims
from firedoor.incidents.correlation import common, joined, key_of, place_of
from firedoor.incidents.deeds import Deeds
from firedoor.incidents.responder import Responder
from firedoor.incidents.sight import Sight, hidden
from firedoor.incidents.signals import OTHER, Signals
from firedoor.incidents.watch import Transition, Watch
from firedoor.records import Decision
from firedoor.shell.runtime import Runtime
from firedoor.stores import Store
from firedoor.types import AlertState, IncidentState, RouteKind

__all__ = ["EVERY", "Monitor"]

EVERY: Final = 1.0
"""Seconds between two looks, at the least."""

_REFRESH: Final = 5.0
"""Seconds between two looks into a shared ledger while nothing is open here."""

_BACK: Final = 3_600.0
"""Seconds looked back on for the first bad decision and for exposure, at the most."""

_SETTLES: Final = 300.0
"""Seconds after which the class of an incident changes only with a new alert."""

_BLUR: Final = 10.0
"""Seconds around an action whose observations may be of before or after it."""

_LEAST: Final = 10.0
"""Seconds looked back on for exposure, at the least."""

_ENOUGH: Final = 5
"""Observations below which nobody can say whether a signal is better."""

_REQUESTS: Final = "blocked_rate"
"""A signal that every call has: where it was seen, there is traffic."""


class Monitor:
    """Watches the alerts of one door and answers for its incidents. Thread-safe.

    Args:
        runtime: The door's parts.
        signals: Where alerts read.
        book: Where incidents are kept.
        store: The state other processes share, where there is one.
        notify: Sends a line to whoever is told of incidents.
    """

    def __init__(
        self,
        runtime: Runtime,
        signals: Signals,
        book: Incidents,
        *,
        store: Store | None = None,
        notify: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._runtime = runtime
        self._signals = signals
        self._book = book
        self._watch = Watch((), signals, on_fault=self._fault)
        self._claims = Claims(store, on_fault=self._fault)
        deeds = Deeds(
            runtime,
            book,
            claims=self._claims,
            alert=self._alert,
            suspects=self._suspects,
            share=self._share,
            journeys=self._journeys,
            notify=notify,
        )
        self._responder = Responder(runtime, book, deeds, claims=self._claims, notify=notify)
        self._lock = threading.Lock()
        self._next = -1.0
        self._refreshed = -_REFRESH
        self._open: tuple[IncidentRecord, ...] = ()
        book.on_decided(self._decided)

    @property
    def watch(self) -> Watch:
        """The alerts and their states."""
        return self._watch

    def add(self, alerts: Iterable[Alert]) -> None:
        """Watch more alerts.

        Raises:
            ConfigurationError: If one of them cannot work.
        """
        with self._lock:
            self._watch.add(alerts)
        self._runtime.incident_of = self.incident_of

    def snapshot(self) -> dict[str, Any]:
        """Every alert's state, and the incidents that are open, as plain data."""
        return {"alerts": dict(self._watch.snapshot()), "incidents": self._book.snapshot()}

    # When to look --------------------------------------------------------------------------

    def tick(self, decision: Decision | None = None) -> None:  # noqa: ARG002 - a listener's
        """Look if the last look is a second ago. Never raises, never waits for another look."""
        try:
            now = self._runtime.now()
            if now < self._next or not self._watch.alerts:
                return
            if self._lock.acquire(blocking=False):
                try:
                    if now >= self._next:
                        self._look(now)
                finally:
                    self._lock.release()
        except Exception as error:
            self._fault(error)

    def evaluate(self) -> tuple[Transition, ...]:
        """Look now; answers which alerts changed. Waits for a look that is being taken."""
        with self._lock:
            return self._look(self._runtime.now())

    def incident_of(self, journey: str | None, route: str) -> str | None:
        """The id of the incident in force for a call; of several, the most severe one."""
        for record in self._open:
            if not _in_force(record):
                continue
            if record.journey is None:
                if record.route in {None, route}:
                    return record.id
            elif record.journey == journey:
                return record.id
        return None

    def close(self) -> None:
        """Act no more, and let other processes go on at once."""
        with self._lock:
            self._next = math.inf
            self._claims.step_down()

    def after_fork(self) -> None:
        """A thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    def _decided(self, record: IncidentRecord) -> None:
        """A person decided on an action in this process: act on it now, unless a look is on."""
        if self._lock.acquire(blocking=False):
            try:
                self._respond(record, self._runtime.now())
            except Exception as error:
                self._fault(error)
            finally:
                self._lock.release()

    def _fault(self, error: BaseException) -> None:
        self._runtime.internal("monitor", error)

    # One look ------------------------------------------------------------------------------

    def _look(self, now: float) -> tuple[Transition, ...]:
        self._next = now + EVERY
        changed = tuple(self._watch.evaluate(now))
        for transition in changed:
            self._tell(transition, now)
        fired = [
            t for t in changed if t.new is AlertState.FIRING and t.old is not AlertState.RECOVERING
        ]
        if not fired and not self._open and not self._due(now):
            return changed
        self._refreshed = now
        records = {r.id: r for r in self._book.refresh() if r.open}
        touched: set[str] = set()
        for transition in fired:
            try:
                record = self._fired(transition, now, tuple(records.values()))
            except Exception as error:
                self._fault(error)
                continue
            records[record.id] = record
            touched.add(record.id)
        self._keep(records.values())
        back = [
            (t.alert.name, *t.selector)
            for t in changed
            if t.new is AlertState.FIRING and t.old is AlertState.RECOVERING
        ]
        for record in tuple(records.values()):
            try:
                records[record.id] = self._respond(
                    record, now, anew=record.id in touched, back=back
                )
            except Exception as error:
                self._fault(error)
        self._keep(records.values())
        return changed

    def _keep(self, records: Iterable[IncidentRecord]) -> None:
        """Remember the open ones, the most severe first."""
        self._open = tuple(
            sorted(
                (r for r in records if r.open),
                key=lambda r: (r.severity, r.detected_at or 0.0),
            )
        )

    def _tell(self, transition: Transition, now: float) -> None:
        """Count a change of an alert, and say it."""
        reading = transition.reading
        try:
            self._runtime.recorder.incidents.alert_changed(
                transition.alert.name,
                str(transition.new),
                signal=transition.alert.signal,
                journey=transition.selector.journey,
                route=transition.selector.route,
                alias=transition.selector.alias,
                value=reading.value,
                baseline=reading.baseline,
                reason=reading.why,
                time_ns=int(self._wall(transition.at, now) * 1e9),
            )
        except Exception as error:
            self._fault(error)

    def _due(self, now: float) -> bool:
        """Whether to ask a ledger that others write to, though nothing is open here."""
        return self._book.ledger.shared and now - self._refreshed >= _REFRESH

    def _wall(self, moment: float, now: float) -> float:
        return self._book.time() - (now - moment)

    # Into an incident ----------------------------------------------------------------------

    def _fired(
        self, transition: Transition, now: float, records: Sequence[IncidentRecord]
    ) -> IncidentRecord:
        """File an alert that has begun to fire."""
        alert = transition.alert
        record = self._alert_record(transition, now)
        wall = self._book.time()
        home = joined(record, alert.speaks_for, records)
        if home is None:
            home = self._opened(transition, record, now)

        def edit(r: IncidentRecord) -> IncidentRecord:
            made = lifecycle.alerted(r, record, now=wall)
            if made.recovered_at is None and r.recovered_at is not None:
                made = lifecycle.relapse(made, f"{alert.name} fires", now=wall)
            journeys = {a.journey for a in made.alerts}
            return replace(
                made,
                journey=common(made.alerts, "journey") if len(journeys) > 1 else made.journey,
                critical=made.critical or alert.critical,
                first_bad_at=min(made.first_bad_at or record.since, record.since),
            )

        return self._book.update(home.id, edit)

    def _alert_record(self, transition: Transition, now: float) -> AlertRecord:
        alert, reading, selector = transition.alert, transition.reading, transition.selector
        window = float(getattr(alert.rule, "window", 300.0))
        since = transition.at if transition.since is None else transition.since
        if reading.since is None:
            # The rule does not say when it began: somewhere in its window.
            with contextlib.suppress(FiredoorError):
                bad = self._signals.bad_since(alert.signal, selector, window, now)
                since = since if bad is None else min(since, bad)
        return AlertRecord(
            alert.name,
            alert.signal,
            *selector,
            since=self._wall(min(since, now), now),
            fired_at=self._wall(transition.at, now),
            value=reading.value or 0.0,
            baseline=reading.baseline,
            sample=reading.sample,
            incident_class=alert.declared,
            why=reading.why,
            window=window,
        )

    def _opened(self, transition: Transition, alert: AlertRecord, now: float) -> IncidentRecord:
        declared = transition.alert
        given = IncidentRecord(
            "",
            self._runtime.service,
            incident_class=declared.speaks_for,
            title=_title(alert),
            journey=alert.journey,
            route=alert.route,
            alias=alert.alias,
            critical=declared.critical,
            signature=alert.signal,
            first_bad_at=alert.since,
            detected_at=alert.fired_at,
            alerts=(alert,),
        )
        given = self._located(given, alert)
        given = self._classified(given, now)
        given = self._assessed(given, now)
        return self._book.open(given, key_of(alert, declared.speaks_for)).record

    def _located(self, record: IncidentRecord, alert: AlertRecord) -> IncidentRecord:
        """With the route and the model in trouble, where the signal tells one from the others."""
        if record.route is None:
            kind = self._signals.definition(alert.signal).kind
            if kind in tuple(RouteKind):
                found = self._suspects(RouteKind(kind), alert, record)
                record = replace(record, route=next(iter(found), None))
        route = self._runtime.routes.get(record.route or "")
        if record.alias is None and route is not None:
            record = replace(record, alias=route.clean_alias)
        return record

    # What it is ----------------------------------------------------------------------------

    def _classified(self, record: IncidentRecord, now: float) -> IncidentRecord:
        """With its class, from its alerts and from the readings that are not in breach."""
        seen = {(o.signal, o.selector): o for o in self._watch.observations()}
        given = []
        for alert in record.alerts:
            where = Selector(alert.journey, alert.route, alert.alias)
            current = seen.pop((alert.signal, where), None)
            worst = current if current is not None and current.breached else None
            given.append(
                Observation(
                    alert.signal,
                    alert.value if worst is None else worst.value,
                    alert.baseline if worst is None else worst.baseline,
                    alert.sample if worst is None else worst.sample,
                    where,
                    alert.incident_class,
                    alert.since,
                    why=alert.why,
                )
            )
        journeys = {a.journey for a in record.alerts} | {None}
        for other in seen.values():
            if other.selector.journey in journeys or None in {a.journey for a in record.alerts}:
                since = None if other.since is None else self._wall(other.since, now)
                given.append(replace(other, breached=False, since=since))
        found: Classification = classify(given)
        return replace(
            record,
            incident_class=found.primary,
            contributing=found.contributing,
            evidence=found.evidence,
            why=found.why,
        )

    def _assessed(self, record: IncidentRecord, now: float) -> IncidentRecord:
        """With its severity, from how far it reaches."""
        wall = self._book.time()
        began = record.first_bad_at or record.detected_at or wall
        seconds = min(_BACK, max(_LEAST, wall - began))
        share, affected = None, None
        for alert in record.alerts:
            if alert.recovered_at is not None:
                continue
            one = self._exposed(alert, seconds, now)
            if one is not None and (share is None or one[0] > share):
                share, affected = one
        exposure = Exposure(
            share=share,
            requests=affected,
            critical=record.critical,
            seconds=wall - began,
            contained=record.state is not IncidentState.OPEN,
            scope=record.journey,
        )
        criteria = self._book.runbook_of(record).severity
        previous = record.severity if record.version else None
        found = assess(exposure, criteria, previous=previous)
        if share is None and previous is not None:
            share, affected = record.share, record.requests
        return replace(
            record,
            severity=found.severity,
            severity_reasons=found.reasons,
            share=share,
            requests=affected,
        )

    def _exposed(self, alert: AlertRecord, seconds: float, now: float) -> tuple[float, int] | None:
        """The share and the number of requests that an alert's signal says are affected."""
        where = Selector(alert.journey, alert.route, alert.alias)
        series = self._signals.series(alert.signal, where)
        if series.shape is Shape.RATE:
            requests, affected = self._signals.exposure(where, seconds, now, signal=alert.signal)
            return (affected / requests, affected) if requests else None
        if series.shape is Shape.QUANTILE and alert.baseline is not None:
            above = series.above(alert.baseline, seconds, now)
            usual = 1.0 - (series.quantile or 1.0)
            share = max(0.0, (above.value or 0.0) - usual)
            return (share, round(share * above.size)) if above.size else None
        return None

    # What is done about it -----------------------------------------------------------------

    def _respond(
        self,
        record: IncidentRecord,
        now: float,
        *,
        anew: bool = False,
        back: Collection[tuple[str | None, ...]] = (),
    ) -> IncidentRecord:
        if record.state is IncidentState.CLOSED or not self._claims.leads(record.id):
            return record
        if back:  # here, as every process of a fleet sees it, and one counts
            record = self._book.update(record.id, lambda r: lifecycle.flapped(r, back))
        record = self._revised(record, now, anew=anew)
        record = self._recovered(record)
        record = self._responder.step(record, self._sights(record, now))
        return self._stabilised(record)

    def _revised(self, record: IncidentRecord, now: float, *, anew: bool) -> IncidentRecord:
        """Class and severity as they are now; written only where they say something else."""
        if record.recovered_at is not None:
            return record
        made = self._reclassified(record, now, anew=anew)
        made = self._assessed(made, now)
        told = (made.incident_class, made.contributing, made.severity, made.evidence)
        if told == (record.incident_class, record.contributing, record.severity, record.evidence):
            grown = (made.requests or 0) >= 2 * (record.requests or 0) > 0
            if not grown:
                return record
        wall = self._book.time()

        def edit(r: IncidentRecord) -> IncidentRecord:
            revised = replace(
                r,
                contributing=made.contributing,
                evidence=made.evidence,
                why=made.why,
                incident_class=made.incident_class,
            )
            if made.incident_class is not r.incident_class:
                revised = lifecycle.note(revised, made.why, event="classified", now=wall)
            return lifecycle.reassess(
                revised,
                min(made.severity, r.severity),
                made.severity_reasons,
                now=wall,
                share=made.share,
                requests=made.requests,
            )

        return self._book.update(record.id, edit)

    def _reclassified(self, record: IncidentRecord, now: float, *, anew: bool) -> IncidentRecord:
        """With its class as it is now: anew with each alert, in between only if it is worse.

        What fires first may be the effect. Its cause shows soon after, often without an alert of
        its own, as what is done about the first one ends both.
        """
        known = record.incident_class
        if anew or known is None:
            return self._classified(record, now)
        if self._book.time() - (record.detected_at or 0.0) > _SETTLES:
            return record
        made = self._classified(record, now)
        worse = PRECEDENCE[: PRECEDENCE.index(known)]
        return made if made.incident_class in worse else record

    def _recovered(self, record: IncidentRecord) -> IncidentRecord:
        """File the alerts that are over. What an action cut off is not over: it cannot be seen."""
        over = [
            alert
            for alert in record.alerts
            if alert.recovered_at is None and self._state(alert) is AlertState.OK
        ]
        acting = [a for a in record.actions if a.state in IN_FORCE]
        over = [alert for alert in over if not any(hidden(a, alert) for a in acting)]
        if not over:
            return record
        wall = self._book.time()

        def edit(r: IncidentRecord) -> IncidentRecord:
            for alert in over:
                name, journey, route, alias = place_of(alert)
                r = lifecycle.recovered_alert(
                    r, name, now=wall, journey=journey, route=route, alias=alias
                )
            return r

        return self._book.update(record.id, edit)

    def _stabilised(self, record: IncidentRecord) -> IncidentRecord:
        """With every signal back, what holds it is known to be good."""
        if record.recovered_at is None or record.state not in (
            IncidentState.OPEN,
            IncidentState.CONTAINED,
        ):
            return record
        wall = self._book.time()
        held = [a.text for a in record.actions if a.state in IN_FORCE]
        how = f"every signal is back with {'; '.join(held)}" if held else "every signal is back"

        def edit(r: IncidentRecord) -> IncidentRecord:
            if r.recovered_at is None:
                return r
            if r.state is IncidentState.OPEN:
                r = lifecycle.contain(r, "the signals came back by themselves", now=wall)
            return (
                lifecycle.stabilise(r, how, now=wall) if r.state is IncidentState.CONTAINED else r
            )

        return self._book.update(record.id, edit)

    # What it can see -----------------------------------------------------------------------

    def _alert(self, name: str) -> Alert | None:
        return next((a for a in self._watch.alerts if a.name == name), None)

    def _state(self, alert: AlertRecord) -> AlertState:
        return self._watch.state(alert.name, Selector(alert.journey, alert.route, alert.alias))

    def _sights(self, record: IncidentRecord, now: float) -> list[Sight]:
        firing = {(t.alert.name, t.selector): t for t in self._watch.firing()}
        return [
            Sight(
                alert,
                self._alert(alert.name),
                firing.get((alert.name, Selector(alert.journey, alert.route, alert.alias))),
                self._better(alert, now),
            )
            for alert in record.alerts
        ]

    def _better(self, alert: AlertRecord, now: float) -> Callable[[float, float], bool | None]:
        """Whether a signal is nearer to what it was than to what it had become."""

        def better(wall: float, seconds: float) -> bool | None:
            if alert.baseline is None:
                return None
            where = Selector(alert.journey, alert.route, alert.alias)
            series = self._signals.series(alert.signal, where)
            # Slots hold both sides of the moment it was done; what is cut off here is in neither.
            sample = series.over(max(1.0, seconds - _BLUR), now)
            if sample.value is None or sample.size < _ENOUGH:
                return None
            # What fired had the good time before it in its window. Bad is what came after that.
            bad = alert.value
            ill = min(_BACK, wall - seconds - alert.since)
            if ill > 0:
                worst = series.over(ill, now, before=seconds)
                if worst.value is not None and worst.size >= _ENOUGH:
                    bad = worst.value
            middle = (bad + alert.baseline) / 2
            return sample.value < middle if bad >= alert.baseline else sample.value > middle

        return better

    def _suspects(
        self, kind: RouteKind, alert: AlertRecord | None, record: IncidentRecord
    ) -> list[str]:
        """The routes of a kind on the incident's journey, the worst first."""
        now = self._runtime.now()
        journey = record.journey
        signal = alert.signal if alert is not None else _REQUESTS
        definition = self._signals.definition(signal)
        if definition.kind != kind:
            signal, definition = _REQUESTS, self._signals.definition(_REQUESTS)
        routes = {
            where.route
            for where in self._signals.selectors(signal)
            if where.route in self._runtime.routes and journey in {None, where.journey}
        }
        sign = 1.0 if definition.higher_is_worse else -1.0
        seconds = alert.window if alert is not None else 300.0
        worst = []
        for route in routes:
            if not route.startswith(f"{kind}:"):
                continue
            sample = self._signals.series(signal, Selector(journey, route)).over(seconds, now)
            value = 0.0 if sample.value is None else sample.value
            worst.append((-sign * value, -sample.size, route))
        return [route for _, _, route in sorted(worst)]

    def _share(self, journeys: Sequence[str]) -> float | None:
        """The share of the last five minutes' requests that were on these journeys; none: all."""
        now = self._runtime.now()
        everything, _ = self._signals.exposure(Selector(), 300.0, now)
        if not everything:
            return None
        if not journeys:
            return 1.0
        some = sum(self._signals.exposure(Selector(j), 300.0, now)[0] for j in journeys)
        return min(1.0, some / everything)

    def _journeys(self) -> Mapping[str, bool]:
        critical = {a.journey for a in self._watch.alerts if a.critical}
        seen = {s.journey for s in self._signals.selectors(_REQUESTS)}
        named = seen | {a.journey for a in self._watch.alerts}
        return {j: j in critical for j in sorted(named - {None, OTHER}, key=str) if j is not None}


def _title(alert: AlertRecord) -> str:
    where = f" on {alert.journey}" if alert.journey is not None else ""
    was = "" if alert.baseline is None else f" against {alert.baseline:.3g}"
    return f"{alert.signal.replace('_', ' ')} {alert.value:.3g}{was}{where}"


def _in_force(record: IncidentRecord) -> bool:
    """Whether calls are made under it: users are affected, or something still holds it."""
    return record.recovered_at is None or any(a.state in IN_FORCE for a in record.actions)
