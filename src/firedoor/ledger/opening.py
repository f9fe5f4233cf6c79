"""From a URL to a ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from firedoor.errors import ConfigurationError
from firedoor.ledger.memory import MemoryLedger

if TYPE_CHECKING:
    from firedoor.ledger.base import Ledger

__all__ = ["open_ledger"]

_SCHEMES = (
    "memory://, sqlite:///relative/path, sqlite:////absolute/path, postgresql://user@host/database"
)


def open_ledger(url: str) -> Ledger:
    """The ledger at a URL, reachable, with its schema up to date.

    Raises:
        ConfigurationError: If the scheme is not known, the ledger's extra is not installed, it
            cannot be reached, or a newer firedoor wrote it. No password is in the message.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"ledger={url!r}: give a URL as text, one of {_SCHEMES}")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigurationError(f"ledger: not a URL ({error}): use one of {_SCHEMES}") from None
    # Drivers are imported when they are asked for: psycopg is an extra, and neither is free.
    match parts.scheme:
        case "memory":
            return MemoryLedger()
        case "sqlite":
            path = unquote(parts.path)[1:]
            if not url.startswith("sqlite:///") or not path or path == ":memory:":
                raise ConfigurationError(
                    f"ledger={url!r}: name a file after three slashes, as in "
                    "sqlite:///relative.db or sqlite:////absolute.db; without one use memory://"
                )
            from firedoor.ledger.sqlite import SQLiteLedger  # noqa: PLC0415

            return SQLiteLedger(path)
        case "postgresql" | "postgres":
            try:
                from firedoor.ledger.postgres import PostgresLedger  # noqa: PLC0415
            except ImportError as error:
                raise ConfigurationError(
                    f"ledger={parts.scheme}://...: the PostgreSQL client is missing ({error}): "
                    "pip install 'firedoor[postgres]'"
                ) from error
            return PostgresLedger(url)
        case _:
            scheme = f"{parts.scheme}://..." if parts.scheme else url
            raise ConfigurationError(f"ledger={scheme!r}: use one of {_SCHEMES}")
