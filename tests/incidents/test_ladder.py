"""What follows when an action does not help, may not run, runs out, or is taken back."""

import contextlib
import dataclasses
import itertools

import pytest

import firedoor as fd
from firedoor import actions
from firedoor.core.incident import ActionState
from firedoor.incidents.responder import AGAIN, COOL_DOWN
from firedoor.testing import FakeClock
from support.incident_app import JOURNEY, App, events, refusals


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def app(clock):
    app = App(clock)
    app.door.prompts.register("answer", {"v1": "one", "v2": "two"}, active="v2")
    yield app
    app.door.close()


def broken(app, alert, *, models=("gpt-5", "gpt-5-mini"), seconds=150):
    """The incident that follows when `models` refuse."""
    app.door.watch([alert])
    app.serve(400)
    app.refusing.update(dict.fromkeys(models, 0.8))
    app.serve(seconds)
    (incident,) = app.door.incidents.current()
    return incident


def states(incident):
    return [(a.kind, str(a.state)) for a in incident.actions]


class TestEscalation:
    def test_what_does_not_help_gives_way_to_the_next(self, app):
        alert = refusals(
            first_action=actions.SwitchAlias("gpt-5", "gpt-5-mini"),
            then=(actions.SafeMode(),),
        )
        incident = broken(app, alert)
        first_contained = incident.contained_at
        assert states(incident) == [("switch_alias", "applied")]
        app.serve(400)
        assert states(incident) == [("switch_alias", "failed"), ("safe_mode", "applied")]
        assert incident.state is fd.IncidentState.CONTAINED
        assert incident.contained_at > first_contained
        assert "open" in events(incident)[events(incident).index("contained") :]
        said = next(e.text for e in incident.timeline if e.event == "action_failed")
        assert said.startswith("did not help within 5 min (")
        assert app.serve(1).outcome is fd.Outcome.CANNED

    def test_nobody_is_well_because_nobody_is_answered(self, app):
        incident = broken(app, refusals(first_action=actions.SafeMode(ttl="30m")))
        app.serve(1_500)
        # The alert has nothing to judge by, or sees no refusal: neither is a recovery.
        assert incident.recovered_at is None
        assert incident.state is fd.IncidentState.CONTAINED
        assert incident.actions[0].state in {ActionState.APPLIED, ActionState.VERIFIED}
        app.refusing.clear()
        app.serve(1_200)
        assert incident.actions[0].state is ActionState.EXPIRED
        assert incident.recovered_at is not None
        assert incident.state is fd.IncidentState.STABILISED

    @pytest.mark.parametrize(
        ("journey", "shed", "share", "seen"),
        [
            (JOURNEY, "news", 1.0, True),  # it makes room for this one
            (JOURNEY, JOURNEY, 1.0, False),  # nobody is there to be well
            (JOURNEY, JOURNEY, 0.5, True),  # the half that goes on is like the other
            (None, "news", 1.0, False),  # what was bad on news is in no figure any more
            (None, "news", 0.5, True),
        ],
    )
    def test_who_is_turned_away_is_not_well(self, app, journey, shed, share, seen):
        alert = refusals(
            journey=journey,
            first_action=actions.ShedLoad((shed,), share=share, ttl="2h", verify="30m"),
        )
        app.serve(1, journey="news")
        incident = broken(app, alert)
        assert states(incident) == [("shed_load", "applied")]
        app.refusing.clear()
        for _ in range(450):
            app.clock.advance(2)
            for name in (JOURNEY, "news"):
                with contextlib.suppress(fd.Denied), app.door.request(name):
                    app.answer("where is my order?")
        assert (incident.recovered_at is not None) is seen
        assert (incident.state is fd.IncidentState.STABILISED) is seen
        if not seen:
            incident.revert(incident.actions[0].id, actor="ana")
            app.serve(900)
            assert incident.recovered_at is not None

    def test_of_alerts_that_fire_together_the_one_that_leads_acts_first(self, app):
        """What is done about an effect is not begun before what is done about the cause."""
        effect = refusals(name="effect", first_action=actions.SwitchAlias("gpt-5", "gpt-5-mini"))
        cause = refusals(
            name="cause",
            incident_class="safety_violation",
            first_action=actions.RaiseMinimumTier("llm:answer", 1),
        )
        app.door.watch([effect])
        incident = broken(app, cause, models=("gpt-5",))
        assert incident.incident_class is fd.IncidentClass.SAFETY_VIOLATION
        assert [a.name for a in incident.alerts] == ["effect", "cause"]
        assert states(incident) == [("raise_minimum_tier", "applied")]

    def test_what_comes_back_after_its_time_is_held_again(self, app):
        incident = broken(app, refusals(first_action=actions.SafeMode(ttl="20m")))
        app.serve(2_400)
        assert states(incident)[:2] == [("safe_mode", "expired"), ("safe_mode", "applied")]
        again = incident.actions[1].requested_at - incident.actions[0].ended_at
        assert again >= 300  # not at once: what was just undone is left alone for a while
        assert app.door.switches.resolve("", journey=JOURNEY).safe_mode is not None

    def test_what_has_helped_is_taken_again_as_soon_as_the_signal_is_bad_again(self, clock):
        app = App(clock)
        alert = refusals(first_action=actions.SwitchAlias("gpt-5", "gpt-5-mini", ttl="20m"))
        incident = broken(app, alert, models=("gpt-5",))
        app.serve(14_000)
        taken = incident.actions
        assert {str(a.kind) for a in taken} == {"switch_alias"}
        waited = [b.requested_at - a.ended_at for a, b in itertools.pairwise(taken)]
        assert len(waited) > AGAIN
        # Only as long as the rule takes to see it.
        assert all(seconds < COOL_DOWN for seconds in waited[:AGAIN]), waited
        # What keeps coming back is a person's: it is said once, and held at longer intervals.
        assert all(seconds >= COOL_DOWN for seconds in waited[AGAIN:])
        said = [e.text for e in incident.timeline if e.event == "returns"]
        assert len(said) == 1
        assert said[0].startswith("refusals-up has come back each time that it ended: gpt-5 → ")
        app.door.close()

    def test_what_cannot_act_says_why_and_the_next_follows(self, app):
        alert = refusals(
            first_action=actions.ReduceDepth(),
            then=(actions.RestoreKnownGood(), actions.RollbackPrompt()),
        )
        incident = broken(app, alert)
        assert states(incident) == [
            ("reduce_depth", "errored"),
            ("restore_known_good", "errored"),
            ("rollback_prompt", "applied"),
        ]
        why = [e.text for e in incident.timeline if e.event == "action_errored"]
        assert "depth='k'" in why[0]
        assert "no known-good set was marked" in why[1]
        assert app.door.prompts.at("answer", journey=JOURNEY) == "v1"

    def test_at_the_end_of_the_ladder_a_person_is_told(self, clock):
        told = []

        class Sink:
            kind = "list"
            attempts = 1

            def send(self, message):
                told.append(message.text)

        app = App(clock, notify=[Sink()])
        alert = refusals(first_action=actions.Notify("look"), then=(actions.ReduceDepth(),))
        incident = broken(app, alert)
        app.serve(400)
        app.door.flush()
        assert incident.state is fd.IncidentState.OPEN
        assert events(incident).count("ladder_end") == 1
        assert any("a person has to take over" in text for text in told)
        assert any(text == "look" for text in told)
        app.door.close()

    def test_an_action_that_raises_is_a_fault_of_ours_and_not_the_end(self, app):
        def explode(context):
            raise RuntimeError("secret sk-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH")

        alert = refusals(
            first_action=actions.Call(explode, undo=lambda *_: None), then=(actions.SafeMode(),)
        )
        incident = broken(app, alert)
        assert states(incident) == [("call", "errored"), ("safe_mode", "applied")]
        assert incident.actions[0].error == "RuntimeError"
        assert "sk-0123" not in str(incident.record)

    def test_the_runbook_has_the_ladder_where_the_alert_has_none(self, clock):
        runbook = dataclasses.replace(
            fd.runbooks.defaults()[0],
            incident_class="quality_regression",
            actions=(actions.SafeMode(),),
        )
        app = App(clock, runbooks=[runbook])
        incident = broken(app, refusals(first_action=actions.ReduceDepth()))
        assert states(incident) == [("reduce_depth", "errored"), ("safe_mode", "applied")]
        app.door.close()


