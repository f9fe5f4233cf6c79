"""Prompts as values: a revision never changes its text."""

import hashlib

import pytest

from firedoor.core.prompts import Prompt, PromptLine
from firedoor.errors import ConfigurationError

LINE = PromptLine("answer").with_revisions({"v12": "Be kind.", "v13": "Be brief."}, "v13")


def test_a_prompt_has_a_digest_of_its_text_and_keeps_the_text_out_of_its_repr():
    prompt = Prompt.of("answer", "v1", "Grüße")
    assert prompt.digest == hashlib.sha256("Grüße".encode()).hexdigest()[:16]
    assert "Grüße" not in repr(prompt)


def test_the_active_revision_answers_unless_one_is_held():
    assert LINE.held_at(None).revision == "v13"
    assert LINE.held_at("v12").text == "Be kind."
    assert LINE.held_at("v11") is None


def test_more_revisions_may_come_and_another_be_active():
    more = LINE.with_revisions({"v14": "Be both.", "v12": "Be kind."}, "v14")
    assert list(more.revisions) == ["v12", "v13", "v14"]
    assert more.active == "v14"
    assert LINE.active == "v13"


def test_a_revision_keeps_its_text():
    with pytest.raises(ConfigurationError, match="'v12'.*give a changed text a new revision"):
        LINE.with_revisions({"v12": "Be cruel."}, "v12")


@pytest.mark.parametrize("texts", [{"": "x"}, {"v1": ""}, {"v1": None}, {1: "x"}])
def test_revisions_and_texts_are_strings(texts):
    with pytest.raises(ConfigurationError, match="not empty"):
        LINE.with_revisions(texts, "v13")


def test_the_active_one_must_be_there():
    with pytest.raises(ConfigurationError, match="use one of 'v12', 'v13'"):
        LINE.with_revisions({}, "v99")


def test_the_revision_before_is_the_one_registered_before():
    assert LINE.before("v13") == "v12"
    with pytest.raises(ConfigurationError, match="nothing to roll back to"):
        LINE.before("v12")
