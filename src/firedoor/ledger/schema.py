"""One schema for every SQL ledger, in words that SQLite and PostgreSQL both understand.

An incident is one row: its JSON form whole, and beside it the columns that are looked up by. One
row is one write, so that an incident is never half there. SQLAlchemy would bring a dependency and
tens of milliseconds of import for the few statements below.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from firedoor.core.incident import SCHEMA, IncidentRecord, from_dict, to_dict
from firedoor.errors import ConfigurationError, StoreError

__all__ = [
    "COLUMNS",
    "DELETE",
    "INSERT",
    "LOAD",
    "MIGRATIONS",
    "OPEN_WITH_KEY",
    "UPDATE",
    "VERSION",
    "column",
    "ids",
    "key_of",
    "missing",
    "outdated",
    "query",
    "read",
    "row",
    "update",
    "upgrade",
]

Run = Callable[[str, Sequence[Any]], Any]
"""Runs a statement with its values, in a transaction; answers the cursor."""


def _fill_in_repeats(run: Run) -> None:
    # Here, as the two have no function in common that looks into JSON.
    for incident_id, text in run("SELECT id, record FROM firedoor_incident", ()).fetchall():
        with contextlib.suppress(ValueError, AttributeError):  # a row that cannot be read stays so
            earlier = json.loads(text).get("recurrence_of")
            if isinstance(earlier, str):
                run(
                    "UPDATE firedoor_incident SET recurrence_of = ? WHERE id = ?",
                    (column(earlier), incident_id),
                )


MIGRATIONS: Final[tuple[tuple[str | Callable[[Run], None], ...], ...]] = (
    (
        """
        CREATE TABLE firedoor_incident (
            id TEXT PRIMARY KEY,
            service TEXT NOT NULL,
            open_key TEXT,
            version BIGINT NOT NULL,
            state TEXT NOT NULL,
            severity TEXT NOT NULL,
            incident_class TEXT,
            fingerprint TEXT NOT NULL,
            detected_at DOUBLE PRECISION NOT NULL,
            updated_at DOUBLE PRECISION NOT NULL,
            record_schema INTEGER NOT NULL,
            record TEXT NOT NULL
        )
        """,
        # Where the key is NULL no two rows are the same: closed incidents do not stand in the way.
        "CREATE UNIQUE INDEX firedoor_incident_open ON firedoor_incident (service, open_key)",
        # Every process asks for the open ones once a second, and there are few of them.
        """
        CREATE INDEX firedoor_incident_unclosed ON firedoor_incident (service)
            WHERE state <> 'closed'
        """,
        "CREATE INDEX firedoor_incident_newest ON firedoor_incident (detected_at)",
        "CREATE INDEX firedoor_incident_kind ON firedoor_incident (fingerprint, detected_at)",
    ),
    (
        # What repeats what, and what is old: `Ledger.prune` asks for both.
        "ALTER TABLE firedoor_incident ADD COLUMN recurrence_of TEXT",
        _fill_in_repeats,
        "CREATE INDEX firedoor_incident_repeats ON firedoor_incident (recurrence_of)",
        """
        CREATE INDEX firedoor_incident_closed ON firedoor_incident (updated_at)
            WHERE state = 'closed'
        """,
    ),
)
"""What makes each version of the schema out of the one before; never changed once released."""

VERSION: Final = len(MIGRATIONS)

COLUMNS: Final = (
    "id, service, open_key, version, state, severity, incident_class, fingerprint, detected_at, "
    "updated_at, record_schema, record, recurrence_of"
)
INSERT: Final = (
    f"INSERT INTO firedoor_incident ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
    " ON CONFLICT DO NOTHING"
)
UPDATE: Final = (
    "UPDATE firedoor_incident SET version = ?, state = ?, severity = ?, incident_class = ?,"
    " fingerprint = ?, detected_at = ?, updated_at = ?, record_schema = ?, record = ?,"
    " recurrence_of = ?,"
    " open_key = CASE WHEN ? = 1 THEN open_key END WHERE id = ? AND version = ?"
)
LOAD: Final = "SELECT record_schema, record FROM firedoor_incident WHERE id = ?"
OPEN_WITH_KEY: Final = (
    "SELECT record_schema, record FROM firedoor_incident WHERE service = ? AND open_key = ?"
)
DELETE: Final = "DELETE FROM firedoor_incident WHERE id = ?"


def missing(have: int) -> tuple[str | Callable[[Run], None], ...]:
    """The steps that bring version `have` of the schema up to date.

    Raises:
        ConfigurationError: If a newer firedoor wrote it.
    """
    if have > VERSION:
        raise ConfigurationError(
            f"the ledger was written by a newer firedoor (schema {have}, known {VERSION}): upgrade "
            "this one, or give it a ledger of its own"
        )
    return tuple(step for version in MIGRATIONS[have:] for step in version)


def upgrade(have: int, run: Run) -> None:
    """Bring version `have` of the schema up to date, and note that it is.

    Raises:
        ConfigurationError: If a newer firedoor wrote it.
    """
    for step in missing(have):
        run(step, ()) if isinstance(step, str) else step(run)
    if have < VERSION:
        run("INSERT INTO firedoor_ledger_schema VALUES (?)", (VERSION,))


def query(
    *, service: str | None, open_only: bool, fingerprint: str | None, limit: int
) -> tuple[str, tuple[Any, ...]]:
    """The statement of `Ledger.incidents`, and its values."""
    conditions, values = [], list[Any]()
    if service is not None:
        conditions.append("service = ?")
        values.append(column(service))
    if open_only:
        conditions.append("state <> 'closed'")
    if fingerprint is not None:
        conditions.append("fingerprint = ?")
        values.append(column(fingerprint))
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    text = (
        f"SELECT record_schema, record FROM firedoor_incident{where}"  # noqa: S608 - values apart
        " ORDER BY detected_at DESC, id DESC LIMIT ?"
    )
    return text, (*values, max(0, limit))


def outdated(*, before: float, service: str | None, limit: int) -> tuple[str, tuple[Any, ...]]:
    """The statement that finds what `Ledger.prune` forgets, and its values."""
    of, named = ("", ()) if service is None else (" AND old.service = ?", (column(service),))
    text = (
        "SELECT old.id FROM firedoor_incident AS old"  # noqa: S608 - values apart
        f" WHERE old.state = 'closed' AND old.updated_at < ?{of}"
        " AND NOT EXISTS (SELECT 1 FROM firedoor_incident AS kept"
        " WHERE kept.recurrence_of = old.id AND kept.service = old.service"
        " AND (kept.state <> 'closed' OR kept.updated_at >= ?))"
        " ORDER BY old.updated_at, old.id LIMIT ?"
    )
    return text, (before, *named, before, max(0, limit))


def ids(rows: Iterable[tuple[str]]) -> tuple[str, ...]:
    """The ids of what was found."""
    return tuple(incident_id for (incident_id,) in rows)


def row(record: IncidentRecord, key: str | None) -> tuple[Any, ...]:
    """The values of `COLUMNS`."""
    kind = record.incident_class
    return (
        column(record.id),
        column(record.service),
        None if key is None else column(key),
        record.version,
        record.state.value,
        record.severity.value,
        None if kind is None else kind.value,
        column(record.fingerprint),
        record.detected_at or 0.0,
        record.updated_at,
        SCHEMA,
        _text(record),
        None if record.recurrence_of is None else column(record.recurrence_of),
    )


def update(record: IncidentRecord, expected: int) -> tuple[Any, ...]:
    """The values of `UPDATE`."""
    values = row(record, None)
    return (*values[3:], int(record.open), values[0], expected)


def key_of(record: IncidentRecord, key: str) -> tuple[str, str]:
    """The values of `OPEN_WITH_KEY`."""
    return column(record.service), column(key)


def column(text: str) -> str:
    """`text` as every database can hold it: without NUL and halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")


def read(schema: int, text: str) -> IncidentRecord:
    """The record of a row.

    Raises:
        StoreError: If a newer firedoor wrote it, or it is not what firedoor writes.
    """
    if schema > SCHEMA:
        raise StoreError(
            f"an incident was written by a newer firedoor (form {schema}, known {SCHEMA}): upgrade"
        )
    try:
        made: IncidentRecord = from_dict(IncidentRecord, json.loads(text))
    except (ValueError, TypeError, AttributeError) as error:
        raise StoreError(f"an incident in the ledger cannot be read: {error}") from error
    return made


def _text(record: IncidentRecord) -> str:
    # All but ASCII is escaped, so that no database can take offence at a character.
    return json.dumps(to_dict(record), separators=(",", ":"), default=str)