class TestApproval:
    def test_it_waits_is_approved_and_acts(self, app):
        incident = broken(app, refusals(mode="approve"))
        (action,) = incident.actions
        assert action.state is ActionState.WAITING
        assert incident.state is fd.IncidentState.OPEN
        assert app.door.switches.active() == ()
        incident.approve(action.id, actor="ana")
        (action,) = incident.actions  # in the same process it need not wait for the next look
        assert (action.state, action.approved_by) == (ActionState.APPLIED, "ana")
        (switch,) = app.door.switches.active()
        assert switch.actor == "ana"
        assert incident.state is fd.IncidentState.CONTAINED

    def test_rejected_the_next_is_asked_for(self, app):
        incident = broken(app, refusals(mode="approve", then=(actions.SafeMode(),)))
        incident.reject(incident.actions[0].id, actor="ana", reason="not that model")
        app.serve(2)
        assert states(incident) == [("switch_alias", "rejected"), ("safe_mode", "waiting")]

    def test_it_lapses(self, app, clock):
        alert = refusals(
            mode="approve",
            first_action=actions.SwitchAlias("gpt-5", "gpt-5-mini", approve_within="10m"),
        )
        incident = broken(app, alert)
        app.serve(605)
        # The next one of the runbook is asked for.
        assert states(incident) == [("switch_alias", "lapsed"), ("rollback_prompt", "waiting")]
        with pytest.raises(fd.LifecycleError, match="nothing is left to approve"):
            incident.approve(incident.actions[0].id, actor="ana")

    def test_what_is_no_longer_needed_is_no_longer_asked(self, app):
        incident = broken(app, refusals(mode="approve"))
        app.refusing.clear()
        app.serve(900)
        assert states(incident) == [("switch_alias", "lapsed")]
        assert incident.state is fd.IncidentState.STABILISED

    def test_a_suggestion_is_only_shown_until_a_person_takes_it(self, app):
        incident = broken(app, refusals(mode="suggest", then=(actions.SafeMode(),)))
        assert states(incident) == [("switch_alias", "suggested")]
        app.serve(310)
        assert states(incident) == [("switch_alias", "suggested"), ("safe_mode", "suggested")]
        assert app.door.switches.active() == ()
        incident.approve(incident.actions[1].id, actor="ana")
        assert states(incident)[1] == ("safe_mode", "applied")

    def test_what_would_stay_for_good_needs_a_person(self, app):
        with pytest.raises(fd.ConfigurationError, match="has no ttl"):
            refusals(first_action=actions.SafeMode(ttl=None))
        alert = refusals(first_action=actions.ReduceDepth(), then=(actions.SafeMode(ttl=None),))
        incident = broken(app, alert)
        assert states(incident)[1] == ("safe_mode", "waiting")
        assert "needs a person: SafeMode has no ttl" in incident.actions[1].text

    def test_a_door_that_only_watches_only_suggests(self, clock):
        app = App(clock, enforce=False)
        incident = broken(app, refusals())
        assert states(incident) == [("switch_alias", "suggested")]
        assert app.door.switches.active() == ()
        app.door.close()


