"""From a decision to span attributes: by allowlist, clean, and bounded.

The record's strings are redacted before they get here; still only the fields named below are
taken. Structures become JSON strings, which every backend can show. What matters most comes
first, because a span that is short of room keeps the first ones.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from firedoor.records import AttemptRecord, Decision
from firedoor.telemetry import names
from firedoor.telemetry.common import MAX_TEXT, Common, cut
from firedoor.telemetry.names import Convention
from firedoor.types import (
    CostCertainty,
    RouteKind,
    Source,
    ToolCall,
    Usage,
    UsageCertainty,
    Verdict,
)

__all__ = ["attempt_attributes", "call_attributes", "response_attributes", "usage_attributes"]

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_DEPTHS = ("top_k", "k", "limit", "n")


def call_attributes(
    record: Decision, common: Common, convention: Convention, *, leaf: bool = True
) -> dict[str, Any]:
    """Every attribute of a call's span.

    Args:
        record: The finished decision.
        common: What it shares with others.
        convention: The names to use.
        leaf: False where each attempt has a span of its own: tokens are then told there only,
            or every backend would count them twice.
    """
    attributes: dict[str, Any] = {
        **common.base,
        names.OUTCOME: record.outcome._value_,
        names.DECISION_ID: record.id,
        names.REQUEST_ID: cut(record.request_id),
    }
    if record.error_type is not None:
        attributes[names.ERROR_TYPE] = cut(record.error_type)
        if record.fault is not None:
            attributes[names.FAULT] = record.fault._value_
        if record.error_fingerprint is not None:
            attributes[names.ERROR_FINGERPRINT] = record.error_fingerprint
        if record.retry_after_s is not None:
            attributes[names.RETRY_AFTER] = record.retry_after_s
    kind = record.kind
    if kind is RouteKind.LLM:
        if leaf:
            response_attributes(attributes, record)
            if record.usage is not None:
                usage_attributes(attributes, record.usage, convention)
        if record.tier:
            attributes[names.FALLBACK_TIER] = record.tier
            if record.retry_after_s is not None:
                attributes[names.RETRY_AFTER] = record.retry_after_s
        if record.chunks is not None:
            _stream(attributes, record)
        if record.tool_calls:
            attributes[names.TOOL_CALLS] = _listing(map(_tool_call, record.tool_calls))
        if record.refusal is not None:
            attributes[names.REFUSAL] = record.refusal
        elif record.partial_refusal:
            attributes[names.PARTIAL_REFUSAL] = True
    elif kind is RouteKind.RETRIEVAL:
        _retrieved(attributes, record)
    else:
        if record.effect is not None:
            attributes[names.TOOL_EFFECT] = str(record.effect)
        if record.repeated:
            attributes[names.TOOL_REPEATED] = True
    if record.cost_usd is not None:
        attributes[names.COST_USD] = record.cost_usd
        attributes[names.COST_CERTAINTY] = record.cost_certainty._value_
    elif record.cost_certainty is not CostCertainty.UNKNOWN:
        attributes[names.COST_CERTAINTY] = record.cost_certainty._value_
    if record.degraded:
        attributes[names.DEGRADED] = True
    if record.synthetic:
        attributes[names.SYNTHETIC] = True
    if record.user is not None:
        attributes[names.USER] = cut(record.user)
    if record.tenant is not None:
        attributes[names.TENANT] = cut(record.tenant)
    if record.budget is not None:
        attributes[names.BUDGET_STATE] = record.budget
    if record.breaker is not None:
        attributes[names.BREAKER_STATE] = record.breaker
    if record.incident_id is not None:
        attributes[names.INCIDENT_ID] = record.incident_id
    if record.verdicts:
        attributes[names.VERDICTS] = _listing(map(_verdict, record.verdicts))
    if len(record.attempts) > 1 or any(a.outcome is None for a in record.attempts):
        attributes[names.ATTEMPTS] = _listing(map(_attempt, record.attempts))
    if record.switches:
        attributes[names.SWITCHES] = record.switches
    if record.redactions:
        attributes[names.REDACTION_COUNT] = sum(record.redactions.values())
        attributes[names.REDACTION_TYPES] = tuple(record.redactions)
    if record.parameters:
        _parameters(attributes, record)
    if record.notes:
        attributes[names.NOTES] = tuple([cut(note) for note in record.notes])
    if record.input_text is not None or record.output_text is not None:
        _texts(attributes, record)
    return attributes


def attempt_attributes(
    record: Decision, attempt: AttemptRecord, index: int, common: Common, convention: Convention
) -> dict[str, Any]:
    """Every attribute of the span of one attempt of a call that made more than one."""
    attributes: dict[str, Any] = {names.OPERATION: common.operation}
    if attempt.model is not None:
        if record.provider is not None:
            attributes[names.PROVIDER] = cut(record.provider)
        attributes[names.REQUEST_MODEL] = cut(attempt.model)
    attributes[names.ROUTE] = common.start[names.ROUTE]
    attributes[names.FALLBACK_TIER] = attempt.tier
    attributes[names.ATTEMPT_INDEX] = index
    if attempt.outcome is not None:
        attributes[names.OUTCOME] = attempt.outcome._value_
    if attempt.error_type is not None:
        attributes[names.ERROR_TYPE] = cut(attempt.error_type)
    if attempt.fault is not None:
        attributes[names.FAULT] = attempt.fault._value_
    if attempt.usage is not None:
        usage_attributes(attributes, attempt.usage, convention)
    if attempt.cost_usd is not None:
        attributes[names.COST_USD] = attempt.cost_usd
    if attempt.first_token_s is not None:
        attributes[names.TIME_TO_FIRST_CHUNK] = attempt.first_token_s
    return attributes


def response_attributes(attributes: dict[str, Any], record: Decision) -> None:
    """Add what the provider said of its response."""
    if record.response_model is not None:
        attributes[names.RESPONSE_MODEL] = cut(record.response_model)
    if record.response_id is not None:
        attributes[names.RESPONSE_ID] = cut(record.response_id)
    if record.finish_reasons:
        attributes[names.FINISH_REASONS] = record.finish_reasons


def usage_attributes(attributes: dict[str, Any], usage: Usage, convention: Convention) -> None:
    """Add the tokens that are known."""
    if usage.input_tokens is not None:
        attributes[names.INPUT_TOKENS] = usage.input_tokens
    if usage.output_tokens is not None:
        attributes[names.OUTPUT_TOKENS] = usage.output_tokens
    if usage.cached_input_tokens is not None:
        attributes[names.CACHE_READ_TOKENS] = usage.cached_input_tokens
    if usage.cache_write_tokens is not None:
        attributes[convention.cache_write_tokens] = usage.cache_write_tokens
    if usage.reasoning_tokens is not None:
        attributes[names.REASONING_TOKENS] = usage.reasoning_tokens
    if usage.certainty is not UsageCertainty.EXACT:
        attributes[names.USAGE_CERTAINTY] = usage.certainty._value_


def _stream(attributes: dict[str, Any], record: Decision) -> None:
    attributes[names.REQUEST_STREAM] = True
    attributes[names.STREAM_CHUNKS] = record.chunks
    if record.first_token_s is not None:
        attributes[names.TIME_TO_FIRST_CHUNK] = record.first_token_s
    if record.idle_gap_s is not None:
        attributes[names.STREAM_IDLE_GAP] = record.idle_gap_s
    if record.truncated:
        attributes[names.TRUNCATED] = True


def _retrieved(attributes: dict[str, Any], record: Decision) -> None:
    attributes[names.RETRIEVAL_COUNT] = len(record.sources)
    if record.sources:
        documents = _listing(map(_document, record.sources))
        attributes[names.RETRIEVAL_DOCUMENTS] = documents
        # Backends that do not read the official key show this one: ids and scores, no text.
        attributes[names.OUTPUT_VALUE] = documents
        attributes[names.OUTPUT_MIME_TYPE] = "application/json"


def _parameters(attributes: dict[str, Any], record: Decision) -> None:
    parameters = record.parameters
    rest = {}
    if record.kind is RouteKind.LLM:
        for name, value in parameters.items():
            key = names.REQUEST_PARAMETERS.get(name)
            if key is not None:
                attributes[key] = cut(value) if isinstance(value, str) else value
            elif name == "stream":
                if value is True:
                    attributes[names.REQUEST_STREAM] = True
            elif name == "n":
                if value != 1:
                    attributes[names.CHOICE_COUNT] = value
            else:
                rest[name] = value
    else:
        rest = dict(parameters)
        if record.kind is RouteKind.RETRIEVAL:
            for name in _DEPTHS:
                if type(rest.get(name)) is int:
                    attributes[names.RETRIEVAL_TOP_K] = rest.pop(name)
                    break
    if rest:
        attributes[names.PARAMETERS] = cut(_encode(_finite(rest)))


def _texts(attributes: dict[str, Any], record: Decision) -> None:
    """Only with `capture="redacted"`."""
    if record.input_text is not None:
        key = {
            RouteKind.LLM: names.INPUT_VALUE,
            RouteKind.RETRIEVAL: names.RETRIEVAL_QUERY,
            RouteKind.TOOL: names.TOOL_ARGUMENTS,
        }[record.kind]
        attributes[key] = cut(record.input_text)
    if record.output_text is not None:
        tool = record.kind is RouteKind.TOOL
        attributes[names.TOOL_RESULT if tool else names.OUTPUT_VALUE] = cut(record.output_text)
        attributes.pop(names.OUTPUT_MIME_TYPE, None)


# Structures, as small plain dicts -----------------------------------------------------------


def _listing(items: Iterable[dict[str, Any]]) -> str:
    """A JSON list, cut at an element so that it stays JSON; the last element says what is missing."""
    rows = list(items)
    text = _encode(rows)
    kept = len(rows)
    while len(text) > MAX_TEXT and kept:
        kept = min(kept - 1, kept * MAX_TEXT // len(text))
        text = _encode([*rows[:kept], {"omitted": len(rows) - kept}])
    return text


def _present(**fields: Any) -> dict[str, Any]:
    return _finite({key: value for key, value in fields.items() if value is not None})


def _finite(fields: dict[str, Any]) -> dict[str, Any]:
    """Without the numbers that JSON does not have."""
    return {
        key: value
        for key, value in fields.items()
        if not isinstance(value, float) or math.isfinite(value)
    }


def _document(source: Source) -> dict[str, Any]:
    return _present(id=source.id, score=source.score)


def _tool_call(call: ToolCall) -> dict[str, Any]:
    return _present(name=call.name, id=call.id)


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return _present(
        gate=verdict.gate,
        status=verdict.status,
        stage=verdict.stage,
        reason=verdict.reason,
        labels=verdict.labels or None,
        shadow=verdict.shadow or None,
    )


def _attempt(attempt: AttemptRecord) -> dict[str, Any]:
    return _present(
        tier=attempt.tier,
        model=attempt.model,
        outcome=attempt.outcome,
        latency_s=attempt.latency_s,
        error_type=attempt.error_type,
        fault=attempt.fault,
        reason=attempt.reason,
        cost_usd=attempt.cost_usd,
    )
