"""`firedoor switch` as somebody on call types it at three in the morning."""

import json
import os
import shlex

import pytest
from typer.testing import CliRunner

import firedoor as fd
from firedoor.cli.app import app
from firedoor.shell.switchboard import Switchboard
from firedoor.stores import open_store
from support.waiting import until


@pytest.fixture
def state(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    monkeypatch.setenv("FIREDOOR_STATE", url)
    monkeypatch.setenv("USER", "ana")
    monkeypatch.setenv("LOGNAME", "ana")
    return url


@pytest.fixture
def board(state):
    """The switchboard of the application, looked at when asked."""
    store = open_store(state)
    made = Switchboard(store, watch=False)
    yield made
    made.close()
    store.close()


def firedoor(line, code=0):
    result = CliRunner().invoke(app, shlex.split(line))
    assert result.exit_code == code, result.output
    return result.output


def on(board):
    board.sync()
    assert board.problems == {}
    return [s.summary for s in board.active()]


@pytest.mark.parametrize(
    ("line", "summary"),
    [
        ("alias gpt-5 gpt-5-mini", "gpt-5 → gpt-5-mini"),
        ("disable tool:refund --journey help", "tool:refund is off on help"),
        ("disable '*'", "everything is off"),
        ("disable model:gpt-5", "model:gpt-5 is off"),
        ("depth retrieval:kb 3", "retrieval:kb fetches at most 3"),
        ("prompt answer v12", "prompt answer is at v12"),
        ("strictness strict", "strictness is strict"),
        ("safe-mode checkout-help", "checkout-help is in safe mode"),
        ("safe-mode '*'", "every journey is in safe mode"),
        ("cap-budget day 0.2", "budget day ends at 20 % of its limit"),
        ("shed-load news", "news is turned away"),
        ("shed-load news 0.5", "50 % of news is turned away"),
        ("minimum-tier llm:answer 1", "llm:answer begins at tier 1"),
    ],
)
def test_every_switch_is_set_told_and_taken_back_by_the_command_it_prints(board, line, summary):
    told = firedoor(f"switch {line} --reason 'refusals up'")
    assert on(board) == [summary]
    (switch,) = board.active()
    assert (switch.actor, switch.reason, switch.expires_at) == ("ana", "refusals up", None)
    assert f"✓ {summary}  ({switch.id})" in told
    assert "stays    until it is reverted" in told
    assert "by       ana: refusals up" in told
    command = told.partition("undo     ")[2].strip()
    assert command.startswith("firedoor ")
    assert f"no longer: {summary}" in firedoor(command.removeprefix("firedoor "))
    assert on(board) == []


def test_it_says_until_when_and_what_streams_do(board):
    told = firedoor("switch disable 'tool:*' --reason leak --ttl 30m --in-flight cut --actor bo")
    board.sync()
    (switch,) = board.active()
    assert switch.expires_at - switch.created_at == 1800
    assert "(in 30 m)" in told
    assert "end at their next chunk" in told
    assert "by       bo: leak" in told


def test_it_says_what_lies_under_it_and_what_comes_back(board):
    firedoor("switch alias x y --reason one")
    told = firedoor("switch alias x z --reason two")
    under, over = board.sync() or board.active()
    assert f"over     x → y  ({under.id})" in told
    told = firedoor(f"switch revert {over.id} --reason fixed")
    assert f"in force again  x → y  ({under.id})" in told
    told = firedoor(f"switch revert {over.id} --reason again")
    assert "was over before: nothing to do" in told
    assert "reverted by ana (fixed)" in told


def test_the_state_is_in_the_undo_only_where_it_was_typed(state, monkeypatch):
    monkeypatch.delenv("FIREDOOR_STATE")
    told = firedoor(f"switch disable tool:x --reason r --state {state}")
    command = told.partition("undo     ")[2].strip()
    assert command.endswith(f"--state {state}")
    firedoor(command.removeprefix("firedoor "))


def test_the_beginning_of_an_id_is_enough_while_it_is_one(board):
    firedoor("switch disable tool:a --reason r")
    firedoor("switch disable tool:b --reason r")
    assert "say which" in firedoor("switch revert sw- --reason r", code=2)
    board.sync()
    first = board.active()[0]
    firedoor(f"switch revert {first.id[:9]} --reason r")
    assert on(board) == ["tool:b is off"]


def test_an_id_nobody_knows_lists_what_is_on(board):
    firedoor("switch disable tool:a --reason r")
    board.sync()
    said = firedoor("switch revert nonsense --reason r", code=2)
    assert board.active()[0].id in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("disable tool:x", "--reason"),
        ("disable tool:x --reason ' '", "say why"),
        ("revert sw-1", "--reason"),
        ("disable refund --reason r", "tool:NAME"),
        ("strictness harsh --reason r", "normal, strict, lockdown"),
        ("alias x y --reason r --ttl soon", "'30m'"),
        ("depth --reason r retrieval:kb -- -1", "0"),
        ("restore w47 --reason r", "none was ever marked"),
        ("known-good w47", "--reason"),
        ("known-good w47 --reason ''", "say why"),
    ],
)
def test_a_wrong_use_changes_nothing_and_says_the_remedy(board, line, said):
    assert said in firedoor(f"switch {line}", code=2)
    assert on(board) == []


