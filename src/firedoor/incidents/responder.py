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

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from firedoor.core import lifecycle
from firedoor.core.facts import lasted
from firedoor.core.incident import IN_FORCE, ActionRecord, ActionState, IncidentRecord, to_dict
from firedoor.core.switches import ANYTHING, JOURNEYS, Kind, Switch
from firedoor.incidents.acting import ACTOR, Action, CannotAct, SwitchAction
from firedoor.incidents.book import Incidents
from firedoor.incidents.claims import Claims
from firedoor.incidents.deeds import Deeds
from firedoor.incidents.sight import HELD, Sight, holds, safe, same_target
from firedoor.shell.runtime import Runtime
from firedoor.types import AlertState, IncidentState, Mode

__all__ = ["AGAIN", "COOL_DOWN", "Responder"]

COOL_DOWN: Final = 300.0
"""Seconds after an action has ended in which no automatic one writes to its target again."""

AGAIN: Final = 3
"""How often an action that has helped is taken again at once, before a cool-down holds it too."""

INTERRUPTED: Final = 30.0
"""Seconds after which an action that was begun and not finished was interrupted."""

_WAITS = frozenset({ActionState.SUGGESTED, ActionState.WAITING})
_NEXT = frozenset(
    {
        ActionState.FAILED,
        ActionState.ERRORED,
        ActionState.REJECTED,
        ActionState.LAPSED,
        ActionState.PROMOTED,
    }
)


