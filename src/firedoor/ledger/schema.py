"""One schema for every SQL ledger, in words that SQLite and PostgreSQL both understand.

An incident is one row: its JSON form whole, and beside it the columns that are looked up by. One
row is one write, so that an incident is never half there. SQLAlchemy would bring a dependency and
tens of milliseconds of import for the seven statements below.
"""

from __future__ import annotations

import json
from typing import Any, Final

from firedoor.core.incident import SCHEMA, IncidentRecord, from_dict, to_dict
from firedoor.errors import ConfigurationError, StoreError

__all__ = [
    "COLUMNS",
    "INSERT",
    "LOAD",
    "MIGRATIONS",
    "OPEN_WITH_KEY",
    "UPDATE",
    "VERSION",
    "column",
    "key_of",
    "missing",
    "query",
    "read",
    "row",
    "update",
]

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
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
)
"""What makes each version of the schema out of the one before; never changed once released."""

VERSION: Final = len(MIGRATIONS)

COLUMNS: Final = (
    "id, service, open_key, version, state, severity, incident_class, fingerprint, detected_at, "
    "updated_at, record_schema, record"
)
INSERT: Final = (
    f"INSERT INTO firedoor_incident ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
    " ON CONFLICT DO NOTHING"
)
UPDATE: Final = (
    "UPDATE firedoor_incident SET version = ?, state = ?, severity = ?, incident_class = ?,"
    " fingerprint = ?, detected_at = ?, updated_at = ?, record_schema = ?, record = ?,"
    " open_key = CASE WHEN ? = 1 THEN open_key END WHERE id = ? AND version = ?"
)
LOAD: Final = "SELECT record_schema, record FROM firedoor_incident WHERE id = ?"
OPEN_WITH_KEY: Final = (
    "SELECT record_schema, record FROM firedoor_incident WHERE service = ? AND open_key = ?"
)


def missing(have: int) -> tuple[str, ...]:
    """The statements that bring version `have` of the schema up to date.

    Raises:
        ConfigurationError: If a newer firedoor wrote it.
    """
    if have > VERSION:
        raise ConfigurationError(
            f"the ledger was written by a newer firedoor (schema {have}, known {VERSION}): upgrade "
            "this one, or give it a ledger of its own"
        )
    return tuple(statement for step in MIGRATIONS[have:] for statement in step)


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
