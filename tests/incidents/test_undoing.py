"""Applying an action and reverting it leaves the switchboard as if it had never been, whatever
others do in between; and each action finds out by itself what it acts on."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

import firedoor as fd
from firedoor import actions
from firedoor.core.incident import IncidentRecord
from firedoor.core.switches import Kind
from firedoor.incidents.acting import ActionContext, CannotAct
from firedoor.shell.switchboard import Switchboard
from firedoor.testing import FakeClock


def declare(door):
    """Routes of every kind, with all that actions act on."""

    @door.llm(
        "answer",
        tiers=[fd.Tier("gpt-5"), fd.Tier("gpt-5-mini"), fd.Tier("local"), fd.Canned("Later.")],
        prompt="answer",
        policies=[fd.policies.Regex("zeta", on="output", action="block")],
        budgets=[fd.Budget(calls=100, per="day", name="day")],
    )
    def answer(text, *, model=fd.ROUTED):
        return text

    @door.retrieval("kb", depth="k")
    def search(text, *, k=8):
        return [text] * k

    @door.tool("refund", effect="write")
    def refund(text):
        return text

    door.prompts.register("answer", {"v1": "one", "v2": "two", "v3": "three"}, active="v3")
    return door


def context(door, *, switches=None, journey="help", actor="firedoor", **incident):
    record = IncidentRecord(
        "INC-0000aaaa", "shop", title="refusals up", journey=journey, first_bad_at=0.0, **incident
    )
    runtime = door._runtime
    return ActionContext(
        incident=record,
        switches=switches or door.switches,
        prompts=runtime.prompts,
        routes=runtime.routes,
        action_id="0123456789ab",
        actor=actor,
        journeys={"help": True, "news": False, "batch": False},
        budgets=("llm:answer/day",),
    )


EVERY = [
    actions.SwitchAlias(),
    actions.SwitchAlias("gpt-5", "local", journey="*"),
    actions.RollbackPrompt(),
    actions.DisableRoute("tool:refund"),
    actions.DisableRoute("model:gpt-5", journey="*"),
    actions.ReduceDepth(),
    actions.TightenPolicies(),
    actions.SafeMode(in_flight="cut"),
    actions.RaiseMinimumTier(),
    actions.CapBudget(),
    actions.ShedLoad(),
    actions.RestoreKnownGood(),
]

PEOPLE = st.sampled_from(
    [
        ("alias", ("gpt-5", "other")),
        ("alias", ("gpt-5", "third")),
        ("disable", ("tool:refund",)),
        ("disable", ("tool:*",)),
        ("depth", ("retrieval:kb", 5)),
        ("depth", ("retrieval:*", 4)),
        ("prompt", ("answer", "v2")),
        ("strictness", ("strict",)),
        ("safe_mode", ("help",)),
        ("minimum_tier", ("llm:answer", 1)),
        ("cap_budget", ("*", 0.3)),
        ("shed_load", ("news", 0.5)),
        ("restore", ("before",)),
    ]
)
STEP = st.one_of(
    st.tuples(st.just("set"), PEOPLE, st.sampled_from([None, 50.0])),
    st.tuples(st.just("revert"), st.integers(0, 20), st.none()),
    st.tuples(st.just("wait"), st.sampled_from([1, 30]), st.none()),
)


class Twins:
    """One board with the action, one without, and everybody else at work on both."""

    def __init__(self):
        self.clock = FakeClock()
        self.boards = [Switchboard(clock=self.clock, actor="ana") for _ in range(2)]
        self.pairs = []
        for board in self.boards:
            board.depth("retrieval:kb", 6, reason="as it should be")
            board.mark_known_good("before")

    def do(self, step):
        verb, what, ttl = step
        if verb == "wait":
            self.clock.advance(what)
        elif verb == "set":
            name, arguments = what
            self.pairs.append(
                [getattr(b, name)(*arguments, reason="theirs", ttl=ttl) for b in self.boards]
            )
        elif self.pairs:
            for board, switch in zip(self.boards, self.pairs[what % len(self.pairs)], strict=True):
                board.revert(switch, reason="undo")

    def state(self, board):
        def told(switch):
            value = switch.value
            if switch.kind is Kind.RESTORE:
                value = tuple(told(kept) for kept in value)
            return (switch.kind, switch.target, value, switch.journey, switch.created_at,
                    switch.expires_at, switch.actor, switch.reason)  # fmt: skip

        stack = board._view().settled(board._now()).stack
        return [told(s) for s in stack], [told(s) for s in board.active()]


@pytest.fixture(scope="module")
def door():
    with fd.Firedoor("shop", clock=FakeClock()) as door:
        yield declare(door)


@settings(max_examples=300)
@given(
    action=st.sampled_from(EVERY),
    before=st.lists(STEP, max_size=6),
    between=st.lists(STEP, max_size=6),
    after=st.lists(STEP, max_size=4),
)
def test_apply_then_revert_is_as_if_it_had_never_been(door, action, before, between, after):
    twins = Twins()
    with_it = twins.boards[0]
    for step in before:
        twins.do(step)
    # Approved by a person: what others have set before then does not keep it from acting.
    here = context(door, switches=with_it, actor="bob")
    undo = None
    try:
        resolved = action.resolved(here)
        undo = resolved.apply(here)
        assert with_it._view().stack
    except CannotAct:
        pass
    for step in between:
        twins.do(step)
    if undo is not None:
        resolved.revert(here, undo)
        resolved.revert(here, undo)  # twice is once
    assert twins.state(with_it) == twins.state(twins.boards[1])
    for step in after:
        twins.do(step)
    assert twins.state(with_it) == twins.state(twins.boards[1])


class TestFindingTheTarget:
    @pytest.fixture
    def door(self):
        with fd.Firedoor("shop", clock=FakeClock()) as door:
            yield declare(door)

    @pytest.mark.parametrize(
        ("action", "target", "says"),
        [
            (actions.SwitchAlias(), "alias:gpt-5@help", "gpt-5 → gpt-5-mini on help"),
            (actions.SwitchAlias(model="local"), "alias:gpt-5@help", "gpt-5 → local on help"),
            (actions.RollbackPrompt(), "prompt:answer@help", "prompt answer is at v2 on help"),
            (actions.DisableRoute(), "disable:llm:answer@help", "llm:answer is off on help"),
            (actions.ReduceDepth(), "depth:retrieval:kb@help", "fetches at most 3 on help"),
            (actions.TightenPolicies(), "strictness:*@help", "strictness is strict on help"),
            (actions.SafeMode(), "safe_mode:help", "help is in safe mode"),
            (actions.RaiseMinimumTier(), "minimum_tier:llm:answer@help", "begins at tier 1"),
            (actions.CapBudget(), "cap_budget:*@help", "every budget ends at 50 %"),
            (actions.ShedLoad(), "shed_load:batch,news", "batch is turned away; news is turned"),
        ],
    )
    def test_what_was_left_out_is_found_in_the_incident(self, door, action, target, says):
        here = context(door)
        resolved = action.resolved(here)
        assert resolved.target == target
        assert says in action.preview(here)
        radius = action.blast_radius(here)
        assert radius.text
        resolved.apply(here)
        with pytest.raises(CannotAct):  # a second time there is nothing more to do, or to go to
            for _ in range(3):
                again = action.resolved(here)
                assert again.preview() != resolved.preview()
                again.apply(here)

    def test_it_goes_down_the_ladder_step_by_step(self, door):
        here = context(door)
        for model in ("gpt-5-mini", "local"):
            actions.SwitchAlias().resolved(here).apply(here)
            assert door.switches.model("gpt-5", journey="help").name == model
        with pytest.raises(CannotAct, match="after local"):
            actions.SwitchAlias().resolved(here)
        for tier in (1, 2, 3):
            actions.RaiseMinimumTier().resolved(here).apply(here)
            assert door.switches.resolve("llm:answer", journey="help").minimum_tier == tier
        with pytest.raises(CannotAct, match="has no tier 4"):
            actions.RaiseMinimumTier().resolved(here)

    def test_the_last_known_good_set_is_the_one(self, door):
        here = context(door)
        with pytest.raises(CannotAct, match="mark_known_good"):
            actions.RestoreKnownGood().resolved(here)
        door.switches.mark_known_good("w46", actor="ana")
        with pytest.raises(CannotAct, match="as in w46 already"):
            actions.RestoreKnownGood().resolved(here)
        door.switches.disable("tool:refund", reason="a mistake", actor="ana")
        restore = actions.RestoreKnownGood().resolved(context(door, actor="ana"))
        undo = restore.apply(context(door, actor="ana"))
        assert door.switches.active() == ()
        restore.revert(context(door), undo)
        assert [s.target for s in door.switches.active()] == ["tool:refund"]

    def test_what_nothing_has_says_what_to_declare(self):
        with fd.Firedoor("bare", clock=FakeClock()) as door:
            here = context(door)
            for action, says in [
                (actions.SwitchAlias(), "which llm route is not known"),
                (actions.RollbackPrompt(), "which llm route is not known"),
                (actions.ReduceDepth(), "depth='k'"),
                (actions.TightenPolicies(), "no route has policies"),
            ]:
                with pytest.raises(CannotAct, match=says):
                    action.resolved(here)
            with pytest.raises(CannotAct, match="no budget"):
                actions.CapBudget("week").resolved(
                    here.__class__(here.incident, door.switches, here.prompts)
                )


class TestOneWriter:
    def test_another_incidents_switch_is_left_alone(self, door):
        switches = Switchboard(clock=FakeClock())
        first = context(door, switches=switches)
        actions.SwitchAlias("gpt-5", "gpt-5-mini", journey="*").apply(first)
        other = context(door, switches=switches, journey="news")
        other = other.__class__(
            IncidentRecord("INC-0000bbbb", "shop", journey="news"), switches, other.prompts
        )
        with pytest.raises(CannotAct, match="held by another incident"):
            actions.SwitchAlias("gpt-5", "local", journey="news").apply(other)
        # Another journey's alias is another target.
        narrow = actions.SwitchAlias("gpt-5.1", "local", journey="news")
        assert narrow.apply(other)["switches"]

    def test_what_a_person_sets_during_an_incident_stands(self, door):
        clock = FakeClock()
        switches = Switchboard(clock=clock)
        began = clock.time_ns() / 1e9
        clock.advance(10)
        theirs = switches.alias("gpt-5", "other", reason="I take it", actor="ana")
        record = IncidentRecord("INC-0000cccc", "shop", first_bad_at=began)
        automatic = ActionContext(record, switches, door.prompts)
        with pytest.raises(CannotAct, match="ana has set"):
            actions.SwitchAlias("gpt-5", "local").apply(automatic)
        assert switches.active() == (theirs,)
        approved = ActionContext(record, switches, door.prompts, actor="ana")
        actions.SwitchAlias("gpt-5", "local").apply(approved)
        assert switches.model("gpt-5").name == "local"

    def test_several_switches_are_set_all_or_none(self, door):
        switches = Switchboard(clock=FakeClock())
        taken = ActionContext(IncidentRecord("INC-0000dddd", "shop"), switches, door.prompts)
        actions.ShedLoad(("news",)).apply(taken)
        mine = ActionContext(IncidentRecord("INC-0000eeee", "shop"), switches, door.prompts)
        with pytest.raises(CannotAct):
            actions.ShedLoad(("batch", "news")).apply(mine)
        assert [s.target for s in switches.active()] == ["news"]


class TestCall:
    def test_a_function_and_its_inverse(self, door):
        flags = {"reranker": True}

        def off(context):
            was, flags["reranker"] = flags["reranker"], False
            return {"was": was}

        def back(context, kept):
            flags["reranker"] = kept["was"]

        action = actions.Call(off, undo=back, writes="flag:reranker")
        here = context(door)
        undo = action.apply(here)
        assert (flags, action.target) == ({"reranker": False}, "flag:reranker")
        action.revert(here, undo)
        assert flags == {"reranker": True}

    def test_what_no_ledger_can_keep_is_undone_at_once(self, door):
        undone = []
        action = actions.Call(lambda _: object(), undo=lambda _, kept: undone.append(kept))
        with pytest.raises(CannotAct, match="no plain JSON"):
            action.apply(context(door))
        assert len(undone) == 1
