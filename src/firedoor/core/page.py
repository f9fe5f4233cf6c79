"""A runbook as text: one screen of a terminal, or Markdown.

The screen is made of sections. Where they do not all fit, every section keeps its beginning, and
the lines left are given round by round in the order of the sections' worth.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from firedoor.core.facts import facts, fill, fill_command, lasted, read
from firedoor.core.screen import clean, clip, columns, wrap
from firedoor.types import Severity

if TYPE_CHECKING:
    from firedoor.core.runbook import Runbook

__all__ = ["markdown", "render"]

_LABEL: Final = 10
_NARROW: Final = 40
"""Columns below which labels get no column of their own."""

_FIRST_LINES: Final = 3
"""Lines the first action keeps before any other section gets a second one."""

_TOKEN = re.compile(r"(?:[^\s\"']|\"[^\"]*\"|'[^']*'|[\"'])+")


@dataclass(frozen=True, slots=True)
class _Section:
    """One part of the page.

    Attributes:
        label: What stands before it.
        blocks: Its lines. Of a block that is whole, no part is ever shown alone.
        worth: Its place when lines are given out; the least is served first.
        least: Lines it gets before the others get a second one.
    """

    label: str
    blocks: tuple[tuple[bool, tuple[str, ...]], ...]
    worth: int
    least: int = 1

    @property
    def size(self) -> int:
        return sum(len(lines) for _, lines in self.blocks)

    def cut(self, room: int, width: int) -> list[str]:
        """Its first lines, at most `room`; what is missing is marked on the last one."""
        kept: list[str] = []
        for whole, lines in self.blocks:
            left = room - len(kept)
            if len(lines) <= left:
                kept += lines
            elif not whole and left:
                kept += [*lines[: left - 1], clip(lines[left - 1], width - 4) + " ..."]
                break
            else:
                break
        return kept


def render(runbook: Runbook, width: int, height: int, incident: object) -> str:
    """One screen. See `Runbook.render`."""
    width, height = max(1, width), max(1, height)
    sections = _sections(runbook, width, incident)
    lines: list[str] = []
    wanted = sum(section.size for section in sections)
    if wanted <= height:
        for section in sections:
            lines += section.cut(section.size, width)
    else:
        room = _rooms(sections, max(1, height - 1))
        for section, given in zip(sections, room, strict=True):
            lines += section.cut(given, width)
        if len(lines) < height:
            lines.append(f"({wanted - len(lines)} lines cut: the Markdown form has them all)")
    return "\n".join(clip(line, width) for line in lines[:height])


def _rooms(sections: list[_Section], height: int) -> list[int]:
    """How many lines each section gets."""
    given = [0] * len(sections)
    order = sorted(range(len(sections)), key=lambda index: sections[index].worth)
    for index in order:
        given[index] = min(sections[index].least, sections[index].size, height - sum(given))
    while sum(given) < height:
        for index in order:
            if given[index] < sections[index].size and sum(given) < height:
                given[index] += 1
    return given


def _sections(runbook: Runbook, width: int, incident: object) -> list[_Section]:
    known = facts(incident)
    made = _Maker(width)
    first = made.text("DO FIRST", [fill(runbook.first_action, known)], 0, least=_FIRST_LINES)
    sections = [first]
    done = known.get("actions")
    if incident is not None:
        sections.append(made.text("DONE", [done or "nothing by itself so far"], 3))
    elif runbook.actions:
        sections.append(made.text("THEN", [_ladder(runbook)], 8))
    sections.append(made.text("CLASS", [_headline(runbook, known, incident)], 1))
    if "evidence" in known:
        sections.append(made.text("SEEN", [known["evidence"]], 6))
    sections += [
        made.text("SEVERITY", _severities(runbook, incident), 4),
        made.text("CALL", [_owners(runbook, known)], 2),
        made.rollback(runbook, incident),
        made.text("TELL USERS", runbook.communicate(incident).splitlines(), 7),
        made.text("CLOSE WHEN", [f"[ ] {check}" for check in runbook.closure], 7),
    ]
    return sections


class _Maker:
    """Makes sections for one width."""

    __slots__ = ("_indent", "_width")

    def __init__(self, width: int) -> None:
        self._width = width
        self._indent = " " * (_LABEL + 1 if width >= _NARROW else 1)

    def text(self, label: str, paragraphs: list[str], worth: int, *, least: int = 1) -> _Section:
        blocks: list[tuple[bool, tuple[str, ...]]] = []
        for paragraph in paragraphs:
            blocks.append((False, tuple(self._wrapped(label if not blocks else "", paragraph))))
        return _Section(label, tuple(blocks), worth, least)

    def rollback(self, runbook: Runbook, incident: object) -> _Section:
        blocks: list[tuple[bool, tuple[str, ...]]] = []
        for number, option in enumerate(runbook.rollback, 1):
            said = f"{number}. {option.label}: {option.does}"
            label = "ROLL BACK" if not blocks else ""
            blocks += [
                (False, tuple(self._wrapped(label, said, hang="   "))),
                (True, tuple(self._command(fill_command(option.command, incident)))),
            ]
        return _Section("ROLL BACK", tuple(blocks), 5, least=2)

    def _wrapped(self, label: str, text: str, *, hang: str = "") -> list[str]:
        begin = self._indent
        if label:
            begin = f"{label:<{len(self._indent)}}" if len(label) < len(begin) else f"{label} "
        # The marks of a list stand out from the lines that go on.
        hang = hang or ("    " if text.startswith("[ ] ") else "")
        return wrap(text, self._width, first=begin, rest=self._indent + hang)

    def _command(self, command: str) -> list[str]:
        """A line to paste, on as many lines as it needs; if it cannot be broken, not at all."""
        shell = command.startswith("firedoor ")
        sign, more = ("$ ", " \\") if shell else (">>> ", "")
        begin = self._indent + "   "
        room = self._width - columns(begin) - len(sign) - len(more)
        tokens = _TOKEN.findall(command)
        if not tokens or any(columns(token) > room for token in tokens):
            return wrap("(its command is too long for this screen)", self._width, first=begin)
        lines, line = [], tokens[0]
        for token in tokens[1:]:
            if columns(line) + 1 + columns(token) <= room:
                line += f" {token}"
            else:
                lines.append(line + more)
                line = token
        lines.append(line)
        rest = " " * len(sign)
        return [begin + (rest if index else sign) + text for index, text in enumerate(lines)]


def _headline(runbook: Runbook, known: dict[str, str], incident: object) -> str:
    words = runbook.name.replace("_", " ")
    if incident is None:
        return f"{words}: {runbook.summary}" if runbook.summary else words
    parts = [known.get("incident_class", words)]
    parts += [known.get(name, "") for name in ("severity", "state", "incident")]
    named = (("journey", "journey"), ("route", "route"), ("alias", "model"))
    parts += [f"{word} {known[name]}" for name, word in named if name in known]
    if "first_bad_at" in known:
        parts.append(f"since {known['first_bad_at']}")
    return ", ".join(part for part in parts if part)


def _severities(runbook: Runbook, incident: object) -> list[str]:
    now = None if incident is None else read(incident, "severity")
    lines = {
        severity: f"{severity}{' NOW' if severity == now else ''}: {said}"
        for severity, said in runbook.severity.describe().items()
    }
    worsens = runbook.severity.worsens()
    if worsens:
        lines[Severity.SEV4] += f"; {worsens}"
    # The one in force is the last to be cut.
    return [lines[severity] for severity in sorted(lines, key=lambda s: (s != now, s))]


def _owners(runbook: Runbook, known: dict[str, str]) -> str:
    owned = [f"owner: {known['owner']}"] if "owner" in known else []
    return "; ".join([*owned, *(f"{role}: {who}" for role, who in runbook.owners.items())])


def _ladder(runbook: Runbook) -> str:
    return "by itself, in this order: " + ", ".join(
        action.kind.replace("_", " ") for action in runbook.actions
    )


_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&])")


def markdown(runbook: Runbook, incident: object) -> str:
    """The whole of it. See `Runbook.to_markdown`."""
    known = facts(incident)
    parts = [f"# {_plain(runbook.name.replace('_', ' ').capitalize())}"]
    if runbook.summary:
        parts.append(_plain(runbook.summary))
    parts += [f"**Do first:** {_plain(fill(runbook.first_action, known))}"]
    if incident is not None:
        parts.append(_plain(_headline(runbook, known, incident)))
        for label, name in (("Seen", "evidence"), ("Done", "actions")):
            if name in known:
                parts.append(f"**{label}:** {_plain(known[name])}")
    parts += ["## Severity", _bullets(_severities(runbook, incident))]
    parts += ["## Call", _bullets(_owners(runbook, known).split("; "))]
    parts.append("## Roll back")
    for number, option in enumerate(runbook.rollback, 1):
        command = clean(fill_command(option.command, incident))
        language = "sh" if command.startswith("firedoor ") else "python"
        parts += [
            f"{number}. **{_plain(option.label)}**: {_plain(option.does)}",
            f"    ```{language}\n    {command}\n    ```",
        ]
    if runbook.actions:
        parts += ["## Escalation", _plain(_ladder(runbook))]
    told = "\n".join(
        f"> {_plain(line)}".rstrip() for line in runbook.communicate(incident).split("\n")
    )
    parts += [f"## Tell users, every {lasted(runbook.update_every)}", told]
    parts += ["## Close when", "\n".join(f"- [ ] {_plain(check)}" for check in runbook.closure)]
    return "\n\n".join(parts) + "\n"


def _bullets(lines: list[str]) -> str:
    return "\n".join(f"- {_plain(line)}" for line in lines)


def _plain(text: str) -> str:
    """`text` on one line that Markdown takes literally."""
    return _SPECIAL.sub(r"\\\1", clean(text))
