"""Real processes: one of a fleet acts, a person approves from another one, a store goes away."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import firedoor as fd
from firedoor.core.incident import ActionState
from firedoor.incidents.book import Incidents
from firedoor.ledger import open_ledger
from firedoor.testing import FakeClock
from support.incident_app import JOURNEY, App, refusals
from support.valkey import valkey
from support.waiting import until

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]


class Process:
    def __init__(self, state, ledger, mode="auto"):
        self.running = subprocess.Popen(
            [sys.executable, str(TESTS / "support" / "incident_process.py"), state, ledger, mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            text=True,
        )

    def tell(self, *words):
        self.running.stdin.write(" ".join(map(str, words)) + "\n")
        self.running.stdin.flush()

    def hear(self):
        return json.loads(self.running.stdout.readline())

    def ask(self, *words):
        self.tell(*words)
        return self.hear()

    def end(self, word="die"):
        if self.running.poll() is None:
            self.tell(word)
        self.running.wait(30)
        self.running.stdin.close()
        self.running.stdout.close()


@pytest.fixture(scope="module")
def server():
    with valkey() as running:
        yield running


@pytest.fixture
def start():
    begun = []

    def begin(*args):
        begun.append(Process(*args))
        return begun[-1]

    yield begin
    for process in begun:
        process.end()


@pytest.mark.parametrize("kept", ["together", "apart"])
@pytest.mark.parametrize("state", ["sqlite", "valkey"])
def test_of_three_processes_one_acts(state, kept, tmp_path, server, start):
    state = server.url() if state == "valkey" else f"sqlite:///{tmp_path}/state.db"
    ledger = f"sqlite:///{tmp_path}/ledger.db" if kept == "together" else "memory://"
    fleet = [start(state, ledger) for _ in range(3)]
    for process in fleet:
        process.hear()
    for process in fleet:
        process.tell("serve", 100)
    for process in fleet:
        process.hear()
    for process in fleet:  # at once
        process.tell("look")
    for process in fleet:
        process.hear()
    for process in fleet:  # a switch is heard of within half a second
        until(lambda process=process: process.ask("look")["model"] == "gpt-5-mini")
    looks = [process.ask("look") for process in fleet]
    switches = {name for look in looks for name in look["switches"]}
    assert len(switches) == 1
    incidents = {i["id"]: i for look in looks for i in look["incidents"]}
    assert len(incidents) == (1 if kept == "together" else 3)
    acted = [a for i in incidents.values() for a in i["actions"] if a["undo"]]
    assert len(acted) == 1
    assert set(acted[0]["undo"]["switches"]) == switches
    assert {i["state"] for i in incidents.values()} == {"contained"}
    others = [a for i in incidents.values() for a in i["actions"] if not a["undo"]]
    assert all("by another process" in a["text"] for a in others)
    assert len(others) == (0 if kept == "together" else 2)


def test_a_person_approves_from_another_process(tmp_path, start):
    state, ledger = f"sqlite:///{tmp_path}/state.db", f"sqlite:///{tmp_path}/ledger.db"
    application = start(state, ledger, "approve")
    application.hear()
    application.ask("serve", 100)
    look = application.ask("look")
    (incident,) = look["incidents"]
    (action,) = incident["actions"]
    assert (look["model"], action["state"]) == ("gpt-5", "waiting")

    code = (
        "import sys; from firedoor.incidents.book import Incidents; "
        "from firedoor.ledger import open_ledger; "
        "Incidents(open_ledger(sys.argv[1]), offline='raise')"
        ".get(sys.argv[2]).approve(sys.argv[3][:6], actor='ana')"
    )
    words = [sys.executable, "-c", code, ledger, incident["id"], action["id"]]
    subprocess.run(words, check=True)

    look = application.ask("look")
    (action,) = look["incidents"][0]["actions"]
    assert action["state"] == "applied"
    assert action["undo"]["switches"] == look["switches"]
    assert look["model"] == "gpt-5-mini"


def test_approved_while_nobody_runs_it_acts_at_the_next_start(tmp_path, start):
    state, ledger = f"sqlite:///{tmp_path}/state.db", f"sqlite:///{tmp_path}/ledger.db"
    application = start(state, ledger, "approve")
    application.hear()
    application.ask("serve", 100)
    (incident,) = application.ask("look")["incidents"]
    application.end("close")

    book = Incidents(open_ledger(ledger), offline="raise")
    book.get(incident["id"]).approve(incident["actions"][0]["id"], actor="ana")
    book.close()

    again = start(state, ledger, "approve")
    again.hear()

    look = again.ask("look")
    assert look["model"] == "gpt-5-mini"
    assert look["incidents"][0]["actions"][0]["state"] == "applied"


def test_a_store_that_is_away_as_it_acts_leaves_a_record_that_is_true(tmp_path):
    clock = FakeClock()
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    with valkey() as server:
        app = App(clock, state=server.url(), ledger=ledger)
        app.door.watch([refusals()])
        app.serve(400)
        app.refusing["gpt-5"] = 0.8
        server.stop()
        app.serve(150)

        (incident,) = app.door.incidents.current()
        (action,) = incident.actions
        (switch,) = app.door.switches.active()
        assert app.models[-1] == "gpt-5-mini"  # users are well, store or not
        assert action.state is ActionState.APPLIED
        assert action.undo == {"switches": [switch.id]}
        assert incident.state is fd.IncidentState.CONTAINED
        assert any("the store is away" in e.text for e in incident.timeline)
        other = open_ledger(ledger)
        assert other.load(incident.id) == incident.record
        other.close()

        server.start()
        app.door.switches.sync()
        assert app.door.switches.pending == 0
        assert [s.id for s in app.door.switches.active()] == [switch.id]
        incident.revert(action.id, actor="ana")
        app.serve(2)
        assert app.door.switches.active() == ()
        assert incident.actions[0].state is ActionState.REVERTED
        assert app.door.switches.resolve("llm:answer", alias="gpt-5", journey=JOURNEY) is None
        app.door.close()


def test_reverted_while_the_store_is_away_it_stays_so(tmp_path):
    clock = FakeClock()
    with valkey() as server:
        app = App(clock, state=server.url(), ledger=f"sqlite:///{tmp_path}/ledger.db")
        app.door.watch([refusals()])
        app.serve(400)
        app.refusing["gpt-5"] = 0.8
        app.serve(150)
        (incident,) = app.door.incidents.current()
        server.stop()
        incident.revert(incident.actions[0].id, actor="ana")
        app.serve(2)
        assert app.models[-1] == "gpt-5"
        assert incident.actions[0].state is ActionState.REVERTED
        server.start()
        app.door.switches.sync()
        assert app.door.switches.active() == ()
        app.door.close()
