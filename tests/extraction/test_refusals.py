"""Refusals told by the text alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firedoor.extraction.refusal_patterns import DECLINES
from firedoor.extraction.refusals import _may_decline, refusal_in
from support.refusals import load, rates

LONG = "The parcel left the warehouse on Monday and will be with you by Thursday. " * 400


@pytest.mark.parametrize("name", ["tuning", "development", "heldout"])
def test_refusals_are_told_from_honest_answers(name):
    """Known string lists reach 0.99 of refusals at 38 % of honest answers, or 0.86 at 4 %."""
    found = rates(refusal_in, load(name))
    assert found.recall >= 0.97
    assert found.false_alarms < 0.04


@pytest.mark.parametrize(
    "text",
    [
        "The documents given do not say.",
        "I don't know.",
        "I can't find that in the sources I was given.",
        "I can't say without the log. Could you paste it?",
        "Unfortunately, we can't refund this order: it was delivered in March.",
        'The bot said "I cannot assist with that request" and hung up.',
        "Dear Tom,\n\nI'm sorry, but I must decline the invitation.\n\nAna",
        "",
        "   \n ",
    ],
)
def test_abstentions_questions_denials_quotes_and_drafts_are_no_refusals(text):
    assert refusal_in(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "I can't help with that.",
        "I CAN'T HELP WITH THAT.",
        "I can’t help with that.",
        "**I can't help with that.**",
        '"I can\'t help with that."',
        '{"answer": "I can\'t help with that."}',
        '```json\n{"answer": "I can\'t help with that."}\n```',
        "<think>Not allowed.</think>I can't help with that.",
    ],
)
def test_dress_does_not_hide_a_refusal(text):
    assert refusal_in(text) == "full"


def test_a_partial_refusal_is_told_apart():
    text = (
        "I can't advise on your own case, but here is how an appeal works in general: you write to "
        "the office within one month, name the decision, and say what is wrong with it. No fee is "
        "due, and no lawyer is needed. An answer takes about three months."
    )
    assert refusal_in(text) == "partial"


def test_a_refusal_at_the_end_of_a_long_answer_is_partial():
    assert refusal_in(LONG + "I'm sorry, but I can't help with the second part.") == "partial"


def test_a_refusal_buried_in_the_middle_of_a_book_is_not_looked_for():
    assert refusal_in(LONG + "I'm sorry, I can't help with that. " + LONG) is None


@given(st.text(max_size=3000))
def test_any_text_gets_an_answer(text):
    assert refusal_in(text) in {None, "full", "partial"}


@pytest.mark.parametrize(
    "piece", ["i am not ", '"', "i can't, ", "[{", "a" * 50, "not able", "i " * 20, "```", "my "]
)
def test_what_is_read_is_bounded(piece):
    """The same answer however often a piece is repeated beyond what is read."""
    text = piece * (3000 // len(piece))
    assert refusal_in(text) == refusal_in(text * 30)


DECLINING = (
    "i we i'm we'll i'd would am must have to going afraid sadly, can only decline refuse turn this "
    "you down refrain from abstain say no pass on that stepping back stop here draw the line much "
    "rather not leave prefer avoid do don't wouldn't want write help respectfully refusing declining"
).split()


@given(st.lists(st.sampled_from(DECLINING), max_size=10).map(" ".join))
def test_no_form_of_declining_is_passed_over(sentence):
    assert DECLINES.search(sentence) is None or _may_decline(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "i must decline.",
        "(i'd rather not say.)",
        "i, sadly, decline.",
        "we'll pass on this.",
        "i don't want to help with it.",
        "declining to answer.",
    ],
)
def test_forms_of_declining_are_seen(sentence):
    assert DECLINES.search(sentence)
    assert _may_decline(sentence)
