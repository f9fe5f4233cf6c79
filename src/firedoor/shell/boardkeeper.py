"""Keeps the board of one process: follows the store and the sources, and writes changes to the store.

What was on when a source was last heard stays on until that source, back again, says otherwise.
Three locks: `_lock` guards the values of this process and is held for moments; `_writing` lets one
thread at a time write to the store, and `_looking` one at a time read the sources. So a change acts
here even while another waits for a dead store. Listeners are called with none of them held.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Literal

from firedoor.clock import Clock
from firedoor.core.board import Action, Board, Entry
from firedoor.core.snapshot import Snapshot
from firedoor.core.switches import Switch
from firedoor.errors import ConfigurationError, StoreError
from firedoor.shell.boardsources import BoardStore, Change, Problems, Source
from firedoor.shell.chores import Chores

__all__ = ["BoardKeeper"]

MAX_TRIES = 1_000
"""Lost races after which a write gives up; each one lost is another writer's success."""

MAX_LOCAL_HISTORY = 200


Edit = Callable[[Board], Board]


class BoardKeeper:
    """The part of a switchboard that knows where switches come from; see `Switchboard`."""

    def __init__(
        self,
        store: BoardStore | None,
        *,
        clock: Clock,
        poll: float,
        offline: Literal["queue", "raise"],
        watch: bool,
        on_fault: Callable[[str, Exception], None] | None,
    ) -> None:
        self._store = store
        self._time_ns = clock.time_ns
        self._poll = poll
        self._offline = offline
        self._watch = watch
        self._listeners: tuple[Callable[[Change], object], ...] = ()
        self._untold: deque[Change] = deque()
        self._sources: dict[str, Source] = {}
        self._said: dict[str, tuple[Switch, ...]] = {}
        self._local_history: deque[Entry] = deque(maxlen=MAX_LOCAL_HISTORY)
        self._problems = Problems(on_fault)
        self._pending: tuple[Edit, ...] = ()
        self._version = 0
        self._board = Board()
        self._closed = False
        self._chores: Chores | None = None
        self._unwatch: Callable[[], None] | None = None
        self._make_locks()
        self.snapshot = Snapshot()
        if store is not None:
            version, text = store.board()
            self._version, self._board = version, Board.loads(text)
            self._install()
        self._start()
        _KEEPERS.add(self)

    @property
    def version(self) -> int:
        """Of the board; rises with every change to it."""
        return self._version

    @property
    def problems(self) -> dict[str, str]:
        """Sources that are not heard now, and why. What they said last stays in force."""
        return self._problems()

    @property
    def pending(self) -> int:
        """Changes that act here and wait to be written to the store."""
        return len(self._pending)

    def subscribe(self, listener: Callable[[Change], object]) -> Callable[[], None]:
        """Call `listener` with every `Change`, on the thread that learnt of it; answers the undo.

        Expiry is noticed by the next call or look, whichever comes first.
        """
        self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            self._listeners = tuple(one for one in self._listeners if one is not listener)

        return unsubscribe

    def add_source(self, source: Source) -> Callable[[], None]:
        """Follow another source of switches; answers how to leave it, which takes them back.

        Raises:
            ConfigurationError: If there is one of this name, or what it says now cannot work.
        """
        if source.name in self._sources:
            raise ConfigurationError(f"there is a source of switches {source.name!r} already")
        said = source.read()
        self._sources = {**self._sources, source.name: source}
        self._note(source)
        self._hear(source.name, said)
        self._tell()
        self._start()

        def remove() -> None:
            with self._looking:
                self._sources = {n: s for n, s in self._sources.items() if n != source.name}
                self._hear(source.name, ())
                self._problems.heard(source.name)
            self._tell()

        return remove

    def sync(self) -> None:
        """Look at every source and the store now. Never raises; see `problems`."""
        self._turn(ask=True)

    def _turn(self, *, ask: bool) -> None:
        """Look at every source, and at the store if it is asked or has something to be told."""
        for source in tuple(self._sources.values()):
            self._look(source)
        if self._store is not None and (ask or self._pending):
            try:
                with self._writing:
                    self._flush(self._store)
                    self._adopt(*self._current(self._store))
            except Exception as error:
                self._problems.fault("store", error)
        if self._now() >= self.snapshot.until:
            self._install()
        self._tell()

    def close(self) -> None:
        """Follow no longer. What is on stays on."""
        self._closed = True
        unwatch, self._unwatch = self._unwatch, None
        if unwatch is not None:
            unwatch()
        if self._chores is not None:
            self._chores.close()

    # Writing -------------------------------------------------------------------------------

    def _write(self, edit: Edit) -> None:
        """Make a change: here at once, and in the store."""
        store = self._store
        if store is None or self._offline == "raise":
            with self._writing:
                if store is None:
                    self._adopt(self._version + 1, edit(self._board))
                else:
                    self._push(store, edit)
        else:
            with self._lock:
                edit(self._view())  # what it refuses, it refuses now
                self._pending = (*self._pending, edit)
            self._install()
            try:
                with self._writing:
                    refused = self._flush(store)
            except Exception as error:
                self._problems.fault("store", error)
                refused = {}
            if edit in refused:
                self._tell()
                raise refused[edit]
        self._tell()

    def _flush(self, store: BoardStore) -> dict[Edit, ConfigurationError]:
        """Write what waits, in order; answers what others' changes rule out, and drops it."""
        refused = {}
        while self._pending:
            edit = self._pending[0]
            try:
                self._push(store, edit)
            except ConfigurationError as error:
                # It must not go on acting here only.
                refused[edit] = error
                self._problems.fault("pending", error)
                with self._lock:
                    self._pending = self._pending[1:]
                self._install()
        return refused

    def _push(self, store: BoardStore, edit: Edit) -> None:
        for _ in range(MAX_TRIES):
            version, board = self._current(store)
            edited = edit(board)
            swapped = version if edited is board else store.swap_board(version, edited.dumps())
            if swapped is not None:
                self._adopt(swapped, edited, done=edit)
                return
        raise StoreError(f"the switchboard was changed by others {MAX_TRIES} times in a row")

    def _current(self, store: BoardStore) -> tuple[int, Board]:
        """The store's board, and with it whatever the store has lost of it."""
        with self._lock:  # before the read: a healthy store cannot answer an older one
            known, before = self._version, self._board
        version, text = store.board()
        board = Board.loads(text)
        recovered = self._recovered(version, board, known, before)
        if recovered is board:
            self._problems.heard("store")
        else:
            swapped = store.swap_board(version, recovered.dumps())
            if swapped is None:
                return self._current(store)
            version = swapped
            lost = "the store had lost switches; they stayed on and are written back"
            self._problems.fault("store", StoreError(lost))
        self._adopt(version, recovered, back=version < known)
        return version, recovered

    def _recovered(self, version: int, board: Board, known: int, before: Board) -> Board:
        """`board` with what it lacks of the one known `before`; itself where it lacks nothing.

        The version does not tell: a store that went back may have been written to since.
        """
        reason = f"the store's version {version} did not follow from version {known}"
        return board.recover(before, self._now(), reason, sure=version < known)

    def _adopt(
        self, version: int, board: Board, *, done: Edit | None = None, back: bool = False
    ) -> None:
        with self._lock:
            if done is not None:
                self._pending = tuple(edit for edit in self._pending if edit is not done)
            if version >= self._version or back:
                self._version, self._board = version, board
            elif done is None:
                return
        self._install()

    def _view(self) -> Board:
        """The board as it is here: the store's, and what is not written there yet."""
        board = self._board
        for edit in self._pending:
            try:
                board = edit(board)
            except ConfigurationError:
                continue
        return board

    def _install(self) -> Snapshot:
        """Make the snapshot for now, and note what is different for the listeners."""
        with self._lock:
            before = self.snapshot
            stacks = [self._view().stack, *self._said.values()]
            snapshot = Snapshot(stacks, version=self._version, now=self._now())
            self.snapshot = snapshot
            old = {s.id for s in before.switches}
            new = {s.id for s in snapshot.switches}
            if old != new:
                added = tuple(s for s in snapshot.switches if s.id not in old)
                removed = tuple(s for s in before.switches if s.id not in new)
                self._untold.append(Change(added, removed, snapshot))
        return snapshot

    def _tell(self) -> None:
        """Call the listeners; with no lock held, for they may do anything."""
        while self._untold:
            try:
                change = self._untold.popleft()
            except IndexError:
                return
            for listener in self._listeners:
                try:
                    listener(change)
                except Exception as error:
                    self._problems.fault("listener", error)

    # Following -----------------------------------------------------------------------------

    def _regularly(self) -> None:
        self._turn(ask=False)  # the store is watched

    def _look(self, source: Source) -> None:
        with self._looking:  # an older answer must not come in after a newer one
            try:
                said = source.read()
            except Exception as error:
                self._problems.fault(source.name, error)
                return
            self._note(source)
            if source.name in self._sources and said != self._said.get(source.name):
                self._hear(source.name, said)

    def _note(self, source: Source) -> None:
        if source.problem is None:
            self._problems.heard(source.name)
        else:
            self._problems.fault(source.name, StoreError(source.problem))

    def _hear(self, name: str, said: tuple[Switch, ...]) -> None:
        with self._lock:
            now = self._now()
            before = {s.id: s for s in self._said.get(name, ())}
            after = {s.id: s for s in said}
            self._said = {**self._said, name: said}
            for id_ in after.keys() - before.keys():
                s = after[id_]
                self._local_history.append(Entry(Action.SET, now, id_, s.actor, s.reason, s))
            for id_ in before.keys() - after.keys():
                self._local_history.append(
                    Entry(Action.REVERTED, now, id_, name, "taken back there", before[id_])
                )
        self._install()

    def _changed(self, version: int, text: str) -> None:
        """The store has another version; on its watching thread."""
        store = self._store
        if store is None:
            return
        try:
            board = Board.loads(text)
            with self._lock:
                known, before = self._version, self._board
            if version < known or board is not self._recovered(version, board, known, before):
                # A late message, or a store that lost its memory: only the store can say which.
                with self._writing:
                    self._adopt(*self._current(store))
            elif board != before:
                self._adopt(version, board)
                self._problems.heard("store")
            if self._pending:
                with self._writing:
                    self._flush(store)
        except Exception as error:
            self._problems.fault("store", error)
        self._tell()

    def _start(self) -> None:
        """Follow the store and whatever else there is; at most one thread of ours."""
        store = self._store
        if not self._watch or self._closed or (store is None and not self._sources):
            return
        with self._lock:
            if store is not None and self._unwatch is None:
                self._unwatch = store.watch_board(
                    self._changed,
                    poll=self._poll,
                    on_error=lambda error: self._problems.fault("store", error),
                )
            if self._chores is None:
                self._chores = Chores("firedoor-switches")
                self._chores.add(self._poll, self._regularly)

    def _make_locks(self) -> None:
        self._lock = threading.RLock()
        self._writing = threading.RLock()
        self._looking = threading.RLock()

    def _after_fork(self) -> None:
        """No thread comes along into a forked worker, and a lock may be held by one of those."""
        self._make_locks()
        self._unwatch = None
        self._start()

    def _now(self) -> float:
        return self._time_ns() / 1e9


_KEEPERS: weakref.WeakSet[BoardKeeper] = weakref.WeakSet()


def _after_fork() -> None:
    for keeper in tuple(_KEEPERS):
        keeper._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
