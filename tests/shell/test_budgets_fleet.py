"""One budget, several processes, some of them killed: never more is spent than was allowed."""

import contextlib
import json
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys

import pytest

import firedoor as fd
from firedoor.core.prices import Price, worst_case
from firedoor.shell.sizes import input_bound
from firedoor.stores import open_store
from support import spender
from support.valkey import valkey
from support.waiting import until

pytestmark = pytest.mark.timeout(180)
SCRIPT = pathlib.Path(spender.__file__)
KEY = "llm:answer/fleet|-|"
LIMIT = 60_000
"""Micro-dollars: some hundred calls."""

ONE = worst_case(input_bound({"question": spender.PROMPT}), spender.MOST, Price(10, 10))
"""What a call may cost."""


@pytest.fixture(scope="module")
def server():
    with valkey() as running:
        yield running


@pytest.fixture(params=["sqlite", "redis"])
def state(request, tmp_path, server):
    return server.url() if request.param == "redis" else f"sqlite:///{tmp_path}/state.db"


@contextlib.contextmanager
def fleet(state, count=4, **told):
    """So many processes that spend; gives them when all have begun."""
    told = {"state": state, "usd": str(LIMIT / 1e6), "lease": 30.0, "calls": 10, **told}
    running = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), json.dumps({**told, "seed": seed})],
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(count)
    ]
    try:
        for process in running:
            assert process.stdout.readline() == "spending\n"
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()
            process.stdout.close()


def report(process):
    """What a process says at its end."""
    told = json.loads(process.stdout.readline())
    assert process.wait() == 0
    assert told["errors"] == []
    return told


@contextlib.contextmanager
def counter(state):
    """Asks for settled and held of the fleet's one counter."""
    with contextlib.closing(open_store(state)) as store:

        def ask():
            found = [b for key, b in store.counters().items() if key.startswith(KEY)]
            return tuple(found[0]) if found else (0, 0)

        yield ask


class TestAFleet:
    def test_spends_all_of_a_strict_budget_and_no_more(self, state):
        with fleet(state) as processes:
            told = [report(process) for process in processes]
        with counter(state) as ask:
            settled, held = ask()
        assert held == 0
        assert settled <= LIMIT
        # Nothing was lost, and no phantom hold kept anybody from what was left.
        assert settled == pytest.approx(
            sum(one["spent"] for one in told), abs=sum(one["decisions"] for one in told)
        )
        assert LIMIT - settled < 16 * ONE.worst_micro_usd

    def test_passes_another_by_one_call_at_the_most(self, state):
        with fleet(state, overshoot="last_call") as processes:
            for process in processes:
                report(process)
        with counter(state) as ask:
            settled, held = ask()
        assert held == 0
        assert LIMIT - ONE.worst_micro_usd <= settled <= LIMIT + ONE.worst_micro_usd

    @pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="nobody is killed here")
    def test_goes_on_without_those_that_were_killed(self, state):
        told = {"usd": str(4 * LIMIT / 1e6), "on_store_error": "closed"}
        with fleet(state, calls=10_000, lease=3.0, **told) as processes:
            with counter(state) as ask:
                until(lambda: ask()[0] > LIMIT / 4)
                for process in processes[:2]:
                    process.send_signal(signal.SIGKILL)
            told = [report(process) for process in processes[2:]]
        with counter(state) as ask:
            until(lambda: ask()[1] == 0)
            settled, _ = ask()
        assert sum(one["spent"] for one in told) <= settled <= 4 * LIMIT


HANGING = """
import sys, time
import firedoor as fd
from support import spender

door = fd.Firedoor("fleet", state=sys.argv[1], prices=spender.PRICES, lease=float(sys.argv[2]))

@door.llm(
    "answer",
    tiers=[fd.Tier("big", max_output=spender.MOST)],
    budgets=[fd.Budget(usd=1, per="month", name="fleet", on_store_error="closed")],
)
def answer(question, *, model):
    print("running", flush=True)
    time.sleep(600)

answer(spender.PROMPT)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="nobody is killed here")
class TestAKilledProcess:
    LEASE = 3.0
    """Seconds. It is renewed after one of them: as long may the machine be busy with others."""

    def hanging(self, state, lease):
        return subprocess.Popen(
            [sys.executable, "-c", HANGING, state, str(lease)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=SCRIPT.parent.parent,
        )

    def test_gives_back_its_hold_at_its_floor(self, state):
        """After the lease its prompt is charged, which was sent; and not the answer it never got."""
        process = self.hanging(state, self.LEASE)
        try:
            assert process.stdout.readline() == "running\n"
            with counter(state) as ask:
                assert ask() == (0, ONE.worst_micro_usd)
                process.send_signal(signal.SIGKILL)
                until(lambda: ask()[1] == 0)
                assert ask() == (ONE.input_micro_usd, 0)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def test_held_on_to_it_while_it_lived(self, state):
        """A call that outlasts its lease holds what it held: it is renewed."""
        process = self.hanging(state, self.LEASE)
        try:
            assert process.stdout.readline() == "running\n"
            with counter(state) as ask, contextlib.closing(open_store(state)) as store:
                # A hold of the test's own tells that a lease of that length has run out by now.
                line = fd.core.budget.Line("other", 10, 1, 1, 4e9)
                store.reserve("lease", [line], self.LEASE)
                until(lambda: store.balances(["other"])[0].held == 0)
                assert ask()[1] > 0
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("made", ["in the child", "in the parent"])
def test_a_forked_worker_tells_what_it_spent_as_it_ends(state, made):
    """One of `multiprocessing` ends without the handlers of `atexit`."""

    def make():
        door = fd.Firedoor("fleet", state=state, lease=60)
        answer = door.llm("answer", model="m", budgets=[fd.Budget(tokens=100_000, name="fleet")])(
            lambda *, model, max_tokens=500: {
                "object": "chat.completion",
                "model": model,
                "choices": [{"finish_reason": "stop", "message": {"content": "hi"}}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 500},
            }
        )
        return door, answer

    door, answer = make()
    answer()

    def work():
        (answer if made == "in the parent" else make()[1])()

    workers = [multiprocessing.get_context("fork").Process(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    door.flush()
    (counter,) = door.snapshot()["budgets"]["budgets"]["llm:answer/fleet"]["counters"].values()
    door.close()
    assert counter["settled"] == 4 * 510
