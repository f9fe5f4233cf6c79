"""One incident as the application holds it: what is known now, and the steps it may take."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from firedoor.core import lifecycle
from firedoor.core.incident import (
    ActionRecord,
    ActionState,
    AlertRecord,
    Finding,
    IncidentRecord,
    TimelineEntry,
    to_dict,
)
from firedoor.core.lifecycle import Check
from firedoor.types import Evidence, IncidentClass, IncidentState, Severity

if TYPE_CHECKING:
    from firedoor.incidents.book import Incidents

__all__ = ["Incident"]

T = TypeVar("T")


class Incident:
    """A handle on one incident. Every attribute is read from the ledger as it is asked for.

    Every field of `IncidentRecord` is an attribute, the methods are the steps of its lifecycle.
    `record` is all of it at one moment, for whoever reads more than one field.

    Each step raises `LifecycleError` where the lifecycle does not allow it, with the reason and
    what comes first; `actor` is who takes it.
    """

    __slots__ = ("_book", "_id")

    def __init__(self, book: Incidents, incident_id: str) -> None:
        self._book = book
        self._id = incident_id

    def __repr__(self) -> str:
        record = self.record
        kind = record.incident_class or "unknown"
        return f"<Incident {record.id} {record.severity} {kind} {record.state}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Incident) and (self._book, self.id) == (other._book, other.id)

    def __hash__(self) -> int:
        return hash(self.id)

    # Reading -------------------------------------------------------------------------------

    @property
    def record(self) -> IncidentRecord:
        """Everything that is known of it now."""
        return self._book.record(self._id)

    @property
    def id(self) -> str:
        """As in `INC-7f3a91c2`."""
        return self._book.current_id(self._id)

    @property
    def incident_class(self) -> IncidentClass | None:
        """None: it fits no class."""
        return self.record.incident_class

    @property
    def state(self) -> IncidentState:
        """Where its lifecycle stands."""
        return self.record.state

    @property
    def severity(self) -> Severity:
        """In force."""
        return self.record.severity

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """The signals, the most telling first."""
        return self.record.evidence

    @property
    def timeline(self) -> tuple[TimelineEntry, ...]:
        """What happened, oldest first."""
        return self.record.timeline

    @property
    def alerts(self) -> tuple[AlertRecord, ...]:
        """Every firing, oldest first."""
        return self.record.alerts

    @property
    def actions(self) -> tuple[ActionRecord, ...]:
        """Every action, oldest first."""
        return self.record.actions

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What it taught."""
        return self.record.findings

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.record, name)

    def to_dict(self) -> dict[str, Any]:
        """Everything that is known of it now, in plain JSON types."""
        made: dict[str, Any] = to_dict(self.record)
        return made

    def checks(self) -> tuple[Check, ...]:
        """What closing it asks for, as it stands now."""
        book = self._book
        return lifecycle.checks(self.record, now=book.time(), windows=book.windows)

    def runbook(self) -> str:
        """Its runbook on one screen of 80 by 24, filled in."""
        record = self.record
        return self._book.runbook_of(record).render(80, 24, incident=record)

    # Steps ---------------------------------------------------------------------------------

    def contain(self, reason: str = "", *, actor: str | None = None) -> IncidentRecord:
        """Users are no longer hurt."""
        return self._step(lifecycle.contain, reason, actor)

    def stabilise(self, reason: str = "", *, actor: str | None = None) -> IncidentRecord:
        """The application runs on something known to be good."""
        return self._step(lifecycle.stabilise, reason, actor)

    def diagnose(self, reason: str = "", *, actor: str | None = None) -> IncidentRecord:
        """Somebody looks for the cause. Refused before it is contained and stabilised."""
        return self._step(lifecycle.diagnose, reason, actor)

    def close(
        self,
        findings: Iterable[Finding] = (),
        *,
        waiver: str | None = None,
        owner: str | None = None,
        recovered: str | None = None,
        actor: str | None = None,
    ) -> IncidentRecord:
        """End it, if every closure check is met; see `checks`.

        Args:
            findings: What it taught, each with a probe or a waiver.
            waiver: Why it may close without that.
            owner: Who leads, where nobody was named yet. Left out: whoever a finding is left to.
            recovered: How a person knows that the signals are back, where no signal can say so.
            actor: Who closes it.
        """
        book = self._book
        now, who, given = book.time(), book.actor(actor), tuple(map(self._clean, findings))
        waiver, owner, recovered = map(self._clean, (waiver, owner, recovered))
        return book.update(
            self._id,
            lambda record: lifecycle.close(
                record,
                given,
                waiver=waiver,
                owner=owner,
                recovered=recovered,
                now=now,
                actor=who,
                windows=book.windows,
            ),
        )

    def assign(self, owner: str, *, actor: str | None = None) -> IncidentRecord:
        """Name who leads."""
        return self._step(lifecycle.assign, owner, actor)

    def note(self, text: str, *, actor: str | None = None) -> IncidentRecord:
        """Write a line on the timeline."""
        return self._step(lifecycle.note, text, actor)

    def add_finding(self, finding: Finding, *, actor: str | None = None) -> IncidentRecord:
        """Keep what it taught, before it is closed."""

        def step(
            record: IncidentRecord, found: Finding, *, now: float, actor: str
        ) -> IncidentRecord:
            made = replace(record, findings=(*record.findings, found))
            return lifecycle.note(made, found.text, event="finding", now=now, actor=actor)

        return self._step(step, finding, actor)

    # Actions -------------------------------------------------------------------------------

    def approve(self, action_id: str, *, actor: str | None = None) -> IncidentRecord:
        """Let an action go on that waits for a person. The application applies it at its next look.

        Args:
            action_id: Its id, or the beginning of it.
            actor: Who approves.
        """
        made = self._step(lifecycle.approve, action_id, actor)
        self._book.decided(made)
        return made

    def reject(
        self, action_id: str, *, actor: str | None = None, reason: str = ""
    ) -> IncidentRecord:
        """Say no to an action that waits for a person."""
        book = self._book
        now, who, reason = book.time(), book.actor(actor), self._clean(reason)
        made = book.update(
            self._id, lambda r: lifecycle.reject(r, action_id, reason, now=now, actor=who)
        )
        book.decided(made)
        return made

    def revert(
        self, action_id: str, *, actor: str | None = None, reason: str = "", done: bool = False
    ) -> IncidentRecord:
        """Have an action in force taken back.

        Args:
            action_id: Its id, or the beginning of it.
            actor: Who asks.
            reason: Why.
            done: It is taken back already, by hand; only the record does not know.
        """
        return self._want(action_id, ActionState.REVERTED, reason, actor, done)

    def promote(
        self, action_id: str, *, actor: str | None = None, reason: str = "", done: bool = False
    ) -> IncidentRecord:
        """Have an action in force made permanent. Arguments as for `revert`."""
        return self._want(action_id, ActionState.PROMOTED, reason, actor, done)

    def _want(
        self,
        action_id: str,
        state: ActionState,
        reason: str,
        actor: str | None,
        done: bool,  # noqa: FBT001
    ) -> IncidentRecord:
        book = self._book
        now, who, reason = book.time(), book.actor(actor), self._clean(reason)
        made = book.update(
            self._id,
            lambda r: lifecycle.want(r, action_id, state, reason, now=now, actor=who, done=done),
        )
        book.decided(made)
        return made

    def _step(
        self, edit: Callable[..., IncidentRecord], value: Any, actor: str | None
    ) -> IncidentRecord:
        now, who, value = self._book.time(), self._book.actor(actor), self._clean(value)
        return self._book.update(self._id, lambda r: edit(r, value, now=now, actor=who))

    def _clean(self, value: T) -> T:
        """What a person wrote, redacted before it is put on one line and cut to its length."""
        made: Any = value
        if isinstance(value, Finding):
            texts = {
                name: self._clean(getattr(value, name)) for name in ("text", "owner", "waiver")
            }
            made = replace(value, **texts)
        elif isinstance(value, str):
            made = self._book.clean(value)
        return made  # type: ignore[no-any-return]
