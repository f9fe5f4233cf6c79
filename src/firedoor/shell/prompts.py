"""The prompts of a door: registered once, asked for on every call, held back by a switch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Unpack

from firedoor.core.prompts import Prompt, PromptLine
from firedoor.core.switches import Switch
from firedoor.errors import ConfigurationError
from firedoor.shell.scope import current_request
from firedoor.shell.switchboard import Switchboard, Terms

__all__ = ["Prompts", "held_now"]


def held_now(switchboard: Switchboard) -> Callable[[str], str | None]:
    """Answers the revision a prompt is held at now, on the journey of the current request."""

    def held(name: str) -> str | None:
        if switchboard.snapshot.empty:
            return None
        request = current_request()
        journey = None if request is None else request.journey
        answer = switchboard.resolve("", journey=journey, prompt=name)
        return None if answer is None else answer.prompt_revision

    return held


class Prompts:
    """Prompts by name, at the revision in force. Thread-safe; `get` takes no lock.

    Args:
        switchboard: What `rollback` sets its switch on.
        held: From a prompt's name to the revision it is held at, or None for its active one.
            Default: what the switchboard says for the current request.
        on_fault: Called with `"prompts"` and an error where a switch names a revision that this
            process does not have.
    """

    def __init__(
        self,
        switchboard: Switchboard,
        *,
        held: Callable[[str], str | None] | None = None,
        on_fault: Callable[[str, Exception], None] | None = None,
    ) -> None:
        self._switchboard = switchboard
        self._held = held_now(switchboard) if held is None else held
        self._on_fault = on_fault
        self._lines: dict[str, PromptLine] = {}
        self._lock = threading.Lock()

    def register(self, name: str, revisions: Mapping[str, str], *, active: str) -> Prompt:
        """Add revisions of a prompt, oldest first, and say which is in use; returns that one.

        May be called again, with revisions that are new and another `active`.

        Raises:
            ConfigurationError: If a revision changes its text, or `active` is none of them.
        """
        if type(name) is not str or not name.strip():
            raise ConfigurationError(f"prompt name={name!r}: give it one, such as 'answer'")
        with self._lock:
            line = self._lines.get(name, PromptLine(name)).with_revisions(revisions, active)
            self._lines = {**self._lines, name: line}
        return line.revisions[active]

    def get(self, name: str) -> Prompt:
        """The prompt at the revision in force.

        A switch to a revision that is not registered here cannot be followed: the active one
        answers, and the fault is told.

        Raises:
            ConfigurationError: If no prompt of this name is registered; it lists those that are.
        """
        line = self._line(name)
        held = self._held(name)
        prompt = line.held_at(held)
        if prompt is None:
            if self._on_fault is not None:
                error = ConfigurationError(
                    f"a switch holds prompt {name!r} at {held!r}, which this process does not have"
                )
                self._on_fault("prompts", error)
            return line.revisions[line.active]
        return prompt

    def revisions(self, name: str) -> tuple[Prompt, ...]:
        """Every revision of a prompt, in the order they were registered."""
        return tuple(self._line(name).revisions.values())

    def names(self) -> tuple[str, ...]:
        """The prompts that are registered."""
        return tuple(self._lines)

    def at(self, name: str, *, journey: str | None = None) -> str:
        """The revision in force on a journey.

        Raises:
            ConfigurationError: If no prompt of this name is registered.
        """
        line = self._line(name)
        answer = self._switchboard.resolve("", journey=journey, prompt=name)
        held = line.held_at(None if answer is None else answer.prompt_revision)
        return line.active if held is None else held.revision

    def before(self, name: str, revision: str) -> str | None:
        """The revision registered before this one; None for the first."""
        names = list(self._line(name).revisions)
        place = names.index(revision)
        return names[place - 1] if place else None

    def rollback(self, name: str, **terms: Unpack[Terms]) -> Switch:
        """Hold a prompt at the revision before the one in force; `revert` the switch to undo it.

        Raises:
            ConfigurationError: If it is at its first revision, or not registered.
        """
        revision = self._line(name).before(self.get(name).revision)
        return self._switchboard.prompt(name, revision, **terms)

    def _line(self, name: str) -> PromptLine:
        line = self._lines.get(name)
        if line is None:
            names = ", ".join(repr(known) for known in self._lines) or "none"
            raise ConfigurationError(f"no prompt {name!r} is registered; there are: {names}")
        return line
