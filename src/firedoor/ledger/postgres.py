"""The ledger of a fleet: a PostgreSQL database. Needs the extra `postgres`.

A process has one connection, which its threads take in turns and which is made again when it
breaks: incidents are written a few times an hour, not a few times a second.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from firedoor.core.incident import IncidentRecord
from firedoor.errors import ConfigurationError, StoreError
from firedoor.ledger import schema
from firedoor.ledger.base import BATCH

__all__ = ["PostgresLedger"]

TIMEOUT = 5.0
"""Seconds to wait for the server, each time."""

_LOCK = 0x66697265646F6F72
"""Key of the advisory lock that migrations are made under: the letters `firedoor`."""

# Connections that were open when the process forked: closing them would end them for the parent.
_INHERITED: list[Any] = []


class PostgresLedger:
    """Incidents in a PostgreSQL database.

    Thread-safe and fork-safe.

    Args:
        url: `postgresql://user:password@host:port/database`, with libpq's parameters.
        timeout: Seconds to wait for the server before `StoreError`.

    Raises:
        ConfigurationError: If the server cannot be reached, or a newer firedoor wrote the schema.
    """

    shared = True

    def __init__(self, url: str, *, timeout: float = TIMEOUT) -> None:
        self._url = url
        self._timeout = timeout
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._connection: psycopg.Connection[Any] | None = None
        try:
            self._connection = self._connect()
            self._migrate(self._connection)
        except (psycopg.Error, UnicodeError) as error:
            # The driver's own exception may hold the password; it does not come along.
            said = f"{self.name} cannot be used ({self._safe(error)})"
            self.close()
            raise ConfigurationError(
                f"ledger: {said}: give a database that exists and that this user may create "
                "tables in, as in postgresql://user:password@host:5432/database"
            ) from None
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<PostgresLedger {self.name}>"

    @property
    def name(self) -> str:
        """Where it is, without the password."""
        parts = urlsplit(self._url)
        host = parts.netloc.rpartition("@")[2]
        return f"postgresql://{host}{parts.path}"

    def save(self, record: IncidentRecord, *, expected: int) -> bool:
        """See `Ledger.save`."""
        with self._transaction() as run:
            if expected == 0:
                return bool(run(schema.INSERT, schema.row(record, None)).rowcount)
            return bool(run(schema.UPDATE, schema.update(record, expected)).rowcount)

    def open_one(self, record: IncidentRecord, key: str) -> IncidentRecord | None:
        """See `Ledger.open_one`."""
        held = key if record.open else None
        # The incident that stood in the way may be closed before it is read: then try again.
        for _ in range(3):
            with self._transaction() as run:
                if run(schema.INSERT, schema.row(record, held)).rowcount > 0:
                    return record
                found = run(schema.OPEN_WITH_KEY, schema.key_of(record, key)).fetchone()
            if found is not None:
                return schema.read(*found)
        return None

    def load(self, incident_id: str) -> IncidentRecord | None:
        """See `Ledger.load`."""
        with self._transaction() as run:
            found = run(schema.LOAD, (schema.column(incident_id),)).fetchone()
        return None if found is None else schema.read(*found)

    def incidents(
        self,
        *,
        service: str | None = None,
        open_only: bool = False,
        fingerprint: str | None = None,
        limit: int = 100,
    ) -> tuple[IncidentRecord, ...]:
        """See `Ledger.incidents`."""
        text, values = schema.query(
            service=service, open_only=open_only, fingerprint=fingerprint, limit=limit
        )
        with self._transaction() as run:
            rows = run(text, values).fetchall()
        return tuple(schema.read(*found) for found in rows)

    def prune(
        self,
        *,
        before: float,
        service: str | None = None,
        limit: int = BATCH,
        dry_run: bool = False,
    ) -> tuple[str, ...]:
        """See `Ledger.prune`."""
        text, values = schema.outdated(before=before, service=service, limit=limit)
        if not dry_run:  # those that another process is at are its own
            text += " FOR UPDATE OF old SKIP LOCKED"
        with self._transaction() as run:
            gone = schema.ids(run(text, values).fetchall())
            if not dry_run:
                for incident_id in gone:
                    run(schema.DELETE, (incident_id,))
        return gone

    def close(self) -> None:
        """See `Ledger.close`."""
        if self._process != os.getpid():
            self._after_fork()
        with self._lock:
            self._drop()

    # The connection ------------------------------------------------------------------------

    def _connect(self) -> psycopg.Connection[Any]:
        limit = int(self._timeout * 1_000)
        given = conninfo_to_dict(self._url).get("options") or ""
        return psycopg.connect(
            self._url,
            connect_timeout=max(2, int(self._timeout)),
            # A server that is gone without a word, and a lock that is never let go of.
            options=f"{given} -c statement_timeout={limit} -c lock_timeout={limit}".strip(),
            tcp_user_timeout=limit,
            # What is prepared is lost where a pooler gives each transaction another connection.
            prepare_threshold=None,
            application_name="firedoor",
        )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Any]:
        if self._process != os.getpid():
            self._after_fork()
        lock = self._lock
        if not lock.acquire(timeout=self._timeout):
            raise StoreError(f"ledger {self.name}: other threads do not let go of it")
        try:
            with contextlib.ExitStack() as stack:
                connection = self._begin(stack)
                yield _runner(connection)
        except (psycopg.Error, UnicodeError) as error:
            # Whatever state it is in, a new one is in a better.
            self._drop()
            cause = type(error)(self._safe(error)).with_traceback(None)
            raise StoreError(f"ledger {self.name}: {self._safe(error)}") from cause
        finally:
            lock.release()

    def _begin(self, stack: contextlib.ExitStack) -> psycopg.Connection[Any]:
        """A connection in a transaction that ends with `stack`."""
        connection = self._connection
        if connection is not None:
            try:
                stack.enter_context(connection.transaction())
                return connection
            except psycopg.OperationalError:
                # Broken while it lay idle, by a restart or a firewall: nothing was begun on it.
                self._drop()
        connection = self._connection = self._connect()
        stack.enter_context(connection.transaction())
        return connection

    def _migrate(self, connection: psycopg.Connection[Any]) -> None:
        """Bring the schema up to date; of processes that begin at once, one does it."""
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            connection.execute(
                "CREATE TABLE IF NOT EXISTS firedoor_ledger_schema (version INTEGER NOT NULL)"
            )
            found = connection.execute(
                "SELECT coalesce(max(version), 0) FROM firedoor_ledger_schema"
            ).fetchone()
            schema.upgrade(found[0] if found is not None else 0, _runner(connection))

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def _after_fork(self) -> None:
        if self._connection is not None:
            _INHERITED.append(self._connection)
        self._lock = threading.Lock()
        self._connection = None
        self._process = os.getpid()

    def _safe(self, error: BaseException) -> str:
        """What the driver says, on one line and without the password."""
        text = " ".join(str(error).split()).replace(self._url, f"{self.name}")
        try:
            password = urlsplit(self._url).password
        except ValueError:
            return type(error).__name__
        for secret in {password, unquote(password)} if password else set():
            text = text.replace(secret, "***")
        return text or type(error).__name__


def _runner(connection: psycopg.Connection[Any]) -> schema.Run:
    """What runs the schema's statements, whose values are marked as SQLite does."""

    def run(text: str, values: Sequence[Any]) -> Any:
        numbered: Any = text.replace("?", "%s")  # a literal to the driver: values travel apart
        return connection.execute(numbered, values)

    return run
