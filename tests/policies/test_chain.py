"""The chain: order, honesty about what did not run, and no exception whatever a policy does."""

import asyncio

import pytest

from firedoor.errors import ConfigurationError
from firedoor.policies import Chain, Context, Function, JsonSchema, MaxLength, Policy, Regex, policy
from firedoor.testing import FakeClock
from firedoor.types import Verdict, VerdictStatus


def statuses(screening):
    return [verdict.status for verdict in screening.verdicts]


def test_policies_run_in_order_on_what_the_one_before_left():
    """The second sees the marker of the first; raw text stays at hand."""
    seen = {}

    @policy(on="input")
    def look(text, context):
        seen.update(text=text, raw=context.raw, stage=context.stage, request=context.request)

    chain = Chain([Regex("secret", on="input", action="redact", name="s"), look])
    screening = chain.screen("a secret", "input", context="the request")
    assert screening.text == "a <s>"
    assert seen == {"text": "a <s>", "raw": "a secret", "stage": "input", "request": "the request"}
    assert statuses(screening) == ["redacted", "passed"]


@pytest.mark.parametrize(
    ("action", "status", "text", "blocked"),
    [
        ("allow", "passed", "a bad b", None),
        ("flag", "flagged", "a bad b", None),
        ("redact", "redacted", "a <regex> b", None),
        ("replace", "redacted", "a *** b", None),
        ("block", "blocked", "a bad b", "policy:regex"),
    ],
)
def test_each_action(action, status, text, blocked):
    """What is found is acted on, and named by kind."""
    screening = Chain([Regex("bad", on="output", action=action, replacement="***")]).screen(
        "a bad b", "output"
    )
    assert (screening.text, screening.blocked_by) == (text, blocked)
    (verdict,) = screening.verdicts
    assert (verdict.gate, verdict.status, verdict.stage, verdict.labels) == (
        "policy:regex",
        status,
        "output",
        ("regex",),
    )
    assert screening.flagged is (action == "flag")


def test_after_a_block_the_rest_is_skipped_never_passed():
    """They did not run."""
    chain = Chain(
        [
            MaxLength(3, on="input"),
            Regex("x", on="input"),
            Regex("y", on="input", level="strict", name="y"),
        ]
    )
    screening = chain.screen("long", "input")
    assert statuses(screening) == ["blocked", "skipped", "not_applicable"]
    assert screening.explain() == "policy:max_length refused the input (too_long): 1 found"


def test_other_stages_are_no_part_of_a_screening():
    """A policy says nothing about a stage it is not for."""
    chain = Chain(
        [Regex("x", on=("input", "tool_result"), name="x"), Regex("y", on="output", name="y")]
    )
    assert [v.gate for v in chain.screen("x", "tool_result", "normal").verdicts] == ["policy:x"]
    assert chain.screen("x", "retrieval").verdicts == ()
    assert chain.applies("output") and not chain.applies("retrieval")


def test_shadow_says_what_it_would_have_done_and_does_nothing():
    """Not even skip the rest."""
    chain = Chain(
        [Regex("bad", on="input", shadow=True), Regex("a", on="input", action="redact", name="a")]
    )
    screening = chain.screen("a bd bad", "input")
    assert [(v.status, v.shadow) for v in screening.verdicts] == [
        ("blocked", True),
        ("redacted", False),
    ]
    assert screening.blocked_by is None
    watching = Chain(chain.policies, shadow=True).screen("a bad", "input")
    assert watching.text == "a bad"
    assert [v.shadow for v in watching.verdicts] == [True, True]


def test_strictness_raises_level_and_action():
    """A switch turns a watcher into a gate; what nobody knows counts as the strictest."""
    chain = Chain(
        [
            Regex("bad", on="input", action="flag", strict_action="block"),
            Regex("b", on="input", level="lockdown"),
        ]
    )
    assert statuses(chain.screen("bad", "input", "normal")) == ["flagged", "not_applicable"]
    assert statuses(chain.screen("bad", "input", "strict")) == ["blocked", "not_applicable"]
    assert statuses(chain.screen("b", "input", "lockdown")) == ["passed", "blocked"]
    assert statuses(chain.screen("b", "input", "unheard of")) == ["passed", "blocked"]


