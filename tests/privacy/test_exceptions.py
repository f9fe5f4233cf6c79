"""What is told of an exception."""

import json

import pytest

from firedoor.privacy import KnownErrors, Redactor, describe_exception

REDACTOR = Redactor(key=b"0123456789abcdef")
SECRET = "AKIAIOSFODNN7EXAMPLQ"


def fail(text, cause=None):
    error = ValueError(text)
    error.add_note(text)
    raise error from cause


def describe(call, *arguments):
    with pytest.raises(BaseException) as caught:
        call(*arguments)
    return describe_exception(caught.value, REDACTOR)


def test_the_type_is_told_and_no_text():
    record = describe(fail, SECRET, KeyError(SECRET))
    assert record.type == "ValueError"
    assert SECRET not in repr(record)
    assert len(record.fingerprint) == 16


def test_the_same_failure_has_the_same_fingerprint_whatever_it_says():
    assert len({describe(fail, text).fingerprint for text in ("a", "b", SECRET)}) == 1


def test_another_place_type_cause_or_key_is_another_fingerprint():
    def elsewhere():
        raise ValueError("a")

    def group():
        raise ExceptionGroup(SECRET, [KeyError(SECRET), OSError(SECRET)])

    prints = [
        describe(fail, "a").fingerprint,
        describe(fail, "a", KeyError("a")).fingerprint,
        describe(elsewhere).fingerprint,
        describe(group).fingerprint,
    ]
    with pytest.raises(ValueError) as caught:
        fail("a")
    prints.append(describe_exception(caught.value, Redactor(key=b"another key of 16")).fingerprint)
    assert len(set(prints)) == len(prints)


def test_the_place_is_the_applications_own_not_the_librarys():
    def first():
        json.loads("{")

    def second():
        json.loads("[")

    assert describe(first).type == "json.decoder.JSONDecodeError"
    assert describe(first).fingerprint != describe(second).fingerprint


def test_a_type_named_after_a_secret_is_redacted():
    kind = type(f"Error{SECRET}", (Exception,), {})

    def odd():
        raise kind

    assert SECRET not in describe(odd).type


def test_cycles_and_endless_chains_end():
    one, two = ValueError("1"), KeyError("2")
    one.__cause__, two.__cause__ = two, one
    assert describe_exception(one, REDACTOR).type == "ValueError"
    chain = None
    for _ in range(5000):
        error = ValueError()
        error.__cause__ = chain
        chain = error
    assert len(describe_exception(chain, REDACTOR).fingerprint) == 16


def test_a_remembered_fingerprint_is_the_one_worked_out_anew():
    def inner(text):
        raise ValueError(text)

    def outer(text):
        try:
            inner(text)
        except ValueError as error:
            raise KeyError(text) from error

    def context(text):
        try:
            inner(text)
        finally:
            raise TypeError(text)  # noqa: B012 - the context is what is looked at

    def group(text):
        raise ExceptionGroup(text, [ValueError(text), KeyError(text)])

    known = KnownErrors(REDACTOR)
    calls = [inner, outer, context, group, fail, json.loads]
    for call in calls * 2:
        with pytest.raises(BaseException) as caught:
            call(SECRET)
        expected = describe_exception(caught.value, REDACTOR).fingerprint
        assert known.find(caught.value).fingerprint == expected


def test_code_made_at_run_time_at_one_address_is_not_taken_for_other_code():
    known = KnownErrors(REDACTOR)
    prints = set()
    for number in range(50):
        names = {"__name__": "made"}
        exec(f"def made_{number}():\n    raise ValueError\n", names)
        with pytest.raises(ValueError) as caught:
            names[f"made_{number}"]()
        # The frames of this test are the innermost application's only if those of `made` are not.
        prints.add(known.find(caught.value).fingerprint)
        assert (
            known.find(caught.value).fingerprint
            == describe_exception(caught.value, REDACTOR).fingerprint
        )
    assert len(prints) == 50


def test_fingerprints_are_remembered_in_bounded_space():
    known = KnownErrors(REDACTOR)
    for number in range(2000):
        known.find(type(f"Error{number}", (Exception,), {})())
    assert len(known) <= 256
