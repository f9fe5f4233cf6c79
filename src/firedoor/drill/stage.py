"""How a scene of the drill is played and judged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import firedoor as fd
from firedoor.drill.copilot import Answer, Copilot
from firedoor.drill.endpoint import Endpoint
from firedoor.drill.plants import Plants
from firedoor.drill.proxy import FaultProxy
from firedoor.drill.questions import Question

__all__ = ["Expectation", "Observation", "Played", "Scene", "Stage", "Take", "decided", "said"]


@dataclass(frozen=True, slots=True)
class Stage:
    """What a scene plays with.

    Attributes:
        copilot: The application.
        proxy: What stands between it and the endpoint, and can be told to fail.
        endpoint: Who answers.
        plants: The secrets of this run.
        questions: What users ask, without end.
        bank: The same, each once.
        runner: Runs the asynchronous scenes, all on one event loop.
        capture: Whether texts are recorded: `none` or `redacted`.
        guarded: The same application with its gates, for the scenes in which they contain.
        door: The guarded application's.
        state: Where that door keeps its switches and counters, for other processes to reach.
    """

    copilot: Copilot
    proxy: FaultProxy
    endpoint: Endpoint
    plants: Plants
    questions: Iterator[Question]
    bank: tuple[Question, ...]
    runner: asyncio.Runner
    capture: str
    guarded: Copilot
    door: fd.Firedoor
    state: str


@dataclass(frozen=True, slots=True)
class Expectation:
    """Something a scene must lead to.

    Attributes:
        label: What is looked at.
        read: Reads it from the answer and its decisions.
        wanted: What it must be equal to.
    """

    label: str
    read: Callable[[Answer], object]
    wanted: object


@dataclass(frozen=True, slots=True)
class Observation:
    """What an expectation met. Values are texts, ready for the screen and for JSON."""

    label: str
    wanted: str
    observed: str
    passed: bool


class Played(NamedTuple):
    """What came of a scene.

    Attributes:
        answer: What the last user got.
        expectations: What must be true of it, and of all that went before.
        told: What a person is told besides, a line each.
        page: A runbook as it is shown, or nothing.
    """

    answer: Answer
    expectations: list[Expectation]
    told: tuple[str, ...] = ()
    page: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """One thing that happens to the copilot.

    Attributes:
        name: A short word for it.
        title: What happens, as a sentence.
        meaning: Why it matters, or what an application without a record of it would miss.
        play: Makes it happen, and answers what came of it.
    """

    name: str
    title: str
    meaning: str
    play: Callable[[Stage], Played]

    def run(self, stage: Stage) -> Take:
        """Play the scene and judge it."""
        began = time.perf_counter()
        answer, expectations, told, page = self.play(stage)
        seconds = time.perf_counter() - began
        observations = tuple(_observe(each, answer) for each in expectations)
        return Take(self, answer, seconds, observations, told, page)


@dataclass(frozen=True, slots=True)
class Take:
    """A scene that was played.

    Attributes:
        scene: The scene.
        answer: What the user and the application got.
        seconds: How long it took.
        observations: What was expected and what was found.
        told: What a person is told besides, a line each.
        page: A runbook as it was shown, or nothing.
    """

    scene: Scene
    answer: Answer
    seconds: float
    observations: tuple[Observation, ...]
    told: tuple[str, ...] = ()
    page: str = ""

    @property
    def passed(self) -> bool:
        """Whether everything was as expected."""
        return all(each.passed for each in self.observations)

    @property
    def decision(self) -> fd.Decision | None:
        """The decision of the model call; None if it was never made."""
        return model_decision(self.answer)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, without any text that firedoor has not seen to."""
        return {
            "name": self.scene.name,
            "title": self.scene.title,
            "passed": self.passed,
            "seconds": round(self.seconds, 3),
            "observations": [
                {name: getattr(each, name) for name in each.__slots__} for each in self.observations
            ],
            "told": list(self.told),
            "runbook": self.page or None,
            "decisions": [decision.id for decision in self.answer.decisions],
        }


def model_decision(answer: Answer) -> fd.Decision | None:
    """The last model call of a request."""
    calls = [decision for decision in answer.decisions if decision.kind == "llm"]
    return calls[-1] if calls else None


def decided(field: str, wanted: object) -> Expectation:
    """Expect that the decision of the model call has `wanted` in `field`."""

    def read(answer: Answer) -> object:
        decision = model_decision(answer)
        return "no decision" if decision is None else getattr(decision, field)

    return Expectation(field, read, wanted)


def _observe(expectation: Expectation, answer: Answer) -> Observation:
    observed = expectation.read(answer)
    return Observation(
        expectation.label,
        said(expectation.wanted),
        said(observed),
        observed == expectation.wanted,
    )


def said(value: object) -> str:
    """A value as the screen and JSON tell it."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)
