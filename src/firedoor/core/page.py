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

_ROLLBACK_LINES: Final = 9
"""Three options with a command on two lines each."""

_TOKEN = re.compile(r"(?:[^\s\"']|\"[^\"]*\"|'[^']*'|[\"'])+")


@dataclass(frozen=True, slots=True)
class _Section:
    """One part of the page.

    Attributes:
        blocks: Its lines. Of a block that is whole, no part is ever shown alone.
        worth: Its place when lines are given out; the least is served first.
        least: Lines it gets, in that order, once every section has one.
    """

    blocks: tuple[tuple[bool, tuple[str, ...]], ...]
    worth: int
    least: int

    @property
    def size(self) -> int:
        return sum(len(lines) for _, lines in self.blocks)

    def grown(self, size: int, most: int) -> int:
        """The next number of lines above `size` that it can be shown in; `size` if over `most`."""
        start = 0
        for whole, lines in self.blocks:
            end = start + len(lines)
            if size < end:
                longer = end if whole else size + 1
                return longer if longer <= most else size
            start = end
        return size

    def cut(self, room: int, width: int) -> list[str]:
        """Its first `room` lines; a text that goes on is marked."""
        kept: list[str] = []
        for _, lines in self.blocks:
            left = room - len(kept)
            kept += lines[:left]
            if len(lines) > left > 0:
                kept[-1] = clip(f"{kept[-1]} ...", width)
        return kept


def render(runbook: Runbook, width: int, height: int, incident: object) -> str:
    """One screen. See `Runbook.render`."""
    width, height = max(1, width), max(1, height)
    sections = _sections(runbook, width, incident)
    wanted = sum(section.size for section in sections)
    room = _rooms(sections, height if wanted <= height else max(1, height - 1))
    lines: list[str] = []
    for section, given in zip(sections, room, strict=True):
        lines += section.cut(given, width)
    if len(lines) < wanted and len(lines) < height:
        lines.append(f"({wanted - len(lines)} lines cut: the Markdown form has them all)")
    return "\n".join(clip(line, width).rstrip() for line in lines)


def _rooms(sections: list[_Section], height: int) -> list[int]:
    """How many lines each section gets, `height` at most in all."""
    given = [0] * len(sections)
    order = sorted(range(len(sections)), key=lambda index: sections[index].worth)

    def grow(index: int) -> bool:
        before = given[index]
        given[index] = sections[index].grown(before, before + height - sum(given))
        return given[index] > before

    for index in order:
        grow(index)
    for index in order:
        while given[index] < sections[index].least and grow(index):
            pass
    growing = True
    while growing:
        growing = sum(grow(index) for index in order) > 0  # a round serves every section
    return given


def _sections(runbook: Runbook, width: int, incident: object) -> list[_Section]:
    known = facts(incident)
    made = _Maker(width)
    sections = [made.text("DO FIRST", [fill(runbook.first_action, known)], 0, least=3)]
    if incident is not None:
        done = known.get("actions", "nothing by itself so far")
        sections.append(made.text("DONE", [done], 3))
    elif runbook.actions:
        sections.append(made.text("THEN", [_ladder(runbook)], 8))
    sections.append(made.text("CLASS", [_headline(runbook, known, incident)], 1, least=2))
    if "evidence" in known:
        sections.append(made.text("SEEN", [known["evidence"]], 6))
    return [
        *sections,
        made.text("SEVERITY", [_severity(runbook, incident)], 4, least=2),
        made.text("CALL", [_owners(runbook, known)], 2, least=2),
        made.rollback(runbook, incident),
        made.text("TELL USERS", runbook.communicate(incident).splitlines(), 7, least=2),
        made.text("CLOSE WHEN", [f"[ ] {check}" for check in runbook.closure], 7, least=2),
    ]


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
        return _Section(tuple(blocks), worth, least)

    def rollback(self, runbook: Runbook, incident: object) -> _Section:
        blocks: list[tuple[bool, tuple[str, ...]]] = []
        for number, option in enumerate(runbook.rollback, 1):
            said = f"{number}. {option.label}: {option.does}"
            label = "ROLL BACK" if not blocks else ""
            blocks += [
                (False, tuple(self._wrapped(label, said, hang="   "))),
                (True, tuple(self._command(fill_command(option.command, incident)))),
            ]
        return _Section(tuple(blocks), 5, _ROLLBACK_LINES)

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
        tokens: list[str] = []
        for token in _TOKEN.findall(command):
            # An option stays with its value where there is room for both.
            pair = f"{tokens[-1]} {token}" if tokens else token
            if tokens and tokens[-1][0] in "-[" and " " not in tokens[-1] and columns(pair) <= room:
                tokens[-1] = pair
            else:
                tokens.append(token)
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


def _severity(runbook: Runbook, incident: object) -> str:
    now = None if incident is None else read(incident, "severity")
    return (f"now {now}. " if now in set(Severity) else "") + runbook.severity.brief()


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
    severities = [f"{name}: {said}" for name, said in runbook.severity.describe().items()]
    parts += ["## Severity", _bullets([*severities, runbook.severity.worsens()])]
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
    return "\n".join(f"- {_plain(line)}" for line in lines if line)


def _plain(text: str) -> str:
    """`text` on one line that Markdown takes literally."""
    return _SPECIAL.sub(r"\\\1", clean(text))
