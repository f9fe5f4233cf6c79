"""Text that fits: measured in columns, free of what a terminal would obey."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from firedoor.core.screen import clean, clip, columns, wrap

# Chosen to hurt: wide, combining, bidirectional, control, and plain.
nasty = st.text(
    st.sampled_from(
        "ab 9-\u65e5\uff21\U0001f525\u0301\u0300\ufe0f\u200d\u202e\x1b\n\t\x00\u0928\u093e\ud800"
    )
    | st.characters(),
    max_size=120,
)


def test_wide_characters_take_two_columns_and_marks_none():
    assert columns("abc") == 3
    assert columns("日本") == 4
    assert columns("e\u0301") == 1
    assert columns("\U0001f525") == 2


def test_what_a_terminal_obeys_is_taken_out():
    assert clean("a\x1b[31mred\x07\r\n\u202eb") == "a [31mred b"
    assert clean("  a \t\n b  ") == "a b"


def test_a_pile_of_marks_is_cut_to_what_languages_use():
    assert clean("a" + "\u0301" * 50) == "a\u0301\u0301"


def test_lines_break_between_words_and_inside_those_that_are_longer():
    assert wrap("one two three", 7) == ["one two", "three"]
    assert wrap("abcdefghij", 4) == ["abcd", "efgh", "ij"]
    assert wrap("日本語", 5) == ["日本", "語"]
    assert wrap("one two", 9, first="- ", rest="  ") == ["- one two"]
    assert wrap("one two", 8, first="- ", rest="  ") == ["- one", "  two"]
    assert wrap("", 9, first="> ") == [">"]


def test_what_is_cut_says_so():
    assert clip("abcdefgh", 6) == "abc..."
    assert clip("日本語日本語", 8) == "日本..."
    assert clip("abc", 3) == "abc"
    assert clip("abcd", 2) == ".."
    assert clip("abcd", 0) == ""


@given(nasty, st.integers(0, 90))
def test_clipped_text_always_fits(text, width):
    assert columns(clip(clean(text), width)) <= width


@given(nasty, st.integers(4, 90))
def test_wrapped_text_always_fits_and_loses_no_word(text, width):
    lines = wrap(text, width, first="- ", rest="  ")
    assert all(columns(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "-" + "".join(clean(text).split())


@given(nasty)
def test_clean_text_holds_nothing_but_what_is_drawn(text):
    cleaned = clean(text)
    assert clean(cleaned) == cleaned
    assert all(c == " " or unicodedata.category(c)[0] not in "CZ" for c in cleaned)
