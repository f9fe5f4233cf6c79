"""One incident class, one page: what to do first, who to call, what to undo, what to say, when to close.

A runbook is a frozen value that cannot be made without its six parts: class, severity criteria,
owners, rollback options, communication and closure checks. It fills itself from an incident.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from firedoor.config import Seconds, declarative
from firedoor.core import facts, page, runbook_files
from firedoor.core.screen import clean
from firedoor.core.severity import SeverityCriteria
from firedoor.types import IncidentClass

__all__ = ["RollbackOption", "Runbook"]

_Line = Annotated[str, Field(min_length=1)]


def _no_class(value: Any) -> Any:
    return None if value == "unknown" else value


@declarative
class RollbackOption:
    """One way back, mild ones first.

    Attributes:
        label: A few words, as in `Older prompt`.
        does: What it changes for users, and what it costs.
        command: The exact line: `firedoor switch ...`, or Python. `{alias}` and the other words of
            `FACTS` are filled in from the incident; a part in square brackets is left out where
            its value is not known.
    """

    label: _Line
    does: _Line
    command: _Line

    def check(self) -> None:
        """One line each, and no word in braces that stays there."""
        for name in ("label", "does", "command"):
            _one_line(name, getattr(self, name))
        _only_known("command", self.command)


@declarative
class Runbook:
    """What to do about one class of incident.

    Attributes:
        incident_class: None (in files `unknown`): for incidents that fit no class.
        severity: Which exposure makes which severity.
        owners: Who, by role: a name, a rota, a channel, a telephone number. At least one.
        rollback: Ways back in the order to try them. At least one.
        communication: What to tell users. `{journey}` and the other words of `FACTS` are filled in
            from the incident.
        closure: What must be true before the incident is closed. At least one.
        first_action: What to do before anything else; the first line of the page.
        summary: What users meet, in one line.
        actions: What the monitor does by itself or proposes, in the order it escalates.
        update_every: Seconds between two messages to users.
    """

    incident_class: Annotated[IncidentClass | None, BeforeValidator(_no_class)] = Field(
        kw_only=True
    )
    severity: SeverityCriteria = Field(kw_only=True)
    owners: dict[_Line, _Line] = Field(kw_only=True, min_length=1)
    rollback: tuple[RollbackOption, ...] = Field(kw_only=True, min_length=1)
    communication: _Line = Field(kw_only=True)
    closure: tuple[_Line, ...] = Field(kw_only=True, min_length=1)
    first_action: _Line = Field(kw_only=True)
    summary: str = Field(default="", kw_only=True)
    actions: tuple[Any, ...] = Field(default=(), kw_only=True)
    update_every: Seconds = Field(default=1_800.0, kw_only=True)

    def check(self) -> None:
        """Templates ask for what there is, parts are checked however they came, actions act."""
        _one_line("first_action", self.first_action)
        _only_known("first_action", self.first_action)
        _only_known("communication", self.communication)
        # A part that came as a mapping has not run its own check.
        self.severity.check()
        for option in self.rollback:
            option.check()
        for index, action in enumerate(self.actions):
            if not isinstance(facts.read(action, "kind"), str):
                raise ValueError(  # noqa: TRY004 - reported like every other field
                    f"actions[{index}]={action!r} is no action: use one of firedoor.actions, as in "
                    "actions=(fd.actions.SafeMode(ttl='30m'),)"
                )

    @property
    def name(self) -> str:
        """The class as text: `retrieval_failure`, or `unknown`."""
        return self.incident_class.value if self.incident_class is not None else "unknown"

    def communicate(self, incident: object = None) -> str:
        """The message to users, filled from `incident`; `not known yet` where it tells nothing.

        Read it before you send it: it is a draft.
        """
        known = facts.facts(incident) | {"update_every": facts.lasted(self.update_every)}
        lines = facts.fill(self.communication, known).strip().splitlines()
        return "\n".join(clean(line) for line in lines)

    def render(self, width: int = 80, height: int = 24, incident: object = None) -> str:
        """The runbook on one screen: plain text, no colour, the first action on top.

        Always fits: at most `height` lines of at most `width` columns. What had to be cut is
        counted in the last line; a command is shown whole or not at all.

        Args:
            width: Columns, 1 or more.
            height: Lines, 1 or more.
            incident: An incident record, or a mapping with its fields; None: the runbook alone.
        """
        return page.render(self, width, height, incident)

    def to_markdown(self, incident: object = None) -> str:
        """The whole runbook as Markdown (CommonMark), filled from `incident` where one is given."""
        return page.markdown(self, incident)

    def to_dict(self) -> dict[str, Any]:
        """Every field in plain values, as the files have it."""
        return runbook_files.to_dict(self)

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], *, build: Callable[[Mapping[str, Any]], Any] | None = None
    ) -> Runbook:
        """A runbook from plain values.

        Args:
            data: Every field by its name. `severity` is a mapping of `SeverityCriteria`'s fields,
                `rollback` a list of mappings with `label`, `does` and `command`.
            build: Makes an action of a mapping with a `kind`; `fd.runbooks.load` brings it along.

        Raises:
            ConfigurationError: Naming the field, the value and the remedy.
        """
        return cls(**runbook_files.fields(cls, RollbackOption, data, build))

    @classmethod
    def from_yaml(
        cls,
        source: str | PathLike[str],
        *,
        build: Callable[[Mapping[str, Any]], Any] | None = None,
    ) -> Runbook:
        """A runbook from YAML: a text, or the path of a file. See `from_dict`.

        Raises:
            ConfigurationError: Also where PyYAML is not installed (extra `yaml`), or the text is
                no YAML.
        """
        return cls.from_dict(runbook_files.read_yaml(source), build=build)

    @classmethod
    def from_toml(
        cls,
        source: str | PathLike[str],
        *,
        build: Callable[[Mapping[str, Any]], Any] | None = None,
    ) -> Runbook:
        """A runbook from TOML: a text, or the path of a file. See `from_dict`.

        Raises:
            ConfigurationError: Also where the text is no TOML.
        """
        return cls.from_dict(runbook_files.read_toml(source), build=build)

    def to_yaml(self) -> str:
        """The runbook as YAML; needs the extra `yaml`.

        Raises:
            ConfigurationError: If PyYAML is not installed, or an action holds what no file can (a
                function).
        """
        return runbook_files.to_yaml(self)


def _one_line(name: str, text: str) -> None:
    if clean(text) != text:
        raise ValueError(
            f"{name}={text!r}: write it on one line, with single spaces and no control characters"
        )


def _only_known(name: str, template: str) -> None:
    unknown = sorted(facts.placeholders(template) - set(facts.FACTS))
    if unknown:
        raise ValueError(
            f"{name} asks for {{{unknown[0]}}}, which no incident has: use one of "
            + ", ".join(f"{{{word}}}" for word in sorted(facts.FACTS))
        )
