"""The board: a stack of switches, the history of its changes, and known-good sets to go back to.

A `Board` is immutable; every change answers another board, or the same one where there is nothing
to change. So a change can be tried again on whatever board a shared store holds by then, and two
writers never lose each other's switches. Taking a switch off the stack is its exact inverse: what
is under it is in force again. A restore is one switch that hides what is under it, so it can be
reverted like any other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from firedoor.core.snapshot import Snapshot, effective
from firedoor.core.switches import Kind, Switch
from firedoor.errors import ConfigurationError, StoreError

__all__ = ["SCHEMA", "Action", "Board", "Entry", "KnownGood", "plain"]

SCHEMA = 1
"""Version of the board's JSON. A reader refuses a newer one and keeps what it knows."""

MAX_HISTORY = 200
MAX_SWITCHES = 500
MAX_KNOWN_GOOD = 32


class Action(StrEnum):
    """What happened to a switch, or to a known-good set."""

    SET = "set"
    REVERTED = "reverted"
    EXPIRED = "expired"
    MARKED = "marked"
    """The switches of that moment were kept as known-good."""
    FORGOTTEN = "forgotten"
    """A known-good set made room for a newer one."""
    RECOVERED = "recovered"
    """A store had lost the board; a process put back what it knew."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the history.

    Attributes:
        action: What happened.
        at: When, seconds since the epoch.
        subject: The switch's id, or the name of the known-good set.
        actor: Who; None where nobody said, or nobody did it (`expired`).
        reason: Why; likewise.
        switch: The switch, for what happened to one; a restore without the switches in it.
    """

    action: Action
    at: float
    subject: str
    actor: str | None = None
    reason: str | None = None
    switch: Switch | None = None


