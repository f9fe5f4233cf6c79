"""Acts on one incident: the next action of its ladder, whether it helped, and what ends it.

Everything it needs to go on is in the incident's record, so that it may be interrupted anywhere:
an action is written down before it changes anything, and whoever leads the incident next (this
process again, or another one) takes up what it finds.

- One process acts on an incident: it holds a claim of the shared store, renewed as it goes, and
  every step is a compare-and-set on the record besides.
- One automatic writer per target: an action steps back from what another incident's holds, from
  what a person has set since it began, and for a while from what was just undone.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from firedoor.core import lifecycle
from firedoor.core.facts import lasted
from firedoor.core.incident import (
    IN_FORCE,
    ActionRecord,
    ActionState,
    AlertRecord,
    IncidentRecord,
    to_dict,
)
from firedoor.core.switches import ANYTHING
from firedoor.errors import FiredoorError
from firedoor.incidents.acting import ACTOR, Action, ActionContext, CannotAct, SwitchAction
from firedoor.incidents.actions import FINAL, build
from firedoor.incidents.alert import Alert
from firedoor.incidents.book import Incidents
from firedoor.incidents.correlation import name_of
from firedoor.incidents.watch import Transition
from firedoor.shell.runtime import Runtime
from firedoor.stores import Store
from firedoor.types import AlertState, IncidentState, Mode, RouteKind

__all__ = ["COOL_DOWN", "LEASE", "Responder", "Sight"]

LEASE: Final = 15.0
"""Seconds a process leads an incident after it last said so."""

COOL_DOWN: Final = 300.0
"""Seconds after an action has ended in which no automatic one writes to its target again."""

INTERRUPTED: Final = 30.0
"""Seconds after which an action that was begun and not finished was interrupted."""

_WAITS = frozenset({ActionState.SUGGESTED, ActionState.WAITING})
_HELD = frozenset({ActionState.APPLIED, ActionState.VERIFIED})
_NEXT = frozenset(
    {
        ActionState.FAILED,
        ActionState.ERRORED,
        ActionState.REJECTED,
        ActionState.LAPSED,
        ActionState.PROMOTED,
    }
)


@dataclass(frozen=True, slots=True)
class Sight:
    """One alert of an incident as this process sees it now.

    Attributes:
        record: As the incident has it.
        alert: As it is declared here; None: it is not.
        latest: Its state and reading; None: it does not fire here.
        better: Answers whether the signal has been good since something was done, so many seconds
            ago, given the time; None: it cannot be told.
    """

    record: AlertRecord
    alert: Alert | None
    latest: Transition | None
    better: Callable[[float, float], bool | None]

    @property
    def name(self) -> str:
        """What its actions are filed under."""
        many = self.alert is not None and self.alert.each is not None
        return name_of(self.record, many=many)

    @property
    def firing(self) -> bool:
        """Whether users are still affected, as the rule sees it now."""
        seen = self.latest
        return seen is not None and seen.new is AlertState.FIRING and bool(seen.reading.breached)

    @property
    def silent(self) -> bool:
        """Whether it fires only because nothing can be told: there is no traffic to judge."""
        seen = self.latest
        return seen is not None and seen.reading.breached is None


class Responder:
    """See the module's text. Not thread-safe: the monitor calls it one incident at a time.

    Args:
        runtime: The door's parts.
        book: Where incidents are kept.
        store: The shared store, where there is one.
        alert: Answers the alert of a name, as it is declared here.
        suspects: Answers the routes of a kind on a journey, the worst by a signal first.
        share: Answers the share of recent requests that are on the journeys named.
        journeys: Answers every journey known, and whether it is critical.
        notify: Sends a line to whoever is told of incidents.
    """

    def __init__(
        self,
        runtime: Runtime,
        book: Incidents,
        *,
        store: Store | None,
        alert: Callable[[str], Alert | None],
        suspects: Callable[[RouteKind, AlertRecord | None, IncidentRecord], Sequence[str]],
        share: Callable[[Sequence[str]], float | None],
        journeys: Callable[[], Mapping[str, bool]],
        notify: Callable[[str], object],
    ) -> None:
        self._runtime = runtime
        self._book = book
        self._store = store if store is not None and store.shared else None
        self._alert = alert
        self._suspects = suspects
        self._share = share
        self._journeys = journeys
        self._notify = notify
        self._token = secrets.token_hex(6)
        self._met: set[str] = set()
        self._led: set[str] = set()

    @property
    def owner(self) -> str:
        """This process, in claims; another one after a fork."""
        return f"{self._token}-{os.getpid()}"

    def leads(self, incident_id: str) -> bool:
        """Whether this process acts on the incident; with the store away, whoever comes first."""
        if self._store is None:
            return True
        try:
            leads = self._store.claim(f"incident:{incident_id}", self.owner, LEASE)
        except FiredoorError as error:
            self._runtime.internal("monitor", error)
            return True
        if leads:
            self._led.add(incident_id)
        return leads

    def step_down(self) -> None:
        """Leave every incident to the other processes, for one that ends."""
        led, self._led = self._led, set()
        store = self._store
        if store is None:
            return
        for incident_id in led:
            try:
                store.release(f"incident:{incident_id}", self.owner)
            except FiredoorError as error:
                self._runtime.internal("monitor", error)
                return

    def step(self, record: IncidentRecord, sights: Sequence[Sight]) -> IncidentRecord:
        """Take the incident as far as it goes now."""
        for action in record.actions:
            sight = next((s for s in sights if s.name == action.alert), None)
            self._attend(record, action, sight)
        record = self._book.record(record.id)
        for sight in sights:
            if sight.record.recovered_at is None and sight.alert is not None:
                self._climb(record, sight, sights)
                record = self._book.record(record.id)
        return record

    # What is under way ---------------------------------------------------------------------

    def _attend(self, record: IncidentRecord, action: ActionRecord, sight: Sight | None) -> None:
        now = self._book.time()
        state = action.state
        if state in _WAITS:
            self._decide(record, action, now)
        elif state is ActionState.APPLYING:
            if now - action.requested_at >= INTERRUPTED:
                self._resume(record, action, now)
        elif state in IN_FORCE:
            if action.wanted is not None:
                self._wanted(record, action, now)
            elif action.expires_at is not None and now >= action.expires_at:
                self._end(record, action, ActionState.EXPIRED, now, ACTOR)
            elif self._gone(action):
                ended = replace(
                    action, state=ActionState.REVERTED, ended_at=now, actor="an operator"
                )
                text = f"taken back on the switchboard: {action.text}"
                self._commit(record, action, ended, text)
            elif sight is not None:
                self._verify(record, action, sight, now)

    def _decide(self, record: IncidentRecord, action: ActionRecord, now: float) -> None:
        if action.approved_by is not None:
            self._apply(record, action, action.approved_by)
            return
        late = action.approve_until is not None and now > action.approve_until
        alerts = [a for a in record.alerts if a.name == (action.alert or "").partition("[")[0]]
        over = bool(alerts) and all(a.recovered_at is not None for a in alerts)
        if late or over:
            why = "nobody approved it in time" if late else "the signal is back without it"
            lapsed = replace(action, state=ActionState.LAPSED, ended_at=now)
            self._commit(record, action, lapsed, f"lapsed, {why}: {action.text}")

    def _resume(self, record: IncidentRecord, action: ActionRecord, now: float) -> None:
        """An action was begun, and whoever began it is gone: see whether it took effect."""
        mark = f"{record.id} {action.id}:"
        found = [s.id for s in self._runtime.switches.active() if s.reason.startswith(mark)]
        if found:
            self._in_force(record, action, {"switches": found}, "taken up again")
            return
        ended = replace(action, state=ActionState.ERRORED, ended_at=now, error=_INTERRUPTED)
        self._commit(record, action, ended, f"interrupted before it acted: {action.text}")

    def _gone(self, action: ActionRecord) -> bool:
        """Whether somebody took its switches back, on the switchboard."""
        names = set(action.undo.get("switches", ()))
        there = {name for name in names if self._runtime.switches.find(name) is not None}
        # One that was set elsewhere may not have come here yet.
        known = names & self._met
        self._met |= there
        return bool(known) and not there

    def _wanted(self, record: IncidentRecord, action: ActionRecord, now: float) -> None:
        """A person asked for it to be reverted, or to stay."""
        wanted = action.wanted
        assert wanted is not None
        if wanted is ActionState.PROMOTED:
            undo = self._kept(record, action)
            made = replace(
                action, state=wanted, wanted=None, ended_at=now, expires_at=None, undo=undo
            )
            self._commit(record, action, made, f"made permanent: {action.text}", actor=action.actor)
        else:
            self._end(record, action, wanted, now, action.actor)

    def _kept(self, record: IncidentRecord, action: ActionRecord) -> Mapping[str, Any]:
        """Its switches without an end."""
        does = self._action(record, action)
        if not isinstance(does, SwitchAction) or does.ttl is None:
            return action.undo
        context = self._context(record, action, action.actor)
        undo = dataclasses.replace(does, ttl=None).apply(context)
        does.revert(context, action.undo)
        return undo

    def _end(
        self,
        record: IncidentRecord,
        action: ActionRecord,
        state: ActionState,
        now: float,
        actor: str,
    ) -> None:
        """Undo an action."""
        does = self._action(record, action)
        ended = replace(action, state=state, wanted=None, ended_at=now, actor=actor)
        said = f"{state.value}: {action.text}"
        if does is None:
            ended = replace(ended, error="unknown_action")
            said = f"{said}; not known here any more: undo it by hand"
        elif action.undo:
            try:
                does.revert(self._context(record, action, actor), action.undo)
            except Exception as error:
                self._runtime.internal("action", error)
                ended = replace(ended, error=type(error).__name__)
                said = f"{said}; undoing it failed ({type(error).__name__}): undo it by hand"
        self._commit(record, action, ended, said, actor=actor)
        self._free(record, action)

    def _free(self, record: IncidentRecord, action: ActionRecord) -> None:
        if self._store is not None and action.target:
            try:
                self._store.release(f"target:{action.target}", record.id)
            except FiredoorError as error:
                self._runtime.internal("monitor", error)

    # Whether it helped ---------------------------------------------------------------------

    def _verify(
        self, record: IncidentRecord, action: ActionRecord, sight: Sight, now: float
    ) -> None:
        if action.state is ActionState.FAILED or action.applied_at is None or _safe(record, sight):
            return
        seen = sight.latest
        if seen is None or not sight.firing:
            # Recovering, over, or nobody there to judge by: only the first says that it helped.
            back = seen is None or seen.new is AlertState.RECOVERING
            if back and action.state is ActionState.APPLIED and self._seen(sight):
                good = replace(action, state=ActionState.VERIFIED)
                said = f"{sight.record.signal} is back: {action.text}"
                self._commit(record, action, good, said)
            return
        since = now - action.applied_at
        until = action.verify_until or now
        if action.state is ActionState.VERIFIED:
            # It had helped, and the signal has turned again.
            until = max(until, self._wall(seen.at) + (until - action.applied_at))
        if now < until:
            return
        window = sight.record.window
        if since < window + (until - action.applied_at) and sight.better(now, since) is not False:
            return  # what was before is still in the rule's window
        failed = replace(action, state=ActionState.FAILED)
        said = f"did not help within {lasted(since)} ({seen.reading.why}): {action.text}"

        def edit(r: IncidentRecord) -> IncidentRecord:
            made = lifecycle.act(r, failed, now=now, text=said)
            holding = [a for a in made.actions if a.state in _HELD and self._holds(a)]
            if made.state is IncidentState.CONTAINED and not holding:
                made = lifecycle.relapse(made, f"{action.text} did not help", now=now)
            return made

        self._change(record, action, edit)

    @staticmethod
    def _seen(sight: Sight) -> bool:
        """Whether this process has judged the signal at all: it may have begun just now."""
        return sight.latest is not None or sight.record.recovered_at is not None

    @staticmethod
    def _holds(action: ActionRecord) -> bool:
        return action.kind != "notify"

    # What comes next -----------------------------------------------------------------------

    def ladder(self, alert: Alert, record: IncidentRecord) -> tuple[Action, ...]:
        """What may be done about an alert, in order: its own actions, else its runbook's."""
        then = alert.then or self._book.runbook_of(record).actions
        found: list[Action] = [alert.first_action]
        found += [action for action in then if isinstance(action, Action) and action not in found]
        return tuple(found)

    def _climb(self, record: IncidentRecord, sight: Sight, sights: Sequence[Sight]) -> None:
        """Start the next action of an alert's ladder, where it is time."""
        now = self._book.time()
        mine = [a for a in record.actions if a.alert == sight.name]
        if sight.latest is not None and sight.latest.muted:
            return
        if not sight.firing or _safe(record, sight) or self._covered(record, sight, sights):
            return
        if not mine:
            self._start(record, sight, 0)
            return
        last = mine[-1]
        if last.error == _INTERRUPTED:
            self._start(record, sight, last.step)
        elif last.state in _NEXT:
            self._start(record, sight, last.step + 1)
        elif last.state is ActionState.REVERTED:
            # Whoever took it back knows why: the next one, and not at once.
            if now - (last.ended_at or now) >= COOL_DOWN:
                self._start(record, sight, last.step + 1)
        elif last.state is ActionState.EXPIRED:
            if not self._holds(last):
                if now >= (last.verify_until or now):
                    self._start(record, sight, last.step + 1)
            elif now - (last.ended_at or now) >= COOL_DOWN:
                self._start(record, sight, last.step)
        elif last.state is ActionState.SUGGESTED and now >= (last.verify_until or now):
            self._start(record, sight, last.step + 1)

    def _covered(self, record: IncidentRecord, sight: Sight, sights: Sequence[Sight]) -> bool:
        """Whether another alert's action is under way that may well help this one too."""
        here = {None, ANYTHING, sight.record.journey}
        near = [
            a
            for a in record.actions
            if a.alert != sight.name
            and self._holds(a)
            and a.parameters.get("journey") in here
            and self._may_help(a, sight)
        ]
        if not near:
            return False
        # What leads the incident does not wait for what was done about an effect of it.
        speaks = {s.name: s.alert.speaks_for for s in sights if s.alert is not None}
        leads = record.incident_class
        mine = speaks.get(sight.name)
        return (
            leads is None
            or mine is not leads
            or any(speaks.get(a.alert or "") is leads for a in near)
        )

    def _may_help(self, action: ActionRecord, sight: Sight) -> bool:
        """Whether an alert had better wait for what another one's action comes to."""
        if action.state is ActionState.WAITING:
            return sight.alert is not None and Mode(sight.alert.mode) is not Mode.AUTO
        if action.state is ActionState.APPLYING or action.applied_at is None:
            return action.state is ActionState.APPLYING
        now = self._book.time()
        since = now - action.applied_at
        if action.state is ActionState.APPLIED:
            return True
        # It has helped its own alert; the windows of this one may need longer to show it.
        return (
            action.state is ActionState.VERIFIED
            and since < sight.record.window + COOL_DOWN
            and sight.better(now, since) is not False
        )

    def _start(self, record: IncidentRecord, sight: Sight, step: int) -> None:
        alert = sight.alert
        assert alert is not None
        ladder = self.ladder(alert, record)
        while step < len(ladder):
            now = self._book.time()
            entry = ActionRecord(
                id=secrets.token_hex(6),
                kind=ladder[step].kind,
                text=ladder[step].preview(),
                mode=Mode(alert.mode),
                step=step,
                alert=sight.name,
                requested_at=now,
            )
            try:
                entry, does = self._planned(record, entry, ladder[step], sight, now)
            except _LaterError:
                return
            except Exception as error:
                if not isinstance(error, CannotAct):
                    self._runtime.internal("action", error)
                entry = self._errored(entry, error, now)
                if not self._add(record, entry, self._why_not(entry, error)):
                    return
            else:
                said = f"{_VERBS[entry.state]}: {entry.text} (touches {entry.touches['text']})"
                if not self._add(record, entry, said):
                    return
                if entry.state is ActionState.APPLIED:
                    self._in_force(record, entry, {}, "in force")
                    return
                if entry.state is not ActionState.APPLYING or self._do(
                    record, entry, does, now, ACTOR
                ):
                    return
            record = self._book.record(record.id)
            step += 1
        if not any(e.event == "ladder_end" and sight.name in e.text for e in record.timeline):
            self._exhausted(record, sight)

    def _planned(
        self, record: IncidentRecord, entry: ActionRecord, action: Action, sight: Sight, now: float
    ) -> tuple[ActionRecord, Action]:
        """The action with its target, and how far it may go."""
        context = self._context(record, entry, ACTOR, sight.record)
        does = action.resolved(context)
        mode = entry.mode
        text = does.preview()
        why = does.not_automatic
        if mode is Mode.AUTO and why is not None:
            mode = Mode.APPROVE
            text = f"{text} (needs a person: {why})"
        if not self._runtime.enforce:
            mode = Mode.SUGGEST
        state = {
            Mode.AUTO: ActionState.APPLYING,
            Mode.APPROVE: ActionState.WAITING,
            Mode.SUGGEST: ActionState.SUGGESTED,
        }[mode]
        if mode is Mode.AUTO:
            try:
                self._may_write(record, does, now)
            except _ElsewhereError:
                state = ActionState.APPLIED
                text = f"{text} (by another process)"
        return (
            replace(
                entry,
                mode=mode,
                state=state,
                text=text,
                target=does.target,
                parameters=does.parameters(),
                touches=to_dict(does.blast_radius(context)),
                approve_until=now + float(does.approve_within) if mode is not Mode.AUTO else None,
                verify_until=now + does.helps_within if mode is Mode.SUGGEST else None,
            ),
            does,
        )

    def _may_write(self, record: IncidentRecord, does: Action, now: float) -> None:
        """One automatic writer per target, and none just after another."""
        target = does.target
        if not target:
            return
        for other in self._known(record):
            for action in other.actions:
                if not _same(action.target, target):
                    continue
                if other.id != record.id and action.state in IN_FORCE:
                    raise CannotAct(f"{target} is held by {other.id} ({action.text})")
                ended = action.ended_at
                automatic = action.mode is Mode.AUTO and action.applied_at is not None
                if ended is not None and automatic and now - ended < COOL_DOWN:
                    raise _LaterError
        if self._store is not None:
            try:
                held = self._store.claim(f"target:{target}", record.id, does.lasts or LEASE)
            except FiredoorError as error:
                self._runtime.internal("monitor", error)
                return
            if not held:
                raise _ElsewhereError

    def _known(self, record: IncidentRecord) -> Iterable[IncidentRecord]:
        return {**{r.id: r for r in self._book.open_records()}, record.id: record}.values()

    def _exhausted(self, record: IncidentRecord, sight: Sight) -> None:
        now = self._book.time()
        text = f"{sight.name}: no further action is left; a person has to take over"
        self._book.update(record.id, lambda r: lifecycle.note(r, text, event="ladder_end", now=now))
        try:
            self._notify(f"{record.severity} {record.id}: {text}")
        except Exception as error:
            self._runtime.internal("notify", error)

    # Doing it ------------------------------------------------------------------------------

    def _apply(self, record: IncidentRecord, action: ActionRecord, actor: str) -> None:
        """An approved action."""
        now = self._book.time()
        does = self._action(record, action)
        begun = replace(action, state=ActionState.APPLYING, requested_at=now)
        if not self._commit(record, action, begun, f"begun: {action.text}", actor=actor):
            return
        if does is None:
            errored = self._errored(begun, CannotAct("it is not known here"), now)
            self._commit(record, begun, errored, f"not known here: {action.text}")
            return
        self._do(record, begun, does, now, actor)

    def _do(
        self, record: IncidentRecord, action: ActionRecord, does: Action, now: float, actor: str
    ) -> bool:
        """Carry an action out that is written down as begun; whether it is in force."""
        try:
            undo = does.apply(self._context(record, action, actor))
        except Exception as error:
            if not isinstance(error, CannotAct):
                self._runtime.internal("action", error)
            errored = self._errored(action, error, now)
            self._commit(record, action, errored, self._why_not(errored, error))
            return False
        timed = replace(
            action,
            applied_at=now,
            verify_until=now + does.helps_within,
            expires_at=None if does.lasts is None else now + does.lasts,
            actor=actor,
        )
        if not does.holds:
            told = replace(timed, state=ActionState.EXPIRED, ended_at=now, expires_at=None)
            return self._commit(record, action, told, f"done: {action.text}", actor=actor)
        waits = " (in this process; the store is away)" if self._runtime.switches.pending else ""
        return self._in_force(record, timed, undo, f"applied{waits}", actor=actor)

    def _in_force(
        self,
        record: IncidentRecord,
        action: ActionRecord,
        undo: Mapping[str, Any],
        verb: str,
        *,
        actor: str = ACTOR,
    ) -> bool:
        now = self._book.time()
        does = self._action(record, action)
        if action.applied_at is None and does is not None:
            action = replace(
                action,
                applied_at=now,
                verify_until=now + does.helps_within,
                expires_at=None if does.lasts is None else action.requested_at + does.lasts,
            )
        applied = replace(action, state=ActionState.APPLIED, undo=dict(undo))

        def edit(r: IncidentRecord) -> IncidentRecord:
            made = lifecycle.act(r, applied, now=now, text=f"{verb}: {action.text}", actor=actor)
            if made.state is IncidentState.OPEN:
                made = lifecycle.contain(made, action.text, now=now, actor=actor)
            return made

        return self._change(record, action, edit)

    def _action(self, record: IncidentRecord, action: ActionRecord) -> Action | None:
        """The action of a record again: from what was kept, or by its place on the ladder."""
        if action.kind != "call":
            try:
                return build({"kind": action.kind, **action.parameters})
            except FiredoorError as error:
                self._runtime.internal("action", error)
                return None
        alert = self._alert((action.alert or "").partition("[")[0])
        ladder = () if alert is None else self.ladder(alert, record)
        found = ladder[action.step] if action.step < len(ladder) else None
        return found if found is not None and found.kind == action.kind else None

    def _context(
        self,
        record: IncidentRecord,
        action: ActionRecord,
        actor: str,
        alert: AlertRecord | None = None,
    ) -> ActionContext:
        runtime = self._runtime
        name = (action.alert or "").partition("[")[0]
        alert = alert or next((a for a in record.alerts if a.name == name), None)
        return ActionContext(
            incident=record,
            switches=runtime.switches,
            prompts=runtime.prompts,
            routes=runtime.routes,
            alert=alert,
            action_id=action.id,
            actor=actor,
            journeys=self._journeys(),
            budgets=() if runtime.budgets is None else tuple(runtime.budgets.rules),
            suspects=lambda kind: self._suspects(kind, alert, record),
            share=self._share,
            notify=self._notify,
        )

    # Writing it down -----------------------------------------------------------------------

    @staticmethod
    def _errored(action: ActionRecord, error: Exception, now: float) -> ActionRecord:
        return replace(action, state=ActionState.ERRORED, ended_at=now, error=type(error).__name__)

    @staticmethod
    def _why_not(action: ActionRecord, error: Exception) -> str:
        why = str(error) if isinstance(error, CannotAct) else type(error).__name__
        return f"not done: {action.text}: {why}"

    def _add(self, record: IncidentRecord, action: ActionRecord, text: str) -> bool:
        """Write a new action down, unless the alert has got another one meanwhile."""
        before = [a.id for a in record.actions if a.alert == action.alert]
        now = action.requested_at
        done: list[bool] = []

        def edit(r: IncidentRecord) -> IncidentRecord:
            there = [a.id for a in r.actions if a.alert == action.alert]
            if not r.open or there not in (before, [*before, action.id]):
                done.append(False)
                return r
            done.append(True)
            return lifecycle.act(r, action, now=now, text=text)

        self._book.update(record.id, edit)
        return done[-1]

    def _commit(
        self,
        record: IncidentRecord,
        before: ActionRecord,
        after: ActionRecord,
        text: str,
        *,
        actor: str = ACTOR,
    ) -> bool:
        now = self._book.time()
        return self._change(
            record, before, lambda r: lifecycle.act(r, after, now=now, text=text, actor=actor)
        )

    def _change(
        self,
        record: IncidentRecord,
        before: ActionRecord,
        edit: Callable[[IncidentRecord], IncidentRecord],
    ) -> bool:
        """Make an edit unless somebody has changed the action meanwhile; whether it was made."""
        done: list[bool] = []

        def guarded(r: IncidentRecord) -> IncidentRecord:
            there = next((a for a in r.actions if a.id == before.id), None)
            if there is None or there.state is not before.state:
                done.append(False)
                return r
            done.append(True)
            return edit(r)

        self._book.update(record.id, guarded)
        return done[-1]

    def _wall(self, moment: float) -> float:
        """Seconds since the epoch of a moment on the door's clock."""
        return self._book.time() - (self._runtime.now() - moment)


class _LaterError(Exception):
    """Not now; it is asked again at the next look."""


class _ElsewhereError(Exception):
    """Another process, whose incidents are not known here, has done it already."""


_INTERRUPTED = "interrupted"

_VERBS = {
    ActionState.APPLYING: "begun",
    ActionState.APPLIED: "done elsewhere",
    ActionState.WAITING: "waits for approval",
    ActionState.SUGGESTED: "suggested",
}


def _safe(record: IncidentRecord, sight: Sight) -> bool:
    """Whether users of the alert's journey get nothing but safe responses already."""
    return any(
        a.kind in FINAL
        and a.state in _HELD
        and a.parameters.get("journey") in {ANYTHING, sight.record.journey}
        for a in record.actions
    )


def _same(one: str, other: str) -> bool:
    """Whether two targets are one: `alias:gpt-5` is also that of every journey."""
    first, _, where = one.partition("@")
    second, _, there = other.partition("@")
    return bool(one) and first == second and (where == there or not where or not there)
