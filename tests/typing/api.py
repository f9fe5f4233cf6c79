"""A user's file, fully typed: what mypy --strict and pyright must accept, and infer.

Not run; checked. `assert_type` fails the check when a decorator loses a function's own type.
"""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import firedoor as fd

door = fd.Firedoor("typed-app", capture="redacted")


@door.llm("answer", model="gpt-5")
def answer(question: str, *, model: str = fd.ROUTED) -> str:
    return f"{model}: {question}"


@door.llm("aanswer", model="gpt-5")
async def aanswer(question: str, *, model: str = fd.ROUTED) -> str:
    return f"{model}: {question}"


@door.llm("stream", model="gpt-5")
def stream(question: str) -> Iterator[str]:
    yield question


@door.llm("astream", model="gpt-5")
async def astream(question: str) -> AsyncIterator[str]:
    yield question


@door.retrieval("kb", depth="k")
def search(query: str, *, k: int = 8) -> list[dict[str, str]]:
    return [{"id": query}] * k


class Desk:
    @door.tool("refund", effect="write")
    def refund(self, order: str, amount: float) -> bool:
        return bool(order and amount)

    @classmethod
    @door.tool("open", effect="read")
    def open(cls, name: str) -> "Desk":
        return cls()

    @staticmethod
    @door.tool("price")
    def price(item: str) -> float:
        return float(len(item))


async def use() -> None:
    with door.request("help", user="u", tenant="t", deadline=20.0) as request:
        assert_type(answer("?"), str)
        assert_type(await aanswer("?"), str)
        assert_type(next(stream("?")), str)
        async for part in astream("?"):
            assert_type(part, str)
        assert_type(search("?", k=3), list[dict[str, str]])
        assert_type(Desk().refund("o", 1.0), bool)
        assert_type(Desk.open("x"), Desk)
        assert_type(Desk.price("x"), float)
    assert_type(request.decisions, tuple[fd.Decision, ...])
    assert_type(request.cost_usd, float)
    assert_type(request.outcome, fd.Outcome | None)

    async with door.request("help") as request:
        pass

    with door.llm("block", model="gpt-5") as call:
        call.record("text")
    assert_type(call.decision, fd.Decision | None)
    async with door.llm("block", model="gpt-5") as call:
        call.record("text")
    for attempt in door.llm("draft", model="gpt-5").attempts():
        with attempt:
            attempt.record(answer("?"))
    async for attempt in door.llm("draft", model="gpt-5").attempts():
        with attempt:
            attempt.record("text")
    assert_type(fd.wrap(answer)("?"), str)
    assert_type(fd.Redactor().redact("a@b.example"), str)


@door.on_decision
def listen(decision: fd.Decision) -> None:
    assert_type(decision.outcome, fd.Outcome)
    assert_type(decision.usage, fd.Usage | None)


door.watch(fd.alerts.defaults(journeys={"checkout-help": fd.Journey(p95=6.0, critical=True)}))
door.watch(
    [
        fd.Alert(
            "refusals-up",
            signal="refusal_rate",
            journey="checkout-help",
            rule=fd.rules.Shift(baseline=3600, window=300, factor=2.0, minimum=50, confidence=0.99),
            incident_class="quality_regression",
            first_action=fd.actions.SwitchAlias("gpt-5", "gpt-5-mini", ttl="30m"),
            then=(fd.actions.SafeMode(ttl="30m"), fd.actions.Call(print, name="say so")),
            mode="auto",
        )
    ]
)
for incident in door.incidents.current():
    assert_type(incident, fd.Incident)
    assert_type(incident.severity, fd.Severity)
    incident.contain("by hand", actor="ana")
    incident.close([fd.Finding("text", owner="safety", probe=None)], waiver="none yet")


def tone(answer: str, context: fd.CheckContext) -> fd.Score:
    return fd.Score(1.0 if context.documents else 0.0, claims=1, unsupported=0)


async def judged(answer: str, context: fd.CheckContext) -> bool:
    return context.question in answer


door.check("groundedness", sample=0.1)
door.check("tone", tone, timeout=2.0, budget=fd.Budget(calls=100, per="hour"))
door.check("judged", judged, routes=["llm:answer"])
door.check("short", lambda answer, context: len(answer) < 100)


def thumbs(request: fd.Request) -> None:
    request.feedback(score=0.0, comment="no")
    assert_type(door.feedback(request.id, 1.0), bool)
