"""The order of an incident's life, what closing it asks for, and every other edit of its record."""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from firedoor.core import lifecycle
from firedoor.core.incident import (
    IN_FORCE,
    ActionRecord,
    ActionState,
    AlertRecord,
    Finding,
    IncidentRecord,
    from_dict,
    to_dict,
)
from firedoor.errors import LifecycleError, UnknownIncident
from firedoor.types import IncidentState, Severity
from support.records import incident

STEPS = {
    "contain": IncidentState.CONTAINED,
    "stabilise": IncidentState.STABILISED,
    "diagnose": IncidentState.DIAGNOSING,
}
ALERT = AlertRecord("refusals-up", "refusal_rate", since=995.0, fired_at=1000.0)
ACTION = ActionRecord(
    "abcdef123456", "switch_alias", "gpt-5 → gpt-5-mini", state=ActionState.APPLIED
)
FINDING = Finding("refusals come with v13", owner="ana", probe="refusals-1")


def taken(*steps, record=None, now=1000.0):
    record = record or lifecycle.open_incident(incident(), now=now)
    for number, step in enumerate(steps):
        record = getattr(lifecycle, step)(record, now=now + 10 * (number + 1))
    return record


def diagnosing():
    return taken("contain", "stabilise", "diagnose")


# Order ---------------------------------------------------------------------------------------


def test_a_life_in_order_leaves_its_times_and_lines():
    record = diagnosing()
    record = lifecycle.close(
        record, [FINDING], owner="ana", recovered="looked", now=1100.0, actor="ana"
    )
    assert record.state is IncidentState.CLOSED
    assert (
        record.first_bad_at,
        record.detected_at,
        record.contained_at,
        record.stabilised_at,
        record.diagnosed_at,
        record.recovered_at,
        record.closed_at,
    ) == (990.0, 1000.0, 1010.0, 1020.0, 1030.0, 1100.0, 1100.0)
    assert (record.time_to_detect, record.time_to_contain, record.time_to_recover) == (10, 20, 110)
    assert [entry.event for entry in record.timeline] == [
        "detected",
        "contained",
        "stabilised",
        "diagnosing",
        "recovered",
        "closed",
    ]


@pytest.mark.parametrize(
    ("had", "step", "said"),
    [
        ((), "stabilise", "users are still affected.*contain"),
        ((), "diagnose", "diagnosis before containment is refused.*contain.*then.*stabilise"),
        (("contain",), "diagnose", "emergency measure.*First `firedoor incidents stabilise INC"),
        ((), "close", "closing it is refused"),
        (("contain", "stabilise"), "close", "nobody has looked for the cause"),
    ],
)
def test_a_step_out_of_order_is_refused_with_the_reason_and_what_comes_first(had, step, said):
    record = taken(*had)
    with pytest.raises(LifecycleError, match=said) as caught:
        getattr(lifecycle, step)(record, now=2000.0)
    assert not caught.value.already


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_was_taken_is_said_to_be(step):
    record = diagnosing()
    with pytest.raises(LifecycleError, match="diagnosing already") as caught:
        getattr(lifecycle, step)(record, now=2000.0)
    assert caught.value.already


def test_hurt_again_it_is_open_again_and_has_to_be_contained_first():
    record = lifecycle.relapse(diagnosing(), "the switch expired", now=1500.0)
    assert record.state is IncidentState.OPEN
    assert record.contained_at is None
    with pytest.raises(LifecycleError, match="before containment"):
        lifecycle.diagnose(record, now=1501.0)
    assert "open again: the switch expired" in record.timeline[-1].text
    assert lifecycle.contain(record, now=1510.0).contained_at == 1510.0
    assert lifecycle.relapse(record, "again", now=1600.0) is record


