"""From a URL to a store."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from firedoor.clock import SYSTEM_CLOCK, Clock
from firedoor.errors import ConfigurationError
from firedoor.stores.memory import MemoryStore

if TYPE_CHECKING:
    from firedoor.stores.base import Store

__all__ = ["open_store"]

_LONGEST_WAIT = 60

_SCHEMES = (
    "memory://, sqlite:///relative/path, sqlite:////absolute/path, redis://host:port/0 (rediss:// for "
    "TLS, unix:///path/to/socket)"
)


def open_store(url: str, clock: Clock = SYSTEM_CLOCK) -> Store:
    """The store at a URL, reachable and ready.

    Raises:
        ConfigurationError: If the scheme is not known, the store's extra is not installed, or the
            store cannot be reached.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"state={url!r}: give a URL as text, one of {_SCHEMES}")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigurationError(f"state: not a URL ({error}): use one of {_SCHEMES}") from None
    # Drivers are imported when they are asked for: redis is an extra, and neither is free.
    match parts.scheme:
        case "memory":
            return MemoryStore(clock)
        case "sqlite":
            path = unquote(parts.path)[1:]
            if not url.startswith("sqlite:///") or not path or path == ":memory:":
                raise ConfigurationError(
                    f"state={url!r}: name a file after three slashes, as in "
                    "sqlite:///relative.db or sqlite:////absolute.db; without one use memory://"
                )
            from firedoor.stores.sqlite import SQLiteStore  # noqa: PLC0415

            return SQLiteStore(path, clock, **_options(parts.query))
        case "redis" | "rediss" | "unix":
            try:
                from firedoor.stores.redis import RedisStore  # noqa: PLC0415
            except ImportError as error:
                raise ConfigurationError(
                    f"state={parts.scheme}://...: the redis client is missing ({error}): "
                    "pip install 'firedoor[redis]'"
                ) from error
            return RedisStore(url, clock)
        case _:
            scheme = f"{parts.scheme}://..." if parts.scheme else url
            raise ConfigurationError(f"state={scheme!r}: use one of {_SCHEMES}")


def _options(query: str) -> dict[str, float]:
    """What the query of a SQLite URL sets: `busy_timeout`, in seconds."""
    if not query:
        return {}
    found = dict(parse_qsl(query, keep_blank_values=True))
    try:
        seconds = float(found.pop("busy_timeout", ""))
    except ValueError:
        seconds = 0.0
    if found or not 0 < seconds <= _LONGEST_WAIT:
        raise ConfigurationError(
            f"state=sqlite:///...?{query}: the one option is busy_timeout, in seconds from 0 to "
            f"{_LONGEST_WAIT}"
        )
    return {"busy_timeout": seconds}
