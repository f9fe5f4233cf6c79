"""Every name that leaves: attribute keys, metric names, buckets, and which convention they follow.

`gen_ai.*`, `error.type` and `openinference.span.kind` are other people's words and follow their
published tables; everything that has no official name is `firedoor.*`. The OpenTelemetry GenAI
conventions are in development and were renamed more than once, so the strings are kept here as
data, and the parts that differ between two published states are a `Convention`.

Sources:
    "1.41": https://github.com/open-telemetry/semantic-conventions/tree/v1.41.0/docs/gen-ai
    "0.1": https://github.com/open-telemetry/semantic-conventions-genai, release v0.1.0
    OpenInference: https://github.com/Arize-ai/openinference/tree/main/spec, 0.1.42
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CONVENTIONS", "SCOPE", "Convention", "MetricName", "Regime"]

Regime = Literal["1.41", "0.1"]

SCOPE = "firedoor"
"""Name of the instrumentation scope of every span, metric and event."""

# Official attribute keys -------------------------------------------------------------------

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_ID = "gen_ai.response.id"
FINISH_REASONS = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - a key, not a secret
TOKEN_MODALITY = "gen_ai.token.modality"  # noqa: S105 - likewise
PROMPT_NAME = "gen_ai.prompt.name"
PROMPT_VERSION = "gen_ai.prompt.version"
DATA_SOURCE = "gen_ai.data_source.id"
RETRIEVAL_DOCUMENTS = "gen_ai.retrieval.documents"
RETRIEVAL_TOP_K = "gen_ai.retrieval.top_k"
RETRIEVAL_QUERY = "gen_ai.retrieval.query.text"
TOOL_NAME = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
TOOL_ARGUMENTS = "gen_ai.tool.call.arguments"
TOOL_RESULT = "gen_ai.tool.call.result"
EVALUATION_NAME = "gen_ai.evaluation.name"
EVALUATION_SCORE = "gen_ai.evaluation.score.value"
EVALUATION_LABEL = "gen_ai.evaluation.score.label"
EVALUATION_EXPLANATION = "gen_ai.evaluation.explanation"
ERROR_TYPE = "error.type"

REQUEST_PARAMETERS = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "seed": "gen_ai.request.seed",
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_output_tokens": "gen_ai.request.max_tokens",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "reasoning_effort": "gen_ai.request.reasoning.level",
}
"""Parameters that have an official key, whatever the provider's SDK calls them."""

CHOICE_COUNT = "gen_ai.request.choice.count"

# OpenInference, only where the gen_ai mapping of backends has a gap ---------------------------

SPAN_KIND = "openinference.span.kind"
INPUT_VALUE = "input.value"
OUTPUT_VALUE = "output.value"
OUTPUT_MIME_TYPE = "output.mime_type"

# Our own -------------------------------------------------------------------------------------
# Singular for scalars, plural for lists; no key is also the prefix of another; none contains a
# word that backends scrub by default (session, auth, secret, password, cookie, credential).

