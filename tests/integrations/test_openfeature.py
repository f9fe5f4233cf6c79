"""Feature flags as switches, with the real OpenFeature SDK and a provider that can go away."""

import threading

import pytest
from openfeature import api
from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode, GeneralError
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from firedoor.core.switches import Kind
from firedoor.errors import ConfigurationError
from firedoor.integrations.openfeature import Flag, follow_flags
from firedoor.shell.switchboard import Switchboard
from firedoor.testing import FakeClock

FLAGS = [
    Flag("kill-refunds", "disable", "tool:refund", in_flight="cut"),
    Flag("answer-model", "alias", "gpt-5", journey="help"),
    Flag("depth", "depth", "retrieval:kb"),
    Flag("level", "strictness"),
    Flag("safe", "safe_mode", "help"),
]
OFF = {"kill-refunds": False, "answer-model": "", "depth": -1, "level": "", "safe": False}


class Provider(AbstractProvider):
    def __init__(self, **values):
        super().__init__()
        self.values = {**OFF, **{k.replace("_", "-"): v for k, v in values.items()}}
        self.reason = Reason.STATIC
        self.error = None

    def get_metadata(self):
        return Metadata("test flags")

    def _resolve(self, flag_key, default_value, evaluation_context=None):
        if self.error is not None:
            raise self.error
        if flag_key not in self.values:
            return FlagResolutionDetails(default_value, error_code=ErrorCode.FLAG_NOT_FOUND)
        return FlagResolutionDetails(self.values[flag_key], reason=self.reason, variant="v")

    resolve_boolean_details = resolve_string_details = resolve_integer_details = _resolve
    resolve_float_details = resolve_object_details = _resolve


@pytest.fixture
def switches():
    board = Switchboard(clock=FakeClock(), watch=False)
    yield board
    board.close()


@pytest.fixture
def follow(switches):
    stops = []

    def begin(provider, flags=FLAGS):
        api.set_provider_and_wait(provider, "test")
        stops.append(follow_flags(switches, flags, domain="test", clock=FakeClock()))
        return stops[-1]

    yield begin
    for stop in stops:
        stop()
    api.shutdown()
    api.clear_providers()


def targets(board):
    return sorted(s.target for s in board.active())


def test_flags_set_switches_of_every_type(follow, switches):
    follow(Provider(kill_refunds=True, answer_model="mini", depth=3, level="strict", safe=True))
    answer = switches.resolve("llm:answer", alias="gpt-5", journey="help")
    assert (answer.model, answer.strictness, answer.safe_mode.target) == ("mini", "strict", "help")
    assert switches.resolve("retrieval:kb").depth == 3
    kill = switches.resolve("tool:refund").disabled_by
    assert (kill.actor, kill.reason, kill.in_flight) == (
        "test flags",
        "flag kill-refunds is v",
        "cut",
    )
    assert kill.source == "openfeature:test"
    with pytest.raises(ConfigurationError, match="held by openfeature:test"):
        switches.revert(kill.id)


SHARES = [
    Flag("cap", "cap_budget", "llm:answer/day"),
    Flag("shed", "shed_load", "newsletter"),
]


def test_shares_are_float_flags(follow, switches):
    """With the provider the SDK brings along."""

    def provider(cap, shed):
        return InMemoryProvider(
            {
                "cap": InMemoryFlag("now", {"now": cap}),
                "shed": InMemoryFlag("now", {"now": shed}),
            }
        )

    follow(provider(0.5, 0.25), SHARES)
    assert [(s.kind, s.target, s.value) for s in switches.active()] == [
        (Kind.CAP_BUDGET, "llm:answer/day", 0.5),
        (Kind.SHED_LOAD, "newsletter", 0.25),
    ]
    api.set_provider_and_wait(provider(1.0, 0.0), "test")
    switches.sync()
    assert switches.active() == ()
    api.set_provider_and_wait(provider(0.0, 1.0), "test")  # the ends that do switch
    switches.sync()
    assert [s.value for s in switches.active()] == [0.0, 1.0]


def test_a_share_out_of_range_is_a_problem_and_no_switch(follow, switches):
    follow(Provider(cap=1.5, shed=-0.5), SHARES)
    assert switches.active() == ()
    assert "cap: switch cap_budget value=1.5" in switches.problems["openfeature:test"]
    assert "shed: switch shed_load value=-0.5" in switches.problems["openfeature:test"]


