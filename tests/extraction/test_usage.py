"""Token counts in the shapes of many libraries, and the floor where nobody counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firedoor.extraction import tokens_at_least
from firedoor.extraction.usage import usage_of
from firedoor.types import Usage


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "prompt_tokens_details": {"cached_tokens": 3},
            },
            Usage(9, 4, 3),
        ),
        (
            {
                "input_tokens": 9,
                "output_tokens": 4,
                "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 1},
                "output_tokens_details": {"reasoning_tokens": 2},
            },
            Usage(9, 4, 3, 1, 2),
        ),
        (
            {
                "input_tokens": 9,
                "output_tokens": 4,
                "cache_read_input_tokens": 30,
                "cache_creation_input_tokens": None,
            },
            Usage(39, 4, 30),
        ),
        (
            {"prompt_tokens": 39, "completion_tokens": 4, "cache_read_input_tokens": 30},
            Usage(39, 4, 30),
        ),
        (
            {
                "prompt_token_count": 9,
                "candidates_token_count": 4,
                "thoughts_token_count": 6,
                "cached_content_token_count": 2,
            },
            Usage(9, 10, 2, None, 6),
        ),
        ({"prompt_tokens": 9.0}, Usage(9)),
        ({"prompt_tokens": True, "completion_tokens": -1}, None),
        ({"prompt_tokens": "9"}, None),
        ({}, None),
        (None, None),
        ("usage", None),
    ],
)
def test_known_shapes_are_read_and_nothing_is_guessed(told, usage):
    assert usage_of(told) == usage


@pytest.mark.parametrize(
    ("text", "floor"),
    [("", 0), ("   \n ", 0), ("Hello there, friend.", 3), ("a" * 5000, 1), ("你" * 33, 3)],
)
def test_the_floor_counts_words_and_wide_characters(text, floor):
    assert tokens_at_least(text) == floor


@given(st.text(), st.text())
def test_the_floor_never_shrinks_as_text_comes(first, more):
    assert tokens_at_least(first) <= tokens_at_least(first + more)


@given(st.text())
def test_the_floor_is_never_above_the_bytes(text):
    """A token is one byte at the least, in every byte-pair vocabulary."""
    assert tokens_at_least(text) <= len(text.encode("utf-8", "surrogatepass"))
