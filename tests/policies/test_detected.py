"""Secrets and personal data: found as the redactor finds them, in streams too."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firedoor.errors import ConfigurationError
from firedoor.policies import Chain, PersonalData, Secrets, StreamFilter, from_config
from firedoor.privacy.redactor import Redactor

# Put together here, so that nothing in the file looks like a key.
GITHUB = "ghp_" + "a1B2c3D4e5" * 4
OPENAI = "sk-" + "proj-a1B2c3D4e5F6g7H8"
AWS = "AKIA" + "IOSFODNN7EXAMPLE"
PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\n"
    + "MIIEpAIBAAKCAQEA7bq0\n" * 3
    + "-----END RSA PRIVATE"
    + " KEY-----"
)
CARD = "4111 1111 1111 1111"
IBAN = "GB82 WEST 1234 5698 7654 32"

FRAGMENTS = [
    GITHUB, OPENAI, AWS, PEM, CARD, IBAN, "ana.lopez@example.com", "+44 20 7946 0958", "536-90-4399", "AB 12 34 56 C",
    "10.20.30.40", "password: hunter2xyz9", "password:\n  hunter2xyz9", "api key = Zx81kLm02q", "Authorization: Bearer a8f3k2l9x0",
    "https://bob:s3cr3tpw@example.com/x", "call me on 020 7946 0958", "my ssn is 536904399", "bearer", "basic", "the key:", "-----", "-----BEGIN",
    "(555) 010-4477", "1234", "AB", "x=", "eyJ", "A", "sk-", "@", "\n", "\n\n", ":", "=", "- ", ", ", ". ", "<email:7f3a09c1>",
]  # fmt: skip
PROSE = "the order was shipped on monday and should arrive soon please check the page or write to us thank you".split()

texts = st.lists(
    st.one_of(
        st.sampled_from(FRAGMENTS),
        st.sampled_from(PROSE),
        st.just(" ".join(PROSE)),
        st.sampled_from([" ", "\n"]),
    ),
    max_size=14,
).flatmap(lambda parts: st.sampled_from([" ", " ", "", "\n"]).map(lambda joint: joint.join(parts)))


@st.composite
def cut(draw):
    text = draw(texts)
    points = sorted(draw(st.lists(st.integers(0, len(text)), max_size=20)))
    ends = [0, *points, len(text)]
    return text, [text[a:b] for a, b in zip(ends, ends[1:])]


def run(chain, pieces):
    stream = StreamFilter(chain)
    shown = []
    for piece in pieces:
        shown.append(stream.feed(piece) + stream.drain())
    return "".join(shown) + stream.finish(), stream


REDACTOR = Redactor(key=b"sixteen bytes ok")
BOTH = Chain(
    [Secrets(on="output", action="redact"), PersonalData(on="output", action="redact")],
    redactor=REDACTOR,
)


@given(cut())
@settings(max_examples=500, deadline=None)
def test_stream_equals_whole(case):
    """However the text is cut."""
    text, pieces = case
    shown, stream = run(BOTH, pieces)
    screening = BOTH.screen(text, "output")
    assert shown == screening.text
    assert [(v.status, v.labels) for v in stream.verdicts] == [
        (v.status, v.labels) for v in screening.verdicts
    ]


@given(texts)
@settings(max_examples=200, deadline=None)
def test_stream_by_characters_equals_whole(text):
    """The finest cut there is."""
    assert run(BOTH, list(text))[0] == BOTH.screen(text, "output").text


@given(cut())
@settings(max_examples=300, deadline=None)
def test_block_shows_nothing_of_a_secret(case):
    """What comes out ends where the first finding begins."""
    text, pieces = case
    policy = Secrets(on="output", action="block")
    shown, stream = run(Chain([policy]), pieces)
    found = policy.find(text)
    assert shown == (text[: found[0].start] if found else text)
    assert stream.blocked is bool(found)


@pytest.mark.parametrize("secret", [GITHUB, OPENAI, AWS, PEM])
def test_secret_split_at_every_position(secret):
    """Nothing of it is shown, wherever the pieces meet."""
    for position in range(1, len(secret)):
        stream = StreamFilter(Chain([Secrets(on="output")]))
        shown = (
            stream.feed("Use this: " + secret[:position])
            + stream.feed(secret[position:] + " now")
            + stream.finish()
        )
        assert shown == "Use this: "
        assert stream.blocked


def test_prose_flows_word_by_word():
    """A stream without anything to find is not held."""
    stream = StreamFilter(BOTH)
    shown = [stream.feed(word + " ") + stream.drain() for word in PROSE]
    assert all(shown)


def test_held_text_is_let_go_by_the_plain_words_that_follow():
    """A number does not hold the rest of the text."""
    stream = StreamFilter(BOTH)
    assert stream.feed("It costs 12") + stream.drain() == "It costs "
    shown = "".join(stream.feed(word + " ") + stream.drain() for word in PROSE * 2)
    assert shown.startswith("12the order")


@pytest.mark.parametrize(
    "odd",
    ["a-b ", "1 ", "x" * 16 + " ", "double  space ", "naïve — ", "１２ ", "no-end"],
)
def test_what_is_no_plain_word_holds_and_plain_words_after_it_let_go(odd):
    """However much of it there is, and whatever it is made of."""
    stream = StreamFilter(BOTH)
    text = "It was " + odd * 300 + "\tthen " + " ".join(PROSE * 2) + " "
    shown = [stream.feed(text) + stream.drain(), stream.finish()]
    assert "".join(shown) == text
    assert shown[0].endswith("thank you ")


def test_a_long_word_is_no_plain_word_wherever_it_is_cut():
    """A token may be made of letters alone; nothing of one is shown while it may go on."""
    secret = "Bearer " + "abcdefghij" * 3 + "1"
    for position in range(len(secret)):
        stream = StreamFilter(BOTH)
        text = " ".join(PROSE) + " " + secret[:position]
        shown = stream.feed(text) + stream.drain()
        shown += stream.feed(secret[position:] + " ") + stream.finish()
        assert "abcdef" not in shown
        assert shown == BOTH.screen(" ".join(PROSE) + " " + secret + " ", "output").text


def test_markers_are_the_redactors_own():
    """Kind and keyed token: the same value can be joined with what is logged."""
    chain = Chain([PersonalData(on="input", action="redact")], redactor=REDACTOR)
    assert chain.screen("to ana@example.com", "input").text == REDACTOR.redact_text(
        "to ana@example.com"
    )
    assert chain.screen("to ana@example.com", "input").verdicts[0].labels == ("email",)


def test_groups_and_kinds():
    """Secrets are no personal data; a policy can be for some kinds only."""
    text = f"ana@example.com {CARD} {GITHUB}"
    assert Chain([Secrets(on="input")]).screen(text, "input").verdicts[0].labels == (
        "github_token",
    )
    only = from_config(
        {"kind": "personal_data", "on": "input", "action": "flag", "kinds": ["email"]}
    )
    assert Chain([only]).screen(text, "input").verdicts[0].labels == ("email",)
    with pytest.raises(ConfigurationError, match="use some of"):
        PersonalData(on="input", kinds={"github_token"})
