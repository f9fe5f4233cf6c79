"""In-process incident response for LLM applications."""

from firedoor import policies
from firedoor._version import __version__
from firedoor.config import Breaker, Budget, Canned, Hedge, Limiter, LoopGuard, Tier
from firedoor.core.prices import Price
from firedoor.door import Firedoor
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
from firedoor.incidents import actions
from firedoor.privacy import Redactor
from firedoor.records import AttemptRecord, Decision
from firedoor.shell.attempt import Attempt
from firedoor.shell.budgets import Threshold
from firedoor.shell.guard import Guard
from firedoor.shell.route import ROUTED
from firedoor.shell.scope import Request, current_attempt, current_request, wrap
from firedoor.telemetry.exporter import RedactingSpanExporter
from firedoor.types import (
    CostCertainty,
    Extract,
    Fault,
    Outcome,
    RouteKind,
    Source,
    ToolCall,
    Usage,
    UsageCertainty,
    Verdict,
    VerdictStatus,
)

__all__ = [
    "ROUTED",
    "Attempt",
    "AttemptRecord",
    "Breaker",
    "BreakerOpen",
    "Budget",
    "BudgetExceeded",
    "Canned",
    "ConfigurationError",
    "CostCertainty",
    "DeadlineExceeded",
    "Decision",
    "Denied",
    "EgressDenied",
    "Extract",
    "Fault",
    "Firedoor",
    "FiredoorError",
    "GrantDenied",
    "Guard",
    "Hedge",
    "Limiter",
    "LoopGuard",
    "Outcome",
    "PolicyBlocked",
    "Price",
    "RedactingSpanExporter",
    "Redactor",
    "Request",
    "RouteDisabled",
    "RouteKind",
    "Saturated",
    "Source",
    "StoreError",
    "Threshold",
    "Tier",
    "ToolCall",
    "Usage",
    "UsageCertainty",
    "Verdict",
    "VerdictStatus",
    "__version__",
    "actions",
    "current_attempt",
    "current_request",
    "policies",
    "wrap",
]
