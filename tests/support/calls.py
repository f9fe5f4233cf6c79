"""Finished decisions to tell of, one of each kind."""

from firedoor.records import AttemptRecord, OpenDecision
from firedoor.types import (
    CostCertainty,
    Fault,
    Outcome,
    RouteKind,
    Source,
    ToolCall,
    Usage,
    Verdict,
    VerdictStatus,
)

STARTED_NS = 1_760_000_000_000_000_000


def decision(**fields):
    """A decision with these fields; `freeze` it when it is complete."""
    record = OpenDecision()
    defaults = {
        "id": "00000000000000d1",
        "request_id": "00000000000000a1",
        "time": STARTED_NS / 1e9,
        "service": "support-copilot",
        "journey": "checkout-help",
        "latency_s": 0.5,
    }
    record.__dict__.update(defaults | fields)
    return record


def chat(**fields):
    """A model call that was answered."""
    return decision(
        **{
            "kind": RouteKind.LLM,
            "route": "llm:answer",
            "alias": "gpt-5",
            "model": "gpt-5",
            "provider": "openai",
            "prompt_name": "answer",
            "prompt_revision": "v13",
            "response_model": "gpt-5-2026-08-07",
            "response_id": "chatcmpl-9x1",
            "finish_reasons": ("stop",),
            "usage": Usage(
                61, 48, cached_input_tokens=20, cache_write_tokens=5, reasoning_tokens=8
            ),
            "cost_usd": 0.0125,
            "cost_certainty": CostCertainty.EXACT,
            "parameters": {"temperature": 0.2, "max_completion_tokens": 512, "n": 1, "tools": 3},
        }
        | fields
    )


def stream(**fields):
    """A streamed model call."""
    return chat(
        chunks=201, first_token_s=0.1, idle_gap_s=0.03, parameters={"stream": True}, **fields
    )


def retrieval(**fields):
    """A search that found two documents."""
    return decision(
        **{
            "kind": RouteKind.RETRIEVAL,
            "route": "retrieval:kb",
            "parameters": {"k": 8},
            "sources": (Source("doc-1", 0.9), Source("doc-2", 0.5)),
        }
        | fields
    )


def tool(**fields):
    """A tool call."""
    return decision(**{"kind": RouteKind.TOOL, "route": "tool:refund", "effect": "write"} | fields)


def failed(**fields):
    """A model call that the provider failed."""
    return chat(
        **{
            "outcome": Outcome.FAILED,
            "fault": Fault.TARGET,
            "error_type": "RateLimitError",
            "error_fingerprint": "ab12cd34",
            "usage": None,
            "response_model": None,
            "response_id": None,
            "finish_reasons": (),
            "cost_usd": None,
            "cost_certainty": CostCertainty.UNKNOWN,
        }
        | fields
    )


def blocked(**fields):
    """A model call that a budget stopped before anything was asked."""
    return failed(
        **{
            "outcome": Outcome.BLOCKED,
            "fault": Fault.POLICY,
            "error_type": "BudgetExceeded",
            "budget": "exhausted",
            "verdicts": (
                Verdict("budget:day", VerdictStatus.BLOCKED, reason="50 of 50 USD spent"),
            ),
        }
        | fields
    )


def fallback(**fields):
    """A model call that the second tier answered."""
    return chat(
        **{
            "model": "gpt-5-mini",
            "tier": 1,
            "degraded": True,
            "outcome": Outcome.DEGRADED,
            "attempts": (
                AttemptRecord(
                    0,
                    "gpt-5",
                    Outcome.FAILED,
                    0.2,
                    error_type="APITimeoutError",
                    fault=Fault.TARGET,
                    started_s=0.0,
                ),
                AttemptRecord(
                    1,
                    "gpt-5-mini",
                    Outcome.ANSWERED,
                    0.25,
                    usage=Usage(61, 48),
                    cost_usd=0.0125,
                    started_s=0.25,
                ),
            ),
        }
        | fields
    )


def everything(**fields):
    """A model call about which everything is known that can be known."""
    return stream(
        **{
            "user": "<user:5f2e>",
            "tenant": "<tenant:77aa>",
            "tool_calls": (ToolCall("refund", "call_1", '{"order": "never-exported"}'),),
            "refusal": "refusal_block",
            "outcome": Outcome.REFUSED,
            "verdicts": (
                Verdict(
                    "policy:secrets",
                    VerdictStatus.FLAGGED,
                    stage="output",
                    labels=("jwt",),
                    shadow=True,
                    replacement="never-exported",
                ),
            ),
            "switches": ("sw-1", "sw-2"),
            "budget": "near_limit",
            "breaker": "half_open",
            "synthetic": True,
            "truncated": True,
            "redactions": {"email": 2, "iban": 1},
            "notes": ("the usage was counted",),
            "input_text": "where is <email:7f3a>",
            "output_text": "on its way",
            "incident_id": "inc-9",
        }
        | fields
    )
