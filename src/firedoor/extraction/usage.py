"""Token counts, in whichever of the known shapes a library reports them."""

from __future__ import annotations

from typing import Any

from firedoor.extraction.fields import count, field, path
from firedoor.types import Usage, UsageCertainty

__all__ = ["counted", "tokens_at_least", "usage_of"]

# The longest tokens of the o200k vocabulary outside ASCII run to about a dozen characters
# (whole phrases of Chinese and Thai); 16 leaves a margin for vocabularies not looked at.
_WIDEST_TOKEN = 16


def usage_of(value: Any, certainty: UsageCertainty = UsageCertainty.EXACT) -> Usage | None:
    """The token counts of a usage object or dict, or None where it holds none that is known.

    Reads OpenAI's two shapes, Anthropic's, LangChain's `usage_metadata` and Gemini's. Anthropic
    counts cached input apart; here it is part of `input_tokens`, as OpenTelemetry asks.
    """
    if value is None:
        return None
    prompt = count(field(value, "prompt_tokens"))
    completion = count(field(value, "completion_tokens"))
    if prompt is not None or completion is not None:
        cached = count(path(value, "prompt_tokens_details", "cached_tokens"))
        if cached is None:  # LiteLLM adds Anthropic's name, already counted into the prompt
            cached = count(field(value, "cache_read_input_tokens"))
        return Usage(
            prompt,
            completion,
            cached,
            count(path(value, "prompt_tokens_details", "cache_write_tokens")),
            count(path(value, "completion_tokens_details", "reasoning_tokens")),
            certainty,
        )
    given = count(field(value, "input_tokens"))
    made = count(field(value, "output_tokens"))
    if given is None and made is None:
        return _gemini(value, certainty)
    read = count(field(value, "cache_read_input_tokens"))
    written = count(field(value, "cache_creation_input_tokens"))
    if read is not None or written is not None:
        if given is not None:
            given += (read or 0) + (written or 0)
    else:
        read, written = _included(value)
    return Usage(given, made, read, written, _reasoning(value), certainty)


def _included(value: Any) -> tuple[int | None, int | None]:
    """Cached input, read and written, where the shape already counts it into the input."""
    details = field(value, "input_tokens_details")
    if details is not None:
        return count(field(details, "cached_tokens")), count(field(details, "cache_write_tokens"))
    details = field(value, "input_token_details")
    return count(field(details, "cache_read")), count(field(details, "cache_creation"))


def _reasoning(value: Any) -> int | None:
    details = field(value, "output_tokens_details")
    for name in ("reasoning_tokens", "thinking_tokens"):
        found = count(field(details, name))
        if found is not None:
            return found
    return count(path(value, "output_token_details", "reasoning"))


def _gemini(value: Any, certainty: UsageCertainty) -> Usage | None:
    given = count(field(value, "prompt_token_count"))
    made = count(field(value, "candidates_token_count"))
    if given is None and made is None:
        return None
    thought = count(field(value, "thoughts_token_count"))
    if made is not None and thought is not None:
        made += thought
    cached = count(field(value, "cached_content_token_count"))
    return Usage(given, made, cached, None, thought, certainty)


def tokens_at_least(written: str) -> int:
    """A lower bound of the tokens in a text, whatever the tokenizer.

    Byte-pair tokenizers in use (GPT-2, cl100k, o200k, Llama, Claude) split at white space before
    they merge, so every word costs one token or more; English text has about 1.3 for each. Text
    without spaces is bounded by its characters outside ASCII over the width of the widest token.
    """
    words = len(written.split())
    if written.isascii():
        return words
    wide = len(written) - len(written.encode("ascii", "ignore"))
    return max(words, -(-wide // _WIDEST_TOKEN))


def counted(written: str, deltas: int, input_tokens: int | None = None) -> Usage:
    """What a stream that reported no final usage cost at the least.

    Args:
        written: All the text that came, tool arguments included.
        deltas: Pieces the provider sent, each of which holds one token or more.
        input_tokens: What the provider had said of the input, if it had.
    """
    made = max(tokens_at_least(written), deltas)
    return Usage(input_tokens, made, certainty=UsageCertainty.AT_LEAST)
