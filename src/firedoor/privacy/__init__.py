"""What may leave the process: detectors, the redactor, keyed tokens."""

from firedoor.privacy.exceptions import ErrorRecord, KnownError, KnownErrors, describe_exception
from firedoor.privacy.kinds import PERSONAL_KINDS, SECRET_KINDS, Match
from firedoor.privacy.redactor import Detector, Pattern, Redactor
from firedoor.privacy.settling import BEHIND, LONGEST

__all__ = [
    "BEHIND",
    "LONGEST",
    "PERSONAL_KINDS",
    "SECRET_KINDS",
    "Detector",
    "ErrorRecord",
    "KnownError",
    "KnownErrors",
    "Match",
    "Pattern",
    "Redactor",
    "describe_exception",
]
