"""Policies by name, for configuration files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from firedoor.errors import ConfigurationError
from firedoor.policies.base import Policy
from firedoor.policies.detected import PersonalData, Secrets
from firedoor.policies.rules import JsonSchema, MaxLength, Regex

__all__ = ["from_config", "register"]

_KINDS: dict[str, type[Policy]] = {}


def register(policy: type[Policy]) -> type[Policy]:
    """Let `from_config` make this class of policies, under its `kind`; usable as a decorator.

    Raises:
        ConfigurationError: If another class has that kind.
    """
    known = _KINDS.setdefault(policy.kind, policy)
    if known is not policy:
        raise ConfigurationError(
            f"kind={policy.kind!r} of {policy.__qualname__} is taken by {known.__qualname__}: choose another"
        )
    return policy


def from_config(config: Mapping[str, Any]) -> Policy:
    """The policy that a mapping describes: its `kind`, and the keywords of that class.

    `{"kind": "regex", "pattern": "zeta-[0-9]{6}", "on": "input", "action": "block"}`

    Raises:
        ConfigurationError: If the kind is missing or unknown, or the class refuses a value.
    """
    options = dict(config)
    kind = options.pop("kind", None)
    policy = _KINDS.get(kind) if isinstance(kind, str) else None
    if policy is None:
        raise ConfigurationError(
            f"kind={kind!r} is no policy: use one of {', '.join(sorted(_KINDS))}"
        )
    return policy(**options)


for _policy in (Regex, MaxLength, JsonSchema, Secrets, PersonalData):
    register(_policy)