@dataclass(frozen=True, slots=True)
class KnownGood:
    """A set of switches somebody called good.

    Attributes:
        name: What `restore` takes.
        at: When it was marked, seconds since the epoch.
        switches: What was in force, oldest first; often nothing, which is a good state too.
        actor: Who marked it, if they said.
        reason: Why, likewise.
    """

    name: str
    at: float
    switches: tuple[Switch, ...]
    actor: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """The switches of one application, as they are kept. Times are seconds since the epoch.

    Attributes:
        stack: Oldest first; may hold expired ones until the next change settles them.
        history: Oldest first, the last `MAX_HISTORY`.
        known_good: By name, oldest first.
    """

    stack: tuple[Switch, ...] = ()
    history: tuple[Entry, ...] = ()
    known_good: Mapping[str, KnownGood] = field(default_factory=dict)

    def active(self, now: float) -> tuple[Switch, ...]:
        """What is in force, oldest first."""
        return tuple(effective(self.stack, now))

    def find(self, id: str) -> Switch | None:  # noqa: A002 - a switch's own word for it
        """The switch with this id, on the stack or inside a restore on it."""
        for switch in self.stack:
            if switch.id == id:
                return switch
            if switch.kind is Kind.RESTORE:
                for kept in switch.value:
                    if kept.id == id:
                        return kept  # type: ignore[no-any-return]
        return None

    def knows(self, id: str) -> bool:  # noqa: A002
        """Whether a switch or a known-good set is here, or was as far back as the history goes."""
        return (
            id in self.known_good
            or self.find(id) is not None
            or any(e.subject == id for e in self.history)
        )

    # Changes -------------------------------------------------------------------------------

    def set(self, switch: Switch, now: float) -> Board:
        """With `switch` on top; the same board if it was ever set (a repeated write is one).

        Raises:
            ConfigurationError: If it would make aliases run in a circle, or the board is full.
        """
        if self.knows(switch.id):
            return self
        board = self.settled(now)
        if len(board.stack) >= MAX_SWITCHES:
            raise ConfigurationError(
                f"{len(board.stack)} switches are set, the most a board holds: revert some"
            )
        if board.stack and board.stack[-1].created_at > switch.created_at:
            # Two machines' clocks: what is on top must also be the newest when stacks are merged.
            switch = replace(switch, created_at=board.stack[-1].created_at)
        made = replace(board, stack=(*board.stack, switch))
        if switch.kind is Kind.ALIAS:
            made._refuse_circles(switch, now)
        what = replace(switch, value=()) if switch.kind is Kind.RESTORE else switch
        return made._told(Entry(Action.SET, now, switch.id, switch.actor, switch.reason, what))

    def revert(
        self,
        id: str,  # noqa: A002
        now: float,
        *,
        actor: str | None = None,
        reason: str | None = None,
    ) -> Board:
        """Without the switch; the same board if it is not there (two reverts are one).

        It also leaves the restores that had brought it back. Known-good sets keep it.
        """
        board = self.settled(now)
        switch = board.find(id)
        if switch is None:
            return self
        stack = [
            replace(s, value=tuple(kept for kept in s.value if kept.id != id))
            if s.kind is Kind.RESTORE
            else s
            for s in board.stack
            if s.id != id
        ]
        what = replace(switch, value=()) if switch.kind is Kind.RESTORE else switch
        return replace(board, stack=tuple(stack))._told(
            Entry(Action.REVERTED, now, id, actor, reason, what)
        )

    def mark(
        self, name: str, now: float, *, actor: str | None = None, reason: str | None = None
    ) -> Board:
        """With what is in force now kept as known-good under `name`."""
        if not name.strip():
            raise ConfigurationError(f"known-good name={name!r}: give it one, such as '2026-w47'")
        board = self.settled(now)
        good = {k: v for k, v in board.known_good.items() if k != name}
        told = [Entry(Action.MARKED, now, name, actor, reason)]
        while len(good) >= MAX_KNOWN_GOOD:
            oldest = next(iter(good))
            del good[oldest]
            told.append(Entry(Action.FORGOTTEN, now, oldest, None, f"made room for {name}"))
        good[name] = KnownGood(name, now, board.active(now), actor, reason)
        return replace(board, known_good=good)._told(*told)

    def good(self, name: str) -> KnownGood:
        """The known-good set called `name`.

        Raises:
            ConfigurationError: If there is none; it lists those there are.
        """
        good = self.known_good.get(name)
        if good is None:
            names = ", ".join(repr(n) for n in self.known_good) or "none was ever marked"
            raise ConfigurationError(f"no known-good set {name!r}; there are: {names}")
        return good

    def restore(self, switch: Switch, now: float) -> Board:
        """With the known-good set that `switch` names in force, and everything under it hidden.

        Raises:
            ConfigurationError: If there is no such set; it lists those there are.
        """
        if self.knows(switch.id):
            return self
        return self.set(replace(switch, value=self.good(switch.target).switches), now)

    def settled(self, now: float) -> Board:
        """With the switches whose time is up moved from the stack into the history."""
        gone: dict[str, Switch] = {}
        stack = []
        for switch in self.stack:
            if switch.expired(now):
                gone[switch.id] = switch
            elif switch.kind is Kind.RESTORE:
                over = [kept for kept in switch.value if kept.expired(now)]
                gone.update((kept.id, kept) for kept in over)
                kept = tuple(kept for kept in switch.value if not kept.expired(now))
                stack.append(replace(switch, value=kept) if over else switch)
            else:
                stack.append(switch)
        if not gone:
            return self
        told = [
            Entry(
                Action.EXPIRED,
                s.expires_at or now,
                s.id,
                switch=replace(s, value=()) if s.kind is Kind.RESTORE else s,
            )
            for s in gone.values()
        ]
        return replace(self, stack=tuple(stack))._told(*sorted(told, key=lambda e: e.at))

    def recover(self, known: Board, now: float, reason: str, *, sure: bool = False) -> Board:
        """This board with everything of `known` that it has never heard of.

        For a store that lost its board, or went back to an older one. What was reverted here stays
        reverted; the same board if nothing is missing. Where the history begins after `known`
        ended, what is missing may have been reverted before the history begins: then nothing is
        missing, unless one is `sure` that the store went back.
        """
        full = len(self.history) >= MAX_HISTORY and bool(known.history)
        if full and not sure and self.history[0].at > known.history[-1].at:
            return self
        missing = tuple(s for s in known.settled(now).stack if not self.knows(s.id))
        good = {n: g for n, g in known.known_good.items() if not self.knows(n)}
        if not missing and not good:
            return self
        told = {(e.action, e.subject, e.at): e for e in (*known.history, *self.history)}
        return replace(
            self,
            stack=tuple(sorted((*self.stack, *missing), key=lambda s: s.created_at)),
            known_good={**good, **self.known_good},
            history=tuple(sorted(told.values(), key=lambda e: e.at)),
        )._told(*(Entry(Action.RECOVERED, now, s.id, "firedoor", reason, s) for s in missing))

    def _told(self, *entries: Entry) -> Board:
        return replace(self, history=(*self.history, *entries)[-MAX_HISTORY:])

    def _refuse_circles(self, switch: Switch, now: float) -> None:
        snapshot = Snapshot([self.stack], now=now)
        journeys = {switch.journey}
        if switch.journey is None:
            journeys |= {s.journey for s in snapshot.switches if s.kind is Kind.ALIAS}
        for journey in journeys:
            names = snapshot.circle(switch.target, journey)
            if names and switch.target in names[1:]:
                others = [
                    s
                    for s in snapshot.switches
                    if s.kind is Kind.ALIAS and s.target in names and s.id != switch.id
                ]
                ids = " or ".join(s.id for s in others)
                raise ConfigurationError(
                    f"switch alias {switch.target} → {switch.value} would close the circle "
                    f"{' → '.join(names)}: revert {ids} first"
                )

    # JSON ----------------------------------------------------------------------------------

    def dumps(self) -> str:
        """The board as JSON."""
        return json.dumps(
            {
                "schema": SCHEMA,
                "switches": [plain(s) for s in self.stack],
                "known_good": [
                    {**_fields(g), "switches": [plain(s) for s in g.switches]}
                    for g in self.known_good.values()
                ],
                "history": [
                    {**_fields(e), **({"switch": plain(e.switch)} if e.switch else {})}
                    for e in self.history
                ],
            },
            ensure_ascii=False,
            separators=(",", ":"),
        )

    @classmethod
    def loads(cls, text: str) -> Board:
        """The board in `text`; an empty one for an empty text.

        Raises:
            StoreError: If it is no board, or one of a newer schema.
        """
        if not text:
            return cls()
        try:
            data = json.loads(text)
            schema = data["schema"]
            if schema != SCHEMA:
                raise StoreError(
                    f"the switchboard in the store has schema {schema!r} and this firedoor reads "
                    f"{SCHEMA}: upgrade it here; the switches known so far stay on"
                )
            good = (
                KnownGood(**{**g, "switches": _switches_in(g["switches"])})
                for g in data["known_good"]
            )
            return cls(
                _switches_in(data["switches"]),
                tuple(_entry_in(e) for e in data["history"]),
                {g.name: g for g in good},
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreError(
                f"the switchboard in the store cannot be read ({type(error).__name__}); "
                "the switches known so far stay on"
            ) from error


def _fields(value: Any) -> dict[str, Any]:
    """The plain fields that say something: absent is None."""
    return {
        name: given
        for name in value.__slots__
        if (given := getattr(value, name)) is not None and given != "" and name != "switch"
    }


def plain(switch: Switch) -> dict[str, Any]:
    """The switch as plain JSON types; what says nothing is left out."""
    data = _fields(switch)
    if switch.kind is Kind.RESTORE:
        data["value"] = [plain(kept) for kept in switch.value]
    return data


def _switch_in(data: Mapping[str, Any]) -> Switch:
    value = data.get("value")
    if data["kind"] == Kind.RESTORE:
        value = _switches_in(value or ())
    return Switch(**{"journey": None, **data, "value": value})


def _switches_in(items: Iterable[Mapping[str, Any]]) -> tuple[Switch, ...]:
    return tuple(_switch_in(item) for item in items)


def _entry_in(data: Mapping[str, Any]) -> Entry:
    switch = data.get("switch")
    return Entry(
        **{
            **data,
            "action": Action(data["action"]),
            "switch": None if switch is None else _switch_in(switch),
        }
    )
