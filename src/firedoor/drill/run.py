"""The drill from end to end: set the stage, play the scenes, check what was written."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol

import firedoor as fd
from firedoor.core.incident import to_dict
from firedoor.drill import containment, incidents, scenes
from firedoor.drill.copilot import Copilot
from firedoor.drill.corpus import read_corpus
from firedoor.drill.endpoint import Choice, Endpoint, open_endpoint
from firedoor.drill.gates import backup_of, gates, prices
from firedoor.drill.plants import Plants
from firedoor.drill.proxy import FaultProxy
from firedoor.drill.questions import BANK, draw
from firedoor.drill.response import FAULTS, Responding
from firedoor.drill.retrieval import Index, Shelf
from firedoor.drill.stage import Observation, Scene, Stage, Take
from firedoor.drill.telemetry import Telemetry
from firedoor.policies.base import Action
from firedoor.policies.base import Stage as At

__all__ = ["SERVICE", "Act", "Opening", "Report", "Screen", "Settings", "run"]

SERVICE = "docs-copilot"


class Act(StrEnum):
    """The parts of the story, in order."""

    HEALTHY = "healthy"
    FAULTS = "faults"
    CONTAINED = "contained"
    INCIDENTS = "incidents"


_TITLES = {
    Act.HEALTHY: "Healthy: the copilot at work",
    Act.FAULTS: "Faults: what goes wrong, and what firedoor records of it",
    Act.CONTAINED: "Contained: the same copilot behind its gates",
    Act.INCIDENTS: "Incidents: five classes, each seen, contained and stabilised",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run of the drill is told.

    Attributes:
        questions: How many healthy questions are asked.
        seed: Of everything drawn: questions, secrets.
        endpoint: Which of the drill's own endpoints answers.
        base_url: An endpoint that runs already, instead.
        model: Its model.
        api_key_env: The environment variable that holds its key.
        spans: The span file.
        capture: Whether texts are recorded.
        act: Play this part of the story only. None: all of it.
        only: Play the incident of this class and nothing else.
    """

    questions: int = 6
    seed: int = 7
    endpoint: Choice = Choice.AUTO
    base_url: str | None = None
    model: str | None = None
    api_key_env: str | None = None
    spans: Path = Path("firedoor-demo/spans.jsonl")
    capture: Literal["none", "redacted"] = "redacted"
    act: Act | None = None
    only: fd.IncidentClass | None = None

    @property
    def ledger(self) -> Path:
        """Where the incidents are kept, beside the spans."""
        return self.spans.parent / "incidents.db"


@dataclass(frozen=True, slots=True)
class Opening:
    """What is known before the first scene."""

    endpoint: Endpoint
    proxy_url: str
    documents: int
    indexed_s: float
    settings: Settings

    @property
    def python(self) -> str:
        """The Python whose documents are read."""
        return platform.python_version()