def test_what_is_closed_stays_closed():
    closed = lifecycle.close(
        diagnosing(), waiver="a drill", owner="ana", recovered="looked", now=1100.0
    )
    with pytest.raises(LifecycleError, match="a new incident"):
        lifecycle.relapse(closed, "again", now=1200.0)
    for step in (*STEPS, "close"):
        with pytest.raises(LifecycleError, match="closed already"):
            getattr(lifecycle, step)(closed, now=1200.0)


# Closure -------------------------------------------------------------------------------------


def unmet(record, now=5000.0, **kwargs):
    return [check.name for check in lifecycle.checks(record, now=now, **kwargs) if not check.passed]


def test_all_that_closing_asks_for_is_said_at_once():
    record = lifecycle.act(lifecycle.alerted(diagnosing(), ALERT, now=1000.0), ACTION, now=1000.0)
    with pytest.raises(LifecycleError) as caught:
        lifecycle.close(record, now=5000.0)
    said = str(caught.value)
    for part in (
        "refusals-up still firing",
        "gpt-5 → gpt-5-mini (abcdef123456)",
        "revert or promote",
        "name an owner",
        "no finding",
    ):
        assert part in said


def test_signals_have_to_be_back_for_three_windows_of_their_rule():
    record = lifecycle.alerted(diagnosing(), replace(ALERT, window=100.0), now=1000.0)
    assert "recovered" in unmet(record)
    record = lifecycle.recovered_alert(record, "refusals-up", now=2000.0)
    assert record.recovered_at == 2000.0
    assert "recovered" in unmet(record, now=2299.0)
    assert "recovered" not in unmet(record, now=2300.0)
    assert "recovered" not in unmet(record, now=2100.0, windows=1)
    again = lifecycle.alerted(record, ALERT, now=2400.0)
    assert again.recovered_at is None
    assert again.alerts[0].flaps == 1
    assert "recovered" in unmet(again)


def test_what_comes_back_before_it_was_over_is_a_flap_and_no_news():
    record = lifecycle.alerted(diagnosing(), ALERT, now=1000.0)
    place = (ALERT.name, ALERT.journey, ALERT.route, ALERT.alias)
    again = lifecycle.flapped(lifecycle.flapped(record, [place]), [place])
    assert again == replace(record, alerts=(replace(record.alerts[0], flaps=2),))
    assert lifecycle.flapped(record, [("another", None, None, None)]) is record
    over = lifecycle.recovered_alert(record, ALERT.name, now=2000.0)
    assert lifecycle.flapped(over, [place]) is over  # `alerted` has that


def test_the_last_of_several_alerts_counts():
    record = diagnosing()
    for name in ("one", "two"):
        record = lifecycle.alerted(record, replace(ALERT, name=name, window=10.0), now=1000.0)
    record = lifecycle.recovered_alert(record, "one", now=1100.0)
    assert record.recovered_at is None
    record = lifecycle.recovered_alert(record, "two", now=1200.0)
    assert record.recovered_at == 1200.0
    assert "recovered" in unmet(record, now=1229.0)
    assert "recovered" not in unmet(record, now=1230.0)


def test_where_no_signal_can_say_it_a_person_does():
    record = diagnosing()
    assert "recovered" in unmet(record)
    assert "recovered" in unmet(record, recovered="  ")
    assert "recovered" not in unmet(record, recovered="asked support")


@pytest.mark.parametrize("state", ActionState)
def test_temporary_actions_are_reverted_or_promoted(state):
    record = lifecycle.act(diagnosing(), replace(ACTION, state=state), now=1000.0)
    assert ("actions" in unmet(record)) == (state in IN_FORCE)


def test_an_action_whose_time_is_up_needs_nobody():
    record = lifecycle.act(diagnosing(), replace(ACTION, expires_at=1200.0), now=1000.0)
    assert "actions" in unmet(record, now=1199.0)
    assert "actions" not in unmet(record, now=1200.0)
    closed = lifecycle.close(record, waiver="drill", owner="ana", recovered="looked", now=1300.0)
    assert (closed.actions[0].state, closed.actions[0].ended_at) == (ActionState.EXPIRED, 1200.0)


