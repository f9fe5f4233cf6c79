"""Runbooks in files: YAML and TOML, with errors that name the field, the value and the remedy."""

from __future__ import annotations

import dataclasses
import importlib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from firedoor.core.severity import SeverityCriteria
from firedoor.errors import ConfigurationError

if TYPE_CHECKING:
    from firedoor.core.runbook import RollbackOption, Runbook

__all__ = ["fields", "read_toml", "read_yaml", "to_dict", "to_yaml"]

MANDATORY = {
    "incident_class": "one of the five classes, or unknown",
    "severity": "a mapping, as in {sev1_share: 0.5, sev2_share: 0.2}; {} for the defaults",
    "owners": "who by role, as in {lead: the engineer on call}",
    "rollback": "a list of {label: ..., does: ..., command: firedoor switch ...}",
    "communication": "what to tell users",
    "closure": "a list of what must be true before it is closed",
    "first_action": "what to do before anything else",
}


def fields(
    runbook: type[Runbook],
    option: type[RollbackOption],
    data: Mapping[str, Any],
    build: Callable[[Mapping[str, Any]], Any] | None,
) -> dict[str, Any]:
    """The arguments of `runbook` from plain values."""
    if not isinstance(data, Mapping):
        raise ConfigurationError(f"a runbook is a mapping of fields, not {_brief(data)}")
    names = [field.name for field in dataclasses.fields(cast("Any", runbook))]
    for name in data:
        if name not in names:
            raise ConfigurationError(
                f"runbook field {name!r} does not exist: use {', '.join(names)}"
            )
    for name, remedy in MANDATORY.items():
        if name not in data:
            raise ConfigurationError(f"runbook field {name!r} is missing: give {remedy}")
    made = dict(data)
    made["severity"] = _made(SeverityCriteria, "severity", data["severity"] or {})
    rollback = data["rollback"]
    if not isinstance(rollback, Sequence) or isinstance(rollback, str):
        raise ConfigurationError(f"rollback={_brief(rollback)}: give {MANDATORY['rollback']}")
    made["rollback"] = tuple(
        _made(option, f"rollback[{index}]", item) for index, item in enumerate(rollback)
    )
    if isinstance(data["closure"], str):
        raise ConfigurationError(
            f"closure={_brief(data['closure'])}: give {MANDATORY['closure']}, not one text"
        )
    made["actions"] = tuple(
        _action(index, action, build) for index, action in enumerate(data.get("actions") or ())
    )
    return made


def to_dict(runbook: Runbook) -> dict[str, Any]:
    """Every field in plain values; `fields` reads them back."""
    return {
        "incident_class": runbook.name,
        "summary": runbook.summary,
        "first_action": runbook.first_action,
        "severity": _plain(runbook.severity, "severity"),
        "owners": dict(runbook.owners),
        "rollback": [_plain(option, "rollback") for option in runbook.rollback],
        "communication": runbook.communication,
        "closure": list(runbook.closure),
        "update_every": runbook.update_every,
        "actions": [
            action.to_dict()
            if callable(getattr(action, "to_dict", None))
            else {"kind": action.kind} | _plain(action, f"actions[{index}]")
            for index, action in enumerate(runbook.actions)
        ],
    }


def read_yaml(source: str | PathLike[str]) -> Any:
    """What the YAML says: a text, or the path of a file."""
    yaml = _yaml()
    text, where = _text(source, (".yaml", ".yml"))
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{where} is no YAML: {error}") from None


def read_toml(source: str | PathLike[str]) -> Any:
    """What the TOML says: a text, or the path of a file."""
    text, where = _text(source, (".toml",))
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{where} is no TOML: {error}") from None


def to_yaml(runbook: Runbook) -> str:
    """The runbook as YAML."""
    yaml = _yaml()
    data = to_dict(runbook)
    try:
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
    except yaml.YAMLError as error:
        raise ConfigurationError(
            f"a runbook with {error.args[-1] if error.args else 'a value'!r} cannot be written to a "
            "file: keep runbooks whose actions hold functions or objects in Python"
        ) from None
    return str(text)


def _yaml() -> Any:
    try:
        return importlib.import_module("yaml")
    except ImportError:
        raise ConfigurationError(
            "runbooks in YAML need PyYAML: pip install 'firedoor[yaml]', or write them in TOML or "
            "Python"
        ) from None


def _text(source: str | PathLike[str], endings: tuple[str, ...]) -> tuple[str, str]:
    """The text, and how an error names where it came from."""
    if isinstance(source, str) and ("\n" in source or not source.strip().endswith(endings)):
        return source, "the text"
    path = Path(source)
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"runbook file {str(path)!r} cannot be read: {error}") from None


def _made(kind: Any, name: str, value: Any) -> Any:
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        remedy = MANDATORY[name.partition("[")[0]]
        raise ConfigurationError(f"{name}={_brief(value)}: give {remedy}")
    for field, info in kind.__pydantic_fields__.items():
        if info.is_required() and field not in value:
            raise ConfigurationError(f"{name} has no {field!r}: give one")
    try:
        return kind(**value)
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}: {error}") from None


def _action(index: int, action: Any, build: Callable[[Mapping[str, Any]], Any] | None) -> Any:
    if not isinstance(action, Mapping):
        return action
    if build is None:
        raise ConfigurationError(
            f"actions[{index}]={_brief(action)}: read runbooks with actions by fd.runbooks.load, "
            "or pass build= to make actions of mappings"
        )
    try:
        return build(action)
    except ConfigurationError as error:
        raise ConfigurationError(f"actions[{index}]: {error}") from None


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name), f"{name}.{field.name}")
            for field in dataclasses.fields(value)
            if field.init
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(item, name) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, name) for item in value]
    return value


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
