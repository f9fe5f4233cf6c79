"""The limiter: examples a reader needs, then any order of events against the rules."""

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from firedoor.config import Limiter
from firedoor.core.limiter import ConcurrencyLimit, Ended, Shed, Ticket, TicketState
from firedoor.errors import ConfigurationError
from support.unbroken import Unbroken


def make(**settings):
    return ConcurrencyLimit(Limiter(**{"max_concurrent": 1, "max_wait": 10.0} | settings))


def ask(limiter, now=0.0, **more):
    return limiter.acquire(now, **more)[0]


def test_as_many_run_as_may():
    limiter = make(max_concurrent=2, max_wait=0.0)
    first, second = ask(limiter), ask(limiter)
    assert first.state is second.state is TicketState.ADMITTED
    assert ask(limiter) == Shed("saturated", None)
    assert limiter.release(first, 1.0, Ended.SAMPLE) == []
    assert ask(limiter, 1.0).state is TicketState.ADMITTED


def test_who_waits_comes_in_when_a_call_ends():
    limiter = make()
    running, waiting = ask(limiter), ask(limiter)
    assert waiting.state is TicketState.WAITING
    assert limiter.release(running, 3.0, Ended.SAMPLE) == [waiting]
    assert (waiting.state, waiting.began) == (TicketState.ADMITTED, 3.0)


def test_the_more_important_journey_comes_in_first():
    limiter = make(priority=("checkout", "search"), max_queue=4)
    running = ask(limiter)
    other, search, checkout = (
        ask(limiter, journey=journey) for journey in (None, "search", "checkout")
    )
    order = []
    while running is not None:
        (running,) = limiter.release(running, 0.0, Ended.SAMPLE) or (None,)
        order.append(running)
    assert order == [checkout, search, other, None]


def test_a_full_queue_sheds_the_newest_of_the_least_important():
    limiter = make(priority=("checkout",), max_queue=2)
    ask(limiter)
    old, new = ask(limiter), ask(limiter)
    checkout, shed = limiter.acquire(0.0, journey="checkout")
    assert shed == [new]
    assert (old.state, new.state) == (TicketState.WAITING, TicketState.SHED)
    assert limiter.expire(new) == Shed("outranked", None)
    assert checkout.state is TicketState.WAITING


def test_an_equal_newcomer_does_not_displace_anybody():
    limiter = make(priority=("checkout",), max_queue=1)
    ask(limiter)
    ask(limiter, journey="checkout")
    assert ask(limiter, journey="checkout") == Shed("queue_full", None)
    assert ask(limiter, journey="newsletter") == Shed("queue_full", None)


def test_nobody_waits_past_the_deadline():
    limiter = make(max_wait=10.0, max_queue=2)
    ask(limiter)
    assert ask(limiter, 0.0, deadline=4.0).expires == 4.0
    assert ask(limiter, 0.0, deadline=99.0).expires == 10.0
    assert ask(limiter, 5.0, deadline=5.0) == Shed("too_late", None)


def test_a_deadline_that_is_over_gets_no_place_even_where_there_is_one():
    assert ask(make(), 5.0, deadline=5.0) == Shed("too_late", None)


def test_nobody_is_admitted_at_the_moment_the_wait_ends():
    limiter = make(max_wait=10.0)
    running, waiting = ask(limiter), ask(limiter)
    assert limiter.release(running, 10.0, Ended.SAMPLE) == [waiting], "woken, to be told"
    assert waiting.state is TicketState.EXPIRED
    assert limiter.read().running == 0


def test_a_wait_that_cannot_end_in_time_does_not_begin():
    """One runs for about 5 s each; with two ahead, a third place is 10 s away at the least."""
    limiter = make(max_wait=9.0, max_queue=9)
    limiter.release(ask(limiter), 5.0, Ended.SAMPLE)
    for _ in range(3):
        assert isinstance(ask(limiter, 5.0), Ticket)
    assert ask(limiter, 5.0) == Shed("too_late", 15.0)


def test_a_cancellation_that_crosses_an_admission_passes_the_place_on():
    limiter = make(max_queue=2)
    running, second, third = ask(limiter), ask(limiter), ask(limiter)
    limiter.release(running, 1.0, Ended.SAMPLE)
    assert limiter.leave(second, 1.0) == [third]
    assert limiter.read().running == 1


def test_releasing_twice_is_releasing_once():
    limiter = make(max_concurrent=2)
    ticket, _ = ask(limiter), ask(limiter)
    limiter.release(ticket, 0.0, Ended.SAMPLE)
    assert limiter.release(ticket, 0.0, Ended.SAMPLE) == []
    assert limiter.read().running == 1


def test_an_adaptive_limit_follows_drops_and_does_not_call_back_who_runs():
    limiter = make(max_concurrent=20, max_wait=0.0, adaptive=True)
    tickets = [ask(limiter) for _ in range(20)]
    now = 0.0
    for ticket in tickets[:5]:
        now += 1.5
        limiter.release(ticket, now, Ended.DROPPED)
    load = limiter.read()
    assert load.running == 15
    assert load.limit == 13
    assert isinstance(ask(limiter, now), Shed)


def test_what_says_nothing_of_the_load_moves_nothing():
    limiter = make(max_concurrent=20, adaptive=True)
    for n in range(100):
        limiter.release(ask(limiter, float(n)), n + 0.9, Ended.SILENT)
    assert (limiter.read().limit, limiter.read().latency) == (20, None)


