"""What firedoor raises: a denial says the same however it is read."""

import copy
import logging
import pickle
import traceback

import pytest

import firedoor as fd
from firedoor.config import Breaker
from firedoor.core.breaker_values import State
from firedoor.shell.breakers import Breakers

MESSAGE = "The circuit of llm:answer to 'gpt-5' is open: a trial call is admitted in 30.0 s."


@pytest.fixture
def denied():
    """A refusal of an open circuit: its message is not in words yet."""
    breakers = Breakers()
    breakers.declare("llm:answer", Breaker(open_for=30.0, jitter=0.0))
    live = breakers.find("llm:answer", "gpt-5")
    live.force(State.OPEN, 100.0)
    return live.denied(live.acquire(100.0))


def test_a_denial_is_not_put_into_words_before_it_is_read():
    said = []

    def words(name):
        said.append(name)
        return f"no {name}"

    denied = fd.BreakerOpen.__new__(fd.BreakerOpen, words, "entry")
    assert not said
    assert [str(denied), str(denied), *denied.args] == ["no entry"] * 3
    assert said == ["entry"]


@pytest.mark.parametrize(
    "read",
    [
        str,
        lambda denied: denied.args[0],
        lambda denied: eval(repr(denied).removeprefix("BreakerOpen")),
        lambda denied: str(pickle.loads(pickle.dumps(denied))),
        lambda denied: str(copy.copy(denied)),
        lambda denied: traceback.format_exception_only(denied)[0].partition(": ")[2].strip(),
        lambda denied: f"{denied}",
    ],
    ids=["str", "args", "repr", "pickle", "copy", "traceback", "format"],
)
def test_its_message_is_the_same_however_it_is_read_first(denied, read):
    assert read(denied) == MESSAGE
    assert str(denied) == MESSAGE


def test_it_is_logged_with_its_message(denied, caplog):
    try:
        raise denied
    except fd.Denied:
        logging.getLogger("application").exception("no answer")
    assert f"BreakerOpen: {MESSAGE}" in caplog.text


def test_what_it_carries_crosses_processes(denied):
    there = pickle.loads(pickle.dumps(denied))
    assert type(there) is fd.BreakerOpen
    assert (there.gate, there.retry_after, there.ran, there.decision) == (
        "breaker:llm:answer/gpt-5", 30.0, False, None,
    )  # fmt: skip


@pytest.mark.parametrize("kind", fd.Denied.__subclasses__(), ids=lambda kind: kind.__name__)
def test_every_denial_has_its_message_and_its_attributes(kind):
    denied = kind("no", gate="g", retry_after=1.5, ran=True)
    assert (str(denied), denied.args, repr(denied)) == ("no", ("no",), f"{kind.__name__}('no')")
    assert (denied.gate, denied.retry_after, denied.ran, denied.decision) == ("g", 1.5, True, None)
    denied.args = ("other",)
    assert str(denied) == "other"
