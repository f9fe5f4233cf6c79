"""The switchboard of a door: an immutable snapshot that calls read, and everyone who may change it.

Reading takes no lock and does no I/O. Writers are code and the command line (through the shared
store, by compare-and-set), a watched file, and feature flags.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Literal, NotRequired, Required, TypedDict, Unpack

from firedoor.clock import SYSTEM_CLOCK, Clock
from firedoor.core.board import Board, Entry, KnownGood
from firedoor.core.snapshot import ModelChoice, Resolution
from firedoor.core.switches import ANYTHING, InFlight, Kind, Switch, duration
from firedoor.errors import ConfigurationError
from firedoor.shell.boardkeeper import BoardKeeper
from firedoor.shell.boardsources import BoardStore, Change, Source
from firedoor.shell.switchfile import SwitchFile, check_strictness

__all__ = ["BoardStore", "Change", "Source", "Switchboard", "Terms"]


class Terms(TypedDict):
    """What every switch is set with.

    Attributes:
        reason: Why, in a few words.
        actor: Who; may be left out where the switchboard has a default.
        ttl: Seconds, or a text like `"30m"`, after which it is as if it had been reverted.
            None: it stays.
        journey: The only journey it acts on. None: all.
        in_flight: What streams that run already do: `keep`, `drain` (end with the sentence being
            said), `cut` (end at the next chunk).
    """

    reason: Required[str]
    actor: NotRequired[str | None]
    ttl: NotRequired[float | str | None]
    journey: NotRequired[str | None]
    in_flight: NotRequired[Literal["keep", "drain", "cut"]]


class Switchboard(BoardKeeper):
    """Operators' and actions' overrides, by whatever way they come.

    Thread-safe. A change acts in this process at once and is written to the store with a few round
    trips; with the store away it waits here until it is back (`offline="queue"`), or nothing is
    changed and the store's error is raised (`offline="raise"`, for a command line, which would not
    be there any more). Reading never waits.

    Attributes:
        snapshot: What is in force. Replaced as a whole; keep the one a call began with.

    Args:
        store: The shared store; None: this process only.
        clock: Whose wall time decides what has expired.
        file: A watched file of switches, `.toml` or `.json`.
        actor: Who sets switches where a call does not say.
        poll: Seconds between looks at the sources, and at the store where it cannot push.
        offline: What a change does while the store is away.
        watch: Follow store and sources from a thread. False: only `sync()` looks.
        on_fault: Called with a source's name and its error when it goes bad.

    Raises:
        StoreError: If the store cannot be read: which switches are on is not known then.
        ConfigurationError: If a value cannot work, or the file does not say switches.
    """

    def __init__(
        self,
        store: BoardStore | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        file: str | os.PathLike[str] | None = None,
        actor: str | None = None,
        poll: float = 0.5,
        offline: Literal["queue", "raise"] = "queue",
        watch: bool = True,
        on_fault: Callable[[str, Exception], None] | None = None,
    ) -> None:
        if not poll > 0:
            raise ConfigurationError(f"Switchboard(poll={poll!r}): give seconds above zero")
        self._actor = actor
        source = None if file is None else SwitchFile(os.fspath(file))
        super().__init__(
            store, clock=clock, poll=poll, offline=offline, watch=watch, on_fault=on_fault
        )
        if source is not None:
            self.add_source(source)

    def __repr__(self) -> str:
        return f"<Switchboard {len(self.snapshot.switches)} on, version {self._version}>"

    # Reading -------------------------------------------------------------------------------

    def resolve(
        self,
        route: str,
        *,
        alias: str | None = None,
        journey: str | None = None,
        prompt: str | None = None,
    ) -> Resolution | None:
        """What the switches make of a call that begins now; None when nothing is set at all."""
        snapshot = self.snapshot
        if snapshot.empty:
            return None
        now = self._time_ns() / 1e9
        if now >= snapshot.until:
            snapshot = self._install()
            self._tell()
        return snapshot.resolve(route, alias=alias, journey=journey, prompt=prompt, now=now)

    def model(self, alias: str, *, journey: str | None = None) -> ModelChoice:
        """The real model behind a name now, and whether it is turned off."""
        return self.snapshot.model(alias, journey=journey, now=self._now())

    def active(self) -> tuple[Switch, ...]:
        """Every switch in force, from every source, oldest first."""
        return self.snapshot.at(self._now()).switches

    def history(self) -> tuple[Entry, ...]:
        """What was set, reverted and expired, by whom and why; oldest first, and bounded."""
        entries = [*self._view().settled(self._now()).history, *tuple(self._local_history)]
        return tuple(sorted(entries, key=lambda entry: entry.at))

    def known_good(self) -> Mapping[str, KnownGood]:
        """The known-good sets by name, oldest first."""
        return dict(self._view().known_good)

    def find(self, switch_id: str) -> Switch | None:
        """The switch with this id, if it is set: in force, or hidden by a restore above it."""
        found = self._view().settled(self._now()).find(switch_id)
        if found is not None:
            return found
        return next((s for s in self.active() if s.id == switch_id), None)

    def restored(self) -> Switch | None:
        """The restore in force, if there is one: what to revert to undo it."""
        now = self._now()
        restores = [s for s in self._view().stack if s.kind is Kind.RESTORE and not s.expired(now)]
        return restores[-1] if restores else None

    # Changing ------------------------------------------------------------------------------

    def alias(self, alias: str, model: str, **terms: Unpack[Terms]) -> Switch:
        """Calls that ask for `alias` get `model` (which may be an alias itself)."""
        return self._set(Kind.ALIAS, alias, model, **terms)

    def disable(self, target: str, **terms: Unpack[Terms]) -> Switch:
        """Calls of a route (`tool:refund`, `tool:*`, `*`) are refused, or a `model:NAME` unused."""
        return self._set(Kind.DISABLE, target, None, **terms)

    def depth(self, target: str, most: int, **terms: Unpack[Terms]) -> Switch:
        """A retrieval route (`retrieval:kb`, `retrieval:*`) fetches at most `most` documents."""
        return self._set(Kind.DEPTH, target, most, **terms)

    def prompt(self, name: str, revision: str, **terms: Unpack[Terms]) -> Switch:
        """The prompt is held at this revision."""
        return self._set(Kind.PROMPT, name, revision, **terms)

    def strictness(self, level: str, **terms: Unpack[Terms]) -> Switch:
        """Content policies run at this level: `normal`, `strict`, `lockdown`."""
        return self._set(Kind.STRICTNESS, ANYTHING, check_strictness(level), **terms)

    def safe_mode(self, target: str = ANYTHING, /, **terms: Unpack[Terms]) -> Switch:
        """The journey (`*`: every one) answers with its safe responses only."""
        journey = terms.pop("journey", None)
        return self._set(Kind.SAFE_MODE, journey or target, None, **terms)

    def minimum_tier(self, target: str, tier: int, **terms: Unpack[Terms]) -> Switch:
        """An LLM route (`llm:answer`, `llm:*`) begins its ladder at `tier`; 0 is the first."""
        return self._set(Kind.MINIMUM_TIER, target, tier, **terms)

    def cap_budget(self, target: str, share: float, **terms: Unpack[Terms]) -> Switch:
        """A budget (`day`, `llm:answer/day`, `*`) ends at `share` of its limit, 0 to below 1."""
        return self._set(Kind.CAP_BUDGET, target, share, **terms)

    def shed_load(self, target: str, share: float = 1.0, /, **terms: Unpack[Terms]) -> Switch:
        """`share` of the requests of a journey (`*`: every one) are turned away, up to 1: all.

        Their model calls get the safe response, or `Saturated` where there is none; so do tools
        that are not declared to only read. A request is turned away whole or not at all; what runs
        already goes on.
        """
        journey = terms.pop("journey", None)
        return self._set(Kind.SHED_LOAD, journey or target, share, **terms)

    def restore(self, name: str, **terms: Unpack[Terms]) -> Switch:
        """The board's switches are as they were when `name` was marked known-good.

        One change, which `revert` undoes. Those of the set whose own time is up stay off; files
        and flags are not the board's to restore.

        Raises:
            ConfigurationError: If there is no such set; it lists those there are.
        """
        if terms.get("journey") is not None:
            raise ConfigurationError("restore takes no journey: it sets the whole board")
        return self._set(Kind.RESTORE, name, (), **terms)

    def set_if(
        self,
        free: Callable[[Board], object],
        kind: Kind,
        target: str,
        value: Any,
        **terms: Unpack[Terms],
    ) -> Switch:
        """Set a switch unless `free` raises a `ConfigurationError`.

        It is asked with the board that is about to be written, and asked again when others have
        written meanwhile.
        """
        return self._set(kind, target, value, free=free, **terms)

    def revert(
        self, switch: str | Switch, *, reason: str | None = None, actor: str | None = None
    ) -> Switch | None:
        """Take a switch back: what was under it is in force again.

        Returns the switch, or None if it was reverted before or has expired: two reverts are one.

        Raises:
            ConfigurationError: If the id was never heard of, or belongs to a file or flag.
        """
        wanted = switch.id if isinstance(switch, Switch) else switch
        self._refuse_foreign(wanted)
        now = self._now()
        actor = actor or self._actor
        found: list[Switch] = []

        def edit(board: Board) -> Board:
            settled = board.settled(now)
            there = settled.find(wanted)
            if there is not None:
                found.append(there)
            elif not isinstance(switch, Switch) and not settled.knows(wanted):
                ids = ", ".join(s.id for s in settled.active(now)) or "none"
                raise ConfigurationError(f"no switch {wanted!r} is known; on are: {ids}")
            return settled.revert(wanted, now, actor=actor, reason=reason)

        self._write(edit)
        return found[-1] if found else None

    def mark_known_good(
        self, name: str, *, reason: str | None = None, actor: str | None = None
    ) -> KnownGood:
        """Keep the board's switches of now under `name`, for `restore`; over one of that name."""
        now = self._now()
        made: list[KnownGood] = []

        def edit(board: Board) -> Board:
            marked = board.mark(name, now, actor=actor or self._actor, reason=reason)
            made.append(marked.good(name))
            return marked

        self._write(edit)
        return made[-1]

    def _refuse_foreign(self, wanted: str) -> None:
        for said in self._said.values():
            for held in said:
                if held.id == wanted:
                    raise ConfigurationError(
                        f"switch {wanted} is held by {held.source}: take it back there"
                    )

    def _set(
        self,
        kind: Kind,
        target: str,
        value: Any,
        *,
        reason: str = "",
        actor: str | None = None,
        ttl: float | str | None = None,
        journey: str | None = None,
        in_flight: str = InFlight.KEEP,
        free: Callable[[Board], object] | None = None,
    ) -> Switch:
        now = self._now()
        made = Switch(
            id=f"sw-{secrets.token_hex(4)}",
            kind=kind,
            target=target,
            value=value,
            journey=journey,
            reason=reason,
            actor=actor if actor is not None else self._actor or "",
            created_at=now,
            expires_at=None if ttl is None else now + duration(ttl),
            in_flight=in_flight,  # type: ignore[arg-type]  # checked, and made one, there
        )

        def edit(board: Board) -> Board:
            if free is not None and not board.knows(made.id):
                free(board.settled(now))
            return board.restore(made, now) if kind is Kind.RESTORE else board.set(made, now)

        self._write(edit)
        return self._view().find(made.id) or made
