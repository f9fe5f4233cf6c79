"""How an exception ends a call: what the user saw of it, whose fault it was, what it is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from firedoor.errors import Denied
from firedoor.extraction.faults import adds_nothing, attribute, error_type, fault_of_code, is_plain
from firedoor.privacy import KnownError, KnownErrors, Redactor
from firedoor.types import Fault, Outcome

__all__ = ["LOST", "TRUNCATED", "Ending", "Endings"]


class Ending(NamedTuple):
    """How an exception ends a call or an attempt.

    Attributes:
        outcome: What the user would see of it.
        fault: Whose it is; None where nobody is to blame.
        error_type: Its canonical name, redacted.
        fingerprint: The same for the same failure; None where no exception says it.
    """

    outcome: Outcome
    fault: Fault | None
    error_type: str
    fingerprint: str | None = None


TRUNCATED = Ending(Outcome.FAILED, Fault.TARGET, "truncated")
"""A provider's stream that stopped without saying that it had finished."""

LOST = Ending(Outcome.CANCELLED, None, "cancelled")
"""An attempt that another one made unnecessary, or a caller who stopped waiting."""

_ABANDONED = Ending(Outcome.ABANDONED, None, "abandoned")


class Endings:
    """Reads exceptions for one door.

    Args:
        redactor: Whose key the fingerprints are made with.
        clean: What names pass before they may leave.
        on_fault: Told of a fault of ours, by its seam.
    """

    __slots__ = ("_clean", "_known", "_on_fault")

    def __init__(
        self,
        redactor: Redactor,
        *,
        clean: Callable[[str], str],
        on_fault: Callable[[str, BaseException], None],
    ) -> None:
        self._clean = clean
        self._known = KnownErrors(redactor).find
        self._on_fault = on_fault

    def of(self, error: BaseException, *, streaming: bool = False) -> Ending:
        """What an exception that left a guarded block says of the call; never raises.

        Args:
            error: The exception.
            streaming: It left while a stream of a model was read.
        """
        if not isinstance(error, Exception):  # a cancelled task's is none
            return _ABANDONED if isinstance(error, GeneratorExit) else LOST
        try:
            known = self._known(error)
            met: Ending | None = known.note
            if met is not None and adds_nothing(error):
                return met
            found = self._read(error, known, streaming=streaming)
            if is_plain(error):
                # Of others like it nothing could be read otherwise.
                known.note = found
            return found
        except Exception as fault:
            self._on_fault("attribution", fault)
            return Ending(_outcome(error), None, type(error).__name__)

    def _read(self, error: Exception, known: KnownError, *, streaming: bool) -> Ending:
        return Ending(
            _outcome(error),
            attribute(error, streaming=streaming),
            self._clean(error_type(error)),
            known.fingerprint,
        )

    def told(self, code: str) -> Ending:
        """What an error that a provider told of, without raising it, says of the call."""
        return Ending(Outcome.FAILED, fault_of_code(code), self._clean(code))


def _outcome(error: Exception) -> Outcome:
    return Outcome.BLOCKED if isinstance(error, Denied) else Outcome.FAILED
