"""`firedoor demo`: the drill."""

from __future__ import annotations

import importlib.util
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from firedoor.errors import ConfigurationError

__all__ = ["app"]

app = typer.Typer()

_NEEDED = {"bm25s": "bm25s", "openai": "openai"}


class Endpoint(StrEnum):
    """Written out here as well as in the drill, which is not imported to print a help page."""

    AUTO = "auto"
    MODEL = "model"
    EXTRACTIVE = "extractive"


class Act(StrEnum):
    """The parts of the drill."""

    HEALTHY = "healthy"
    FAULTS = "faults"
    CONTAINED = "contained"
    INCIDENTS = "incidents"


class Incident(StrEnum):
    """The five classes."""

    QUALITY_REGRESSION = "quality_regression"
    SAFETY_VIOLATION = "safety_violation"
    RETRIEVAL_FAILURE = "retrieval_failure"
    LATENCY_SATURATION = "latency_saturation"
    COST_RUNAWAY = "cost_runaway"


class Capture(StrEnum):
    """What is recorded of texts."""

    NONE = "none"
    REDACTED = "redacted"


@app.command()
def demo(
    *,
    questions: Annotated[
        int, typer.Option(min=0, max=1000, help="Healthy questions before the faults.")
    ] = 6,
    seed: Annotated[int, typer.Option(help="Of the questions and the planted secrets.")] = 7,
    endpoint: Annotated[
        Endpoint,
        typer.Option(help="Who answers: the real small model, or sentences of the documents."),
    ] = Endpoint.AUTO,
    base_url: Annotated[
        str | None, typer.Option(help="Any OpenAI-compatible endpoint instead, /v1 included.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model to ask --base-url for.")] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="Environment variable with the key for --base-url.")
    ] = None,
    spans: Annotated[
        Path, typer.Option(dir_okay=False, help="Where the spans are written, one a line.")
    ] = Path("firedoor-demo/spans.jsonl"),
    capture: Annotated[
        Capture, typer.Option(help="Whether texts are recorded, redacted.")
    ] = Capture.REDACTED,
    act: Annotated[
        Act | None, typer.Option(help="Play one part of it only; left out: all of it.")
    ] = None,
    only: Annotated[
        Incident | None,
        typer.Option("--class", help="Play the incident of one class and nothing else."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON report, no screen.")] = False,
) -> None:
    """Make a real copilot fail, and see it recorded, contained, and answered for.

    Real documents, real retrieval, the real openai client over HTTP; between client and model
    stands a proxy that fails when told. First every way in which a provider fails is recorded;
    then gates contain a runaway budget, saturation and an outage; then one incident of each class
    is detected, classified, contained by its first action and stabilised, with its runbook. Spans
    also go over OTLP where OTEL_EXPORTER_OTLP_ENDPOINT is set. Exit code 0 only if all of it
    happened as it should and no planted secret was written anywhere.
    """
    missing = [name for name, module in _NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        _stop(f"The demo needs {' and '.join(missing)}: pip install 'firedoor[demo]'")

    from rich.console import Console  # noqa: PLC0415 - as with the drill: only to run, not to help

    import firedoor as fd  # noqa: PLC0415
    from firedoor.drill.endpoint import Choice  # noqa: PLC0415
    from firedoor.drill.run import Act as Part  # noqa: PLC0415
    from firedoor.drill.run import Screen, Settings, run  # noqa: PLC0415
    from firedoor.drill.screen import JsonScreen, RichScreen  # noqa: PLC0415

    kept: Literal["none", "redacted"] = "none" if capture is Capture.NONE else "redacted"
    settings = Settings(
        questions=questions,
        seed=seed,
        endpoint=Choice(endpoint),
        base_url=base_url,
        model=model,
        api_key_env=api_key_env,
        spans=spans,
        capture=kept,
        act=None if act is None else Part(act),
        only=None if only is None else fd.IncidentClass(only),
    )
    screen: Screen = (
        JsonScreen() if as_json else RichScreen(Console(highlight=False), fd.Redactor())
    )
    try:
        report = run(settings, screen)
    except ConfigurationError as error:
        _stop(str(error))
    raise typer.Exit(0 if report.passed else 1)


def _stop(message: str) -> None:
    typer.echo(message, err=True)
    raise typer.Exit(2)