@pytest.mark.parametrize("state", [ActionState.WAITING, ActionState.SUGGESTED])
def test_what_nobody_decided_lapses_with_the_end(state):
    record = lifecycle.act(diagnosing(), replace(ACTION, state=state), now=1000.0)
    closed = lifecycle.close(record, waiver="drill", owner="ana", recovered="looked", now=1300.0)
    assert closed.actions[0].state is ActionState.LAPSED


@pytest.mark.parametrize(
    ("findings", "waiver", "passes"),
    [
        ([], None, False),
        ([FINDING], None, True),
        ([Finding("bare")], None, False),
        ([FINDING, Finding("bare")], None, False),
        ([Finding("bare", waiver="cannot be probed")], None, True),
        ([Finding("bare")], "a drill", True),
        ([], "a drill", True),
        ([], " ", False),
    ],
)
def test_it_teaches_something_that_is_probed_or_says_why_not(findings, waiver, passes):
    record = diagnosing()

    def close():
        return lifecycle.close(
            record, findings, waiver=waiver, owner="ana", recovered="looked", now=1100.0
        )

    if passes:
        assert close().findings == tuple(findings)
    else:
        with pytest.raises(LifecycleError, match=r"no finding|without a probe"):
            close()


def test_whoever_a_finding_is_left_to_owns_what_is_left():
    closed = lifecycle.close(diagnosing(), [FINDING], recovered="looked", now=1100.0)
    assert closed.owner == "ana"
    named = lifecycle.assign(diagnosing(), "bo", now=1050.0)
    assert lifecycle.close(named, [FINDING], recovered="looked", now=1100.0).owner == "bo"
    with pytest.raises(LifecycleError, match="nobody owns it"):
        lifecycle.close(diagnosing(), [replace(FINDING, owner="")], recovered="looked", now=1100.0)


# Actions -------------------------------------------------------------------------------------


def waiting(**fields):
    fields = {"state": ActionState.WAITING, "approve_until": 1600.0, **fields}
    return lifecycle.act(taken(), replace(ACTION, **fields), now=1000.0)


@pytest.mark.parametrize("state", [ActionState.WAITING, ActionState.SUGGESTED])
def test_approval_is_marked_and_the_application_applies_it(state):
    record = lifecycle.approve(waiting(state=state), "abc", now=1100.0, actor="bo")
    (action,) = record.actions
    assert (action.state, action.approved_by) == (ActionState.WAITING, "bo")
    assert (record.timeline[-1].text, record.timeline[-1].actor) == (
        "approved: gpt-5 → gpt-5-mini",
        "bo",
    )
    for decide in (lifecycle.approve, lifecycle.reject):
        with pytest.raises(LifecycleError, match="approved by bo") as caught:
            decide(record, "abc", now=1101.0, actor="cy")
        assert caught.value.already


def test_rejection_ends_it():
    record = lifecycle.reject(waiting(), "abc", "too dear", now=1100.0, actor="bo")
    assert record.actions[0].state is ActionState.REJECTED
    assert "too dear" in record.timeline[-1].text
    with pytest.raises(LifecycleError, match="rejected: nothing is left to approve"):
        lifecycle.approve(record, "abc", now=1101.0, actor="bo")


def test_approval_lapses():
    lifecycle.approve(waiting(), "abc", now=1600.0, actor="bo")
    with pytest.raises(LifecycleError, match="it has lapsed"):
        lifecycle.approve(waiting(), "abc", now=1601.0, actor="bo")


