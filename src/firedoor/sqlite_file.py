"""A SQLite file that many processes write to: connections, transactions, and a thread for asyncio.

A process has one connection, and its threads wait for each other on a lock, which wakes them;
processes can only look again and again whether the file is free. The write-ahead log lets readers go
on beside the one writer; a commit survives the end of the process; and the end of the machine, with
`synchronous=NORMAL` but for the last moments.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeVar

from firedoor.errors import ConfigurationError, StoreError
from firedoor.forking import fork_waits_for

__all__ = ["BUSY_TIMEOUT", "SQLiteFile"]

T = TypeVar("T")

BUSY_TIMEOUT = 2.0
"""Seconds to wait for others' transactions, which take a fraction of a millisecond each, before the
store counts as away."""

_PAUSES = (0.0005, 0.004)
"""Seconds, from and to, between two looks whether the file is free. SQLite itself soon looks every
100 ms only, and so never finds it free beside processes that write without a pause. At random, so
that nobody keeps step with those who write."""

_AT_ONCE = "PRAGMA busy_timeout=0"

# Connections that were open when the process forked: closing them here is not ours to do.
_INHERITED: list[sqlite3.Connection] = []


class SQLiteFile:
    """The file, opened. Thread-safe and fork-safe.

    Args:
        path: The file; made if it is not there.
        prepare: Makes the schema, or brings it up to date, whenever it is opened.
        what: How errors name it: `store`, `ledger`.
        synchronous: SQLite's pragma: `NORMAL`, or `FULL` where the machine may lose its power.
        busy_timeout: Seconds to wait for others' transactions.
        follow: Go on with the file that has the path, where another took its place or it was
            deleted. What a process keeps in a file that only it still has open, no other process
            and no command can see.
        pause: Lets some seconds pass.

    Raises:
        ConfigurationError: If the file cannot be used.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        prepare: Callable[[sqlite3.Connection], object],
        *,
        what: str = "store",
        synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
        busy_timeout: float = BUSY_TIMEOUT,
        follow: bool = False,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._follow = follow
        self._opened: tuple[int, int] | None = None
        self.path = pathlib.Path(path).absolute()
        self._make = prepare
        self._named = f"sqlite {what} {str(self.path)!r}"
        self._synchronous = synchronous
        self._busy_timeout = busy_timeout
        self._pause = pause
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._process = os.getpid()
        # SQLite counts the locks of a process in its memory: a child forked in the middle of a
        # transaction would for ever take the file to be locked by a connection beside its own.
        fork_waits_for(self, lambda file: file._lock, timeout=busy_timeout)
        try:
            self._connection = self._prepare()
        except sqlite3.Error as error:
            raise ConfigurationError(
                f"{self._named} cannot be used ({error}): give a file in a "
                "directory that exists and may be written to; an absolute path has four slashes, "
                "as in sqlite:////var/lib/app/firedoor.db"
            ) from error

    def __del__(self) -> None:
        # Nobody has to close a door: what it had open does not wait for the interpreter to complain.
        with contextlib.suppress(Exception):
            connection = self._connection
            if connection is not None and self._process == os.getpid():
                connection.close()

    def connect(self) -> sqlite3.Connection:
        """A connection of the caller's own.

        Raises:
            sqlite3.Error: If there is none to be had.
        """
        connection = sqlite3.connect(
            self.path,
            timeout=self._busy_timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute(f"PRAGMA synchronous={self._synchronous}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self) -> sqlite3.Connection:
        connection = self.connect()

        def prepare() -> None:
            # Two processes that change the mode at once do not wait for each other.
            connection.execute("PRAGMA journal_mode=WAL")
            self._make(connection)

        try:
            connection.execute(_AT_ONCE)
            self._insist(prepare)
            self._opened = self.identity()
        except BaseException:
            connection.close()
            raise
        return connection

    def _insist(self, step: Callable[[], object]) -> None:
        """Do a step as soon as others let us.

        Raises:
            sqlite3.Error: If they do not in time, or something else is wrong.
        """
        ends = time.monotonic() + self._busy_timeout
        while True:
            try:
                step()
                return
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > ends:
                    raise
            self._pause(random.uniform(*_PAUSES))

    def identity(self) -> tuple[int, int] | None:
        """Which file has the path now; None for none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one statement.

        Raises:
            StoreError: If the file cannot be read, or others do not let go of the connection.
        """
        with self._connected() as connection:
            # Only somebody who mends or removes the log keeps a reader out, and not again and again.
            connection.execute(f"PRAGMA busy_timeout={self._busy_timeout * 1000:.0f}")
            try:
                yield connection
            finally:
                connection.execute(_AT_ONCE)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that nobody else writes beside.

        Raises:
            StoreError: As `reading`, or if others do not let go of the file. Nothing was written.
        """
        with self._connected() as connection:
            self._insist(lambda: connection.execute("BEGIN IMMEDIATE"))
            try:
                yield connection
                self._insist(lambda: connection.execute("COMMIT"))
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        if self._process != os.getpid():
            self._after_fork()
        lock = self._lock
        if not lock.acquire(timeout=self._busy_timeout):
            raise StoreError(f"{self._named}: other threads do not let go of it")
        try:
            if self._follow and self._connection is not None and self.identity() != self._opened:
                stale, self._connection = self._connection, None
                stale.close()
            if self._connection is None:
                self._connection = self._prepare()
            yield self._connection
        except sqlite3.Error as error:
            # Whatever state it is in, a new one is in a better.
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
            raise self.failed(error) from error
        finally:
            lock.release()

    async def in_thread(self, work: Callable[[], T]) -> T:
        """What `work` answers, without blocking the event loop.

        Raises:
            StoreError: What `work` raises; or if those before it took so long that it would wait
                for longer than anybody may.
        """
        until = time.monotonic() + self._busy_timeout

        def in_time() -> T:
            if time.monotonic() > until:
                raise StoreError(f"{self._named}: too many wait for it")
            return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread(), in_time)

    def failed(self, error: sqlite3.Error) -> StoreError:
        """What to raise instead of an error of SQLite's."""
        return StoreError(f"{self._named}: {error}")

    def close(self) -> None:
        """Close the connection and end the thread."""
        if self._process != os.getpid():
            self._after_fork()
        with self._starting:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown()
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _thread(self) -> ThreadPoolExecutor:
        if self._process != os.getpid():
            self._after_fork()
        with self._starting:  # never held for long: an event loop comes by here
            if self._executor is None:
                self._executor = ThreadPoolExecutor(1, thread_name_prefix="firedoor-sqlite")
            return self._executor

    def _after_fork(self) -> None:
        if self._connection is not None:
            _INHERITED.append(self._connection)
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._connection = None
        self._executor = None
        self._process = os.getpid()
