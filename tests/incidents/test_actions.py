"""Actions as values: what they say, what they refuse to be, and how files hold them."""

import pytest

import firedoor as fd
from firedoor import actions

ALL = [
    actions.SwitchAlias("gpt-5", "gpt-5-mini", ttl="30m"),
    actions.SwitchAlias(),
    actions.RollbackPrompt("answer", "v12"),
    actions.RollbackPrompt(),
    actions.DisableRoute("tool:*", journey="help"),
    actions.DisableRoute(),
    actions.ReduceDepth("retrieval:kb", 3),
    actions.TightenPolicies("lockdown"),
    actions.SafeMode(in_flight="cut", ttl=None),
    actions.RaiseMinimumTier("llm:answer", 1),
    actions.RaiseMinimumTier(),
    actions.CapBudget("day", 0.2),
    actions.ShedLoad(("newsletter", "batch"), share=0.5),
    actions.ShedLoad(),
    actions.RestoreKnownGood("2026-w47"),
    actions.Notify("look at the index"),
]


class TestValues:
    @pytest.mark.parametrize("action", ALL, ids=lambda a: a.preview())
    def test_a_file_holds_every_one(self, action):
        assert actions.build(action.to_dict()) == action

    @pytest.mark.parametrize("action", ALL, ids=lambda a: a.preview())
    def test_each_says_what_it_does_in_one_line(self, action):
        assert action.preview().isprintable()
        assert len(action.preview()) < 120

    def test_only_what_ends_and_can_be_undone_starts_by_itself(self):
        assert actions.SafeMode().not_automatic is None
        assert actions.Notify().not_automatic is None
        assert "ttl" in actions.SafeMode(ttl=None).not_automatic
        assert "undo" in actions.Call(print).not_automatic
        assert "ttl" in actions.Call(print, undo=print, ttl=None).not_automatic
        assert actions.Call(print, undo=print).not_automatic is None

    @pytest.mark.parametrize(
        ("make", "says"),
        [
            (lambda: actions.SwitchAlias(ttl="soon"), "'30m'"),
            (lambda: actions.CapBudget(share=1.0), "less than 1"),
            (lambda: actions.ShedLoad(()), "at least one"),
            (lambda: actions.ShedLoad(journey="help"), "journeys="),
            (lambda: actions.RestoreKnownGood(journey="help"), "whole board"),
            (lambda: actions.build({"kind": "pray"}), "switch_alias"),
            (lambda: actions.build({"kind": "call", "fn": "print"}), "in Python"),
            (lambda: actions.build({"kind": "safe_mode", "tll": 3}), "tll"),
            (lambda: actions.build({}), "kind=None"),
        ],
    )
    def test_what_cannot_work_is_refused_as_it_is_made(self, make, says):
        with pytest.raises(fd.ConfigurationError, match=says):
            make()

    def test_a_function_is_kept_by_its_name(self):
        assert actions.Call(print).to_dict() == {"kind": "call", "fn": "print"}
        assert actions.Call(print, name="turn the reranker off").preview().startswith("turn the")
