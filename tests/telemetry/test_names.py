"""Names follow the rules for names, in both states of the convention."""

import re

import pytest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

from firedoor.telemetry import names
from firedoor.telemetry.names import CONVENTIONS, MetricName

KEYS = sorted(
    {
        value
        for name, value in vars(names).items()
        if name.isupper()
        and isinstance(value, str) and re.fullmatch(r"(gen_ai|firedoor|openinference)\.[a-z_.]+", value)
    }
    | set(names.REQUEST_PARAMETERS.values())
)  # fmt: skip
NOT_KEYS = {value for name, value in vars(names).items() if name.endswith(("_SPAN", "_EVENT"))}
OURS = [key for key in KEYS if key.startswith("firedoor.") and key not in NOT_KEYS]
METRICS = [m for m in vars(names).values() if isinstance(m, MetricName)] + [
    m
    for convention in CONVENTIONS.values()
    for m in (
        getattr(convention, field)
        for field in ("duration", "input_tokens", "output_tokens", "first_chunk", "per_chunk")
    )
]
# Official keys that were added after the last release of the core conventions.
YOUNGER = {
    "gen_ai.prompt.version",
    "gen_ai.retrieval.top_k",
    "gen_ai.request.reasoning.level",
    "gen_ai.token.modality",
    "gen_ai.request.stream",
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.usage.reasoning.output_tokens",
}


def test_there_is_something_to_check():
    assert len(OURS) > 40
    assert len(METRICS) > 10


def test_official_keys_are_spelled_as_the_convention_spells_them():
    published = {v for v in vars(gen_ai_attributes).values() if isinstance(v, str)}
    mine = {key for key in KEYS if key.startswith("gen_ai.")} - NOT_KEYS
    assert mine - published <= YOUNGER


def test_no_key_is_also_the_prefix_of_another():
    """`firedoor.budget` and `firedoor.budget.state` cannot both be stored by every backend."""
    for key in OURS:
        assert not [other for other in OURS if other.startswith(f"{key}.")], key


@pytest.mark.parametrize(
    "word", ["session", "auth", "secret", "passw", "credential", "api_key", "cookie", "csrf", "jwt"]
)
def test_no_key_of_ours_would_be_scrubbed_by_a_backend(word):
    assert not [key for key in OURS if word in key]


def test_metrics_are_named_as_the_convention_asks():
    for metric in METRICS:
        assert re.fullmatch(r"[a-z_.]+", metric.name), metric.name
        assert not metric.name.endswith(("_total", ".total"))
        assert metric.unit == "s" or re.fullmatch(r"\{\w+\}", metric.unit), metric.name
        assert list(metric.buckets) == sorted(metric.buckets)


def test_both_states_of_the_convention_are_complete():
    old, new = CONVENTIONS["1.41"], CONVENTIONS["0.1"]
    assert (old.duration.name, new.duration.name) == (
        "gen_ai.client.operation.duration",
        "gen_ai.client.inference.duration",
    )
    assert old.input_tokens is old.output_tokens
    assert new.input_tokens is not new.output_tokens
    assert old.duration.buckets == names.SECONDS_BUCKETS
    assert old.input_tokens.buckets == names.TOKEN_BUCKETS
