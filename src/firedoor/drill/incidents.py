"""The scenes of the full drill: five incidents one after the other, and what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import firedoor as fd
from firedoor.drill.copilot import Answer
from firedoor.drill.gates import REQUEST_USD
from firedoor.drill.response import WARM_UP, Responding, alerts
from firedoor.drill.stage import Expectation, Played, Scene, Stage, model_decision
from firedoor.types import Outcome

__all__ = ["responded"]

HELD = 2
"""Crowds of users who ask under the fault after it was contained."""

WIDTH, HEIGHT = 80, 24
"""Of the screen that a runbook must fit."""


def responded(apps: Sequence[Responding]) -> list[Scene]:
    """Healthy traffic first, then each application's incident, then the end of all of them."""
    happened: dict[fd.IncidentClass, tuple[Responding, fd.Incident]] = {}
    return [
        Scene(
            "usual",
            "Users ask, and nothing is wrong",
            "What is too much is told from what is usual: no threshold is set by hand.",
            lambda stage: _usual(stage, apps),
        ),
        *(
            Scene(str(app.trial.kind), app.trial.title, app.trial.meaning, _befalls(app, happened))
            for app in apps
        ),
        Scene(
            "stabilised",
            "The faults are gone: what was done is taken back, the signals recover",
            "Only now is there time to ask why; an incident closes with what was found.",
            lambda _: _stabilised(list(happened.values())),
        ),
    ]


def _usual(stage: Stage, apps: Sequence[Responding]) -> Played:
    # Each question once, before anybody keeps time: the endpoint is asked in earnest.
    for question in stage.bank:
        apps[0].copilot.ask(question.text, user="u-1")
    for app in apps:
        app.door.check("groundedness")
        app.door.watch(alerts(stage.endpoint.patience))
        app.door.switches.mark_known_good("drill", reason="before the faults", actor="drill")
    began, answers = time.monotonic(), list[Answer]()
    while time.monotonic() - began < WARM_UP:
        for app in apps:
            answers += app.crowd()
    alarms = [incident for app in apps for incident in app.door.incidents.current()]
    return Played(
        answers[-1],
        [
            Expectation("answered", lambda _: all(map(_good, answers)), True),
            Expectation("alarms", lambda _: len(alarms), 0),
        ],
        (f"usual     {len(answers)} requests in {time.monotonic() - began:.0f} s, no alarm",),
    )


def _befalls(
    app: Responding, happened: dict[fd.IncidentClass, tuple[Responding, fd.Incident]]
) -> Callable[[Stage], Played]:
    def play(stage: Stage) -> Played:
        secret = stage.plants.aws_access_key
        slow = stage.endpoint.patience
        app.strike(stage.endpoint.model, slow, secret)
        before, incident = app.until_contained()
        if incident is None:
            app.relent()
            return Played(
                before[-1], [Expectation("an incident was opened", lambda _: False, True)]
            )
        happened[app.trial.kind] = app, incident
        after = [answer for _ in range(HELD) for answer in app.crowd()]
        invented, checked = app.invented()
        record = incident.record
        page = incident.runbook()
        app.calm(incident)
        held = [action for action in record.actions if action.applied_at is not None]
        # An effect may be seen before its cause, and something done about it then.
        speaks = {alert.name: alert.speaks_for for alert in alerts(slow)}
        kinds = [a.kind for a in held if speaks.get(a.alert or "") is app.trial.kind]
        expected = [
            Expectation("class", lambda _: record.incident_class, app.trial.kind),
            Expectation("contained", lambda _: record.contained_at is not None, True),
            Expectation("first action", lambda _: kinds[:1], [app.trial.action]),
            Expectation("by itself", lambda _: [a.mode for a in held[:1]], [fd.Mode.AUTO]),
            Expectation("users who were hurt after it", _hurt(app, after, slow, secret), 0),
            Expectation("runbook fits one screen", lambda _: _fits(page), True),
        ]
        told = _told(app, record)
        if app.trial.kind is fd.IncidentClass.RETRIEVAL_FAILURE and stage.endpoint.kind == "model":
            saw = Expectation("the check saw it invent", lambda _: 2 * invented > checked > 0, True)
            expected.append(saw)
            told += (f"invented  {invented} of {checked} answers, by the groundedness check",)
        return Played(after[-1], expected, told, page)

    return play


def _told(app: Responding, record: fd.IncidentRecord) -> tuple[str, ...]:
    detected = (record.detected_at or 0.0) - app.began
    contained = (record.contained_at or 0.0) - app.began
    actions = [a.text for a in record.actions if a.applied_at is not None]
    return (
        f"detected  {_time(detected)} after the fault: {record.title}",
        f"class     {record.severity} {record.why}",
        f"contained {_time(contained)} after the fault: {actions[0] if actions else 'by nothing'}",
    )


def _stabilised(happened: Sequence[tuple[Responding, fd.Incident]]) -> Played:
    for app, _ in happened:
        app.join()
    open_ = [incident for _, incident in happened]
    left = [switch for app, _ in happened for switch in app.door.switches.active()]
    lines = [f"{'':10}{'class':20}{'detected':>10}{'contained':>11}{'recovered':>11}  state"]
    answers = list[Answer]()
    for app, incident in happened:
        record = incident.record
        answers += app.crowd()
        times = [
            "never" if moment is None else _time(moment - app.began)
            for moment in (record.detected_at, record.contained_at, record.recovered_at)
        ]
        lines.append(
            f"{'':10}{app.trial.kind:20}{times[0]:>10}{times[1]:>11}{times[2]:>11}  {record.state}"
        )
    return Played(
        answers[-1] if answers else Answer(""),
        [
            Expectation("not stabilised", lambda _: [i.id for i in open_ if not _stable(i)], []),
            Expectation("incidents", lambda _: bool(happened), True),
            Expectation("switches left on", lambda _: len(left), 0),
            Expectation("answered again", lambda _: all(map(_good, answers)), True),
        ],
        tuple(lines),
    )


def _stable(incident: fd.Incident) -> bool:
    """Whether it is back on known-good, or over."""
    return incident.stabilised_at is not None


def _hurt(
    app: Responding, answers: Sequence[Answer], slow: float, secret: str
) -> Callable[[Answer], int]:
    """Of the users who asked after containment, those whom the fault still reached."""

    def hurt(answer: Answer) -> bool:
        decision = model_decision(answer)
        if answer.error is not None or decision is None:
            return True
        match app.trial.kind:
            case fd.IncidentClass.QUALITY_REGRESSION:
                return decision.outcome is Outcome.REFUSED
            case fd.IncidentClass.SAFETY_VIOLATION:
                return secret in answer.text
            case fd.IncidentClass.RETRIEVAL_FAILURE:
                return decision.outcome is not Outcome.CANNED
            case fd.IncidentClass.LATENCY_SATURATION:
                return decision.latency_s >= slow
            case _:
                paid = sum(one.cost_usd or 0.0 for one in answer.decisions)
                return paid > float(REQUEST_USD) / 2

    return lambda _: sum(map(hurt, answers))


def _good(answer: Answer) -> bool:
    decision = model_decision(answer)
    return decision is not None and decision.outcome is Outcome.ANSWERED


def _fits(page: str) -> bool:
    lines = page.splitlines()
    return len(lines) <= HEIGHT and max(map(len, lines)) <= WIDTH


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s"
