"""`--app module:door`: a command asks the application where its state and its incidents are."""

import gc
import itertools
import json
import sys
import threading

import pytest
from typer.testing import CliRunner

import firedoor as fd
from firedoor.cli.app import app as command_line
from firedoor.shell.presence import processes
from firedoor.stores import open_store

SHOP = """
import dataclasses
import firedoor as fd

books = fd.runbooks.defaults()
books[0] = dataclasses.replace(books[0], first_action="Ask Ana.")
door = fd.Firedoor(
    "shop",
    state="sqlite:///{path}/state.db",
    ledger="sqlite:///{path}/ledger.db",
    runbooks=books,
    budgets=[fd.Budget(usd=50, per="day")],
)
door.watch(fd.alerts.defaults())


class other:
    door = fd.Firedoor("shop")
"""
NUMBERS = itertools.count()


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """The name of a module with an application in it, which is in the current directory."""
    name = f"shop_{next(NUMBERS)}"
    (tmp_path / f"{name}.py").write_text(SHOP.format(path=tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FIREDOOR_STATE", raising=False)
    monkeypatch.delenv("FIREDOOR_LEDGER", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield name
    sys.modules.pop(name, None)


def run(*line, code=0):
    done = CliRunner(env={"COLUMNS": "100"}).invoke(command_line, line)
    assert done.exit_code == code, done.output
    return done.output


def test_switches_are_set_where_the_application_keeps_them(shop, tmp_path):
    shown = run("switch", "disable", "tool:x", "-r", "drill", "--app", f"{shop}:door")
    assert f"--app {shop}:door" in shown
    with fd.Firedoor("shop", state=f"sqlite:///{tmp_path}/state.db") as door:
        assert [switch.reason for switch in door.switches.active()] == ["drill"]
    told = json.loads(run("status", "--json", "--app", f"{shop}:door"))
    assert [one["target"] for one in told["switches"]] == ["tool:x"]


@pytest.fixture
def started(monkeypatch):
    """The threads that this one starts; what other tests left behind starts its own."""
    gc.collect()
    threads, here, start = [], threading.current_thread(), threading.Thread.start

    def noted(thread):
        if threading.current_thread() is here:
            threads.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", noted)
    return threads


def test_the_command_is_no_process_of_the_application_and_leaves_nothing_running(
    shop, tmp_path, started
):
    run("status", "--app", f"{shop}:door")
    # A thread that is told to end, or has one thing to do, ends soon; what goes on does not.
    for thread in started:
        thread.join(10.0)
    assert not [thread.name for thread in started if thread.is_alive()]
    store = open_store(f"sqlite:///{tmp_path}/state.db")
    assert processes(store) == ()
    store.close()


def test_incidents_and_runbooks_are_the_applications(shop, tmp_path):
    with fd.Firedoor("shop", ledger=f"sqlite:///{tmp_path}/ledger.db") as door:
        incident = door.incidents.declare(
            "wrong language", incident_class=fd.IncidentClass.QUALITY_REGRESSION
        )
        at = ("--app", f"{shop}:door")
        assert incident.id in run("incidents", *at)
        assert f"--app {shop}:door" in run("incidents", "show", incident.id, *at)
        assert "Ask Ana." in run("runbook", incident.id, *at)
        assert "Ask Ana." in run("runbook", "quality_regression", *at)
        assert "Ask Ana." not in run("runbook", "cost_runaway", *at)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("{shop}", "write module:door"),
        ("no_such_shop:door", "ModuleNotFoundError"),
        ("{shop}:window", "AttributeError"),
        ("{shop}:books", "no fd.Firedoor"),
        ("{shop}:other.door", "inside the application's own process"),
    ],
)
def test_what_cannot_be_asked_is_said(shop, named, words):
    for line in (("status",), ("incidents", "list")):
        said = run(*line, "--app", named.format(shop=shop), code=2)
        assert words in " ".join(said.split())
