"""`firedoor status`: what is different from normal, on one screen."""

import json
import os
import socket

import pytest
from typer.testing import CliRunner

import firedoor as fd
from firedoor.cli.app import app
from firedoor.shell.presence import processes
from firedoor.shell.switchboard import Switchboard
from firedoor.stores import open_store
from firedoor.testing import FakeClock
from support.valkey import valkey
from support.waiting import until


@pytest.fixture
def board(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    monkeypatch.setenv("FIREDOOR_STATE", url)
    store = open_store(url)
    made = Switchboard(store, watch=False, actor="ana")
    yield made
    made.close()
    store.close()


def status(*arguments):
    result = CliRunner().invoke(app, ["status", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_nothing_switched_is_said_so(board):
    shown = status()
    assert "0 switches on" in shown
    assert "runs as it is configured" in shown


def test_what_is_switched_since_when_until_when_and_by_whom(board):
    made = board.disable("tool:refund", reason="double refunds", ttl="2h", in_flight="drain")
    shown = status()
    assert "1 switch on" in shown
    for cell in (made.id, "tool:refund is off", "streams drain", "(in 2 h)", "ana, 0 s ago"):
        assert cell in shown
    assert "double refunds" in shown


def test_a_restore_in_force_is_told_with_its_undo(board):
    board.mark_known_good("w47")
    board.disable("*", reason="panic")
    made = board.restore("w47", reason="over")
    shown = status()
    assert "restored to known-good w47 by ana" in shown
    assert f"firedoor switch revert {made.id}" in shown


def test_json_for_programs(board):
    made = board.alias("x", "y", reason="r", ttl=60)
    board.mark_known_good("w47")
    told = json.loads(status("--json"))
    assert told["version"] == 2
    assert told["known_good"] == ["w47"]
    assert told["restored"] is None
    assert told["switches"][0]["id"] == made.id
    assert told["switches"][0]["expires_at"] == made.expires_at
    assert told["state"].startswith("sqlite:///")


class TestGates:
    """What running processes say of their gates, and how budgets stand."""

    @pytest.fixture
    def door(self, board):
        with fd.Firedoor("support", prices={"m": fd.Price(1, 1)}) as door:
            yield door

    @pytest.fixture
    def broken(self, door):
        """A route whose first model fails, so that its circuit is open."""

        @door.llm(
            "answer",
            tiers=[fd.Tier("m", max_output=10), fd.Canned("sorry")],
            breaker=fd.Breaker(minimum_calls=2, open_for=600),
            limiter=fd.Limiter(max_concurrent=3),
            budgets=[fd.Budget(calls=4, per="day", overshoot="last_call")],
        )
        def answer(messages, *, model):
            raise ConnectionError

        for _ in range(3):
            assert answer("hello") == "sorry"
        return answer

    def heard(self, door, said):
        """The status, once the process has said so of itself."""
        shown = ""

        def told():
            nonlocal shown
            shown = status()
            return said in shown

        until(told)
        return shown

    def test_an_open_circuit_is_told_with_its_process(self, door, broken):
        shown = self.heard(door, "breaker")
        assert "llm:answer/m is open, tries again in " in shown
        assert "1 refused" in shown
        assert f"support  {socket.gethostname()}:{os.getpid()}" in shown
        assert "limiter" not in shown  # at rest

    def test_all_tells_what_is_at_rest_too(self, door, broken):
        self.heard(door, "breaker")
        shown = status("--all")
        assert "llm:answer/m runs 0 of 3, 0 waiting" in shown
        assert "retries" in shown

    def test_budgets_are_told_in_their_unit(self, door, broken):
        door.flush()
        assert "llm:answer/day-calls: 2 calls spent of 4 calls (50%)" in self.heard(door, "budget ")

    def test_json_for_programs(self, door, broken):
        self.heard(door, "breaker")
        door.flush()
        told = json.loads(status("--json"))
        assert told["processes"][0]["service"] == "support"
        assert told["processes"][0]["breakers"]["llm:answer/m"]["state"] == "open"
        assert [b["limit"] for b in told["budgets"]] == [4]

    def test_a_door_that_only_watches_says_so(self, board):
        with fd.Firedoor("shadow", enforce=False):
            until(lambda: "only watching" in status())

    def test_a_process_that_is_gone_is_forgotten(self, board, tmp_path):
        """With the time its last word had; before that, it is told as silent."""
        clock = FakeClock()
        store = open_store(f"sqlite:///{tmp_path / 'state.db'}", clock)
        told = {"process": "web:1", "service": "old", "at": store.now()}
        store.publish("doors", "web:1", json.dumps(told), 10.0)
        assert [one.service for one in processes(store)] == ["old"]
        clock.advance(11)
        assert processes(store) == ()
        store.close()

    def test_words_of_another_version_are_passed_over(self, board, tmp_path):
        store = open_store(f"sqlite:///{tmp_path / 'state.db'}")
        store.publish("doors", "new", json.dumps({"process": 1}), 10.0)
        store.publish("doors", "newer", "not JSON", 10.0)
        assert processes(store) == ()
        store.close()

    def test_a_name_from_elsewhere_cannot_move_the_cursor(self, board, tmp_path):
        store = open_store(f"sqlite:///{tmp_path / 'state.db'}")
        told = {"process": "web:1", "service": "x\x1b[2J", "at": store.now()}
        store.publish("doors", "web:1", json.dumps(told), 10.0)
        assert "\x1b[2J" not in status()
        store.close()


@pytest.mark.parametrize("given", ["ops:hunter2@{}?namespace=a", "{}?password=hunter2&db=0"])
def test_no_password_of_the_state_is_shown(given, monkeypatch):
    monkeypatch.delenv("FIREDOOR_STATE", raising=False)
    with valkey() as server:
        server.command("ACL", "SETUSER", "ops", "on", ">hunter2", "~*", "&*", "+@all")
        server.command("CONFIG", "SET", "requirepass", "hunter2")
        url = f"redis://{given.format(f'127.0.0.1:{server.port}')}"
        assert "127.0.0.1" in (shown := status("--state", url))
        assert "hunter2" not in shown
        assert "hunter2" not in status("--state", url, "--json")
