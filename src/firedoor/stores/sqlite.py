"""The store of one host: a SQLite file that many processes share.

Every operation that changes anything is one `BEGIN IMMEDIATE` transaction; see
`firedoor.sqlite_file`.
"""

from __future__ import annotations

import functools
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence

from firedoor.clock import SYSTEM_CLOCK, Clock
from firedoor.core.budget import (
    REMEMBER_EXPIRED,
    REMEMBER_SETTLED,
    Answer,
    Balance,
    HoldState,
    Line,
    Settlement,
    check_lines,
    check_settlements,
)
from firedoor.sqlite_file import BUSY_TIMEOUT, SQLiteFile
from firedoor.stores.base import OnChange, OnError, Settled, check_ttl
from firedoor.stores.watching import follow

__all__ = ["SQLiteStore"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS firedoor_counter (
    key TEXT PRIMARY KEY, settled INTEGER NOT NULL, held INTEGER NOT NULL, expires REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS firedoor_counter_expires ON firedoor_counter (expires);
CREATE TABLE IF NOT EXISTS firedoor_hold (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, due REAL NOT NULL, parts TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS firedoor_hold_due ON firedoor_hold (due);
CREATE TABLE IF NOT EXISTS firedoor_board (
    id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL, text TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS firedoor_member (
    space TEXT, member TEXT, text TEXT NOT NULL, due REAL NOT NULL, PRIMARY KEY (space, member)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS firedoor_member_due ON firedoor_member (due);
CREATE TABLE IF NOT EXISTS firedoor_claim (
    name TEXT PRIMARY KEY, owner TEXT NOT NULL, due REAL NOT NULL
) WITHOUT ROWID;
"""
_ADD = "UPDATE firedoor_counter SET settled = settled + ?, held = held + ? WHERE key = ?"
_END = "UPDATE firedoor_hold SET state = ?, due = ? WHERE id = ?"


class SQLiteStore:
    """Counters and board in a file.

    Thread-safe and fork-safe.

    Args:
        path: The file; made if it is not there.
        clock: Whose wall time decides on leases and windows; one for the whole host.
        busy_timeout: Seconds to wait for others' transactions before `StoreError`.

    Raises:
        ConfigurationError: If the file cannot be used.
    """

    shared = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        clock: Clock = SYSTEM_CLOCK,
        *,
        busy_timeout: float = BUSY_TIMEOUT,
    ) -> None:
        # A schema change takes the lock even where there is nothing to change.
        self._file = SQLiteFile(
            path, lambda sql: sql.executescript(_SCHEMA), busy_timeout=busy_timeout, follow=True
        )
        self._clock = clock

    def __repr__(self) -> str:
        return f"<SQLiteStore {str(self._file.path)!r}>"

    def now(self) -> float:
        """Wall time of this host, seconds since the epoch."""
        return self._clock.time_ns() / 1e9

    # Counters ------------------------------------------------------------------------------

    def reserve(self, hold: str, lines: Sequence[Line], lease: float) -> Answer:
        """See `Store.reserve`."""
        check_lines(lines)
        with self._file.writing() as sql:
            now = self.now()
            _sweep(sql, now)
            row = sql.execute(
                "SELECT state, parts FROM firedoor_hold WHERE id = ?", (hold,)
            ).fetchone()
            before = json.loads(row[1]) if row else []
            if row is not None:
                if [part[0] for part in before] != [line.key for line in lines]:
                    raise ValueError(f"hold {hold!r} has other counters, or another order of them")
                if row[0] != HoldState.LIVE:
                    return Answer(False, None, _balances(sql, [line.key for line in lines]))
            had = [part[1] for part in before] if before else [0] * len(lines)
            for index, (line, already) in enumerate(zip(lines, had, strict=True)):
                balance = _balance(sql, line.key)
                if not line.fits(balance.settled, balance.held, already):
                    return Answer(False, index, _balances(sql, [line.key for line in lines]))
            for line, already in zip(lines, had, strict=True):
                sql.execute(
                    "INSERT INTO firedoor_counter VALUES (?, 0, ?, ?)"
                    " ON CONFLICT (key) DO UPDATE SET held = held + excluded.held",
                    (line.key, line.amount - already, line.expires),
                )
            parts = json.dumps([[line.key, line.amount, line.floor] for line in lines])
            sql.execute(
                "INSERT OR REPLACE INTO firedoor_hold VALUES (?, ?, ?, ?)",
                (hold, HoldState.LIVE, now + lease, parts),
            )
            return Answer(True, None, _balances(sql, [line.key for line in lines]))

    def renew(self, holds: Sequence[str], lease: float) -> tuple[bool, ...]:
        """See `Store.renew`."""
        with self._file.writing() as sql:
            now = self.now()
            _sweep(sql, now)
            return tuple(
                sql.execute(
                    "UPDATE firedoor_hold SET due = ? WHERE id = ? AND state = ?",
                    (now + lease, hold, HoldState.LIVE),
                ).rowcount
                > 0
                for hold in holds
            )

    def settle(self, settlements: Sequence[Settlement]) -> Settled:
        """See `Store.settle`."""
        check_settlements(settlements)
        with self._file.writing() as sql:
            now = self.now()
            _sweep(sql, now)
            return tuple(_settle(sql, hold, actual, now) for hold, actual in settlements)

    def balances(self, keys: Sequence[str]) -> tuple[Balance, ...]:
        """See `Store.balances`."""
        with self._file.writing() as sql:
            _sweep(sql, self.now())
            return _balances(sql, keys)

    def counters(self) -> Mapping[str, Balance]:
        """See `Store.counters`."""
        with self._file.writing() as sql:
            _sweep(sql, self.now())
            rows = sql.execute("SELECT key, settled, held FROM firedoor_counter ORDER BY key")
            return {key: Balance(settled, held) for key, settled, held in rows}

    async def areserve(self, hold: str, lines: Sequence[Line], lease: float) -> Answer:
        """See `Store.reserve`; in a thread."""
        return await self._file.in_thread(functools.partial(self.reserve, hold, lines, lease))

    async def asettle(self, settlements: Sequence[Settlement]) -> Settled:
        """See `Store.settle`; in a thread."""
        return await self._file.in_thread(functools.partial(self.settle, settlements))

    # The board -----------------------------------------------------------------------------

    def board(self) -> tuple[int, str]:
        """See `Store.board`."""
        with self._file.reading() as sql:
            return _board(sql)

    def swap_board(self, expected: int, text: str) -> int | None:
        """See `Store.swap_board`."""
        with self._file.writing() as sql:
            if _board(sql)[0] != expected:
                return None
            sql.execute(
                "INSERT OR REPLACE INTO firedoor_board VALUES (1, ?, ?)", (expected + 1, text)
            )
            return expected + 1

    def watch_board(
        self, on_change: OnChange, *, poll: float, on_error: OnError
    ) -> Callable[[], None]:
        """See `Store.watch_board`. A look costs microseconds where nothing was written."""
        return follow(lambda: _BoardFile(self._file), on_change, on_error, poll=poll)

    # Members and claims --------------------------------------------------------------------

    def publish(self, space: str, member: str, text: str, ttl: float) -> None:
        """See `Store.publish`."""
        check_ttl(ttl)
        with self._file.writing() as sql:
            now = self.now()
            sql.execute("DELETE FROM firedoor_member WHERE due <= ?", (now,))
            sql.execute(
                "INSERT OR REPLACE INTO firedoor_member VALUES (?, ?, ?, ?)",
                (space, member, text, now + ttl),
            )

    def members(self, space: str) -> Mapping[str, str]:
        """See `Store.members`."""
        with self._file.reading() as sql:
            rows = sql.execute(
                "SELECT member, text FROM firedoor_member WHERE space = ? AND due > ?",
                (space, self.now()),
            )
            return dict(rows.fetchall())

    def claim(self, name: str, owner: str, ttl: float) -> bool:
        """See `Store.claim`."""
        check_ttl(ttl)
        with self._file.writing() as sql:
            now = self.now()
            sql.execute("DELETE FROM firedoor_claim WHERE due <= ?", (now,))
            got = sql.execute(
                "INSERT INTO firedoor_claim VALUES (?, ?, ?) ON CONFLICT (name)"
                " DO UPDATE SET due = excluded.due WHERE owner = excluded.owner",
                (name, owner, now + ttl),
            )
            return got.rowcount > 0

    def release(self, name: str, owner: str) -> None:
        """See `Store.release`."""
        with self._file.writing() as sql:
            sql.execute("DELETE FROM firedoor_claim WHERE name = ? AND owner = ?", (name, owner))

    def close(self) -> None:
        """Close the connection and end the thread."""
        self._file.close()


class _BoardFile:
    """Follows the board by SQLite's own count of other connections' commits."""

    def __init__(self, file: SQLiteFile) -> None:
        self._file = file
        self._connect()

    def _connect(self) -> None:
        with self._file.reading():
            pass  # made, if there is none any more
        self._sql = self._file.connect()
        self._opened = self._file.identity()
        self._seen = -1
        self._board = (0, "")

    def read(self) -> tuple[int, str]:
        if self._file.identity() != self._opened:
            self._sql.close()
            self._connect()
        try:
            (seen,) = self._sql.execute("PRAGMA data_version").fetchone()
            if seen != self._seen:
                self._board = _board(self._sql)
                self._seen = seen
        except sqlite3.Error as error:
            raise self._file.failed(error) from error
        return self._board

    def wait(self, stopped: threading.Event, seconds: float) -> None:
        stopped.wait(seconds)

    def close(self) -> None:
        self._sql.close()


def _board(sql: sqlite3.Connection) -> tuple[int, str]:
    row = sql.execute("SELECT version, text FROM firedoor_board").fetchone()
    return (0, "") if row is None else (row[0], row[1])


def _balance(sql: sqlite3.Connection, key: str) -> Balance:
    row = sql.execute("SELECT settled, held FROM firedoor_counter WHERE key = ?", (key,)).fetchone()
    return Balance(0, 0) if row is None else Balance(row[0], row[1])


def _balances(sql: sqlite3.Connection, keys: Sequence[str]) -> tuple[Balance, ...]:
    return tuple(_balance(sql, key) for key in keys)


def _settle(
    sql: sqlite3.Connection, hold: str, actual: Sequence[int], now: float
) -> tuple[Balance, ...] | None:
    row = sql.execute("SELECT state, parts FROM firedoor_hold WHERE id = ?", (hold,)).fetchone()
    if row is None:
        return None
    state, parts = row[0], json.loads(row[1])
    if len(parts) != len(actual):
        raise ValueError(f"hold {hold!r}: {len(actual)} amounts, {len(parts)} lines")
    if state != HoldState.SETTLED:
        for (key, amount, floor), spent in zip(parts, actual, strict=True):
            sql.execute("INSERT OR IGNORE INTO firedoor_counter VALUES (?, 0, 0, ?)", (key, now))
            late = state == HoldState.EXPIRED
            sql.execute(_ADD, (spent - floor, 0, key) if late else (spent, -amount, key))
        sql.execute(_END, (HoldState.SETTLED, now + REMEMBER_SETTLED, hold))
    return _balances(sql, [key for key, _, _ in parts])


def _sweep(sql: sqlite3.Connection, now: float) -> None:
    """Settle at their floors the holds whose leases ran out; forget what is long over."""
    due = sql.execute("SELECT id, state, parts FROM firedoor_hold WHERE due <= ?", (now,))
    for hold, state, parts in due.fetchall():
        if state == HoldState.LIVE:
            for key, amount, floor in json.loads(parts):
                sql.execute(_ADD, (floor, -amount, key))
            sql.execute(_END, (HoldState.EXPIRED, now + REMEMBER_EXPIRED, hold))
        else:
            sql.execute("DELETE FROM firedoor_hold WHERE id = ?", (hold,))
    sql.execute("DELETE FROM firedoor_counter WHERE expires <= ? AND held = 0", (now,))