@pytest.mark.parametrize("adaptive", [False, True])
def test_no_thread_comes_in_while_the_guard_is_held_and_nobody_waits(adaptive):
    """Else all who come by would queue for it, and go on queueing for each other."""
    guard = Unbroken()
    limiter = ConcurrencyLimit(Limiter(max_concurrent=2, adaptive=adaptive), guard)
    limiter.release(ask(limiter), 1.0, Ended.SAMPLE)  # the first sampling window begins
    guard.breaks.clear()
    for ended in Ended:
        ticket = ask(limiter, 1.1)
        limiter.release(ticket, 1.2, ended)
        limiter.release(ticket, 1.2, ended)
    assert guard.breaks == []
    ask(limiter), ask(limiter), ask(limiter)
    assert guard.breaks != [], "who waits is waited for anyway"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"min_concurrent": 9, "max_concurrent": 8}, "min_concurrent=9"),
        ({"max_wait": -1.0}, "max_wait"),
        ({"priority": ("a", "b", "a")}, "'a' is named twice"),
        ({"max_queue": 5}, "max_wait"),
    ],
)
def test_a_value_that_cannot_work_says_so(wrong, said):
    with pytest.raises(ConfigurationError, match=said):
        Limiter(**wrong)


@dataclass(eq=False)
class Mine:
    """A ticket and what the test knows of it."""

    ticket: Ticket
    rank: int
    order: int


class Rules(RuleBasedStateMachine):
    """Any order of events, and the rules of the module's first page after each."""

    @initialize(
        config=st.builds(
            Limiter,
            max_concurrent=st.integers(1, 3),
            max_queue=st.integers(0, 4),
            max_wait=st.just(6.0),
            priority=st.just(("gold", "silver")),
        )
    )
    def begin(self, config):
        self.config = config
        self.limiter = ConcurrencyLimit(config)
        self.now = 0.0
        self.running, self.waiting = [], []
        self.asked = 0

    def decide(self, tickets):
        """Take in an answer: the admitted must be those whose turn it was."""
        for ticket in tickets:
            turn = min(self.waiting, key=lambda t: (t.rank, t.order)) if self.waiting else None
            assert ticket is turn
            self.waiting.remove(ticket)
            if ticket.ticket.state is TicketState.ADMITTED:
                assert self.now < ticket.ticket.expires
                self.running.append(ticket)
            else:
                assert ticket.ticket.state is TicketState.EXPIRED
                assert self.now >= ticket.ticket.expires

    @rule(seconds=st.sampled_from([0.0, 1.0, 3.0, 7.0]))
    def wait(self, seconds):
        self.now += seconds

    @rule(
        journey=st.sampled_from(["gold", "silver", "iron", None]),
        left=st.sampled_from([None, 0.0, 2.0, 60.0]),
    )
    def acquire(self, journey, left):
        deadline = None if left is None else self.now + left
        rank = {"gold": 0, "silver": 1}.get(journey, 2)
        full = len(self.waiting) >= self.config.max_queue
        latency = self.limiter.read().latency
        answer, shed = self.limiter.acquire(self.now, journey=journey, deadline=deadline)
        if isinstance(answer, Shed):
            assert not shed
            expires = min(self.now + 6.0, self.now + 60.0 if left is None else deadline)
            ahead = sum(t.rank <= rank for t in self.waiting)
            match answer.reason:
                case "too_late":
                    wait = 0.0 if latency is None else ahead * latency / self.config.max_concurrent
                    assert left == 0.0 or self.now + wait > expires
                case "saturated":
                    assert self.config.max_queue == 0
                    assert len(self.running) == self.config.max_concurrent
                case "queue_full":
                    assert full
                    assert all(t.rank <= rank for t in self.waiting)
            return
        self.asked += 1
        mine = Mine(answer, rank, self.asked)
        if shed:
            worst = max(self.waiting, key=lambda t: (t.rank, t.order))
            assert full
            assert [worst.ticket] == shed
            assert worst.rank > rank
            assert worst.ticket.state is TicketState.SHED
            self.waiting.remove(worst)
        if answer.state is TicketState.ADMITTED:
            assert len(self.running) < self.config.max_concurrent
            self.running.append(mine)
        else:
            assert len(self.running) == self.config.max_concurrent
            self.waiting.append(mine)

    def known(self, tickets):
        return [next(m for m in self.waiting if m.ticket is t) for t in tickets]

    @rule(which=st.integers(0, 9), ended=st.sampled_from(Ended))
    def release(self, which, ended):
        if self.running:
            mine = self.running.pop(which % len(self.running))
            self.decide(self.known(self.limiter.release(mine.ticket, self.now, ended)))

    @rule(which=st.integers(0, 9))
    def leave(self, which):
        if self.waiting:
            mine = self.waiting.pop(which % len(self.waiting))
            assert self.limiter.leave(mine.ticket, self.now) == []
            assert mine.ticket.state is TicketState.LEFT

    @rule(which=st.integers(0, 9))
    def leave_admitted(self, which):
        if self.running:
            mine = self.running.pop(which % len(self.running))
            self.decide(self.known(self.limiter.leave(mine.ticket, self.now)))

    @rule(which=st.integers(0, 9))
    def expire(self, which):
        if self.waiting:
            mine = self.waiting.pop(which % len(self.waiting))
            assert self.limiter.expire(mine.ticket).reason == "expired"

    @invariant()
    def the_books_are_right(self):
        if hasattr(self, "limiter"):
            load = self.limiter.read()
            assert (load.running, load.waiting) == (len(self.running), len(self.waiting))
            assert load.running <= load.limit
            assert load.waiting <= self.config.max_queue
            assert not load.waiting or load.running == load.limit, (
                "nobody waits beside a free place"
            )


TestAnyOrder = Rules.TestCase
TestAnyOrder.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
