"""In-process incident response for LLM applications."""

from firedoor import policies
from firedoor._version import __version__
from firedoor.config import Breaker, Budget, Canned, Hedge, Limiter, LoopGuard, Tier
from firedoor.core import rules
from firedoor.core.incident import ActionState, Finding, IncidentRecord
from firedoor.core.prices import Price
from firedoor.core.switches import Switch
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
    LifecycleError,
    PolicyBlocked,
    RouteDisabled,
    Saturated,
    StoreError,
    UnknownIncident,
)
from firedoor.incidents import actions, alerts, notify, runbooks
from firedoor.incidents.alert import Alert, Journey
from firedoor.incidents.book import Incident, Incidents
from firedoor.incidents.runbooks import RollbackOption, Runbook, SeverityCriteria
from firedoor.incidents.scoring import CheckContext, Score
from firedoor.privacy import Redactor
from firedoor.records import AttemptRecord, Decision
from firedoor.shell.attempt import Attempt
from firedoor.shell.budgets import Threshold
from firedoor.shell.guard import Guard
from firedoor.shell.route import ROUTED
from firedoor.shell.scope import Request, current_attempt, current_request, wrap
from firedoor.telemetry.exporter import RedactingSpanExporter
from firedoor.types import (
    AlertState,
    CostCertainty,
    Evidence,
    Extract,
    Fault,
    IncidentClass,
    IncidentState,
    Mode,
    Outcome,
    RouteKind,
    Severity,
    Source,
    ToolCall,
    Usage,
    UsageCertainty,
    Verdict,
    VerdictStatus,
)

__all__ = [
    "ROUTED",
    "ActionState",
    "Alert",
    "AlertState",
    "Attempt",
    "AttemptRecord",
    "Breaker",
    "BreakerOpen",
    "Budget",
    "BudgetExceeded",
    "Canned",
    "CheckContext",
    "ConfigurationError",
    "CostCertainty",
    "DeadlineExceeded",
    "Decision",
    "Denied",
    "EgressDenied",
    "Evidence",
    "Extract",
    "Fault",
    "Finding",
    "Firedoor",
    "FiredoorError",
    "GrantDenied",
    "Guard",
    "Hedge",
    "Incident",
    "IncidentClass",
    "IncidentRecord",
    "IncidentState",
    "Incidents",
    "Journey",
    "LifecycleError",
    "Limiter",
    "LoopGuard",
    "Mode",
    "Outcome",
    "PolicyBlocked",
    "Price",
    "RedactingSpanExporter",
    "Redactor",
    "Request",
    "RollbackOption",
    "RouteDisabled",
    "RouteKind",
    "Runbook",
    "Saturated",
    "Score",
    "Severity",
    "SeverityCriteria",
    "Source",
    "StoreError",
    "Switch",
    "Threshold",
    "Tier",
    "ToolCall",
    "UnknownIncident",
    "Usage",
    "UsageCertainty",
    "Verdict",
    "VerdictStatus",
    "__version__",
    "actions",
    "alerts",
    "current_attempt",
    "current_request",
    "notify",
    "policies",
    "rules",
    "runbooks",
    "wrap",
]