class Responder:
    """See the module's text. Not thread-safe: the monitor calls it one incident at a time.

    Args:
        runtime: The door's parts.
        book: Where incidents are kept.
        deeds: What carries actions out.
        claims: Whose target it is.
        notify: Sends a line to whoever is told of incidents.
    """

    def __init__(
        self,
        runtime: Runtime,
        book: Incidents,
        deeds: Deeds,
        *,
        claims: Claims,
        notify: Callable[[str], object],
    ) -> None:
        self._runtime = runtime
        self._book = book
        self._deeds = deeds
        self._claims = claims
        self._notify = notify
        self._met: set[str] = set()

    def step(self, record: IncidentRecord, sights: Sequence[Sight]) -> IncidentRecord:
        """Take the incident as far as it goes now."""
        for action in record.actions:
            sight = next((s for s in sights if s.name == action.alert), None)
            self._attend(record, action, sight)
        record = self._book.record(record.id)
        for sight in sorted(sights, key=lambda s: not _leads(s, record)):  # the cause first
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
                self._deeds.end(record, action, ActionState.EXPIRED, now, ACTOR)
            elif self._gone(action):
                ended = replace(
                    action, state=ActionState.REVERTED, ended_at=now, actor="an operator"
                )
                text = f"taken back on the switchboard: {action.text}"
                self._deeds.commit(record, action, ended, text)
            elif sight is not None:
                self._verify(record, action, sight, now)

    def _decide(self, record: IncidentRecord, action: ActionRecord, now: float) -> None:
        if action.approved_by is not None:
            self._deeds.carry_out(record, action, action.approved_by)
            return
        late = action.approve_until is not None and now > action.approve_until
        alerts = [a for a in record.alerts if a.name == (action.alert or "").partition("[")[0]]
        over = bool(alerts) and all(a.recovered_at is not None for a in alerts)
        if late or over:
            why = "nobody approved it in time" if late else "the signal is back without it"
            lapsed = replace(action, state=ActionState.LAPSED, ended_at=now)
            self._deeds.commit(record, action, lapsed, f"lapsed, {why}: {action.text}")

    def _resume(self, record: IncidentRecord, action: ActionRecord, now: float) -> None:
        """An action was begun, and whoever began it is gone: see whether it took effect."""
        mark = f"{record.id} {action.id}:"
        found = [s.id for s in self._runtime.switches.active() if s.reason.startswith(mark)]
        if found:
            self._deeds.in_force(record, action, {"switches": found}, "taken up again")
            return
        ended = replace(action, state=ActionState.ERRORED, ended_at=now, error=_INTERRUPTED)
        self._deeds.commit(record, action, ended, f"interrupted before it acted: {action.text}")

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
            try:
                undo = self._deeds.keep(record, action)
            except CannotAct as error:
                asked = replace(action, wanted=None)
                said = f"not made permanent: {action.text}: {error}"
                self._deeds.commit(record, action, asked, said, actor=action.actor)
                return
            made = replace(
                action, state=wanted, wanted=None, ended_at=now, expires_at=None, undo=undo
            )
            self._deeds.commit(
                record, action, made, f"made permanent: {action.text}", actor=action.actor
            )
        else:
            self._deeds.end(record, action, wanted, now, action.actor)

    # Whether it helped ---------------------------------------------------------------------

    def _verify(
        self, record: IncidentRecord, action: ActionRecord, sight: Sight, now: float
    ) -> None:
        if action.state is ActionState.FAILED or action.applied_at is None or safe(record, sight):
            return
        seen = sight.latest
        if seen is None or not sight.firing:
            # Recovering, over, or nobody there to judge by: only the first says that it helped.
            back = seen is None or seen.new is AlertState.RECOVERING
            if back and action.state is ActionState.APPLIED and self._seen(sight):
                good = replace(action, state=ActionState.VERIFIED, verified_at=now)
                said = f"{sight.record.signal} is back: {action.text}"
                self._deeds.commit(record, action, good, said)
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
        failed = replace(action, state=ActionState.FAILED, verified_at=None)
        said = f"did not help within {lasted(since)} ({seen.reading.why}): {action.text}"

        def edit(r: IncidentRecord) -> IncidentRecord:
            made = lifecycle.act(r, failed, now=now, text=said)
            holding = [a for a in made.actions if a.state in HELD and holds(a)]
            if made.state is IncidentState.CONTAINED and not holding:
                made = lifecycle.relapse(made, f"{action.text} did not help", now=now)
            return made

        self._deeds.change(record, action, edit)

    @staticmethod
    def _seen(sight: Sight) -> bool:
        """Whether this process has judged the signal at all: it may have begun just now."""
        return sight.latest is not None or sight.record.recovered_at is not None

    # What comes next -----------------------------------------------------------------------

    def _climb(self, record: IncidentRecord, sight: Sight, sights: Sequence[Sight]) -> None:
        """Start the next action of an alert's ladder, where it is time."""
        now = self._book.time()
        mine = [a for a in record.actions if a.alert == sight.name]
        if sight.latest is not None and sight.latest.muted:
            return
        if not sight.firing or safe(record, sight) or self._covered(record, sight, sights):
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
            if not holds(last):
                if now >= (last.verify_until or now):
                    self._start(record, sight, last.step + 1)
            elif _soon(record, last) or now - (last.ended_at or now) >= COOL_DOWN:
                self._start(record, sight, last.step)
            else:
                self._returning(record, sight, last)
        elif last.state is ActionState.SUGGESTED and now >= (last.verify_until or now):
            self._start(record, sight, last.step + 1)

    def _covered(self, record: IncidentRecord, sight: Sight, sights: Sequence[Sight]) -> bool:
        """Whether another alert's action is under way that may well help this one too."""
        here = {None, ANYTHING, sight.record.journey}
        near = [
            a
            for a in record.actions
            if a.alert != sight.name
            and holds(a)
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
        ladder = self._deeds.ladder(alert, record)
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
                entry = self._deeds.errored(entry, error, now)
                if not self._deeds.add(record, entry, self._deeds.why_not(entry, error)):
                    return
            else:
                said = f"{_VERBS[entry.state]}: {entry.text} (touches {entry.touches['text']})"
                if not self._deeds.add(record, entry, said):
                    return
                if entry.state is ActionState.APPLIED:
                    self._deeds.in_force(record, entry, {}, "in force")
                    return
                if entry.state is not ActionState.APPLYING or self._deeds.do(
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
        automatic = entry.mode is Mode.AUTO and self._runtime.enforce
        foreign = self._foreign(record, action, sight) if automatic else None
        if foreign is not None:
            return _adopted(entry, action, foreign), action
        context = self._deeds.context(record, entry, ACTOR, sight.record)
        try:
            does = action.resolved(context)
            touches = to_dict(does.reach(context))
        except CannotAct:
            # Another process's switch may have come in just now.
            foreign = self._foreign(record, action, sight) if automatic else None
            if foreign is None:
                raise
            return _adopted(entry, action, foreign), action
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
                self._may_write(record, entry, does, now)
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
                touches=touches,
                approve_until=now + float(does.approve_within) if mode is not Mode.AUTO else None,
                verify_until=now + does.helps_within if mode is Mode.SUGGEST else None,
            ),
            does,
        )

    def _foreign(self, record: IncidentRecord, action: Action, sight: Sight) -> Switch | None:
        """A switch like this action's that a process has set whose incidents are not seen here."""
        if self._book.ledger.shared or not isinstance(action, SwitchAction):
            return None
        known = {r.id for r in self._known(record)}
        for switch in reversed(self._runtime.switches.active()):
            where = switch.target if switch.kind in JOURNEYS else switch.journey
            if (
                switch.kind is action.sets
                and switch.actor == ACTOR
                and switch.reason.partition(" ")[0] not in known
                and where in {None, ANYTHING, action.journey or sight.record.journey}
            ):
                return switch
        return None

    def _may_write(
        self, record: IncidentRecord, entry: ActionRecord, does: Action, now: float
    ) -> None:
        """One automatic writer per target, and none just after another."""
        target = does.target
        if not target:
            return
        for other in self._known(record):
            for action in other.actions:
                if not same_target(action.target, target):
                    continue
                if other.id != record.id and action.state in IN_FORCE:
                    raise CannotAct(f"{target} is held by {other.id} ({action.text})")
                ended = action.ended_at
                automatic = action.mode is Mode.AUTO and action.applied_at is not None
                mine = other.id == record.id and action.alert == entry.alert
                if mine and action.step == entry.step and _soon(record, action):
                    continue  # its own time was up: nobody has set anything against it
                if ended is not None and automatic and now - ended < COOL_DOWN:
                    raise _LaterError
        if not self._claims.take(target, record.id, does.lasts):
            raise _ElsewhereError

    def _known(self, record: IncidentRecord) -> Iterable[IncidentRecord]:
        return {**{r.id: r for r in self._book.open_records()}, record.id: record}.values()

    def _returning(self, record: IncidentRecord, sight: Sight, action: ActionRecord) -> None:
        """Say, once, that an action helps and that what it helps against does not end."""
        if action.verified_at is None or any(
            e.event == "returns" and action.text in e.text for e in record.timeline
        ):
            return
        text = (
            f"{sight.name} has come back each time that it ended: {action.text}; a person has to "
            "mend the cause or to make it permanent"
        )
        self._say(record, text, "returns")

    def _exhausted(self, record: IncidentRecord, sight: Sight) -> None:
        text = f"{sight.name}: no further action is left; a person has to take over"
        self._say(record, text, "ladder_end")

    def _say(self, record: IncidentRecord, text: str, event: str) -> None:
        """Put a line into the incident, and tell those on call."""
        now = self._book.time()
        self._book.update(record.id, lambda r: lifecycle.note(r, text, event=event, now=now))
        try:
            self._notify(f"{record.severity} {record.id}: {text}")
        except Exception as error:
            self._runtime.internal("notify", error)

    def _wall(self, moment: float) -> float:
        """Seconds since the epoch of a moment on the door's clock."""
        return self._book.time() - (self._runtime.now() - moment)


