"""In-process incident response for LLM applications."""

from firedoor._version import __version__
from firedoor.config import Breaker, Budget, Canned, Limiter, Tier
from firedoor.errors import (
    BreakerOpen,
    BudgetExceeded,
    ConfigurationError,
    DeadlineExceeded,
    Denied,
    EgressDenied,
    FiredoorError,
    GrantDenied,
    PolicyBlocked,
    RouteDisabled,
    Saturated,
    StoreError,
)
from firedoor.records import Decision
from firedoor.types import Outcome, Verdict

__all__ = [
    "Breaker",
    "BreakerOpen",
    "Budget",
    "BudgetExceeded",
    "Canned",
    "ConfigurationError",
    "DeadlineExceeded",
    "Decision",
    "Denied",
    "EgressDenied",
    "FiredoorError",
    "GrantDenied",
    "Limiter",
    "Outcome",
    "PolicyBlocked",
    "RouteDisabled",
    "Saturated",
    "StoreError",
    "Tier",
    "Verdict",
    "__version__",
]
