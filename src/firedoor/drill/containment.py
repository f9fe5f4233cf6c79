"""Three incidents that the copilot's gates contain by themselves, and a switch from outside.

Nothing is scripted but the faults: what is expected is read from the decisions that followed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import firedoor as fd
from firedoor.core.switches import Kind
from firedoor.drill.copilot import Answer
from firedoor.drill.faults import Fault, FaultKind
from firedoor.drill.gates import REQUEST_USD, RUNAWAY_ROUNDS, SAFE
from firedoor.drill.stage import Expectation, Played, Scene, Stage, decided, model_decision
from firedoor.types import Outcome

__all__ = ["contained"]

USER = "u-23"

AT_ONCE = 4
"""Users who ask at the same time: saturation is not an affair of one."""

MOST_USERS = 40
"""After so many without an open circuit the incident counts as not contained."""

ROUTE = "llm:answer"

COMMAND_TIMEOUT = 20.0
"""Seconds within which the second process must have done what it was started for."""

RECOVERED_WITHIN = 20.0
"""Seconds after an outage in which the first model must answer again."""

FOLLOWED_WITHIN = 1.0
"""Seconds in which a switch must act in every other process."""


def contained() -> list[Scene]:
    """Budget runaway, latency saturation, a switch from a second process, provider outage."""
    return [
        Scene(
            "budget_runaway",
            "The model never comes to an end, and the copilot asks again and again",
            "An agent in a loop spends as fast as the provider answers.",
            _runaway,
        ),
        Scene(
            "latency_saturation",
            "The model's answers are right, but each comes late",
            "Slow answers are not errors: a counter of failures sees a healthy provider.",
            _saturation,
        ),
        Scene(
            "second_process",
            "An operator takes the slow model out, from another process",
            "No deploy and no restart: the next call is another one.",
            _operator,
        ),
        Scene(
            "provider_outage",
            "The provider is down, the second deployment with it",
            "Time-outs and retries of every user add up while nothing can answer.",
            _outage,
        ),
    ]


def _runaway(stage: Stage) -> Played:
    fault = Fault(
        FaultKind.WRONG_ANSWER, text="I need to look further before I can answer.", times=None
    )
    injection = stage.proxy.board.inject(fault)
    try:
        answer = stage.guarded.research(
            next(stage.questions).text, user=USER, rounds=RUNAWAY_ROUNDS
        )
    finally:
        stage.proxy.board.clear(injection.id)
    calls = _model_calls([answer])
    paid = sum(one.cost_usd or 0.0 for one in calls)
    stopped = calls[-1].latency_s if calls else 0.0
    return Played(
        answer,
        [
            decided("outcome", Outcome.CANNED),
            decided("budget", "exhausted"),
            Expectation("the user saw", lambda answer: answer.text, SAFE),
            Expectation("rounds", lambda _: 3 < len(calls) < RUNAWAY_ROUNDS, True),
            Expectation("spent at most", lambda _: paid <= float(REQUEST_USD), True),
            Expectation("requests to the model", lambda _: injection.struck, len(calls) - 1),
        ],
        (
            f"spent     ${paid:.4f} of ${REQUEST_USD} in {len(calls) - 1} rounds",
            f"contained the next call was refused in {_time(stopped)}",
        ),
    )


def _saturation(stage: Stage) -> Played:
    slow = Fault(
        FaultKind.STALL,
        seconds=1.2 * stage.endpoint.patience,
        model=stage.endpoint.model,
        times=None,
    )
    injection = stage.proxy.board.inject(slow)
    began = time.perf_counter()
    try:
        before: list[Answer] = []
        while _breaker(stage) != "open" and len(before) < MOST_USERS:
            before += _crowd(stage)
        opened, state = time.perf_counter() - began, _breaker(stage)
        after = _crowd(stage)
    finally:
        stage.proxy.board.clear(injection.id)
    late, quick = _model_calls(before), _model_calls(after)
    # On a slow machine the open time may be over by then: one trial is let through, and no more.
    return Played(
        max(after, key=lambda answer: 0 if (one := model_decision(answer)) is None else one.tier),
        [
            decided("outcome", Outcome.DEGRADED),
            decided("tier", 1),
            Expectation("users with an error", lambda _: _errors(before + after), 0),
            Expectation("failed calls", lambda _: _failed(late + quick), 0),
            Expectation("the circuit is", lambda _: state, "open"),
            Expectation("more than one trial", lambda _: _tried(quick, 0) > 1, False),
        ],
        (
            f"contained circuit open by its slow-call rate after {_time(opened)}",
            f"users     waited {_time(_worst(before))} at worst, then {_time(_worst(after))}",
        ),
    )


def _operator(stage: Stage) -> Played:
    """The model is slow still. The switch is set, and taken back, by a process of its own."""
    board = stage.door.switches
    slow = Fault(
        FaultKind.STALL, seconds=stage.endpoint.patience, model=stage.endpoint.model, times=None
    )
    injection = stage.proxy.board.inject(slow)
    try:
        switch, answers, acted = _while_running(
            stage, "minimum-tier", ROUTE, "1", "--reason", "answers come late", "--ttl", "10m"
        )
    finally:
        stage.proxy.board.clear(injection.id)
    shown = [one.kind for one in board.active()]
    gone, healed, back = _while_running(stage, "revert", switch, "--reason", "quick again")
    first = answers[-1]
    return Played(
        first,
        [
            decided("tier", 1),
            decided("switches", (switch,)),
            Expectation("on in this process", lambda _: shown, [Kind.MINIMUM_TIER]),
            Expectation("acted in under a second", lambda _: acted < FOLLOWED_WITHIN, True),
            Expectation("users with an error", lambda _: _errors(answers + healed), 0),
            Expectation("taken back", lambda _: gone, switch),
            Expectation("on afterwards", lambda _: len(board.active()), 0),
        ],
        (
            f"command   firedoor switch minimum-tier {ROUTE} 1 --ttl 10m --state …",
            f"acted     {_time(acted)} after the other process set it; undone in {_time(back)}",
        ),
    )


def _outage(stage: Stage) -> Played:
    down = Fault(FaultKind.ERROR, status=503, text="Service unavailable", times=None)
    _recover(stage)
    injection = stage.proxy.board.inject(down)
    began = time.perf_counter()
    answers: list[Answer] = []
    try:
        while not _all_open(stage) and len(answers) < MOST_USERS:
            answers += _crowd(stage)
        opened, shut = time.perf_counter() - began, _all_open(stage)
        answers += _crowd(stage)
        struck = injection.struck
    finally:
        stage.proxy.board.clear(injection.id)
    recovered = _recover(stage)
    last = answers[-1]
    return Played(
        last,
        [
            decided("outcome", Outcome.CANNED),
            Expectation("the user saw", lambda answer: answer.text, SAFE),
            Expectation("users with an error", lambda _: _errors(answers), 0),
            Expectation("both circuits opened", lambda _: shut, True),
            Expectation("attempts for the last one", lambda _: _attempts(last), 0),
            Expectation("answered again afterwards", lambda _: recovered is not None, True),
        ],
        (
            f"contained both circuits open {_time(opened)} after the first 503",
            f"requests  {len(answers)} users asked, {struck} requests reached the provider",
            f"recovered {_time(recovered or 0.0)} after the provider was back, by a trial call",
        ),
    )


# What happened -------------------------------------------------------------------------------


def _crowd(stage: Stage) -> list[Answer]:
    """A few users ask at once."""
    questions = [next(stage.questions).text for _ in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda text: stage.guarded.ask(text, user=USER), questions))


def _while_running(stage: Stage, *words: str) -> tuple[str, list[Answer], float]:
    """Users ask on while `firedoor switch …` runs, until a call begins under what it did.

    Answers the switch's id, what users got, and the seconds from the change to its effect here.
    """
    board = stage.door.switches
    heard: list[float] = []
    leave = board.subscribe(lambda _: heard.append(time.time()))
    command = [sys.executable, "-m", "firedoor.cli", "switch", *words, "--json"]
    answers: list[Answer] = []
    try:
        with subprocess.Popen(  # noqa: S603 - our own command, with words of our own
            [*command, "--actor", "drill", "--state", stage.state],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            deadline = time.monotonic() + COMMAND_TIMEOUT
            while not heard and time.monotonic() < deadline:
                answers.append(stage.guarded.ask(next(stage.questions).text, user=USER))
                if process.poll() not in (None, 0):
                    break
            answers.append(stage.guarded.ask(next(stage.questions).text, user=USER))
            try:
                out, err = process.communicate(timeout=COMMAND_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
    finally:
        leave()
    if process.returncode != 0 or not heard:
        return f"the command failed: {err.strip()}", answers, COMMAND_TIMEOUT
    entry = board.history()[-1]
    return _switch_of(out), answers, heard[0] - entry.at


def _switch_of(out: str) -> str:
    told: dict[str, Any] = json.loads(out)
    switch: dict[str, Any] = told.get("switch") or told.get("reverted") or {}
    return str(switch.get("id"))


def _recover(stage: Stage) -> float | None:
    """Ask until the first tier answers again; the seconds it took, or None if it never does."""
    began = time.perf_counter()
    while time.perf_counter() - began < RECOVERED_WITHIN:
        answer = stage.guarded.ask(next(stage.questions).text, user=USER)
        decision = model_decision(answer)
        if decision is not None and decision.outcome is Outcome.ANSWERED and decision.tier == 0:
            return time.perf_counter() - began
        time.sleep(0.05)
    return None


def _breaker(stage: Stage) -> str:
    """The state of the first tier's circuit."""
    breakers: dict[str, dict[str, str]] = stage.door.snapshot()["breakers"]
    known = breakers.get(f"{ROUTE}/{stage.endpoint.model}")
    return "closed" if known is None else known["state"]


def _all_open(stage: Stage) -> bool:
    return all(one["state"] == "open" for one in stage.door.snapshot()["breakers"].values())


def _model_calls(answers: Sequence[Answer]) -> list[fd.Decision]:
    return [one for answer in answers for one in answer.decisions if one.kind == "llm"]


def _errors(answers: Sequence[Answer]) -> int:
    return sum(answer.error is not None for answer in answers)


def _failed(decisions: Sequence[fd.Decision]) -> int:
    return sum(one.outcome is Outcome.FAILED for one in decisions)


def _tried(decisions: Sequence[fd.Decision], tier: int) -> int:
    """Attempts that were made on a tier, not skipped."""
    return sum(
        attempt.tier == tier and attempt.reason is None
        for one in decisions
        for attempt in one.attempts
    )


def _attempts(answer: Answer) -> int:
    decision = model_decision(answer)
    made = () if decision is None else decision.attempts
    return sum(one.reason is None and one.model is not None for one in made)


def _worst(answers: Sequence[Answer]) -> float:
    return max(one.latency_s for one in _model_calls(answers))


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.0f} ms"
