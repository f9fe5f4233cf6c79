"""Secrets made up for one run and planted where real ones turn up, to be looked for afterwards."""

from __future__ import annotations

import random
import string
from dataclasses import dataclass

__all__ = ["Plants"]

_UPPER = string.ascii_uppercase + "234567"
_MIXED = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Plants:
    """One secret of each kind; no two runs with different seeds share any.

    Attributes:
        email: Typed into a question by a user, who is also known by it.
        card: A payment card number (it passes the Luhn check), typed into a question.
        aws_access_key: Said by the model in its answer.
        api_key: Echoed by the provider in an error message.
    """

    email: str
    card: str
    aws_access_key: str
    api_key: str

    @classmethod
    def grow(cls, seed: int) -> Plants:
        """The secrets of the run with this seed. Not secret: they only have to look it."""
        chance = random.Random(f"plants {seed}")
        digits = "4" + "".join(chance.choices(string.digits, k=14))
        return cls(
            email=f"{''.join(chance.choices(string.ascii_lowercase, k=12))}@example.com",
            card=digits + _luhn_digit(digits),
            aws_access_key="AKIA" + "".join(chance.choices(_UPPER, k=16)),
            api_key="sk-proj-" + "".join(chance.choices(_MIXED, k=48)),
        )

    def named(self) -> dict[str, str]:
        """Each secret by its kind."""
        return {name: getattr(self, name) for name in self.__slots__}


def _luhn_digit(digits: str) -> str:
    """The check digit that makes `digits` a valid number (ISO/IEC 7812-1, annex B)."""
    doubled = (int(digit) * (2 - place % 2) for place, digit in enumerate(reversed(digits)))
    return str(-sum(value // 10 + value % 10 for value in doubled) % 10)
