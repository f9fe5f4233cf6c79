"""The redactor: shapes are kept, values are not, and nothing passes unseen."""

import dataclasses
import datetime as dt
import decimal
import json
import threading
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import firedoor as fd
from firedoor.privacy import BEHIND, Pattern, Redactor

KEY = b"0123456789abcdef"
REDACTOR = Redactor(key=KEY)
MAIL = "anna.kovacs@example.com"
CARD = "4111 1111 1111 1111"
SECRETS = [
    MAIL,
    CARD,
    "DE89370400440532013000",
    "GB29 NWBK 6016 1331 9268 19",
    "+1 (415) 555-0132",
    "AB 12 34 56 C",
    "2001:db8:85a3::8a2e:370:7334",
    "00:1B:44:11:3A:B7",
    "https://bob:hunter2swordfish@db.example.com/x",
    "password=Tr0ub4dor&3xK9zLqP2",
    '"password": "correct horse battery"',
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n-----END PRIVATE KEY-----",
    "AKIAIOSFODNN7EXAMPLQ",
    "RSSMRA85T10A562S",
    "X1234567L",
    "2341 2341 2346",
    "call me on 555-0132 44",
]
FRAGMENTS = [
    *" \n-.:=@_<>+(\"',{}", "1", "42", "4111", "the", "password=", "token: ", "<email:12345678>", "://", "eyJ",
    "sk-", "GB29", "AB", "\\n", "phone ", "５", "\u200b", "é", "a\\u0040b.de", "\u00a0",
]  # fmt: skip
mixtures = st.lists(
    st.one_of(st.sampled_from(SECRETS), st.sampled_from(FRAGMENTS), st.text(max_size=4)),
    max_size=10,
).map("".join)


def test_a_marker_tells_the_kind_and_nothing_of_the_value():
    found = {}
    text = REDACTOR.redact_text(f"Write to {MAIL}, pay with {CARD}; {MAIL} again.", found)
    assert found == {"email": 2, "payment_card": 1}
    mail = REDACTOR.token(MAIL, "email")
    assert (
        text == f"Write to {mail}, pay with {REDACTOR.token(CARD, 'payment_card')}; {mail} again."
    )
    assert MAIL not in text and len(mail) == len("<email:>") + 8


def test_markers_join_under_one_key_and_not_under_another():
    assert Redactor(key=KEY).redact(MAIL) == REDACTOR.redact(MAIL)
    assert Redactor(key=b"another key of 16").redact(MAIL) != REDACTOR.redact(MAIL)
    assert Redactor().redact(MAIL) != Redactor().redact(MAIL)
    assert (
        REDACTOR.token("u-17") == REDACTOR.token("u-17", "user") != REDACTOR.token("u-17", "tenant")
    )


@settings(max_examples=300, deadline=None)
@given(mixtures)
def test_redacting_twice_is_redacting_once(text):
    once = REDACTOR.redact_text(text)
    assert REDACTOR.redact_text(once) == once


@settings(max_examples=400, deadline=None)
@given(mixtures, st.integers(0, 120))
def test_what_is_settled_stays_whatever_follows(text, cut):
    """For every beginning of a text: the findings before the position are those of the whole."""
    matches, position = REDACTOR.settled(text[:cut])
    assert position <= len(text[:cut])
    assert matches == [match for match in REDACTOR.scan(text) if match.start < position]


def test_plain_prose_is_held_back_by_a_word_only():
    text = "the parcel left on time but the courier shows noth"
    assert REDACTOR.settled(text) == ([], text.rindex("noth"))
    assert BEHIND == 64


def test_every_string_of_a_nested_value_is_seen():
    value = {
        MAIL: [MAIL, (MAIL, {MAIL: MAIL}), {MAIL}, frozenset({MAIL})],
        "bytes": MAIL.encode(),
        "json": json.dumps({"to": [MAIL], "note": {"deep": CARD}}),
        "number": 4111111111111111,
        "float": 4111111111111111.0,
        "decimal": decimal.Decimal(4111111111111111),
        "plain": ["stop", 1, 2.5, True, None],
    }
    redacted = REDACTOR.redact(value)
    shown = repr(redacted)
    assert MAIL not in shown and CARD not in shown and "4111111111111111" not in shown
    mail = REDACTOR.token(MAIL, "email")
    assert redacted[mail] == [mail, (mail, {mail: mail}), {mail}, frozenset({mail})]
    assert redacted["bytes"] == mail.encode()
    assert json.loads(redacted["json"]) == {
        "to": [mail],
        "note": {"deep": REDACTOR.token(CARD, "payment_card")},
    }
    assert redacted["plain"] == ["stop", 1, 2.5, True, None]


