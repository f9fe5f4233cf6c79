"""The shipped policies on whole texts, and policies from configuration."""

import re

import pytest
from pydantic import BaseModel

from firedoor.errors import ConfigurationError
from firedoor.policies import Chain, JsonSchema, MaxLength, Policy, Regex, from_config, register


class Answer(BaseModel):
    name: str
    price: float


def verdict(policy, text):
    return Chain([policy]).screen(text, "output").verdicts[0]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('{"name": "a", "price": 1.5}', ()),
        ('{"name": "a", "price": "1.5"}', ("float_type",)),
        ('{"name": "a"}', ("missing",)),
        ('{"name": "a", "price"', ("json_invalid",)),
        ("Sure! Here is your JSON", ("json_invalid",)),
    ],
)
def test_json_by_model(text, labels):
    """A violation is named by its kind; strings are no numbers."""
    said = verdict(JsonSchema(Answer, on="output"), text)
    assert said.labels == labels
    assert said.status == ("blocked" if labels else "passed")


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('{"name": "a", "price": 1.5}', ()),
        ('{"name": "sk-secret", "price": "1.5"}', ("type",)),
        ("{}", ("required",)),
        ("nonsense", ("json_invalid",)),
    ],
)
def test_json_by_schema(text, labels):
    """A JSON Schema as a dict, as it may stand in a hardening file; values are not repeated."""
    schema = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "price": {"type": "number"}},
    }
    said = verdict(from_config({"kind": "json_schema", "schema": schema, "on": "output"}), text)
    assert said.labels == labels
    assert "sk-secret" not in repr(said)


def test_json_schema_fetches_nothing():
    """A reference to elsewhere is a failure of the policy, not a request to the network."""
    said = verdict(JsonSchema({"$ref": "http://127.0.0.1:9/schema"}, on="output"), "{}")
    assert said.status == "errored"


def test_json_replaced():
    """The safe document stands in."""
    screening = Chain([JsonSchema(Answer, on="output", action="replace", replacement="{}")]).screen(
        "?", "output"
    )
    assert screening.text == "{}"
    assert screening.verdicts[0].status == "redacted"


def test_open_repeats_are_capped_by_max_length():
    """For whole texts and for streams alike."""
    policy = Regex("k-(?:ab)+c*", on="output", action="redact", max_length=6)
    assert (
        Chain([policy]).screen("k-ababababab k-abcccccccc", "output").text
        == "<regex>abab <regex>cc"
    )


def test_flags_and_label():
    """As of `re`; the label names the finding."""
    policy = Regex(
        "^zeta$", on="input", flags=re.IGNORECASE | re.MULTILINE, label="codename", action="redact"
    )
    screening = Chain([policy]).screen("a\nZETA\nb", "input")
    assert screening.text == "a\n<codename>\nb"
    assert screening.verdicts[0].labels == ("codename",)


def test_from_config():
    """The hardening file's form."""
    policy = from_config(
        {"kind": "regex", "pattern": "zeta-[0-9]{6}", "on": "input", "action": "block"}
    )
    assert policy == Regex("zeta-[0-9]{6}", on="input", action="block")
    assert Chain([policy]).screen("see zeta-123456", "input").blocked_by == "policy:regex"
    assert from_config({"kind": "max_length", "limit": 5, "on": ["input", "output"]}) == MaxLength(
        5, on=("input", "output")
    )


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"on": "input"}, "kind=None is no policy: use one of"),
        ({"kind": "magic", "on": "input"}, "kind='magic' is no policy"),
        ({"kind": "regex", "on": "input"}, "pattern"),
        ({"kind": "regex", "pattern": "a", "on": "input", "colour": "red"}, "colour"),
    ],
)
def test_configuration_mistakes(config, says):
    """Say what is wrong."""
    with pytest.raises(ConfigurationError) as refused:
        from_config(config)
    assert says in str(refused.value)


def test_kinds_are_not_taken_twice():
    """An application's own kind is made from configuration too, under its own name only."""

    class Mine(Policy):
        kind = "regex"

        def judge(self, text, context):
            return None

    with pytest.raises(ConfigurationError, match="taken by Regex"):
        register(Mine)
