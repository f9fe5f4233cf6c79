"""What is found, what is not, and what it costs."""

import importlib
import pkgutil
import re
import sys
import sysconfig
from pathlib import Path

import pytest

import firedoor.privacy
from firedoor.privacy import PERSONAL_KINDS, SECRET_KINDS, Redactor
from support.labelled import samples, score

REDACTOR = Redactor(key=b"0123456789abcdef")
CHECKED = PERSONAL_KINDS - {"email", "phone", "ipv4", "ipv6", "mac_address"}


def kinds(text):
    return [match.kind for match in REDACTOR.scan(text)]


def test_every_labelled_value_is_found_and_nothing_else():
    """The project's own set, which the detectors were made with; benchmarks/redaction.py prints the scores."""
    assert score(REDACTOR)[1] == []


def test_the_labelled_set_has_every_kind():
    labelled = {kind for _, labels in samples() for kind, *_ in labels}
    assert labelled == PERSONAL_KINDS | SECRET_KINDS


def test_numbers_with_check_digits_are_never_found_in_a_megabyte_of_prose_and_code():
    """The standard library: half of it documentation, half of it code."""
    topics = importlib.import_module("pydoc_data.topics").topics
    texts = list(topics.values())
    folder = Path(sysconfig.get_paths()["stdlib"])
    size = sum(map(len, texts))
    for path in sorted(folder.glob("*.py")):
        if size > 1_500_000:
            break
        texts.append(path.read_text(encoding="utf-8", errors="replace"))
        size += len(texts[-1])
    assert size > 1_000_000
    found = [(m.kind, t[m.start : m.end]) for t in texts for m in REDACTOR.scan(t)]
    assert [one for one in found if one[0] in CHECKED] == []
    # Addresses that documentation is about are real findings; anything else would be a surprise.
    assert {kind for kind, _ in found} <= {
        "email",
        "ipv4",
        "ipv6",
        "mac_address",
        "url_credentials",
    }


@pytest.mark.parametrize(
    "text",
    [
        "chatcmpl-9kZ3vQ9xT7bL2mN8pR4wY6cF1hJ5k",
        "resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b",
        "msg_01XFDUDYJgAACzvnptvVoYEL",
        "toolu_01A09q90qw90lq917835lq9",
        "call_62136355472342134512",
        "call_4111111111111112",
        "gpt-4o-2024-08-06",
        "claude-sonnet-4-5-20250929",
        "us.anthropic.claude-3-5-haiku-20241022-v1:0",
        "123e4567-e89b-12d3-a456-426614174000",
        "12345678-1234-1234-1234-123456789012",
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "2026-11-23T09:44:37.123456+00:00",
        "1732353877123456789",
        "1.2.3-rc.4+build.20260101",
        "stop",
        "fp_44709d6fcb",
        "asst_abc123DEF456ghi789JKL012",
        "orders:refund",
        "r-2026-000123",
    ],
)
def test_names_ids_dates_and_versions_stay(text):
    assert REDACTOR.redact_text(text) == text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("４１１１ １１１１ １１１１ １１１１", "payment_card"),
        ("4111\u200b1111\u200b1111\u200b1111", "payment_card"),
        ("4111\u00a01111\u00a01111\u00a01111", "payment_card"),
        ("٤١١١١١١١١١١١١١١١", "payment_card"),
        ("anna＠example.com", "email"),
        ('{"to": "anna\\u0040example.com"}', "email"),
        ("415\u2011555\u20110198", "phone"),
        ("AK\u00adIAIOSFODNN7EXAMPLQ", "aws_access_key"),
    ],
)
def test_look_alike_and_invisible_characters_hide_nothing(text, kind):
    assert kinds(text) == [kind]
    redacted = REDACTOR.redact_text(f"x {text} y")
    assert re.sub(r"<\w+:[0-9a-f]{8}>", "", redacted).strip("x y") in {"", '{"to": ""}'}


@pytest.mark.parametrize(
    "glue", ["{}", "call_{}", "m-{}", "Odd{}", '"{}"', "({})", "id={};", "\n{}\n", "{}."]
)
@pytest.mark.parametrize(
    "value",
    [
        "anna.kovacs@example.com",
        "4111 1111 1111 1111",
        "DE89370400440532013000",
        "536-90-4399",
        "+1 (415) 555-0132",
        "AKIAIOSFODNN7EXAMPLQ",
        "glpat-Zk3vQ9xT7bL2mN8pR4wY",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
        "https://bob:hunter2swordfish@db.example.com",
    ],
)
def test_values_are_found_whatever_they_are_glued_to(glue, value):
    text = glue.format(value)
    redacted = REDACTOR.redact_text(text)
    assert value not in redacted
    assert value[-8:] not in redacted or value.startswith("https")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\nEFAASCBKcwgg", ""),
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----",
            "",
        ),
        (r"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n-----END PRIVATE KEY-----", ""),
        (
            "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A",
            "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A",
        ),
    ],
)
def test_key_blocks_go_whole_even_when_cut_off(text, left):
    assert re.sub(r"<private_key:[0-9a-f]{8}>", "", REDACTOR.redact_text(text)) == left


def expressions():
    """Every compiled expression of the package."""
    for module in pkgutil.iter_modules(firedoor.privacy.__path__):
        for name, value in vars(importlib.import_module(f"firedoor.privacy.{module.name}")).items():
            if isinstance(value, tuple) and value and isinstance(value[0], re.Pattern):
                yield f"{module.name}.{name}", value[0]
            if isinstance(value, re.Pattern):
                yield f"{module.name}.{name}", value


def open_repeats(tree):
    from re import _constants as constants

    for op, value in tree:
        if op in {constants.MAX_REPEAT, constants.MIN_REPEAT} and value[1] == constants.MAXREPEAT:
            yield value
        for part in value if isinstance(value, (tuple, list)) else (value,):
            for one in part if isinstance(part, list) else (part,):
                if type(one).__name__ == "SubPattern":
                    yield from open_repeats(one)


@pytest.mark.parametrize(
    ("name", "expression"),
    [*expressions()],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_expression_can_backtrack_without_bound(name, expression):
    """Every repeat has an upper bound or is possessive: what it has read is never read again."""
    from re import _parser as parser

    assert list(open_repeats(parser.parse(expression.pattern, expression.flags))) == []


ADVERSARIAL = [
    "@", "a@", "a@a.", "1", "1 ", "4111 ", "(1) ", "+1 ", "eyJ", "eyJaaaaaa.", "-", "-----BEGIN ",
    "-----BEGIN PRIVATE KEY-----\n", "://", "://a:b", "password=", "password: ", 'password="a', "password=f(",
    ":", "2001:", "aa:", "sk-", "ghp_a", "_", "A", "AKIA", "SG.a", "bearer ", "DE89 ", "GB29NWBK", "<",
    "<email:12345678>", "1\u200b", "５", "RSSMRA85T10", "call 555-01", "1.2.3.", "4111 1111 1111 1111 ", "\\u0040",
]  # fmt: skip


def calls_made(text):
    """How many functions, Python's and C's, a redaction calls: work that does not depend on the clock."""
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event in {"call", "c_call"}

    redactor = Redactor(key=b"0123456789abcdef")
    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        redactor.redact_text(text)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("unit", ADVERSARIAL)
def test_work_grows_no_faster_than_the_text(unit):
    """Four times the text, at most four times the calls (and a few to begin with)."""
    small, large = (calls_made(unit * (size // len(unit))) for size in (3_000, 12_000))
    assert large <= 4.4 * small + 100


def test_no_kind_is_of_both_groups():
    assert not PERSONAL_KINDS & SECRET_KINDS
