"""Which request parameters a decision keeps."""

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firedoor.extraction import parameters


class Order(pydantic.BaseModel):
    number: int


def test_numbers_flags_and_short_names_are_kept():
    assert parameters(
        {
            "model": "gpt-5",
            "messages": [{"role": "user", "content": "secret"}],
            "temperature": 0.2,
            "max_tokens": 64,
            "stream": True,
            "seed": 7,
            "n": 1,
            "k": 8,
            "service_tier": "flex",
            "reasoning": {"effort": "low"},
            "response_format": Order,
            "tool_choice": {"type": "function", "function": {"name": "secret"}},
            "tools": [{}, {}],
            "stop": ["secret", "END"],
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "user": "secret",
            "metadata": {"a": "secret"},
        }
    ) == {
        "temperature": 0.2,
        "max_tokens": 64,
        "stream": True,
        "seed": 7,
        "n": 1,
        "k": 8,
        "service_tier": "flex",
        "reasoning_effort": "low",
        "response_format": "json_schema",
        "tool_choice": "function",
        "tools": 2,
        "stop": 2,
        "thinking": "enabled",
        "thinking_budget": 1024,
    }


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        ({"response_format": {"type": "json_object"}}, {"response_format": "json_object"}),
        ({"tool_choice": "auto"}, {"tool_choice": "auto"}),
        ({"stop": "END"}, {"stop": 1}),
        ({"temperature": "secret text"}, {}),
        ({"temperature": True}, {}),
        ({"temperature": float("nan")}, {}),
        ({"stream": "yes"}, {}),
        ({"service_tier": "a secret with spaces"}, {}),
        ({"reasoning_effort": "x" * 33}, {}),
        ({"max_tokens": None}, {}),
        ({"thinking": object()}, {}),
    ],
)
def test_anything_else_under_those_names_is_not(given_, kept):
    assert parameters(given_) == kept


@given(st.dictionaries(st.text(max_size=12), st.text(min_size=33)))
def test_no_long_text_is_ever_kept(kwargs):
    assert all(type(value) is int for value in parameters(kwargs).values())