class _LaterError(Exception):
    """Not now; it is asked again at the next look."""


class _ElsewhereError(Exception):
    """Another process, whose incidents are not known here, has done it already."""


_INTERRUPTED = "interrupted"


def _soon(record: IncidentRecord, action: ActionRecord) -> bool:
    """Whether an action that is over had helped until its time was up, and not too often so."""
    if action.state is not ActionState.EXPIRED or action.verified_at is None:
        return False
    ended = [
        a
        for a in record.actions
        if (a.alert, a.step, a.state) == (action.alert, action.step, ActionState.EXPIRED)
    ]
    return len(ended) <= AGAIN


def _leads(sight: Sight, record: IncidentRecord) -> bool:
    """Whether an alert speaks for what the incident is, and not for an effect of it."""
    return sight.alert is not None and sight.alert.speaks_for is record.incident_class


def _adopted(entry: ActionRecord, action: Action, switch: Switch) -> ActionRecord:
    """The action as another process has taken it: in force, and not ours to undo."""
    parameters = action.parameters()
    where = switch.target if switch.kind is Kind.SAFE_MODE else switch.journey
    if where is not None:
        parameters["journey"] = where
    return replace(
        entry,
        state=ActionState.APPLIED,
        text=f"{switch.summary} (by another process)",
        target=f"{switch.kind}:{switch.target}",
        parameters=parameters,
        touches={"text": f"{switch.summary}: see {switch.id}"},
    )


_VERBS = {
    ActionState.APPLYING: "begun",
    ActionState.APPLIED: "done elsewhere",
    ActionState.WAITING: "waits for approval",
    ActionState.SUGGESTED: "suggested",
}
