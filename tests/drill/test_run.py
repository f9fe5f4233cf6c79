"""The drill from end to end, on the extractive answerer: nothing in it is scripted but the faults."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

import firedoor as fd
from firedoor.cli.app import app
from firedoor.core.incident import from_dict
from firedoor.drill import containment, incidents, response, scenes
from firedoor.drill.endpoint import Choice
from firedoor.drill.extractive import ExtractiveServer
from firedoor.drill.faults import FaultKind
from firedoor.drill.plants import Plants
from firedoor.drill.run import Act, Settings, run
from firedoor.drill.screen import JsonScreen, RichScreen
from firedoor.drill.stage import Expectation, Played, Scene


def settings(tmp_path, **more) -> Settings:
    given = Settings(
        questions=3, endpoint=Choice.EXTRACTIVE, spans=tmp_path / "out" / "spans.jsonl"
    )
    return replace(given, **more)


class Watcher(JsonScreen):
    """Sees a run and prints nothing."""

    def closed(self, report):
        """Nothing."""


@pytest.fixture
def recorded_only(monkeypatch):
    """A shorter run: without the acts that contain and respond, which take their time."""
    monkeypatch.setattr(containment, "contained", list)
    without_incidents(monkeypatch)


def without_incidents(monkeypatch):
    monkeypatch.setattr(incidents, "responded", lambda apps: [])


@pytest.fixture(scope="module", params=["redacted", "none"])
def report(request, tmp_path_factory):
    """One whole run, read by many tests."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        without_incidents(patch)
        return run(settings(folder, capture=request.param), Watcher())


def take(report, name):
    return next(one for one in report.takes if one.scene.name == name)


def test_the_drill_observes_what_it_should(report):
    missed = [
        (one.scene.name, each)
        for one in report.takes
        for each in one.observations
        if not each.passed
    ]
    assert missed == []
    assert [each for each in report.checks if not each.passed] == []
    assert report.passed


def test_every_fault_of_the_proxy_has_a_scene():
    assert {str(kind) for kind in FaultKind} <= {scene.name for scene in scenes.failing()}


def test_every_decision_has_its_span_in_the_file(report):
    """And the file holds whole lines of JSON, the requests' spans with them."""
    lines = report.opening.settings.spans.read_text().splitlines()
    spans = [json.loads(line) for line in lines]
    names = [span["name"] for span in spans]
    assert report.spans == len(spans) > len(report.decisions)
    calls = [d for d in report.decisions if d.kind == "llm"]
    asked = [name for name in names if name.startswith("chat extractive")]
    attempts = sum(len(d.attempts) for d in calls if len(d.attempts) > 1)
    assert len(calls) <= len(asked) <= len(calls) + attempts
    searches = [d for d in report.decisions if d.kind == "retrieval"]
    assert names.count("retrieval stdlib-docs") == len(searches) >= len(report.takes)


def test_no_planted_secret_is_written_anywhere(report):
    """Neither as it was planted nor any half of it."""
    written = report.opening.settings.spans.read_text() + json.dumps(report.to_dict())
    for name, secret in Plants.grow(report.opening.settings.seed).named().items():
        half = len(secret.removesuffix("@example.com")) // 2 + 1
        assert secret not in written, name
        assert secret[:half] not in written, name


def test_texts_are_recorded_only_when_asked_for(report):
    texts = [one.output_text for one in report.decisions if one.output_text]
    assert bool(texts) == (report.opening.settings.capture == "redacted")


def test_the_polite_ending_is_told_from_an_answer(report):
    """The worst case: the client saw nothing wrong."""
    cut = take(report, "cut")
    assert cut.answer.error is None
    assert (cut.decision.outcome, cut.decision.truncated) == (fd.Outcome.FAILED, True)


def test_streams_tell_their_first_token(report):
    streamed = take(report, "streamed").decision
    assert 0 < streamed.first_token_s <= streamed.latency_s
    assert take(report, "whole").decision.first_token_s is None


def test_users_are_known_by_a_token_only(report):
    users = {one.user for one in report.decisions}
    assert len(users) == 3
    assert scenes.USER not in users


@pytest.mark.usefixtures("recorded_only")
def test_the_same_seed_asks_the_same(tmp_path):
    """So that two runs can be compared."""

    def asked(seed):
        watched = run(settings(tmp_path, seed=seed, questions=4), Watcher())
        return [
            (one.scene.name, one.answer.question, one.decision.outcome) for one in watched.takes
        ]

    assert asked(5) == asked(5) != asked(6)