@pytest.mark.parametrize(
    ("options", "blocked", "flagged"),
    [
        ({}, True, False),
        ({"action": "flag"}, False, True),
        ({"action": "flag", "on_error": "block"}, True, False),
        ({"on_error": "flag"}, False, True),
        ({"on_error": "allow"}, False, False),
        ({"shadow": True}, False, False),
    ],
)
def test_a_failing_policy_is_errored_and_does_as_told(options, blocked, flagged):
    """By default a failure is as harsh as a finding, and never harsher. Its message is not repeated."""

    @policy(on="input", **options)
    def broken(text):
        raise RuntimeError(text)

    screening = Chain([broken]).screen("sk-secret", "input")
    assert statuses(screening) == ["errored"]
    assert "sk-secret" not in repr(screening.verdicts)
    assert (screening.blocked_by is not None, screening.flagged) == (blocked, flagged)


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (None, "passed", "text"),
        (True, "passed", "text"),
        (False, "blocked", "text"),
        ("text", "passed", "text"),
        ("other", "redacted", "other"),
        (Verdict("mine", VerdictStatus.FLAGGED, labels=("odd",)), "flagged", "text"),
        (Verdict("mine", "blocked"), "blocked", "text"),
        (Verdict("mine", VerdictStatus.REDACTED, replacement="less"), "redacted", "less"),
        (Verdict("mine", VerdictStatus.REDACTED), "errored", "text"),
        (Verdict("mine", "nonsense"), "errored", "text"),
        (Verdict("mine", VerdictStatus.NOT_APPLICABLE), "not_applicable", "text"),
        (7, "errored", "text"),
    ],
)
async def test_what_a_function_may_answer(answer, status, text):
    """The same for sync and async functions."""

    @policy(on="input")
    def ask(text):
        return answer

    @policy(on="input", name="ask")
    async def aask(text):
        return answer

    one = Chain([ask]).screen("text", "input")
    two = await Chain([aask]).ascreen("text", "input")
    assert one == two
    assert statuses(one) == [status]
    assert one.text == text
    assert one.verdicts[0].gate == "policy:ask"


def test_a_policy_function_stays_a_function():
    """It can be called and tested as it was."""

    @policy(on="input", action="flag")
    def short(text):
        return len(text) < 3

    assert short("ab") is True
    assert isinstance(short, Function)
    assert statuses(Chain([short]).screen("long", "input")) == ["flagged"]


def test_functions_that_take_no_text_are_refused():
    """When they are decorated."""
    with pytest.raises(ConfigurationError, match="cannot be called with a text"):
        policy(on="input")(lambda: True)
    with pytest.raises(ConfigurationError, match="cannot be called with a text"):
        policy(on="input")(lambda a, b, c: True)


def test_an_awaitable_from_a_sync_function_is_an_error():
    """It is not taken for a yes."""

    async def later():
        return True

    screening = Chain([policy(on="input", name="p")(lambda text: later())]).screen("text", "input")
    assert statuses(screening) == ["errored"]


async def test_needs_async_is_known_beforehand():
    """Async functions, partials and callable objects alike; in sync code they are errored."""

    class Asker:
        async def __call__(self, text):
            return True

    chain = Chain([policy(on="output", name="a")(Asker()), Regex("x", on="input")])
    assert chain.needs_async() and chain.needs_async("output") and not chain.needs_async("input")
    assert statuses(chain.screen("text", "output")) == ["errored"]
    assert statuses(await chain.ascreen("text", "output")) == ["passed"]


async def test_an_async_policy_is_cancelled_at_its_time_budget():
    """Measured by the door's clock."""
    clock = FakeClock()
    cancelled = []

    @policy(on="input", timeout=2.0)
    async def slow(text):
        try:
            await clock.asleep(10)
        except asyncio.CancelledError:
            cancelled.append(text)
            raise

    screening = asyncio.ensure_future(Chain([slow], clock=clock).ascreen("text", "input"))
    await asyncio.sleep(0)
    while not screening.done():
        clock.advance(1.0)
        for _ in range(5):
            await asyncio.sleep(0)
    verdict = (await screening).verdicts[0]
    assert (verdict.status, verdict.reason) == ("errored", "took longer than 2 s; blocked")
    assert cancelled == ["text"]


async def test_a_time_out_of_the_policys_own_is_not_blamed_on_the_budget():
    """Its type is told."""

    @policy(on="input", timeout=5.0)
    async def broken(text):
        raise TimeoutError

    verdict = (await Chain([broken]).ascreen("text", "input")).verdicts[0]
    assert verdict.reason == "TimeoutError; blocked"