def test_reverting_is_asked_for_and_done_by_whoever_can():
    record = lifecycle.act(taken(), ACTION, now=1000.0)
    asked = lifecycle.want(
        record, "abc", ActionState.REVERTED, "it is over", now=1100.0, actor="bo"
    )
    assert (asked.actions[0].state, asked.actions[0].wanted) == (
        ActionState.APPLIED,
        ActionState.REVERTED,
    )
    with pytest.raises(LifecycleError, match="asked for already"):
        lifecycle.want(asked, "abc", ActionState.REVERTED, now=1101.0, actor="bo")
    changed = lifecycle.want(asked, "abc", ActionState.PROMOTED, now=1101.0, actor="bo")
    assert changed.actions[0].wanted is ActionState.PROMOTED
    done = lifecycle.want(
        record, "abc", ActionState.PROMOTED, "by hand", now=1100.0, actor="bo", done=True
    )
    assert (done.actions[0].state, done.actions[0].ended_at) == (ActionState.PROMOTED, 1100.0)
    with pytest.raises(LifecycleError, match="nothing of it is in force"):
        lifecycle.want(done, "abc", ActionState.REVERTED, now=1101.0, actor="bo")


def test_the_beginning_of_an_action_id_is_enough_while_it_is_one():
    record = lifecycle.act(waiting(), replace(ACTION, id="abcdef999999"), now=1000.0)
    with pytest.raises(UnknownIncident, match="more than one"):
        lifecycle.approve(record, "abcdef", now=1100.0, actor="bo")
    with pytest.raises(UnknownIncident, match="no action 'x'.*abcdef123456"):
        lifecycle.approve(record, "x", now=1100.0, actor="bo")
    assert lifecycle.approve(record, "abcdef1", now=1100.0, actor="bo").actions[0].approved_by


# The rest of the record ----------------------------------------------------------------------


def test_the_timeline_keeps_its_beginning_and_its_end():
    record = taken()
    for number in range(lifecycle.MOST_ENTRIES + 50):
        record = lifecycle.note(record, f"line {number}", now=1000.0 + number)
    assert len(record.timeline) == lifecycle.MOST_ENTRIES
    assert record.timeline[0].event == "detected"
    assert record.timeline[-1].text == f"line {lifecycle.MOST_ENTRIES + 49}"


def test_a_line_cannot_steer_a_terminal():
    record = lifecycle.note(taken(), "a\x1b[2Jb\nc" + "x" * 900, now=1.0, actor="e\rve" + "y" * 900)
    entry = record.timeline[-1]
    assert entry.text.startswith("a [2Jb c")
    assert (len(entry.text), len(entry.actor)) == (500, 80)


def test_severity_changes_are_told_with_their_reason():
    record = lifecycle.reassess(
        taken(), Severity.SEV1, ["SEV1: 60 % of help"], now=1100.0, share=0.6, requests=70
    )
    assert (record.severity, record.share, record.requests) == (Severity.SEV1, 0.6, 70)
    assert record.timeline[-1].text == "SEV2 → SEV1: SEV1: 60 % of help"
    same = lifecycle.reassess(record, Severity.SEV1, ["still"], now=1200.0)
    assert len(same.timeline) == len(record.timeline)
    assert same.severity_reasons == ("still",)


def test_an_owner_has_a_name():
    record = lifecycle.assign(taken(), "ana", now=1100.0, actor="bo")
    assert (record.owner, record.timeline[-1].actor) == ("ana", "bo")
    assert lifecycle.assign(record, "ana", now=1200.0) is record
    with pytest.raises(LifecycleError, match="needs a name"):
        lifecycle.assign(record, " ", now=1200.0)


# Any order of anything -----------------------------------------------------------------------


