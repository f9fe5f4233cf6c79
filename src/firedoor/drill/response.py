"""Five incidents, one of each class: seen, classified and contained by the copilot's own door.

Nothing is scripted but the faults. What alerts there are is what `fd.alerts.defaults` gives; only
their times are shorter, as a drill cannot wait for the five minutes that a past must have.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import firedoor as fd
from firedoor.drill.copilot import JOURNEY, Answer, Copilot
from firedoor.drill.faults import Fault, FaultKind, Injection
from firedoor.drill.gates import RUNAWAY_ROUNDS
from firedoor.drill.proxy import FaultProxy
from firedoor.drill.questions import Question
from firedoor.drill.retrieval import Shelf

__all__ = ["FAULTS", "Responding", "Trial", "alerts"]

USER = "u-31"

AT_ONCE = 4
PAUSE = 0.1
"""Seconds between two crowds of users: traffic, not a load test."""

WARM_UP = 20.0
"""Seconds of healthy traffic: what is usual must be known, and signals keep time by ten seconds. A
past of less than two of those has as much of the fault in it as of what was before."""

DETECTED_WITHIN = 60.0
"""Seconds in which an incident must be contained."""

CALM_WITHIN = 90.0
"""Seconds in which its signals must be back once the fault is gone."""

VERIFY = 30.0
"""Seconds within which an action must have helped."""

_IN_FORCE = frozenset({fd.ActionState.APPLIED, fd.ActionState.VERIFIED, fd.ActionState.FAILED})

WINDOW = 60.0
"""Seconds of the longest window that is compared with the past. An incident may close after three
of them in which nothing was wrong, which is more than a drill waits for."""


def alerts(p95: float) -> list[fd.Alert]:
    """The default alerts of the copilot's journey, on the times of a drill.

    Args:
        p95: Seconds that 95 % of the requests shall not take longer than.
    """
    return [
        dataclasses.replace(
            alert,
            rule=dataclasses.replace(alert.rule, settle=0.0, window=WINDOW)
            if isinstance(alert.rule, fd.rules.Cusum)
            else alert.rule,
            keep=2.0,
            first_action=_quicker(alert.first_action),
            then=tuple(map(_quicker, alert.then)),
        )
        for alert in fd.alerts.defaults(journeys={JOURNEY: fd.Journey(p95=p95, critical=True)})
    ]


def _quicker(action: fd.actions.Action) -> fd.actions.Action:
    return dataclasses.replace(action, verify=VERIFY)


@dataclasses.dataclass(frozen=True, slots=True)
class Trial:
    """What is done to the copilot for one class of incident.

    Attributes:
        kind: The class that must be told.
        title: What happens, as a sentence.
        meaning: What an application without a watch would miss.
        fault: What the proxy does; None where the documents are taken away.
        action: The kind of the first action that must have been taken.
        loops: Users' questions set the copilot's own loop off.
    """

    kind: fd.IncidentClass
    title: str
    meaning: str
    fault: Callable[[str, float, str], Fault] | None
    action: str
    loops: bool = False


FAULTS: tuple[Trial, ...] = (
    Trial(
        fd.IncidentClass.QUALITY_REGRESSION,
        "The model begins to decline what it answered before",
        "HTTP 200, no exception, quick and cheap: every dashboard is green.",
        lambda model, _slow, _secret: Fault(
            FaultKind.REFUSAL, model=model, times=None, text="I'm sorry, I can't help with that."
        ),
        "switch_alias",
    ),
    Trial(
        fd.IncidentClass.SAFETY_VIOLATION,
        "The model says a credential in its answers",
        "Answers are right, and whoever reads or records them has a secret.",
        lambda _model, _slow, secret: Fault(
            FaultKind.LEAK, times=None, text=f"By the way, the key is {secret}."
        ),
        "tighten_policies",
    ),
    Trial(
        fd.IncidentClass.RETRIEVAL_FAILURE,
        "The documents are gone: every search finds nothing",
        "The copilot answers all the same: a model asked without sources invents.",
        None,
        "safe_mode",
    ),
    Trial(
        fd.IncidentClass.LATENCY_SATURATION,
        "The model's answers come late",
        "No call fails: users wait.",
        lambda model, slow, _secret: Fault(
            FaultKind.STALL, model=model, times=None, seconds=1.25 * slow
        ),
        "raise_minimum_tier",
    ),
    Trial(
        fd.IncidentClass.COST_RUNAWAY,
        "The copilot asks the model again and again for every user",
        "Each call is quick, cheap and well; there are only ten times as many.",
        lambda _model, _slow, _secret: Fault(
            FaultKind.WRONG_ANSWER,
            times=None,
            text="I need to look further before I can answer.",
        ),
        "cap_budget",
        loops=True,
    ),
)
"""One of each class, in the order in which they are played."""


class Responding:
    """One copilot under watch, and the incident that befalls it.

    Attributes:
        trial: What befalls it.
        door: Its door, which watches the default alerts.
        copilot: The application.
        shelf: Its documents.
        began: When the fault began, seconds since the epoch.
    """

    def __init__(  # noqa: PLR0917 - the parts of the stage
        self,
        trial: Trial,
        door: fd.Firedoor,
        copilot: Copilot,
        shelf: Shelf,
        proxy: FaultProxy,
        questions: Iterator[Question],
    ) -> None:
        self.trial = trial
        self.door = door
        self.copilot = copilot
        self.shelf = shelf
        self.began = 0.0
        self._usual = (0, 0)
        self._proxy = proxy
        self._questions = questions
        self._asking = threading.Lock()
        self._injection: Injection | None = None
        self._calming: threading.Thread | None = None

    @property
    def route(self) -> str:
        """What its requests say in the proxy's header, so that no other copilot is struck."""
        return f"answer/{self.trial.kind}"

    def crowd(self) -> list[Answer]:
        """A few users ask at once."""
        loops = self.trial.loops and self._injection is not None

        def ask(question: str) -> Answer:
            if loops:
                return self.copilot.research(question, user=USER, rounds=RUNAWAY_ROUNDS)
            return self.copilot.ask(question, user=USER)

        with self._asking:
            asked = [next(self._questions).text for _ in range(AT_ONCE)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(ask, asked))
        time.sleep(PAUSE)
        return answers

    def strike(self, model: str, slow: float, secret: str) -> None:
        """The fault begins."""
        self._usual = self._checked()
        self.began = time.time()
        if self.trial.fault is None:
            self.shelf.gone = True
        else:
            fault = dataclasses.replace(self.trial.fault(model, slow, secret), route=self.route)
            self._injection = self._proxy.board.inject(fault)

    def invented(self) -> tuple[int, int]:
        """Answers since the fault began that say what no source says, and how many were checked."""
        bad, checked = self._checked()
        return bad - self._usual[0], checked - self._usual[1]

    def _checked(self) -> tuple[int, int]:
        """What the groundedness check has found so far, and of how many answers."""
        sample = self.door.signals.read("ungrounded_rate", window=3_600.0)
        return round((sample.value or 0.0) * sample.size), sample.size

    def until_contained(self) -> tuple[list[Answer], fd.Incident | None]:
        """Users ask on until an incident is contained, or too long; what they got, and it."""
        answers: list[Answer] = []
        while time.time() - self.began < DETECTED_WITHIN:
            answers += self.crowd()
            for incident in self.door.incidents.current():
                if incident.contained_at is not None:
                    return answers, incident
        current = self.door.incidents.current()
        return answers, current[0] if current else None

    def relent(self) -> None:
        """The fault ends."""
        self.shelf.gone = False
        if self._injection is not None:
            self._proxy.board.clear(self._injection.id)
            self._injection = None

    def calm(self, incident: fd.Incident) -> None:
        """The fault ends; an operator takes back what was done. Users ask on, behind the scenes."""
        self.relent()
        self._take_back(incident)
        self._calming = threading.Thread(target=self._until_calm, args=(incident,), daemon=True)
        self._calming.start()

    def _until_calm(self, incident: fd.Incident) -> None:
        ends = time.monotonic() + CALM_WITHIN
        while time.monotonic() < ends and incident.state != fd.IncidentState.STABILISED:
            self.crowd()
            self._take_back(incident)  # what an alert did that was slower than the operator

    @staticmethod
    def _take_back(incident: fd.Incident) -> None:
        for action in incident.actions:
            if action.state in _IN_FORCE and action.wanted is None:
                with contextlib.suppress(fd.LifecycleError):  # it has just ended by itself
                    incident.revert(action.id, actor="drill", reason="the fault is gone")

    def join(self) -> None:
        """Wait until the signals are back, or too long."""
        if self._calming is not None:
            self._calming.join()