SCHEMA_VERSION_KEY = "firedoor.schema.version"
SERVICE = "firedoor.service"
JOURNEY = "firedoor.journey"
ROUTE = "firedoor.route"
USER = "firedoor.user"
TENANT = "firedoor.tenant"
SYNTHETIC = "firedoor.synthetic"
DECISION_ID = "firedoor.decision.id"
REQUEST_ID = "firedoor.request.id"
REQUEST_CALLS = "firedoor.request.calls"
REQUEST_COST = "firedoor.request.cost_usd"
ALIAS = "firedoor.alias"
MODEL = "firedoor.model"
PARAMETERS = "firedoor.parameters"
PROMPT_NAME_MIRROR = "firedoor.prompt.name"
PROMPT_VERSION_MIRROR = "firedoor.prompt.version"
OUTCOME = "firedoor.outcome"
FAULT = "firedoor.fault"
ERROR_FINGERPRINT = "firedoor.error.fingerprint"
RETRY_AFTER = "firedoor.retry_after"
DEGRADED = "firedoor.degraded"
REFUSAL = "firedoor.refusal"
PARTIAL_REFUSAL = "firedoor.partial_refusal"
TRUNCATED = "firedoor.truncated"
STREAM_CHUNKS = "firedoor.stream.chunks"
STREAM_IDLE_GAP = "firedoor.stream.idle_gap"
USAGE_CERTAINTY = "firedoor.usage.certainty"
COST_USD = "firedoor.cost.usd"
COST_CERTAINTY = "firedoor.cost.certainty"
RETRIEVAL_COUNT = "firedoor.retrieval.count"
TOOL_EFFECT = "firedoor.tool.effect"
TOOL_REPEATED = "firedoor.tool.repeated"
TOOL_CALLS = "firedoor.tool_calls"
FALLBACK_TIER = "firedoor.fallback.tier"
FALLBACK_REASON = "firedoor.fallback.reason"
ATTEMPTS = "firedoor.attempts"
ATTEMPT_INDEX = "firedoor.attempt.index"
VERDICTS = "firedoor.verdicts"
SWITCHES = "firedoor.switches"
BUDGET_STATE = "firedoor.budget.state"
BUDGET_NAME = "firedoor.budget.name"
BUDGET_THRESHOLD = "firedoor.budget.threshold"
BREAKER_STATE = "firedoor.breaker.state"
GATE_NAME = "firedoor.gate.name"
GATE_VERDICT = "firedoor.gate.verdict"
REDACTION_COUNT = "firedoor.redaction.count"
REDACTION_TYPES = "firedoor.redaction.types"
REDACTION_TYPE = "firedoor.redaction.type"
NOTES = "firedoor.notes"
CHECK_NAME = "firedoor.check.name"
CHECK_STATUS = "firedoor.check.status"
INCIDENT_ID = "firedoor.incident.id"
INCIDENT_CLASS = "firedoor.incident.class"
INCIDENT_STATE = "firedoor.incident.state"
INCIDENT_SEVERITY = "firedoor.incident.severity"
INCIDENT_TITLE = "firedoor.incident.title"
INCIDENT_EVIDENCE = "firedoor.incident.evidence"
INCIDENT_SHARE = "firedoor.incident.share"
INCIDENT_FINGERPRINT = "firedoor.incident.fingerprint"
INCIDENT_RECURRENCE = "firedoor.incident.recurrence_of"
INCIDENT_ACTOR = "firedoor.incident.actor"
INCIDENT_REASON = "firedoor.incident.reason"
ALERT_NAME = "firedoor.alert.name"
ALERT_STATE = "firedoor.alert.state"
ALERT_SIGNAL = "firedoor.alert.signal"
ALERT_VALUE = "firedoor.alert.value"
ALERT_BASELINE = "firedoor.alert.baseline"
ALERT_REASON = "firedoor.alert.reason"
ACTION_KIND = "firedoor.action.kind"
ACTION_STATE = "firedoor.action.state"
ACTION_MODE = "firedoor.action.mode"
NOTIFICATION_SINK = "firedoor.notification.sink"
NOTIFICATION_RESULT = "firedoor.notification.result"
SEAM = "firedoor.internal.seam"

# Span and event names ------------------------------------------------------------------------

REQUEST_SPAN = "firedoor.request"
"""Prefix of a request's span: `firedoor.request checkout-help`."""
GATE_SPAN = "firedoor.gate"
"""Prefix of the span of a call that a gate stopped: `firedoor.gate budget:day`."""
INCIDENT_SPAN = "firedoor.incident"
"""Prefix of the span of the time an incident spent in a state: `firedoor.incident contained`."""
ALERT_SPAN = "firedoor.alert"
"""Prefix of the span of one firing of an alert: `firedoor.alert refusals-up`."""
DECISION_EVENT = "firedoor.decision"
EVALUATION_EVENT = "gen_ai.evaluation.result"
INCIDENT_EVENT = "firedoor.incident.state_changed"
ALERT_EVENT = "firedoor.alert.state_changed"
ACTION_EVENT = "firedoor.action.state_changed"

# Metrics -------------------------------------------------------------------------------------

SECONDS_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)  # fmt: skip
INCIDENT_BUCKETS = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400)
"""From a first action that holds at once to a day."""
TOKEN_BUCKETS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MetricName:
    """A metric as its instrument is made: name, unit, description, histogram buckets."""

    name: str
    unit: str
    description: str
    buckets: tuple[float, ...] = ()


