"""What is known of an incident, as words; and the templates that fill themselves from it.

A template says `{journey}`; nothing else in braces has a meaning. What is not known is said to be
so, never left blank. In commands, a value is quoted as the command's language asks, and what
cannot be given safely is left as a word in capitals for a person to fill in.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

from firedoor.core.screen import clean, clip

__all__ = ["FACTS", "NOT_KNOWN", "facts", "fill", "fill_command", "lasted", "placeholders", "read"]

NOT_KNOWN: Final = "not known yet"

_LONGEST = 300
"""Columns one fact may take."""

_PLACE = re.compile(r"\{([a-z_]+)\}")
_OPTIONAL = re.compile(r"\s*\[([^\[\]]*\{[a-z_]+\}[^\[\]]*)\]")

_TEXTS = {
    "service": "the door's name",
    "title": "one line that names the incident",
    "state": "open, contained, stabilised, diagnosing or closed",
    "severity": "SEV1 to SEV4",
    "journey": "the journey, as in checkout-help",
    "route": "the route, as in llm:answer",
    "alias": "the model name the application asks for",
    "owner": "who leads",
    "recurrence_of": "the earlier incident it repeats",
}
_TIMES = {
    "first_bad_at": "when the first bad decision was made",
    "detected_at": "when an alert fired",
    "contained_at": "when an action held it",
    "stabilised_at": "when the application was back on known-good",
    "recovered_at": "when the signals were back",
    "closed_at": "when it was closed",
}
FACTS: Final[Mapping[str, str]] = {
    "incident": "the incident's id",
    "where": "the journey, or all of the service",
    "incident_class": "the class in words, or unknown",
    "contributing": "classes that contribute",
    "signals": "names of the signals",
    "evidence": "the most telling signals with their figures",
    "actions": "what firedoor has done and is still in force",
    "time_to_detect": "from the first bad decision to the alert",
    "time_to_contain": "from the first bad decision to containment",
    "update_every": "how often the runbook promises news",
    **_TEXTS,
    **_TIMES,
}
"""The words a template may ask for, and what each is."""

_IN_FORCE = ("applying", "applied", "verified", "promoted")


def facts(incident: object) -> dict[str, str]:
    """What `incident` (a record, or a mapping with its fields) tells, by the names of `FACTS`.

    Facts that are not known are left out. Values are on one line and free of control characters.
    """
    if incident is None:
        return {}
    given = {name: read(incident, name) for name in _TIMES}
    known = _exact(incident)
    # Of an incident that exists, no class is a verdict: unknown, not "not known yet".
    known["incident_class"] = _words(read(incident, "incident_class") or "unknown")
    known["where"] = known["journey"] or (known["service"] and f"all of {known['service']}")
    known["contributing"] = ", ".join(map(_words, _items(incident, "contributing")))
    known["signals"] = ", ".join(map(_text, _items(incident, "signals")))
    known["evidence"] = "; ".join(_figures(e) for e in _items(incident, "evidence")[:3])
    in_force = [a for a in _items(incident, "actions") if str(read(a, "state")) in _IN_FORCE]
    known["actions"] = "; ".join(str(read(a, "text") or read(a, "kind")) for a in in_force)
    known |= {name: _moment(given[name]) for name in _TIMES}
    for name, end in (("time_to_detect", "detected_at"), ("time_to_contain", "contained_at")):
        known[name] = _between(given["first_bad_at"], given[end])
    texts = {name: _shown(text) for name, text in known.items()}
    return {name: text for name, text in texts.items() if text}


def placeholders(template: str) -> set[str]:
    """The words `template` asks for."""
    return set(_PLACE.findall(template))


def fill(template: str, known: Mapping[str, str]) -> str:
    """`template` with what is known; `not known yet` in the place of the rest."""
    return _PLACE.sub(lambda found: known.get(found[1], NOT_KNOWN), template)


def fill_command(command: str, incident: object = None) -> str:
    """`command` as it can be pasted.

    Args:
        command: A `firedoor ...` line, or one of Python. A part in square brackets with a
            placeholder in it is left out where the value is not known.
        incident: None: the command is shown as its usage is.

    Returns:
        The line, its values quoted for the shell or as Python strings.
    """
    python = not command.startswith("firedoor ")
    known = {} if incident is None else {n: t for n, t in _exact(incident).items() if t}

    def value(found: re.Match[str]) -> str:
        name = found[1]
        text = known.get(name)
        # A text that cannot be shown as it is would name something else.
        if text is None or _shown(text) != text:
            return name.upper()
        return repr(text) if python else shlex.quote(text)

    def part(found: re.Match[str]) -> str:
        if incident is None:
            return found[0]
        return f" {found[1]}" if placeholders(found[1]) <= set(known) else ""

    return _PLACE.sub(value, _OPTIONAL.sub(part, command))


def read(of: object, name: str) -> Any:
    """The field `name` of a record or a mapping; None where there is none."""
    if isinstance(of, Mapping):
        return of.get(name)
    return getattr(of, name, None)


def _items(of: object, name: str) -> list[Any]:
    found = read(of, name)
    if not isinstance(found, Iterable) or isinstance(found, str | bytes | Mapping):
        return []
    return list(found)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value.value if isinstance(value, Enum) else value)


def _words(value: Any) -> str:
    return _text(value).replace("_", " ")


def _exact(incident: object) -> dict[str, str]:
    """The names of an incident, letter by letter."""
    texts = {name: _text(read(incident, name)) for name in _TEXTS}
    return texts | {"incident": _text(read(incident, "id"))}


def _shown(text: str) -> str:
    return clip(clean(text), _LONGEST)


def _figures(e: object) -> str:
    signal, value, baseline, sample = (
        read(e, name) for name in ("signal", "value", "baseline", "sample")
    )
    text = f"{_text(signal)} {_number(value)}".rstrip()
    said = [f"against {_number(baseline)}"] if baseline is not None else []
    said += [f"of {sample}"] if sample else []
    return f"{text} ({', '.join(said)})" if said else text


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else _text(value)


def _moment(value: Any) -> str:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return ""
    try:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, OSError, ValueError):
        return ""


def _between(start: Any, end: Any) -> str:
    if not isinstance(start, int | float) or not isinstance(end, int | float):
        return ""
    seconds = end - start
    if not math.isfinite(seconds) or seconds < 0:
        return ""
    return lasted(seconds)


def lasted(seconds: float) -> str:
    """`seconds` in words: `90 s`, `30 min`, `2 h`."""
    if seconds >= 7_200:
        return f"{seconds / 3_600:.3g} h"
    return f"{seconds / 60:.3g} min" if seconds >= 120 else f"{seconds:.3g} s"
