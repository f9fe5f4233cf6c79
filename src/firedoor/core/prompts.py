"""Prompts by name and revision: values that never change once they are registered."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from firedoor.errors import ConfigurationError

__all__ = ["Prompt", "PromptLine"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One revision of one prompt.

    Attributes:
        name: Of the prompt.
        revision: As it was registered.
        text: The prompt itself; it stays in the process.
        digest: The first 16 hexadecimal digits of the SHA-256 of the text: the same text, the
            same digest, on every machine.
    """

    name: str
    revision: str
    text: str = field(repr=False)
    digest: str

    @classmethod
    def of(cls, name: str, revision: str, text: str) -> Prompt:
        """The prompt with its digest worked out."""
        return cls(name, revision, text, hashlib.sha256(text.encode()).hexdigest()[:16])


@dataclass(frozen=True, slots=True)
class PromptLine:
    """Every revision of one prompt, in the order they were registered.

    Attributes:
        name: Of the prompt.
        revisions: By their names.
        active: The one in use while no switch says otherwise.
    """

    name: str
    revisions: Mapping[str, Prompt] = field(default_factory=dict)
    active: str = ""

    def with_revisions(self, texts: Mapping[str, str], active: str) -> PromptLine:
        """With these revisions added, and `active` in use.

        Raises:
            ConfigurationError: If a revision changes its text, or `active` is none of them.
        """
        revisions = dict(self.revisions)
        for revision, text in texts.items():
            if not all(word and type(word) is str for word in (revision, text)):
                raise ConfigurationError(
                    f"prompt {self.name!r}, revision {revision!r}: revisions and their texts are "
                    "strings that are not empty"
                )
            made = Prompt.of(self.name, revision, text)
            if revisions.setdefault(revision, made) != made:
                raise ConfigurationError(
                    f"prompt {self.name!r}, revision {revision!r} was registered with another "
                    "text: give a changed text a new revision, so that records stay true"
                )
        if active not in revisions:
            raise ConfigurationError(
                f"prompt {self.name!r}, active={active!r}: use one of {_listed(revisions)}"
            )
        return PromptLine(self.name, revisions, active)

    def held_at(self, revision: str | None) -> Prompt | None:
        """The prompt at `revision`, or at the active one for None; None if there is no such one."""
        return self.revisions.get(self.active if revision is None else revision)

    def before(self, revision: str) -> str:
        """The revision registered before this one.

        Raises:
            ConfigurationError: If there is none.
        """
        names = list(self.revisions)
        place = names.index(revision)
        if place == 0:
            raise ConfigurationError(
                f"prompt {self.name!r} is at {revision!r}, its first revision: there is nothing "
                f"to roll back to; registered are {_listed(names)}"
            )
        return names[place - 1]


def _listed(names: Mapping[str, Prompt] | list[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
