"""The providers' words, and what OpenTelemetry calls them.

| provider's word | word in the record |
|---|---|
| `stop`, `end_turn`, `stop_sequence`, `eos`, `completed` | `stop` |
| `length`, `max_tokens`, `max_output_tokens`, `model_context_window_exceeded` | `length` |
| `content_filter`, `refusal`, `safety`, `blocked` | `content_filter` |
| `tool_calls`, `function_call`, `tool_use` | `tool_call` |
| `error`, `failed`, `cancelled` | `error` |
| `compaction` | `compaction` |
| `pause_turn` and every other | as it is, shortened |

Source: `gen_ai.response.finish_reasons` of the OpenTelemetry GenAI conventions (known values
`stop`, `length`, `content_filter`, `tool_call`, `error`, `compaction`; an open list).
"""

from __future__ import annotations

from typing import Any

from firedoor.extraction.fields import text

__all__ = ["FINISH", "REASONING", "finish_reason", "provider_of"]

REASONING = ("reasoning_content", "reasoning", "thinking")
"""Names under which providers and libraries keep a model's reasoning ahead of its answer."""

_LONGEST_WORD = 40

FINISH = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "eos": "stop",
    "completed": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_context_window_exceeded": "length",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
    "blocked": "content_filter",
    "tool_calls": "tool_call",
    "tool_call": "tool_call",
    "function_call": "tool_call",
    "tool_use": "tool_call",
    "error": "error",
    "failed": "error",
    "cancelled": "error",
    "compaction": "compaction",
}

# By the first part of a module's name, or by what LangChain calls `model_provider`.
# Values are those of `gen_ai.provider.name`.
_PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "mistralai": "mistral_ai",
    "mistral_ai": "mistral_ai",
    "cohere": "cohere",
    "groq": "groq",
    "deepseek": "deepseek",
    "xai": "x_ai",
    "xai_sdk": "x_ai",
    "perplexity": "perplexity",
    "vertexai": "gcp.vertex_ai",
    "google_vertexai": "gcp.vertex_ai",
    "google_genai": "gcp.gen_ai",
    "ibm_watsonx_ai": "ibm.watsonx.ai",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "azure_openai": "azure.ai.openai",
    "azure-openai": "azure.ai.openai",
}


def finish_reason(word: Any) -> str | None:
    """OpenTelemetry's word for a provider's finish reason; an unknown one stays as it is."""
    known = text(word)
    if known is None:
        return None
    # An enumeration of strings compares and hashes as its value.
    found = FINISH.get(known)
    if found is None:
        plain = str.__str__(known)
        found = FINISH.get(plain.lower(), plain[:_LONGEST_WORD])
    return found


def provider_of(value: Any) -> str | None:
    """The provider's name by the module an object's class comes from, or by a name given."""
    name = value if type(value) is str else type(value).__module__
    return _PROVIDERS.get(name.partition(".")[0]) if type(name) is str else None