class Life(RuleBasedStateMachine):
    """Whatever is tried in whatever order, the order of a life holds."""

    actors = st.sampled_from(["ana", "bo", "firedoor"])

    @initialize()
    def begin(self):
        self.now = 1000.0
        self.record = lifecycle.open_incident(
            IncidentRecord("INC-1", "shop", title="up"), now=self.now
        )
        self.reached = [IncidentState.OPEN]
        self.number = 0

    def attempt(self, edit, *args, **kwargs):
        """The edit made, or refused without a trace."""
        self.now += 50.0
        before = self.record
        try:
            self.record = edit(before, *args, now=self.now, **kwargs)
        except (LifecycleError, UnknownIncident) as error:
            return error
        if self.record.state is not before.state:
            self.reached.append(self.record.state)
        assert self.record.timeline[: len(before.timeline)] == before.timeline
        return None

    @rule(step=st.sampled_from(sorted(STEPS)), actor=actors)
    def step(self, step, actor):
        before = self.record.state
        error = self.attempt(getattr(lifecycle, step), "because", actor=actor)
        follows = lifecycle.ORDER.index(STEPS[step]) - lifecycle.ORDER.index(before) == 1
        assert (error is None) == follows

    @rule(
        probe=st.none() | st.just("p"),
        owner=st.none() | st.just("ana"),
        waiver=st.none() | st.just("w"),
        recovered=st.none() | st.just("looked"),
    )
    def close(self, probe, owner, waiver, recovered):
        error = self.attempt(
            lifecycle.close,
            [Finding("x", probe=probe)],
            owner=owner,
            waiver=waiver,
            recovered=recovered,
        )
        if error is None:
            assert self.record.owner
            assert waiver or self.record.waiver or all(f.probe for f in self.record.findings)
            assert recovered or all(a.recovered_at is not None for a in self.record.alerts)
            assert not [a for a in self.record.actions if a.state in IN_FORCE]

    @precondition(lambda self: self.record.open)
    @rule()
    def relapse(self):
        self.attempt(lifecycle.relapse, "worse")

    @rule(name=st.sampled_from("ab"))
    def fire(self, name):
        if self.record.open:
            self.attempt(lifecycle.alerted, replace(ALERT, name=name, window=60.0))

    @rule(name=st.sampled_from("ab"))
    def recover(self, name):
        if self.record.open:
            self.attempt(lifecycle.recovered_alert, name)

    @rule(state=st.sampled_from([ActionState.SUGGESTED, ActionState.WAITING, ActionState.APPLIED]))
    def act(self, state):
        if self.record.open:
            self.number += 1
            action = replace(ACTION, id=f"{self.number:012d}", state=state)
            self.attempt(lifecycle.act, action)

    @rule(data=st.data(), actor=actors)
    def decide(self, data, actor):
        if self.record.open and self.record.actions:
            action = data.draw(st.sampled_from(self.record.actions))
            before = action.state
            decide = data.draw(st.sampled_from([lifecycle.approve, lifecycle.reject]))
            error = self.attempt(decide, action.id, actor=actor)
            if error is None:
                assert before in {ActionState.SUGGESTED, ActionState.WAITING}

    @rule(
        data=st.data(),
        state=st.sampled_from([ActionState.REVERTED, ActionState.PROMOTED]),
        done=st.booleans(),
    )
    def take_back(self, data, state, done):
        if self.record.open and self.record.actions:
            action = data.draw(st.sampled_from(self.record.actions))
            error = self.attempt(lifecycle.want, action.id, state, actor="ana", done=done)
            if error is None:
                assert action.state in IN_FORCE

    @invariant()
    def no_state_is_jumped(self):
        for before, after in zip(self.reached, self.reached[1:], strict=False):
            back = after is IncidentState.OPEN
            assert back or lifecycle.ORDER.index(after) == lifecycle.ORDER.index(before) + 1

    @invariant()
    def the_times_are_those_of_the_states(self):
        record = self.record
        steps = (record.contained_at, record.stabilised_at, record.diagnosed_at, record.closed_at)
        at = lifecycle.ORDER.index(record.state)
        assert all(moment is not None for moment in steps[:at])
        assert all(moment is None for moment in steps[at:])
        known = [moment for moment in steps if moment is not None]
        assert known == sorted(known)

    @invariant()
    def it_reads_back(self):
        assert from_dict(IncidentRecord, to_dict(self.record)) == self.record


Life.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestLife = Life.TestCase