class TestTakingBack:
    def test_promoted_it_stays(self, app, clock):
        incident = broken(app, refusals(), models=("gpt-5",))
        app.serve(700)
        before = app.door.switches.active()[0]
        assert before.expires_at is not None
        incident.promote(incident.actions[0].id, actor="ana", reason="mini is good enough")
        app.serve(2)
        (switch,) = app.door.switches.active()
        assert (switch.value, switch.expires_at, switch.actor) == ("gpt-5-mini", None, "ana")
        assert switch.id != before.id
        assert incident.actions[0].state is ActionState.PROMOTED
        assert {c.name: c.passed for c in incident.checks()}["actions"]
        app.serve(3_000)
        assert app.models[-1] == "gpt-5-mini"

    def test_a_switch_reverted_by_hand_is_the_end_of_the_action(self, app):
        incident = broken(app, refusals(then=(actions.SafeMode(),)), models=("gpt-5",))
        app.serve(2)
        app.door.switches.revert(app.door.switches.active()[0], reason="no", actor="ana")
        app.serve(2)
        assert states(incident) == [("switch_alias", "reverted")]
        assert app.door.switches.active() == ()  # nobody fights a person
        app.serve(400)
        assert states(incident)[1] == ("safe_mode", "applied")

    def test_a_call_is_undone_when_its_time_is_up(self, app):
        flags = {"reranker": True}

        def off(context):
            was, flags["reranker"] = flags["reranker"], False
            app.refusing.clear()  # it was the reranker
            return was

        def back(context, was):
            flags["reranker"] = was

        action = actions.Call(off, undo=back, name="turn the reranker off", ttl="10m")
        incident = broken(app, refusals(first_action=action, keep=60.0))
        assert flags == {"reranker": False}
        app.serve(700)
        assert flags == {"reranker": True}
        assert states(incident) == [("call", "expired")]