@pytest.mark.usefixtures("recorded_only")
def test_a_scene_that_is_not_recorded_as_expected_fails_the_drill(tmp_path, monkeypatch):
    """The exit code cannot be zero by luck: a wrong record is a failure, and shown."""

    def play(stage):
        answer = stage.copilot.ask(next(stage.questions).text, user="u")
        wrong = [Expectation("outcome", lambda a: a.decisions[-1].outcome, "blocked")]
        return Played(answer, wrong)

    monkeypatch.setattr(scenes, "failing", lambda: [Scene("wrong", "A lie", "It is one.", play)])
    out = io.StringIO()
    report = run(settings(tmp_path), RichScreen(Console(file=out, width=80), fd.Redactor()))
    assert not report.passed
    assert "expected blocked, observed answered" in out.getvalue()
    assert "expectations failed" in out.getvalue()


@pytest.mark.usefixtures("recorded_only")
def test_a_secret_that_gets_out_fails_the_drill(tmp_path, monkeypatch):
    """The drill reads its own output: here the journey's name is public and holds a planted value."""
    monkeypatch.setattr(Plants, "named", lambda self: {"journey": "docs-help"})
    report = run(settings(tmp_path, questions=1), Watcher())
    leaked = [each for each in report.checks if not each.passed]
    assert [each.label.split()[1] for each in leaked] == ["journey"]
    assert not report.passed


@pytest.mark.parametrize("width", [80, 160])
def test_the_screen_fits_its_width(tmp_path, width, monkeypatch):
    """No line is wider than the screen, nor is a secret on it."""
    without_incidents(monkeypatch)
    out = io.StringIO()
    report = run(settings(tmp_path), RichScreen(Console(file=out, width=width), fd.Redactor()))
    lines = out.getvalue().splitlines()
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= width
    for heading in ("endpoint", "Healthy", "Faults", "Contained", "Decisions", "Checked"):
        assert any(heading in line for line in lines)
    assert sum("llm:answer" in line for line in lines) >= len(report.takes)
    for secret in Plants.grow(7).named().values():
        assert secret not in out.getvalue()


@pytest.mark.usefixtures("recorded_only")
def test_off_a_terminal_there_is_no_motion_and_no_colour(tmp_path):
    out = io.StringIO()
    run(settings(tmp_path, questions=1), RichScreen(Console(file=out, width=80), fd.Redactor()))
    assert "\x1b" not in out.getvalue()


def test_the_json_screen_prints_one_document(tmp_path, capsys, monkeypatch):
    without_incidents(monkeypatch)
    report = run(settings(tmp_path, questions=1), JsonScreen())
    printed = json.loads(capsys.readouterr().out)
    assert printed["passed"] is report.passed
    assert len(printed["scenes"]) == 1 + len(scenes.failing()) + len(containment.contained())
    assert printed["spans"]["count"] == report.spans


@pytest.mark.usefixtures("recorded_only")
def test_any_openai_compatible_endpoint_will_do(tmp_path, monkeypatch):
    """One that runs already, under the model name and the key that it wants."""
    monkeypatch.setattr(scenes, "failing", list)
    monkeypatch.setenv("SOME_KEY", "sk-none")
    with ExtractiveServer() as server:
        report = run(
            settings(
                tmp_path, base_url=server.base_url, model="their-model", api_key_env="SOME_KEY"
            ),
            Watcher(),
        )
    assert report.passed
    assert {one.model for one in report.decisions if one.kind == "llm"} == {"their-model"}


def test_what_is_contained_is_read_from_what_happened(report):
    """Each by its own gate, and nobody but the gate's own answer was seen by a user."""
    runaway, saturated, switched, outage = (
        take(report, scene.name).decision for scene in containment.contained()
    )
    assert (runaway.outcome, runaway.budget) == (fd.Outcome.CANNED, "exhausted")
    assert (saturated.outcome, saturated.tier, saturated.switches) == (fd.Outcome.DEGRADED, 1, ())
    assert (switched.tier, len(switched.switches)) == (1, 1)
    assert (outage.outcome, outage.fault) == (fd.Outcome.CANNED, None)


def bare_gates(endpoint):
    """No gate but a limit that nothing reaches, which the act of incidents leaves out."""
    return {"model": endpoint.model, "breaker": None}


