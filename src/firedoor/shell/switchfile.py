"""Switches from a watched file: what still works when everything else is down.

The file is TOML (`[[switches]]`) or JSON (`{"switches": [...]}`); each switch has `kind`, `target`,
`reason` and, as its kind asks, `value`; `actor` is the file's owner where it is not given. It may
have `journey`, `in_flight`, and an end: `until` (a date and time, UTC unless it says otherwise, or
seconds since the epoch) or `ttl` (counted from the file's modification time).

An **empty** file is a kill file: `touch` it and everything is off; remove it and its switches are
gone. A file that is half written, unreadable, or on a disk that went away changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from firedoor.core.switches import ANYTHING, Kind, Switch, duration
from firedoor.errors import ConfigurationError
from firedoor.policies.base import Strictness

__all__ = ["SwitchFile", "check_strictness"]

_FIELDS = {"kind", "target", "value", "journey", "reason", "actor", "until", "ttl", "in_flight"}


def check_strictness(level: Any) -> str:
    """The level, if policies know it."""
    try:
        return Strictness(level).value
    except ValueError:
        levels = ", ".join(Strictness)
        raise ConfigurationError(f"strictness={level!r}: use one of {levels}") from None


class SwitchFile:
    """Reads the file at `path` when it has changed.

    Args:
        path: Ends in `.toml` or `.json`; its folder exists, the file need not.

    Raises:
        ConfigurationError: If the path can never hold switches.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = f"file:{self.path}"
        self.problem: str | None = None  # read as a whole or not at all
        if self.path.suffix not in (".toml", ".json"):
            raise ConfigurationError(f"switches_file={str(path)!r}: name it .toml or .json")
        if not self.path.parent.is_dir():
            raise ConfigurationError(
                f"switches_file={str(path)!r}: there is no folder {self.path.parent}; make it, so "
                "that a missing file can be told from a missing disk"
            )
        self._read_at: object = object()
        self._looked_at: object = object()
        self._switches: tuple[Switch, ...] = ()
        self._begun = False

    def read(self) -> tuple[Switch, ...]:
        """What the file says now.

        An absent or an empty file counts once two looks in a row have seen it so (the first look
        of all counts at once): while it is being saved, a file may be either for a moment.

        Raises:
            OSError: If it cannot be looked at.
            ConfigurationError: If it does not say switches; it names what is wrong.
        """
        try:
            about = self.path.stat()
            mark: object = (about.st_mtime_ns, about.st_size, about.st_ino)
        except FileNotFoundError:
            if not self.path.parent.is_dir():
                raise
            about, mark = None, None
        before, self._looked_at = self._looked_at, mark
        if mark == self._read_at:
            return self._switches
        if (about is None or about.st_size == 0) and self._begun and before != mark:
            return self._switches
        self._begun = True
        self._switches = (
            () if about is None else self._parse(self.path.read_bytes(), about.st_mtime)
        )
        self._read_at = mark
        return self._switches

    def _parse(self, content: bytes, modified: float) -> tuple[Switch, ...]:
        if not content:
            reason = "the kill file is there and empty"
            return (
                self._make({"kind": "disable", "target": ANYTHING, "reason": reason}, modified),
            )
        try:
            text = content.decode()
            data: Any = tomllib.loads(text) if self.path.suffix == ".toml" else json.loads(text)
        except ValueError as error:
            raise ConfigurationError(f"{self.path}: {error}") from None
        items = data.get("switches") if isinstance(data, dict) else None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise ConfigurationError(
                f"{self.path}: it needs a list of tables called 'switches', empty for none"
            )
        return tuple(self._make(item, modified) for item in items)

    def _make(self, item: dict[str, Any], modified: float) -> Switch:
        unknown = item.keys() - _FIELDS
        if unknown:
            raise ConfigurationError(
                f"{self.path}: no field {', '.join(sorted(unknown))} in a switch; there are "
                f"{', '.join(sorted(_FIELDS))}"
            )
        same = json.dumps([self.name, *sorted(item.items())], default=str).encode()
        try:
            if item.get("kind") == Kind.RESTORE:
                raise ConfigurationError("a file cannot restore; list the switches")
            if item.get("kind") == Kind.STRICTNESS:
                check_strictness(item.get("value"))
            return Switch(
                # The same switch in the same file has the same id in every process that reads it.
                id=f"file-{hashlib.sha256(same).hexdigest()[:8]}",
                kind=item.get("kind", ""),
                target=item.get("target", _target(item.get("kind"))),
                value=item.get("value"),
                journey=item.get("journey"),
                reason=item.get("reason", ""),
                actor=item.get("actor") or self._owner(),
                created_at=modified,
                expires_at=self._end(item, modified),
                in_flight=item.get("in_flight", "keep"),
                source=self.name,
            )
        except ConfigurationError as error:
            raise ConfigurationError(f"{self.path}: {error}") from None

    def _end(self, item: dict[str, Any], modified: float) -> float | None:
        if "ttl" in item and "until" in item:
            raise ConfigurationError("give until or ttl, not both")
        if "ttl" in item:
            return modified + duration(item["ttl"])
        until: Any = item.get("until")
        if until is None or type(until) in (int, float):
            return until  # type: ignore[no-any-return]
        try:
            end = until if isinstance(until, datetime) else datetime.fromisoformat(until)
        except (TypeError, ValueError):
            raise ConfigurationError(
                f"until={until!r}: write a date and time, as in 2026-11-23T10:00:00Z"
            ) from None
        return (end if end.tzinfo else end.replace(tzinfo=UTC)).timestamp()

    def _owner(self) -> str:
        try:
            return self.path.owner()
        except (KeyError, OSError, NotImplementedError):
            return "the file's owner"


def _target(kind: Any) -> str:
    return ANYTHING if kind == Kind.STRICTNESS else ""
