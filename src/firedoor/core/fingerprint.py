"""What makes two incidents the same one happening again."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata

from firedoor.types import IncidentClass

__all__ = ["fingerprint", "normalised"]

_LONGEST = 400
"""Characters of a signature that count: past them are values, not the kind of failure."""

_VARIABLE = re.compile(
    r"""
      0x[0-9a-f]+                                             # an address
    | [0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}
    | (?<![0-9a-z])(?=[a-z]*[0-9])(?=[0-9]*[a-z])[0-9a-z]+    # an id: letters and digits mixed
    | (?<![0-9a-z])[a-f]{8,}(?![0-9a-z])                      # a hash that has no digit
    | [0-9]+(?:[.,:][0-9]+)*[a-z]*                            # numbers, versions, times, units
    """,
    re.VERBOSE,
)


def normalised(signature: str) -> str:
    """`signature` without what differs from one occurrence to the next.

    Numbers, hexadecimal and words that mix letters and digits become `#`; case and white space
    are evened out.
    """
    text = unicodedata.normalize("NFKC", signature[:_LONGEST]).casefold()
    text = unicodedata.normalize("NFKC", text)
    # Digits of every script: `\d` as the pattern spells it is the Latin ones.
    text = "".join("0" if char.isdecimal() else char for char in text)
    text = re.sub(r"#(?:[\s#]*#)*", "#", _VARIABLE.sub("#", text))
    return " ".join(text.split())


def fingerprint(
    incident_class: IncidentClass | None,
    *,
    journey: str | None = None,
    route: str | None = None,
    alias: str | None = None,
    control: str | None = None,
    signature: str = "",
) -> str:
    """The recurrence key of an incident: 16 hexadecimal digits, the same on every machine.

    Args:
        incident_class: None for an incident that fits no class.
        journey: Where it is; None: the whole door. Taken literally, as are the next three.
        route: As in `llm:answer`.
        alias: The model name the application asks for.
        control: The gate that failed or acted (`breaker:llm:answer/gpt-5`), where there is one.
        signature: What it looks like, as an error type or the alerts' names; normalised.

    Returns:
        A BLAKE2b digest of 8 bytes (RFC 7693): two kinds of incident share one with a probability
        of 2^-64.
    """
    parts = [incident_class and incident_class.value, journey, route, alias, control]
    # As JSON, None differs from every text, and no part runs into the next one.
    text = json.dumps([*parts, normalised(signature)])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