def test_a_flag_that_is_off_sets_nothing_and_one_turned_off_is_taken_back(follow, switches):
    provider = Provider()
    follow(provider)
    assert switches.snapshot.empty
    provider.values["kill-refunds"] = True
    switches.sync()
    first = switches.active()
    switches.sync()
    assert switches.active() == first
    provider.values["kill-refunds"] = False
    switches.sync()
    assert switches.snapshot.empty
    assert [e.action for e in switches.history()] == ["set", "reverted"]


def test_another_value_is_another_switch(follow, switches):
    provider = Provider(answer_model="mini")
    follow(provider)
    (first,) = switches.active()
    provider.values["answer-model"] = "nano"
    switches.sync()
    (second,) = switches.active()
    assert second.value == "nano"
    assert second.id != first.id


def fails(provider):
    provider.error = GeneralError("backend down")


def stale_reason(provider):
    provider.reason = Reason.STALE
    provider.values = dict(OFF)


def deleted(provider):
    provider.values = {}


def wrong_type(provider):
    provider.values["kill-refunds"] = "yes"


def status_stale(provider):
    provider.values = dict(OFF)
    provider.emit_provider_stale(ProviderEventDetails())


def status_error(provider):
    provider.values = dict(OFF)
    provider.emit_provider_error(ProviderEventDetails(error_code=ErrorCode.GENERAL))


def status_fatal(provider):
    provider.values = dict(OFF)
    provider.emit_provider_error(ProviderEventDetails(error_code=ErrorCode.PROVIDER_FATAL))


@pytest.mark.parametrize(
    "goes_bad",
    [fails, stale_reason, deleted, wrong_type, status_stale, status_error, status_fatal],
)
def test_a_kill_stays_on_while_its_flag_is_not_heard(follow, switches, goes_bad):
    provider = Provider(kill_refunds=True)
    follow(provider)
    (kill,) = switches.active()
    goes_bad(provider)
    for _ in range(2):
        switches.sync()
        assert switches.active() == (kill,)
    assert "kill-refunds: " in switches.problems["openfeature:test"]
    provider.error, provider.reason, provider.values = None, Reason.STATIC, dict(OFF)
    provider.emit_provider_ready(ProviderEventDetails())
    switches.sync()
    assert (switches.active(), switches.problems) == ((), {})


def test_a_stale_on_turns_on_what_was_never_heard_of(follow, switches):
    provider = Provider(kill_refunds=True)
    provider.reason = Reason.STALE
    follow(provider)
    assert targets(switches) == ["tool:refund"]


def test_a_disabled_flag_is_heard(follow, switches):
    """Providers say `DISABLED` of a flag that an operator has turned off."""
    provider = Provider(kill_refunds=True)
    follow(provider)
    provider.values["kill-refunds"], provider.reason = False, Reason.DISABLED
    switches.sync()
    assert switches.active() == ()


def test_one_bad_flag_does_not_hide_the_others(follow, switches):
    provider = Provider(level="harsh", depth=-7)
    follow(provider)
    provider.values["kill-refunds"] = True
    switches.sync()
    assert targets(switches) == ["tool:refund"]
    assert "level: strictness='harsh'" in switches.problems["openfeature:test"]
    assert "depth: " in switches.problems["openfeature:test"]


def test_a_change_the_provider_tells_of_acts_without_a_look(follow, switches):
    provider = Provider()
    follow(provider)
    acted = threading.Event()
    switches.subscribe(lambda change: acted.set())
    provider.values["kill-refunds"] = True
    provider.emit_provider_configuration_changed(ProviderEventDetails())
    assert acted.wait(10)
    assert targets(switches) == ["tool:refund"]


def test_to_stop_following_takes_the_switches_back(follow, switches):
    follow(Provider(kill_refunds=True))()
    assert switches.snapshot.empty


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Flag("k", "restore"), "use one of disable"),
        (lambda: Flag("k", "explode"), "use one of disable"),
        (lambda: Flag("k", "disable", "refund"), "tool:NAME"),
        (lambda: Flag("k", "depth"), "retrieval:NAME"),
        (lambda: Flag("k", "disable", "tool:x", in_flight="stop"), "keep, drain, cut"),
    ],
)
def test_a_flag_no_switch_can_be_made_of_is_refused(make, said):
    with pytest.raises(ConfigurationError, match=said):
        make()


def test_a_flag_named_twice_is_refused(switches):
    twice = [Flag("k", "disable", "tool:a"), Flag("k", "disable", "tool:b")]
    with pytest.raises(ConfigurationError, match="twice"):
        follow_flags(switches, twice)