TOOL_DURATION = MetricName(
    "gen_ai.execute_tool.duration", "s", "Duration of a tool's execution.", SECONDS_BUCKETS
)
RETRIEVAL_DURATION = MetricName(
    # Retrieval has no duration metric of its own in any published state of the convention.
    "gen_ai.client.operation.duration", "s", "GenAI operation duration.", SECONDS_BUCKETS
)  # fmt: skip
REQUEST_DURATION = MetricName(
    "firedoor.request.duration", "s", "What a user waited for a request.", SECONDS_BUCKETS
)
DECISIONS = MetricName("firedoor.decisions", "{decision}", "Calls, by outcome.")
COST = MetricName("firedoor.cost", "{USD}", "What calls cost in US dollars, where it is known.")
ATTEMPTS_METRIC = MetricName(
    "firedoor.fallback.attempts", "{attempt}", "Attempts of calls that needed more than one."
)
GATE_DECISIONS = MetricName("firedoor.gate.decisions", "{decision}", "Verdicts, by gate.")
REDACTIONS = MetricName("firedoor.redaction.matches", "{match}", "Values replaced in records.")
THRESHOLDS = MetricName(
    "firedoor.budget.thresholds", "{threshold}", "Soft thresholds of budgets that were passed."
)
PRICES_AGE = MetricName(
    "firedoor.prices.age", "s", "Age of the table of prices, at the most; of genai-prices."
)
INCIDENTS = MetricName("firedoor.incidents", "{incident}", "Incidents, by the state they came to.")
TIME_TO_DETECT = MetricName(
    "firedoor.incident.time_to_detect",
    "s",
    "From the first bad decision to the first alert.",
    INCIDENT_BUCKETS,
)
TIME_TO_CONTAIN = MetricName(
    "firedoor.incident.time_to_contain",
    "s",
    "From the first bad decision to containment.",
    INCIDENT_BUCKETS,
)
TIME_TO_RECOVER = MetricName(
    "firedoor.incident.time_to_recover",
    "s",
    "From the first bad decision until the signals were back.",
    INCIDENT_BUCKETS,
)
INCIDENT_ACTIONS = MetricName(
    "firedoor.actions", "{action}", "Actions of incidents, by the state they came to."
)
ALERT_TRANSITIONS = MetricName(
    "firedoor.alert.transitions", "{transition}", "Changes of alerts, by their new state."
)
NOTIFICATIONS = MetricName(
    "firedoor.notifications", "{notification}", "Messages about incidents, by sink and result."
)
CHECKS = MetricName(
    "firedoor.check.results", "{result}", "Checks of answers, by what came of them."
)
INTERNAL_ERRORS = MetricName(
    "firedoor.internal.errors", "{error}", "Faults inside firedoor that no caller noticed."
)
UNKNOWN_SHAPES = MetricName(
    "firedoor.extraction.unknown", "{response}", "Responses whose shape was not understood."
)


@dataclass(frozen=True, slots=True)
class Convention:
    """What differs between two published states of the GenAI conventions.

    Attributes:
        regime: How it is chosen.
        schema_url: What spans and metrics say they follow.
        cache_write_tokens: Attribute key of tokens written to the provider's cache.
        duration: Histogram of a model call's seconds.
        input_tokens: Histogram of input tokens per call.
        output_tokens: Histogram of output tokens per call; the same one as `input_tokens` where
            the convention tells them apart by `gen_ai.token.type`.
        token_type: Whether `gen_ai.token.type` is a dimension.
        input_total: Counter of input tokens, where the convention has one.
        output_total: Counter of output tokens, likewise.
        first_chunk: Histogram of seconds to a stream's first chunk.
        per_chunk: Histogram of seconds between a stream's chunks.
    """

    regime: Regime
    schema_url: str
    cache_write_tokens: str
    duration: MetricName
    input_tokens: MetricName
    output_tokens: MetricName
    token_type: bool
    input_total: MetricName | None
    output_total: MetricName | None
    first_chunk: MetricName
    per_chunk: MetricName


def _seconds(name: str, description: str) -> MetricName:
    return MetricName(name, "s", description, SECONDS_BUCKETS)


def _tokens(name: str, description: str) -> MetricName:
    return MetricName(name, "{token}", description, TOKEN_BUCKETS)


_FIRST = "Seconds from the start of a streamed call to its first chunk."
_PER = "Seconds per chunk of a stream after the first: one sample a stream, the mean."
_USAGE = _tokens("gen_ai.client.token.usage", "Number of input and output tokens used.")

CONVENTIONS: dict[Regime, Convention] = {
    "1.41": Convention(
        regime="1.41",
        schema_url="https://opentelemetry.io/schemas/1.41.0",
        cache_write_tokens="gen_ai.usage.cache_creation.input_tokens",
        duration=_seconds("gen_ai.client.operation.duration", "GenAI operation duration."),
        input_tokens=_USAGE,
        output_tokens=_USAGE,
        token_type=True,
        input_total=None,
        output_total=None,
        first_chunk=_seconds("gen_ai.client.operation.time_to_first_chunk", _FIRST),
        per_chunk=_seconds("gen_ai.client.operation.time_per_output_chunk", _PER),
    ),
    "0.1": Convention(
        regime="0.1",
        schema_url="https://opentelemetry.io/schemas/1.45.0",
        cache_write_tokens="gen_ai.usage.cache_write.input_tokens",
        duration=_seconds("gen_ai.client.inference.duration", "Duration of an inference."),
        input_tokens=_tokens(
            "gen_ai.client.inference.operation.input_tokens", "Input tokens of an inference."
        ),
        output_tokens=_tokens(
            "gen_ai.client.inference.operation.output_tokens", "Output tokens of an inference."
        ),
        token_type=False,
        input_total=MetricName(
            "gen_ai.client.inference.usage.input_tokens", "{token}", "Input tokens used."
        ),
        output_total=MetricName(
            "gen_ai.client.inference.usage.output_tokens", "{token}", "Output tokens used."
        ),
        first_chunk=_seconds("gen_ai.client.inference.time_to_first_chunk", _FIRST),
        per_chunk=_seconds("gen_ai.client.inference.time_per_output_chunk", _PER),
    ),
}