def test_known_good_and_back(board):
    assert "No set" in firedoor("switch known-good")
    firedoor("switch alias x y --reason one")
    assert "marked known-good: w47" in firedoor("switch known-good w47 --reason calm")
    firedoor("switch disable '*' --reason panic")
    told = firedoor("switch restore w47 --reason 'panic is over'")
    assert "off      everything is off" in told
    assert on(board) == ["x → y"]
    assert "w47" in firedoor("switch known-good")
    status = firedoor("status")
    command = status.partition("undo     ")[2].splitlines()[0]
    firedoor(command.removeprefix("firedoor "))
    assert on(board) == ["x → y", "everything is off"]


def test_lists_and_history_for_people(board):
    assert "No switch is on" in firedoor("switch list")
    assert "Nothing was ever set" in firedoor("switch history")
    firedoor("switch disable tool:a --reason 'bad [red]refunds[/red]' --actor ana")
    board.sync()
    (switch,) = board.active()
    listed = firedoor("switch list")
    for cell in (switch.id, "tool:a is off", "until it is reverted", "bad [red]refunds[/red]"):
        assert cell in listed
    firedoor(f"switch revert {switch.id} --reason fixed --actor bo")
    first, second = firedoor("switch history").splitlines()
    assert f"set by ana (bad [red]refunds[/red])  {switch.id}  tool:a is off" in first
    assert f"reverted by bo (fixed)  {switch.id}  tool:a is off" in second
    assert firedoor("switch history --limit 1").splitlines() == [second]


def test_json_for_programs(board):
    made = json.loads(firedoor("switch alias x ü --reason r --ttl 90s --journey j --json"))
    assert made["switch"]["value"] == "ü"
    assert made["switch"]["summary"] == "x → ü on j"
    assert made["undo"].startswith("firedoor switch revert sw-")
    (listed,) = json.loads(firedoor("switch list --json"))
    assert listed == made["switch"]
    good = json.loads(firedoor("switch known-good w47 --reason calm --json"))
    assert good[0]["switches"] == [listed]
    restored = json.loads(firedoor("switch restore w47 --reason r --json"))
    assert restored["switch"]["value"] == [listed["id"]]
    gone = json.loads(firedoor(f"switch revert {listed['id']} --reason r --json"))
    assert gone["reverted"] == listed
    again = json.loads(firedoor(f"switch revert {listed['id']} --reason r --json"))
    assert again == {"reverted": None, "in_force_again": []}
    actions = [e["action"] for e in json.loads(firedoor("switch history --json"))]
    assert actions == ["set", "marked", "set", "reverted"]


def test_what_others_wrote_cannot_steer_the_terminal(board):
    board.disable("tool:a", reason="\x1b[2J\x07 gone\nfirst line", actor="e\rve")
    for command in ("switch list", "switch history", "status"):
        shown = firedoor(command)
        assert not {"\x1b", "\x07", "\r"} & set(shown)


def test_it_says_whom_a_switch_reaches(state):
    """A state that is not the application's takes a switch too, and nothing changes."""
    said = firedoor("switch disable tool:refund --reason r")
    assert "nobody" in said
    assert "Is it the application's?" in said
    with fd.Firedoor("support-copilot", state=state):
        until(lambda: "1 process of support-copilot" in firedoor("switch disable tool:x -r r"))
        told = json.loads(firedoor("switch disable tool:y -r r --json"))
        assert [name.endswith(f":{os.getpid()}") for name in told["processes"]] == [True]


def test_memory_is_refused_with_the_reason(monkeypatch):
    monkeypatch.delenv("FIREDOOR_STATE", raising=False)
    said = firedoor("switch disable tool:x --reason r --state memory://", code=2)
    assert "inside the application's own process" in said
    assert "--state redis://" in said
    assert "FIREDOOR_STATE" in firedoor("switch list", code=2)


def test_a_state_that_does_not_answer_is_told_without_its_password(monkeypatch):
    monkeypatch.delenv("FIREDOOR_STATE", raising=False)
    url = "redis://ops:hunter2@127.0.0.1:9/0"
    said = firedoor(f"switch disable tool:x --reason r --state {url}", code=2)
    assert "127.0.0.1:9" in said
    assert "the server cannot be used" in said
    assert "hunter2" not in said