class TestGoingOn:
    def test_a_restart_takes_up_what_waits_and_what_acts(self, clock, tmp_path):
        url, state = f"sqlite:///{tmp_path}/ledger.db", f"sqlite:///{tmp_path}/state.db"
        first = App(clock, ledger=url, state=state)
        incident = broken(first, refusals(mode="approve"))
        first.door.close()

        second = App(clock, ledger=url, state=state, seed=2)
        second.door.watch([refusals(mode="approve")])
        second.refusing["gpt-5"] = 0.8
        (there,) = second.door.incidents.current()
        assert there.id == incident.id
        clock.advance(20)  # the first process's claim runs out
        there.approve(there.actions[0].id, actor="ana")
        second.serve(2)
        assert states(there) == [("switch_alias", "applied")]
        assert second.models[-1] == "gpt-5-mini"
        second.door.close()

    def test_interrupted_before_it_acted_it_is_done_again(self, app, clock, monkeypatch):
        killed = []

        def die(self, context):
            killed.append(True)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(actions.SwitchAlias, "apply", die)
            with pytest.raises(KeyboardInterrupt):
                broken(app, refusals(), models=("gpt-5",))
        (incident,) = app.door.incidents.current()
        assert states(incident) == [("switch_alias", "applying")]
        app.serve(40)
        assert states(incident) == [("switch_alias", "errored"), ("switch_alias", "applied")]
        assert killed == [True]

    def test_interrupted_after_it_acted_it_is_taken_up(self, app, clock, monkeypatch):
        apply = actions.SwitchAlias.apply

        def die(self, context):
            apply(self, context)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(actions.SwitchAlias, "apply", die)
            with pytest.raises(KeyboardInterrupt):
                broken(app, refusals(), models=("gpt-5",))
        (incident,) = app.door.incidents.current()
        app.serve(40)
        (action,) = incident.actions
        assert action.state is ActionState.APPLIED
        (switch,) = app.door.switches.active()
        assert action.undo == {"switches": [switch.id]}
        assert incident.state is fd.IncidentState.CONTAINED
