"""Carries actions out and takes them back, and writes both into the incident's record.

An action is written down before it changes anything, and every change of its record is a
compare-and-set: what somebody else has done with it meanwhile stands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from firedoor.core import lifecycle
from firedoor.core.incident import ActionRecord, ActionState, AlertRecord, IncidentRecord
from firedoor.errors import FiredoorError
from firedoor.incidents.acting import ACTOR, Action, ActionContext, CannotAct, SwitchAction
from firedoor.incidents.actions import build
from firedoor.incidents.alert import Alert
from firedoor.incidents.book import Incidents
from firedoor.incidents.claims import Claims
from firedoor.shell.runtime import Runtime
from firedoor.types import IncidentState, RouteKind

__all__ = ["Deeds"]


class Deeds:
    """What is done about incidents, and undone. Not thread-safe.

    Args:
        runtime: The door's parts.
        book: Where incidents are kept.
        claims: Whose target it is.
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
        claims: Claims,
        alert: Callable[[str], Alert | None],
        suspects: Callable[[RouteKind, AlertRecord | None, IncidentRecord], Sequence[str]],
        share: Callable[[Sequence[str]], float | None],
        journeys: Callable[[], Mapping[str, bool]],
        notify: Callable[[str], object],
    ) -> None:
        self._runtime = runtime
        self._book = book
        self._claims = claims
        self._alert = alert
        self._suspects = suspects
        self._share = share
        self._journeys = journeys
        self._notify = notify

    def carry_out(self, record: IncidentRecord, action: ActionRecord, actor: str) -> None:
        """Do what a person has approved."""
        now = self._book.time()
        does = self._action(record, action)
        begun = replace(action, state=ActionState.APPLYING, requested_at=now)
        if not self.commit(record, action, begun, f"begun: {action.text}", actor=actor):
            return
        if does is None:
            errored = self.errored(begun, CannotAct("it is not known here"), now)
            self.commit(record, begun, errored, f"not known here: {action.text}")
            return
        self.do(record, begun, does, now, actor)

    def do(
        self, record: IncidentRecord, action: ActionRecord, does: Action, now: float, actor: str
    ) -> bool:
        """Carry an action out that is written down as begun; whether it is in force."""
        try:
            undo = does.apply(self.context(record, action, actor))
        except Exception as error:
            if not isinstance(error, CannotAct):
                self._runtime.internal("action", error)
            errored = self.errored(action, error, now)
            self.commit(record, action, errored, self.why_not(errored, error))
            self._claims.free(action.target, record.id)
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
            return self.commit(record, action, told, f"done: {action.text}", actor=actor)
        waits = " (in this process; the store is away)" if self._runtime.switches.pending else ""
        return self.in_force(record, timed, undo, f"applied{waits}", actor=actor)

    def in_force(
        self,
        record: IncidentRecord,
        action: ActionRecord,
        undo: Mapping[str, Any],
        verb: str,
        *,
        actor: str = ACTOR,
    ) -> bool:
        """Write down that an action is in force, and with it that the incident is contained."""
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

        return self.change(record, action, edit)

    def end(
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
                does.revert(self.context(record, action, actor), action.undo)
            except Exception as error:
                self._runtime.internal("action", error)
                ended = replace(ended, error=type(error).__name__)
                said = f"{said}; undoing it failed ({type(error).__name__}): undo it by hand"
        self.commit(record, action, ended, said, actor=actor)
        self._claims.free(action.target, record.id)

    def keep(self, record: IncidentRecord, action: ActionRecord) -> Mapping[str, Any]:
        """Set its switches again without an end; answers what undoes those.

        Raises:
            CannotAct: If the board refuses them; what is in force stays as it is.
        """
        does = self._action(record, action)
        if not isinstance(does, SwitchAction) or does.ttl is None:
            return action.undo
        context = self.context(record, action, action.actor)
        undo = dataclasses.replace(does, ttl=None).apply(context)
        does.revert(context, action.undo)
        return undo

    def ladder(self, alert: Alert, record: IncidentRecord) -> tuple[Action, ...]:
        """What may be done about an alert, in order: its own actions, else its runbook's."""
        then = alert.then or self._book.runbook_of(record).actions
        found: list[Action] = [alert.first_action]
        found += [action for action in then if isinstance(action, Action) and action not in found]
        return tuple(found)

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

    def context(
        self,
        record: IncidentRecord,
        action: ActionRecord,
        actor: str,
        alert: AlertRecord | None = None,
    ) -> ActionContext:
        """What an action of an incident may look at and change."""
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

    @staticmethod
    def errored(action: ActionRecord, error: Exception, now: float) -> ActionRecord:
        """The action as it is where it could not be done."""
        return replace(action, state=ActionState.ERRORED, ended_at=now, error=type(error).__name__)

    @staticmethod
    def why_not(action: ActionRecord, error: Exception) -> str:
        """The line that says so: an own reason in full, another error by its type."""
        why = str(error) if isinstance(error, CannotAct) else type(error).__name__
        return f"not done: {action.text}: {why}"

    def add(self, record: IncidentRecord, action: ActionRecord, text: str) -> bool:
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

    def commit(
        self,
        record: IncidentRecord,
        before: ActionRecord,
        after: ActionRecord,
        text: str,
        *,
        actor: str = ACTOR,
    ) -> bool:
        """Put an action into another state, with a line; as `change`."""
        now = self._book.time()
        return self.change(
            record, before, lambda r: lifecycle.act(r, after, now=now, text=text, actor=actor)
        )

    def change(
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
