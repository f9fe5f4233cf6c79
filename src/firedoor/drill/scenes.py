"""The story of the drill: healthy questions, then every way in which a provider fails."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import openai

from firedoor.drill.copilot import TIMEOUT, Answer
from firedoor.drill.faults import Fault, FaultKind
from firedoor.drill.questions import Question
from firedoor.drill.stage import Expectation, Played, Scene, Stage, decided
from firedoor.types import Fault as Blame
from firedoor.types import Outcome

__all__ = ["failing", "healthy"]

USER = "u-17"

Play = Callable[[Stage], Played]


def healthy(questions: Iterable[Question]) -> list[Scene]:
    """One scene per question; answers are whole, streamed, and streamed on an event loop in turn."""
    shapes = ("whole", "streamed", "async")
    return [
        Scene(shape, question.text, f"{question.about} answers it.", _healthy(question, shape))
        for question, shape in zip(questions, itertools.cycle(shapes), strict=False)
    ]


def _healthy(question: Question, shape: str) -> Play:
    def play(stage: Stage) -> Played:
        if shape == "async":
            answer = stage.runner.run(stage.copilot.ask_async(question.text, user=USER))
        else:
            answer = stage.copilot.ask(question.text, user=USER, stream=shape == "streamed")
        return Played(
            answer,
            [
                decided("outcome", Outcome.ANSWERED),
                decided("truncated", False),
                Expectation(
                    "sources", lambda answer: _sources(answer, question.about), question.about
                ),
                Expectation("streamed", _streamed, shape != "whole"),
                Expectation("tokens", _counted, True),
            ],
        )

    return play


def failing() -> list[Scene]:
    """One scene per fault of the proxy, and two that users bring about themselves."""
    return [
        Scene(
            "error",
            "The provider answers 503, and its message quotes an API key",
            "Error texts go to logs and traces: exporters do not read them first.",
            _error,
        ),
        Scene(
            "rate_limit",
            "The provider answers 429 with Retry-After: 7",
            "The application gets the provider's own exception, header and all.",
            _rate_limit,
        ),
        Scene(
            "stall",
            "The provider says nothing until the client gives up",
            "A time-out is the provider's failure, not the application's.",
            _stall,
        ),
        Scene(
            "stall_inside",
            "A stream stops in the middle and hangs",
            "The user has read half an answer by then.",
            _broken_stream(FaultKind.STALL_INSIDE),
        ),
        Scene(
            "cut",
            "A stream ends politely, but without a finish reason",
            "The client raises nothing: half an answer passes for a whole one.",
            _cut,
        ),
        Scene(
            "drop",
            "The connection breaks in the middle of a stream",
            "The first half was delivered, and paid for.",
            _broken_stream(FaultKind.DROP),
        ),
        Scene(
            "malformed",
            "A chunk of the stream is broken JSON",
            "The client lets a bare JSONDecodeError out: whose fault is that?",
            _broken_stream(FaultKind.MALFORMED),
        ),
        Scene(
            "refusal",
            "The model declines to answer",
            "HTTP 200, finish reason stop: to every dashboard, a success.",
            _refusal,
        ),
        Scene(
            "wrong_answer",
            "The model answers fluently and wrongly",
            "Nothing on the wire tells: recorded as answered, with its sources to check it by.",
            _wrong_answer,
        ),
        Scene(
            "leak",
            "The model says a credential in the middle of its answer",
            "Whoever records answers now stores a secret.",
            _leak,
        ),
        Scene(
            "personal_data",
            "A user types an e-mail address and a card number",
            "Whoever records questions now stores personal data.",
            _personal_data,
        ),
        Scene(
            "left",
            "The user walks away in the middle of a stream",
            "Not a failure, and not an answer either.",
            _left,
        ),
    ]


def _error(stage: Stage) -> Played:
    text = f"Overloaded. Request made with key {stage.plants.api_key}"
    return _strike(
        stage,
        Fault(FaultKind.ERROR, status=503, text=text),
        decided("outcome", Outcome.FAILED),
        decided("fault", Blame.TARGET),
        Expectation("the application sees", _exception, openai.InternalServerError.__name__),
        Expectation("the key is recorded", _recorded(stage.plants.api_key), False),
    )


def _rate_limit(stage: Stage) -> Played:
    return _strike(
        stage,
        Fault(FaultKind.RATE_LIMIT, retry_after=7),
        decided("outcome", Outcome.FAILED),
        decided("fault", Blame.TARGET),
        Expectation("the application sees", _exception, openai.RateLimitError.__name__),
        Expectation("Retry-After", _retry_after, "7"),
    )


def _stall(stage: Stage) -> Played:
    return _strike(
        stage,
        Fault(FaultKind.STALL, seconds=3 * stage.endpoint.patience),
        decided("outcome", Outcome.FAILED),
        decided("fault", Blame.TARGET),
        Expectation("the application sees", _exception, openai.APITimeoutError.__name__),
    )


def _broken_stream(kind: FaultKind) -> Play:
    def play(stage: Stage) -> Played:
        return _strike(
            stage,
            Fault(kind, seconds=3 * stage.endpoint.patience, after=2),
            decided("outcome", Outcome.FAILED),
            decided("fault", Blame.TARGET),
            decided("truncated", True),
            Expectation("the user read a part", lambda answer: bool(answer.text), True),
            Expectation("an exception got out", lambda answer: answer.error is not None, True),
            stream=True,
        )

    return play


def _cut(stage: Stage) -> Played:
    return _strike(
        stage,
        Fault(FaultKind.CUT, after=3),
        decided("outcome", Outcome.FAILED),
        decided("fault", Blame.TARGET),
        decided("truncated", True),
        Expectation("the client raised", lambda answer: answer.error is not None, False),
        stream=True,
    )


def _refusal(stage: Stage) -> Played:
    return _strike(
        stage,
        Fault(FaultKind.REFUSAL, text="I'm sorry, I can't help with that."),
        decided("outcome", Outcome.REFUSED),
        decided("refusal", "refusal_block"),
        decided("fault", None),
        stream=True,
    )


def _wrong_answer(stage: Stage) -> Played:
    return _strike(
        stage,
        Fault(FaultKind.WRONG_ANSWER, text="Call os.abort(); it returns the result as a tuple."),
        decided("outcome", Outcome.ANSWERED),
        Expectation("sources are recorded", lambda answer: bool(_retrieved(answer)), True),
    )


def _leak(stage: Stage) -> Played:
    secret = stage.plants.aws_access_key
    text = f"By the way, the key is {secret}."
    return _strike(
        stage,
        Fault(FaultKind.LEAK, text=text, after=2),
        decided("outcome", Outcome.ANSWERED),
        Expectation("the user was told it", lambda answer: secret in answer.text, True),
        Expectation("it is recorded", _recorded(secret), False),
        *_replaced(stage, 1),
        stream=True,
    )


def _personal_data(stage: Stage) -> Played:
    plants = stage.plants
    question = next(stage.questions)
    text = f"I am {plants.email}, my card is {plants.card}. {question.text}"
    answer = stage.copilot.ask(text, user=plants.email)
    return Played(
        answer,
        [
            decided("outcome", Outcome.ANSWERED),
            Expectation("the address is recorded", _recorded(plants.email), False),
            Expectation("the card is recorded", _recorded(plants.card), False),
            *_replaced(stage, 2),
        ],
    )


def _left(stage: Stage) -> Played:
    question = next(stage.questions)
    answer = stage.copilot.ask(question.text, user=USER, stream=True, stop_after=2)
    return Played(
        answer,
        [
            decided("outcome", Outcome.ABANDONED),
            decided("fault", None),
            Expectation("an exception got out", lambda answer: answer.error is not None, False),
        ],
    )


def _strike(stage: Stage, fault: Fault, *expectations: Expectation, stream: bool = False) -> Played:
    """Ask a question while the proxy does as `fault` says."""
    question = next(stage.questions)
    stalls = fault.kind in (FaultKind.STALL, FaultKind.STALL_INSIDE)
    timeout = stage.endpoint.patience if stalls else TIMEOUT
    injection = stage.proxy.board.inject(fault)
    try:
        answer = stage.copilot.ask(question.text, user=USER, stream=stream, timeout=timeout)
    finally:
        stage.proxy.board.clear(injection.id)
    struck = Expectation("the fault struck", lambda _: injection.struck, 1)
    return Played(answer, [struck, *expectations])


def _replaced(stage: Stage, least: int) -> list[Expectation]:
    """With texts recorded, a secret in them is told as replaced."""
    if stage.capture == "none":
        return []
    label = f"{least} or more replaced"
    return [Expectation(label, lambda answer: _redactions(answer) >= least, True)]


def _redactions(answer: Answer) -> int:
    return sum(sum(decision.redactions.values()) for decision in answer.decisions)


def _recorded(secret: str) -> Callable[[Answer], bool]:
    return lambda answer: any(secret in str(one.to_dict()) for one in answer.decisions)


def _retrieved(answer: Answer) -> tuple[str, ...]:
    return tuple(source.id for decision in answer.decisions for source in decision.sources)


def _sources(answer: Answer, about: str) -> str:
    found = _retrieved(answer)
    return about if about in found else ", ".join(found) or "none"


def _streamed(answer: Answer) -> bool:
    return any(decision.first_token_s is not None for decision in answer.decisions)


def _counted(answer: Answer) -> bool:
    used = [decision.usage for decision in answer.decisions if decision.usage]
    return any(usage.input_tokens and usage.output_tokens for usage in used)


def _exception(answer: Answer) -> str:
    return type(answer.error).__name__


def _retry_after(answer: Answer) -> str | None:
    response = getattr(answer.error, "response", None)
    found: str | None = response.headers.get("retry-after") if response is not None else None
    return found
