"""The recurrence key: the same for the same kind of incident, whatever its numbers."""

from hypothesis import given
from hypothesis import strategies as st

from firedoor.core.fingerprint import fingerprint, normalised
from firedoor.types import IncidentClass

LATENCY = IncidentClass.LATENCY_SATURATION
words = st.none() | st.text(max_size=8)


def test_what_differs_between_two_occurrences_is_taken_out():
    one = (
        "TimeoutError: req_8fa21c after 30.5s at 0x7f3a2b, id 3fa85f64-5717-4562-b3fc-2c963f66afa6"
    )
    two = "timeouterror:  req_99zz01 after 31s at 0x11, id 00000000-5717-4562-b3fc-2c963f66afa6"
    assert normalised(one) == normalised(two) == "timeouterror: req_# after # at #, id #"


def test_words_stay():
    assert normalised("Refusals up on the answer route") == "refusals up on the answer route"
    assert normalised("a decade-old facade") == "a decade-old facade"


def test_signals_by_their_names_stay_apart():
    assert normalised("latency_p95") == "latency_#" != normalised("first_token_p95")


def test_a_hash_without_a_digit_is_taken_out():
    assert normalised("commit deadbeefcafe failed") == "commit # failed"


@given(st.text(max_size=60))
def test_normalising_twice_changes_nothing_more(text):
    once = normalised(text)
    assert normalised(once) == once


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_numbers_never_make_a_difference(a, b):
    def told(number):
        return fingerprint(
            LATENCY, journey="checkout", signature=f"status {number} from host-{number}"
        )

    assert told(a) == told(b)


def test_the_key_is_stable_over_versions():
    key = fingerprint(
        LATENCY,
        journey="checkout",
        route="llm:answer",
        alias="gpt-5",
        control="breaker:llm:answer/gpt-5",
        signature="latency_p95",
    )
    assert key == "ebd8ba8e75abeb87"


@given(st.tuples(words, words, words, words), st.tuples(words, words, words, words))
def test_where_and_which_control_tell_incidents_apart(one, two):
    def told(place):
        journey, route, alias, control = place
        return fingerprint(LATENCY, journey=journey, route=route, alias=alias, control=control)

    assert (told(one) == told(two)) is (one == two)


def test_the_class_tells_incidents_apart_and_unknown_is_one():
    keys = {fingerprint(c, journey="a") for c in [*IncidentClass, None]}
    assert len(keys) == 6
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in keys)
