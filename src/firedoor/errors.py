"""What firedoor raises.

::

    FiredoorError
    ├─ ConfigurationError (also ValueError)   at construction: names the field, the value, the remedy
    ├─ StoreError                             a shared store could not be reached; __cause__ is the driver's
    ├─ LifecycleError                         an incident does not allow this step now; says what comes first
    ├─ UnknownIncident (also LookupError)     no incident or action has this id
    └─ Denied                                 a gate said no
       ├─ BudgetExceeded
       ├─ BreakerOpen
       ├─ Saturated
       ├─ PolicyBlocked
       ├─ RouteDisabled
       ├─ GrantDenied
       ├─ EgressDenied
       └─ DeadlineExceeded (also TimeoutError)

An application's own exceptions are never replaced: when every tier failed, the last provider
exception is raised as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from firedoor.records import Decision
    from firedoor.types import Usage

__all__ = [
    "BreakerOpen",
    "BudgetExceeded",
    "ConfigurationError",
    "DeadlineExceeded",
    "Denied",
    "EgressDenied",
    "FiredoorError",
    "GrantDenied",
    "LifecycleError",
    "PolicyBlocked",
    "RouteDisabled",
    "Saturated",
    "StoreError",
    "UnknownIncident",
]


_held: Any = BaseException.args
"""Where every exception holds its arguments; `Denied` looks at them in its own way."""


class FiredoorError(Exception):
    """The root of everything firedoor raises on purpose."""


class ConfigurationError(FiredoorError, ValueError):
    """A value given to firedoor cannot work. Raised at construction, never on a call."""


class StoreError(FiredoorError):
    """A shared store did not answer; `__cause__` is the driver's own exception."""


class LifecycleError(FiredoorError):
    """An incident does not allow this step now; the message says why, and what comes first.

    Attributes:
        already: The incident is there, or past it: nothing is left to do.
    """

    def __init__(self, message: str, *, already: bool = False) -> None:
        super().__init__(message)
        self.already = already


class UnknownIncident(FiredoorError, LookupError):
    """No incident or action has this id."""


class Denied(FiredoorError):
    """A gate refused a call.

    Attributes:
        gate: What refused, written `kind:name` (`budget:day`, `breaker:llm:answer/gpt-5`).
        retry_after: Seconds after which the same call may pass, or None if waiting does not help.
        ran: Whether the guarded function had run, and so was paid for.
        decision: The frozen record of the refused call; None only while it is being written.
    """

    gate: str = ""
    retry_after: float | None = None
    ran: bool = False
    decision: Decision | None = None

    def __init__(
        self,
        message: str,
        *,
        gate: str = "",
        retry_after: float | None = None,
        ran: bool = False,
        decision: Decision | None = None,
    ) -> None:
        super().__init__(message)
        self.gate = gate
        self.retry_after = retry_after
        self.ran = ran
        self.decision = decision

    @property
    def args(self) -> tuple[Any, ...]:
        """The message, as a tuple of one.

        A gate that is shut refuses thousands of times a second, and mostly nobody reads why: a
        ladder goes on to its next tier, a caller looks at the type. So a denial may be made with
        `Kind.__new__(Kind, words, *of)`, and the message is `words(*of)` once somebody reads it.
        """
        held: tuple[Any, ...] = _held.__get__(self)
        if held and callable(held[0]):
            held = (held[0](*held[1:]),)
            _held.__set__(self, held)
        return held

    @args.setter
    def args(self, given: tuple[Any, ...]) -> None:
        _held.__set__(self, given)

    def __str__(self) -> str:
        self.args  # noqa: B018 - so that the message is there
        return super().__str__()

    def __repr__(self) -> str:
        self.args  # noqa: B018
        return super().__repr__()

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process pools by pickle; keyword-only arguments need the state form.
        return (_rebuild, (type(self), str(self), self.gate, self.retry_after, self.ran))


def _rebuild(
    kind: type[Denied],
    message: str,
    gate: str,
    retry_after: float | None,
    ran: bool,  # noqa: FBT001
) -> Denied:
    return kind(message, gate=gate, retry_after=retry_after, ran=ran)


class BudgetExceeded(Denied):
    """A budget has less left than the call may cost.

    Attributes:
        final: No other tier may run either: the budget blocks, it does not degrade.
    """

    final: bool = False


class BreakerOpen(Denied):
    """The circuit of the only tier that could run is open."""


class Saturated(Denied):
    """The limiter has no slot, and its queue is full or too slow for the deadline."""


class PolicyBlocked(Denied):
    """A content policy blocked the input, the output or a tool's arguments.

    Attributes:
        usage: Tokens of the answer that was refused, as the provider told them; None where there
            was none.
    """

    usage: Usage | None = None


class RouteDisabled(Denied):
    """A switch has turned the route off."""


class GrantDenied(Denied):
    """The request does not hold the grant a tool asks for."""


class EgressDenied(Denied):
    """An outbound host is not on the allowlist."""


class DeadlineExceeded(Denied, TimeoutError):
    """The time the request had is used up."""
