"""What people are told as an incident changes, and what they are not bothered with."""

from dataclasses import replace

import pytest

from firedoor.core import lifecycle
from firedoor.core.incident import ActionRecord, ActionState, AlertRecord
from firedoor.incidents.book import Incidents
from firedoor.incidents.messages import announce
from firedoor.incidents.notify import Notifier
from firedoor.ledger import MemoryLedger
from firedoor.testing import FakeClock
from firedoor.types import Severity
from support.records import incident

ACTION = ActionRecord(
    "b2c3d4e5f6a1",
    "switch_alias",
    "gpt-5 → gpt-5-mini on help",
    state=ActionState.WAITING,
    approve_until=1_700_000_900.0,
)


class Inbox:
    """A sink that keeps what it gets."""

    kind = "inbox"
    attempts = 1

    def __init__(self):
        self.got = []

    def send(self, message):
        self.got.append(message)


class People:
    """An application, and those who are told by it."""

    def __init__(self, ledger=None, service="shop"):
        self.clock = FakeClock()
        self.inbox = Inbox()
        self.notifier = Notifier([self.inbox], clock=self.clock)
        self.book = Incidents(ledger, service=service, clock=self.clock)
        announce(self.book, self.notifier)

    def told(self):
        """The messages since the last look."""
        assert self.notifier.flush()
        got, self.inbox.got = self.inbox.got, []
        return got

    def events(self):
        return [message.event for message in self.told()]


@pytest.fixture
def people():
    made = People()
    yield made
    made.notifier.close()


@pytest.fixture
def one(people):
    opened = people.book.open(incident("", version=0), "help")
    assert people.events() == ["opened"]
    return opened


def change(people, one, edit):
    people.book.update(one.id, edit)


def test_an_opening_says_what_where_and_what_to_do_first(people):
    done = replace(ACTION, state=ActionState.APPLIED)
    one = people.book.open(incident("", version=0, actions=(done,)), "help")
    (message,) = people.told()
    assert message.title == f"SEV2 {one.id} quality regression on help: refusals up on help"
    assert message.body.startswith("Do first: Put back what changed last")
    assert "Done: gpt-5 → gpt-5-mini on help" in message.body
    assert message.body.endswith(f"firedoor runbook {one.id}")
    assert message.to_dict() == {
        "event": "opened",
        "title": message.title,
        "body": message.body,
        "incident": one.id,
        "severity": "SEV2",
        "service": "shop",
        "incident_class": "quality_regression",
        "state": "open",
        "journey": "help",
        "route": "llm:answer",
        "alias": "gpt-5",
        "at": one.updated_at,
    }


def test_a_life_is_told_step_by_step(people, one):
    one.contain("safe mode holds", actor="ana")
    (message,) = people.told()
    assert message.title.startswith(f"Contained: SEV2 {one.id}")
    assert message.body == "contained: safe mode holds (by ana)"
    one.stabilise()
    one.diagnose()
    one.close(waiver="w", owner="o", recovered="r")
    assert people.events() == ["stabilised", "diagnosing", "closed"]


def test_open_again(people, one):
    one.contain()
    people.told()
    change(
        people, one, lambda r: lifecycle.relapse(r, "the switch expired", now=people.book.time())
    )
    (message,) = people.told()
    assert message.event == "reopened"
    assert "the switch expired" in message.body


def test_a_decision_that_is_asked_for_comes_with_the_lines_to_type(people, one):
    change(people, one, lambda r: lifecycle.act(r, ACTION, now=1.0))
    (message,) = people.told()
    assert message.event == "approval"
    assert message.title == f"Your decision: gpt-5 → gpt-5-mini on help (SEV2 {one.id})"
    assert message.body.splitlines() == [
        f"firedoor incidents approve {one.id} b2c3d4e5f6a1",
        f"firedoor incidents reject {one.id} b2c3d4e5f6a1",
        "Until 22:28 UTC.",
    ]
    assert message.data["action"] == "b2c3d4e5f6a1"
    one.approve("b2c3", actor="ana")
    assert people.events() == []


@pytest.mark.parametrize(
    ("state", "events"),
    [
        (ActionState.SUGGESTED, ["suggestion"]),
        (ActionState.FAILED, ["action"]),
        (ActionState.ERRORED, ["action"]),
        (ActionState.LAPSED, ["action"]),
        (ActionState.APPLYING, []),
        (ActionState.APPLIED, []),
        (ActionState.VERIFIED, []),
        (ActionState.REVERTED, []),
    ],
)
def test_what_needs_nobody_bothers_nobody(people, one, state, events):
    change(people, one, lambda r: lifecycle.act(r, replace(ACTION, state=state), now=1.0))
    assert people.events() == events


def test_worse_is_told_and_better_is_not(people, one):
    def assess(severity):
        change(people, one, lambda r: lifecycle.reassess(r, severity, ["why"], now=1.0))
        return people.told()

    (message,) = assess(Severity.SEV1)
    assert (message.event, message.body) == ("severity", "why")
    assert assess(Severity.SEV3) == []


def test_signals_that_are_back_are_told_once(people, one):
    alert = AlertRecord("refusals-up", "refusal_rate")
    change(people, one, lambda r: lifecycle.alerted(r, alert, now=1.0))
    change(people, one, lambda r: lifecycle.recovered_alert(r, "refusals-up", now=2.0))
    change(people, one, lambda r: lifecycle.note(r, "x", now=3.0))
    assert people.events() == ["recovered"]


def test_of_two_processes_one_tells_what_the_command_line_did():
    ledger = MemoryLedger()
    first, second = People(ledger), People(ledger)
    one = first.book.open(incident("", version=0), "help")
    assert second.book.open(incident("", version=0), "help").id == one.id
    assert (first.events(), second.events()) == (["opened"], [])
    Incidents(ledger).get(one.id).contain("by hand", actor="ana")
    for people in (second, first, second):
        people.book.refresh()
    assert (first.events(), second.events()) == ([], ["contained"])
    for people in (first, second):
        people.notifier.close()