def test_a_key_that_says_password_hides_its_value_whatever_it_is():
    redacted = REDACTOR.redact(
        {
            "password": "hunter",
            "DB_PASSWORD": 1234,
            "api-key": b"abc",
            "token": "Hello",
            "max_tokens": 512,
        }
    )
    assert redacted["token"] == "Hello" and redacted["max_tokens"] == 512
    assert redacted["password"] == REDACTOR.token("hunter", "secret")
    assert redacted["DB_PASSWORD"] == REDACTOR.token("1234", "secret")
    assert redacted["api-key"] == REDACTOR.token("abc", "secret").encode()
    assert REDACTOR.redact(redacted) == redacted


def test_objects_are_opened_where_they_can_be_and_replaced_where_not():
    @dataclasses.dataclass
    class Customer:
        mail: str

    class Odd:
        def __repr__(self):
            return MAIL

    when = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
    name = uuid.UUID(int=4111111111111111)
    assert REDACTOR.redact([Customer(MAIL), when, name, Odd()]) == [
        {"mail": REDACTOR.token(MAIL, "email")},
        when,
        name,
        "<Odd object>",
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16", "utf-32-be"])
def test_bytes_are_seen_in_any_encoding(encoding):
    data = f"Grüße an {MAIL} für alles".encode(encoding)
    redacted = REDACTOR.redact(data)
    assert isinstance(redacted, bytes)
    assert MAIL.encode() not in redacted.replace(b"\0", b"")
    clean = "Grüße an alle".encode(encoding)
    assert REDACTOR.redact(clean) == clean


def test_beyond_a_limit_nothing_is_passed_on():
    deep = MAIL
    for _ in range(200):
        deep = [deep]
    cycle = [MAIL]
    cycle.append(cycle)
    small = Redactor(max_items=10, max_text=100)
    assert MAIL not in repr(REDACTOR.redact(deep)) and "<redaction_limit>" in repr(
        REDACTOR.redact(deep)
    )
    assert REDACTOR.redact(cycle) == [REDACTOR.token(MAIL, "email"), "<redaction_limit>"]
    wide = small.redact([MAIL] * 50)
    assert MAIL not in wide and wide[-1] == "<redaction_limit>"
    assert MAIL not in repr(small.redact({f"k{n}": MAIL for n in range(50)}))
    assert small.redact("x" * 101) == "<redaction_limit>"
    assert small.redact(b"x" * 101) == b"<redaction_limit>"


def test_a_detector_that_fails_hides_the_whole_value_and_is_told_of():
    class Broken:
        kind = "broken"

        def find(self, text):
            raise RuntimeError("no")

    errors = []
    redactor = Redactor(extra=[Broken()], on_error=errors.append)
    assert redactor.redact("anything") == "<redaction_failed>"
    assert redactor.redact({"a": ["b"]}) == {"<redaction_failed>": ["<redaction_failed>"]}
    assert {str(error) for error in errors} == {"no"}


def test_a_counter_that_fails_changes_nothing():
    class Broken:
        kind = "broken"

        def find(self, text):
            raise RuntimeError("no")

    def count(error):
        raise ValueError

    assert Redactor(extra=[Broken()], on_error=count).redact("x") == "<redaction_failed>"


def test_detectors_of_ones_own_are_used_beside_the_others():
    redactor = Redactor(
        extra=[Pattern("order", r"order (?P<value>[0-9]{4})", max_length=10)], key=KEY
    )
    assert redactor.redact(f"order 1234 of {MAIL}") == (
        f"order {redactor.token('1234', 'order')} of {redactor.token(MAIL, 'email')}"
    )
    assert redactor.settled("an order 12")[1] <= len("an ")


def test_only_the_kinds_asked_for_are_found():
    assert (
        Redactor(["email"], key=KEY).redact(f"{MAIL} {CARD}") == f"{REDACTOR.redact(MAIL)} {CARD}"
    )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Redactor(["emails"]), "no detector for 'emails'"),
        (lambda: Redactor(key=b"short"), "16 bytes or more"),
        (lambda: Pattern("Order", "x"), "lower-case"),
        (lambda: Pattern("order", "("), "pattern='('"),
        (lambda: Pattern("order", "x*"), "empty text"),
    ],
)
def test_mistakes_are_told_at_construction(make, said):
    with pytest.raises(fd.ConfigurationError, match=said.replace("(", r"\(")):
        make()


def test_threads_may_share_one(tmp_path):
    texts = [f"id-{n} {MAIL if n % 3 == 0 else 'nobody'}" for n in range(6000)]
    expected = [REDACTOR.redact_text(text) for text in texts]
    answers = {}

    def work(name):
        answers[name] = [REDACTOR.redact_text(text) for text in texts]

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(answer == expected for answer in answers.values())


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40), st.sampled_from(SECRETS[:5]), st.text(max_size=40))
def test_the_rest_of_the_text_is_left_alone(before, value, after):
    text = f"{before} {value} {after}"
    at = 0
    for kind, start, end in REDACTOR.scan(text):
        assert at <= start < end <= len(text)
        at = end
        assert kind
