"""Which endpoint answers, and that the screen can say why."""

import openai
import pytest

from firedoor.drill import endpoint, model
from firedoor.drill.endpoint import Choice, open_endpoint
from firedoor.errors import ConfigurationError

needs_model = pytest.mark.skipif(
    model.what_is_missing() is not None, reason=str(model.what_is_missing())
)


def ask(running, question):
    with openai.OpenAI(base_url=running.base_url, api_key=running.api_key) as client:
        return client.chat.completions.create(
            model=running.model,
            messages=[{"role": "user", "content": question}],
            temperature=0,
            max_tokens=24,
        )


def test_extractive_when_asked_for():
    with open_endpoint(Choice.EXTRACTIVE) as running:
        assert (running.kind, running.why) == ("extractive", "asked for")
        assert ask(running, "[a] A is b.\nQuestion: a is?").choices[0].finish_reason == "stop"


@needs_model
def test_the_real_model_answers_from_what_it_is_given():
    """A language model, not a lookup: it reads a made-up fact and says it in a sentence."""
    with open_endpoint(Choice.MODEL) as running:
        completion = ask(
            running, "Zorbium is a metal that melts at 312 degrees. When does zorbium melt?"
        )
    assert "312" in completion.choices[0].message.content
    assert completion.usage.completion_tokens > 3
    assert completion.model == model.MODEL


@needs_model
def test_auto_prefers_the_model():
    with open_endpoint() as running:
        assert (running.kind, running.model) == ("model", "smollm2-135m")
        assert "wheels are installed" in running.why


@pytest.fixture
def without_wheels(monkeypatch):
    monkeypatch.setattr(model.importlib.util, "find_spec", lambda name: None)


def test_auto_falls_back_and_says_how_to_get_the_model(without_wheels):
    with open_endpoint() as running:
        assert running.kind == "extractive"
        assert "pip install xllamacpp" in running.why


def test_a_model_asked_for_and_missing_is_an_error_with_the_command(without_wheels):
    with pytest.raises(ConfigurationError, match="pip install"), open_endpoint(Choice.MODEL):
        pass


def test_a_remote_endpoint_reads_its_key_from_the_environment(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "k-123")
    with open_endpoint(
        base_url="https://llm.example.com/v1", model_name="big", api_key_env="SOME_KEY"
    ) as running:
        assert (running.kind, running.model, running.api_key) == ("remote", "big", "k-123")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"base_url": "http://x/v1"}, "needs --model"),
        (
            {"base_url": "http://x/v1", "model_name": "m", "api_key_env": "FIREDOOR_NO_SUCH"},
            "export FIREDOOR_NO_SUCH=",
        ),
        ({"model_name": "m"}, "go with --base-url"),
        ({"api_key_env": "K"}, "go with --base-url"),
    ],
)
def test_options_that_cannot_work_are_refused_with_the_remedy(given, says):
    with pytest.raises(ConfigurationError, match=says), open_endpoint(**given):
        pass


def test_the_command_line_offers_exactly_these_choices():
    """The command line writes them out, so as not to import the drill for a help page."""
    from firedoor.cli.demo import Endpoint

    assert [str(one) for one in Endpoint] == [str(one) for one in endpoint.Choice]
