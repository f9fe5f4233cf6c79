"""`firedoor status`: what is different from normal, on one screen."""

import json

import pytest
from typer.testing import CliRunner

from firedoor.cli.app import app
from firedoor.shell.switchboard import Switchboard
from firedoor.stores import open_store


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