@dataclass(slots=True)
class Report:
    """What a run came to.

    Attributes:
        opening: The stage.
        takes: Every scene, in order.
        decisions: Every decision, in the order in which they ended.
        spans: How many spans the file holds.
        checks: What was looked for in everything that was written.
        incidents: Every incident as the ledger has it.
        otlp: Where else telemetry was sent.
        seconds: How long it all took.
    """

    opening: Opening
    takes: list[Take] = field(default_factory=list)
    decisions: list[fd.Decision] = field(default_factory=list)
    spans: int = 0
    checks: list[Observation] = field(default_factory=list)
    incidents: list[dict[str, Any]] = field(default_factory=list)
    otlp: str | None = None
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every scene and every check was as expected."""
        return all(take.passed for take in self.takes) and all(one.passed for one in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """The report in plain JSON types."""
        opening, endpoint = self.opening, self.opening.endpoint
        return {
            "passed": self.passed,
            "seconds": round(self.seconds, 3),
            "endpoint": {"kind": endpoint.kind, "model": endpoint.model, "why": endpoint.why},
            "documents": opening.documents,
            "capture": opening.settings.capture,
            "seed": opening.settings.seed,
            "scenes": [take.to_dict() for take in self.takes],
            "decisions": [decision.to_dict() for decision in self.decisions],
            "incidents": self.incidents,
            "ledger": str(opening.settings.ledger) if self.incidents else None,
            "spans": {
                "file": str(opening.settings.spans),
                "count": self.spans,
                "otlp": self.otlp,
            },
            "checks": [
                {name: getattr(each, name) for name in each.__slots__} for each in self.checks
            ],
        }


class Screen(Protocol):
    """Who watches a run."""

    def opened(self, opening: Opening) -> None:
        """The stage is set."""

    def act(self, title: str) -> None:
        """A group of scenes begins."""

    def playing(self, scene: Scene) -> contextlib.AbstractContextManager[object]:
        """A scene runs for as long as the block lasts."""
        ...

    def played(self, take: Take) -> None:
        """It is over."""

    def closed(self, report: Report) -> None:
        """So is the run."""


def run(settings: Settings, screen: Screen) -> Report:
    """Play the whole drill.

    Raises:
        ConfigurationError: If the endpoint cannot be had.
    """
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        endpoint = stack.enter_context(
            open_endpoint(
                settings.endpoint,
                base_url=settings.base_url,
                model_name=settings.model,
                api_key_env=settings.api_key_env,
            )
        )
        proxy = stack.enter_context(
            FaultProxy(
                endpoint.base_url,
                seed=settings.seed,
                deployments={backup_of(endpoint.model): endpoint.model},
                remember=True,
            )
        )
        indexing = time.perf_counter()
        index = Index(read_corpus())
        opening = Opening(
            endpoint,
            proxy.url,
            len(index.documents),
            time.perf_counter() - indexing,
            settings,
        )
        report = Report(opening)
        telemetry = stack.enter_context(contextlib.closing(Telemetry(settings.spans, SERVICE)))
        report.otlp = telemetry.otlp
        door = stack.enter_context(
            fd.Firedoor(
                SERVICE,
                capture=settings.capture,
                tracer_provider=telemetry.tracer_provider,
                meter_provider=telemetry.meter_provider,
            )
        )
        given: dict[str, Any] = {
            "capture": settings.capture,
            "prices": prices(endpoint.model),
            "tracer_provider": telemetry.tracer_provider,
            "meter_provider": telemetry.meter_provider,
        }
        state = f"sqlite:///{stack.enter_context(_folder()) / 'state.db'}"
        guarded = stack.enter_context(fd.Firedoor(SERVICE, state=state, **given))
        doors = [door, guarded]
        stage = _set(
            stack, opening, door=door, guarded=guarded, state=state, index=index, proxy=proxy
        )
        apps = _apps(stack, stage, index, given, settings)
        doors += [app.door for app in apps]
        for each in doors:
            each.on_decision(report.decisions.append)
        screen.opened(opening)
        for title, scene in _story(settings, index, apps):
            if title is not None:
                screen.act(title)
            with screen.playing(scene):
                take = scene.run(stage)
            report.takes.append(take)
            screen.played(take)
        for each in doors:
            each.flush()
        report.incidents = [
            to_dict(incident.record) for app in apps for incident in app.door.incidents.history()
        ]
        report.checks = _check(report, telemetry, stage.plants)
    report.seconds = time.perf_counter() - began
    screen.closed(report)
    return report


def _set(
    stack: contextlib.ExitStack,
    opening: Opening,
    *,
    door: fd.Firedoor,
    guarded: fd.Firedoor,
    state: str,
    index: Index,
    proxy: FaultProxy,
) -> Stage:
    settings, endpoint = opening.settings, opening.endpoint
    runner = stack.enter_context(asyncio.Runner())
    base_url, model, api_key = proxy.base_url, endpoint.model, endpoint.api_key
    copilot = Copilot(door, index, base_url=base_url, model=model, api_key=api_key)
    behind_gates = Copilot(
        guarded, index, base_url=base_url, model=model, api_key=api_key, gates=gates(endpoint)
    )
    for each in (copilot, behind_gates):
        stack.callback(runner.run, each.close_async())
        stack.callback(each.close)
    plants = Plants.grow(settings.seed)
    bank = draw(len(BANK), seed=settings.seed, documents=index.documents)
    return Stage(
        copilot,
        proxy,
        endpoint,
        plants,
        itertools.cycle(bank),
        bank,
        runner,
        settings.capture,
        guarded=behind_gates,
        door=guarded,
        state=state,
    )


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """For the state that a second process reaches; gone with the run."""
    with tempfile.TemporaryDirectory(prefix="firedoor-drill-") as folder:
        yield Path(folder)


def _apps(
    stack: contextlib.ExitStack,
    stage: Stage,
    index: Index,
    given: dict[str, Any],
    settings: Settings,
) -> list[Responding]:
    """One copilot under watch for each incident that is played."""
    for left in settings.ledger.parent.glob(f"{settings.ledger.name}*"):
        left.unlink()
    endpoint, gated = stage.endpoint, gates(stage.endpoint)
    # What the breaker contains is no incident: that was the act before.
    del gated["breaker"]
    policy = fd.policies.Secrets(on=At.OUTPUT, action=Action.FLAG, strict_action=Action.REDACT)
    apps = []
    for trial in FAULTS:
        if settings.only not in {None, trial.kind} or settings.act not in {None, Act.INCIDENTS}:
            continue
        door = stack.enter_context(
            fd.Firedoor(f"{SERVICE}.{trial.kind}", ledger=f"sqlite:///{settings.ledger}", **given)
        )
        shelf = Shelf(index)
        copilot = Copilot(
            door,
            shelf,
            base_url=stage.proxy.base_url,
            model=endpoint.model,
            api_key=endpoint.api_key,
            gates={**gated, "policies": [policy]},
            route=f"answer/{trial.kind}",
        )
        stack.callback(stage.runner.run, copilot.close_async())
        stack.callback(copilot.close)
        apps.append(Responding(trial, door, copilot, shelf, stage.proxy, stage.questions))
    return apps


def _story(
    settings: Settings, index: Index, apps: list[Responding]
) -> Iterator[tuple[str | None, Scene]]:
    acts: dict[Act, Callable[[], list[Scene]]] = {
        Act.HEALTHY: lambda: scenes.healthy(
            draw(settings.questions, seed=settings.seed, documents=index.documents)
        ),
        Act.FAULTS: scenes.failing,
        Act.CONTAINED: containment.contained,
        Act.INCIDENTS: lambda: incidents.responded(apps),
    }
    only = settings.act if settings.only is None else Act.INCIDENTS
    for act, scenes_of in acts.items():
        if only in {None, act}:
            for number, scene in enumerate(scenes_of()):
                yield None if number else _TITLES[act], scene


def _check(report: Report, telemetry: Telemetry, plants: Plants) -> list[Observation]:
    metrics = telemetry.metrics()
    telemetry.close()
    spans = telemetry.spans()
    report.spans = len(spans)
    recorded = {span["context"]["span_id"].removeprefix("0x") for span in spans}
    missing = sum(decision.span_id not in recorded for decision in report.decisions)
    written = telemetry.path.read_text(encoding="utf-8") + json.dumps(metrics)
    decided = json.dumps(
        [[decision.to_dict() for decision in report.decisions], report.incidents], default=str
    )
    checks = [_zero("decisions without a span in the file", missing)]
    checks += [
        _zero(f"planted {name} in all of it", (written + decided).count(secret))
        for name, secret in plants.named().items()
    ]
    checks.append(_zero("internal errors of firedoor", _internal_errors(metrics)))
    return checks


def _zero(label: str, count: int) -> Observation:
    return Observation(label, "0", str(count), count == 0)


def _internal_errors(metrics: dict[str, Any]) -> int:
    return sum(
        point["value"]
        for resource in metrics.get("resource_metrics", ())
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
        if metric["name"] == "firedoor.internal.errors"
        for point in metric["data"]["data_points"]
    )