async def test_cancelling_the_screening_cancels_the_policy():
    """Nothing goes on running for nobody."""
    ended = asyncio.Event()

    @policy(on="input", timeout=50.0)
    async def slow(text):
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.ensure_future(Chain([slow]).ascreen("text", "input"))
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(ended.wait(), 5)


@pytest.mark.parametrize(("finds", "status"), [(True, "blocked"), (False, "errored")])
def test_a_sync_overrun_keeps_its_finding_and_loses_its_pass(finds, status):
    """It could not be stopped; what it found is still true."""
    clock = FakeClock()

    @policy(on="input", timeout=0.1)
    def slow(text):
        clock.advance(0.2)
        return not finds

    verdict = Chain([slow], clock=clock).screen("text", "input").verdicts[0]
    assert verdict.status == status
    assert "took longer than 0.1 s" in verdict.reason


async def test_overlapping_policies_are_apart():
    """One chain before the call, one beside it; together they say all that the chain says."""

    @policy(on="input", overlap=True)
    async def slow(text):
        return "bad" not in text

    chain = Chain(
        [Regex("x", on="input", action="redact"), slow, Regex("y", on="output", name="y")]
    )
    blocking, overlapping = chain.split("input")
    first = blocking.screen("x bad", "input")
    second = await overlapping.ascreen(first.text, "input")
    assert (first.text, first.blocked_by, second.blocked_by) == ("<regex> bad", None, "policy:slow")
    assert not blocking.needs_async() and not overlapping.applies("output")


async def test_an_overlapping_policy_that_wants_a_change_blocks():
    """The text is already sent."""
    chain = Chain([policy(on="input", overlap=True, name="p")(str.upper)])
    screening = chain.split("input")[1].screen("text", "input")
    assert statuses(screening) == ["blocked"]
    assert screening.text == "text"
    assert "already sent" in screening.verdicts[0].reason


def test_two_policies_of_one_name_are_told_apart():
    """By number, also after a split."""
    chain = Chain(
        [Regex("a", on="input"), Regex("b", on="input"), Regex("c", on="input", overlap=True)]
    )
    assert [v.gate for v in chain.screen("b", "input").verdicts] == [
        "policy:regex",
        "policy:regex-2",
        "policy:regex-3",
    ]
    assert chain.screen("b", "input").blocked_by == "policy:regex-2"
    assert chain.split("input")[1].screen("c", "input").blocked_by == "policy:regex-3"


def test_own_policy_class():
    """A subclass needs `judge` and nothing else."""

    class Shouting(Policy):
        def judge(self, text: str, context: Context):
            return self.verdict(context, labels=["shouting"]) if text.isupper() else None

    chain = Chain([Shouting(on="input", action="flag", name="shouting")])
    assert statuses(chain.screen("HELP", "input")) == ["flagged"]
    assert statuses(chain.screen("help", "input")) == ["passed"]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Regex("(", on="input"), "not a regular expression"),
        (lambda: Regex("a*", on="input"), "empty string"),
        (lambda: Regex("a+", on="output"), "max_length="),
        (lambda: Regex("a(?=.*b)", on="output"), "looks ahead without a bound"),
        (lambda: Regex("a", on="nowhere"), "on"),
        (lambda: Regex("a", on=()), "names no stage"),
        (lambda: Regex("a", on="input", action="burn"), "action"),
        (lambda: Regex("a", on="input", timeout=0), "timeout"),
        (lambda: Regex("a", on="output", overlap=True), "overlap=True needs on='input'"),
        (lambda: Regex("a", on="input", overlap=True, action="redact"), "already sent"),
        (lambda: Regex("a", on="input", reads="raw", action="redact"), "reads='raw'"),
        (lambda: Regex("a", on="input", reads="raw", strict_action="replace"), "reads='raw'"),
        (lambda: JsonSchema(int, on="output", action="redact"), "no span"),
        (lambda: JsonSchema({"type": 7}, on="output"), "not a valid JSON Schema"),
        (lambda: JsonSchema(object(), on="output"), "no type"),
        (lambda: MaxLength(-1, on="output"), "limit"),
        (lambda: Chain([len]), "not a policy"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_made(make, says):
    """With the field, the value, and a way out."""
    with pytest.raises(ConfigurationError) as refused:
        make()
    assert says in str(refused.value)