@pytest.mark.parametrize("scene", containment.contained(), ids=lambda scene: scene.name)
def test_a_copilot_without_its_gates_does_not_pass(scene, tmp_path, monkeypatch):
    """So that what contains is the gate, and not the drill."""
    monkeypatch.setattr(containment, "contained", lambda: [scene])
    monkeypatch.setattr(containment, "MOST_USERS", 8)
    monkeypatch.setattr(containment, "RECOVERED_WITHIN", 0.5)
    monkeypatch.setattr("firedoor.drill.run.gates", bare_gates)
    without_incidents(monkeypatch)
    bare = run(settings(tmp_path, act=Act.CONTAINED), Watcher())
    assert [one.scene.name for one in bare.takes if not one.passed] == [scene.name]


@pytest.fixture(scope="module")
def responded(tmp_path_factory):
    """The act of incidents, with its screen."""
    out = io.StringIO()
    screen = RichScreen(Console(file=out, width=80), fd.Redactor())
    return run(settings(tmp_path_factory.mktemp("incidents"), act=Act.INCIDENTS), screen), out


README = Path(__file__).parents[2] / "README.md"


def masked(text):
    """On one line, without the figures and ids of one run."""
    text = re.sub(r"(?<=sw-)[0-9a-f]{8}", "#", " ".join(text.split()))
    return re.sub(r"\d[\d.e-]*", "#", text)


@pytest.mark.timeout(300)
class TestIncidents:
    """Five classes, each by its own signals, contained by its first action."""

    def test_each_class_is_told_contained_and_stabilised(self, responded):
        report, out = responded
        assert report.passed, out.getvalue()
        records = [from_dict(fd.IncidentRecord, one) for one in report.incidents]
        assert sorted(one.incident_class for one in records) == sorted(fd.IncidentClass)
        for record in records:
            assert record.detected_at <= record.contained_at <= record.stabilised_at
            assert record.first_bad_at <= record.detected_at
            assert not [a for a in record.actions if a.state in {"applied", "verified"}]

    def test_every_runbook_is_shown_on_one_screen(self, responded):
        _, out = responded
        lines = out.getvalue().splitlines()
        assert sum(line.startswith("DO FIRST") for line in lines) == len(fd.IncidentClass)
        assert sum(line.startswith("DONE ") for line in lines) == len(fd.IncidentClass)
        assert (
            max(len(line) for line in lines if "ledger" not in line and ".jsonl" not in line) <= 80
        )

    def test_the_readme_shows_it_as_it_is(self, responded):
        """Its words; figures, the answer shown and what else a slow machine notices are a run's."""
        _, out = responded
        (shown,) = re.findall(r"^```\n(✓ .*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
        parts = re.split(
            r"\n+(?=  (?:HTTP|user|recorded|detected|class|contained) |D[A-Z]+ |CLASS )", shown
        )
        begins = [part.split()[0] for part in parts]
        assert begins == ["✓", "HTTP", "user", "recorded", "detected", "class", "contained", "DO", "DONE", "CLASS"]  # fmt: skip
        parts[0] = re.sub(r" +[\d.]+ m?s$", "", parts[0])
        for label, part in zip(begins, parts, strict=True):
            if label not in {"user", "class", "CLASS"}:
                assert masked(part) in masked(out.getvalue())

    def test_the_ledger_keeps_them_for_the_next_command(self, responded):
        report, _ = responded
        ledger = f"sqlite:///{report.opening.settings.ledger}"
        done = CliRunner().invoke(app, ["incidents", "list", "--all", "--json", "--ledger", ledger])
        assert done.exit_code == 0, done.output
        assert len(json.loads(done.output)) == len(fd.IncidentClass)


def test_an_incident_that_nobody_sees_fails_the_drill(tmp_path, monkeypatch):
    """So that what detects and contains is the watch, and not the drill."""
    monkeypatch.setattr(incidents, "alerts", lambda p95: [])
    monkeypatch.setattr(incidents, "WARM_UP", 0.1)
    monkeypatch.setattr(response, "DETECTED_WITHIN", 0.1)
    unseen = run(settings(tmp_path, only=fd.IncidentClass.QUALITY_REGRESSION), Watcher())
    failed = [one.scene.name for one in unseen.takes if not one.passed]
    assert failed == ["quality_regression", "stabilised"]
    assert [one.scene.name for one in unseen.takes] == ["usual", *failed]
