"""`firedoor incidents` and `firedoor runbook` as somebody on call types them at three in the morning."""

import importlib
import json
import re
import shlex
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from firedoor.cli.app import app
from firedoor.core import lifecycle
from firedoor.core.incident import ActionRecord, ActionState, AlertRecord
from firedoor.incidents.book import Incidents
from firedoor.ledger import open_ledger
from firedoor.types import Evidence, IncidentClass, IncidentState, Mode, Severity
from support.records import full, incident

WAITING = ActionRecord(
    "b2c3d4e5f6a1",
    "switch_alias",
    "gpt-5 → gpt-5-mini on help",
    mode=Mode.APPROVE,
    state=ActionState.WAITING,
)
APPLIED = replace(WAITING, id="a1b2c3d4e5f6", kind="safe_mode", text="safe mode on help", state=ActionState.APPLIED)  # fmt: skip


@pytest.fixture
def url(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'incidents.db'}"
    monkeypatch.setenv("FIREDOOR_LEDGER", url)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("USER", "ana")
    monkeypatch.setenv("LOGNAME", "ana")
    return url


@pytest.fixture
def book(url):
    """The incidents of the application."""
    made = Incidents(open_ledger(url), service="shop")
    yield made
    made.close()


@pytest.fixture
def one(book):
    return opened(book)


def opened(book, key="help", **fields):
    now = book.time()
    fields = {"first_bad_at": now - 95, "detected_at": now - 70, "version": 0, **fields}
    return book.open(incident("", **fields), key)


def firedoor(line, code=0):
    result = CliRunner().invoke(app, shlex.split(line))
    assert result.exit_code == code, result.output
    return result.output


def flat(text):
    """The text as it was before it was wrapped; of labels and lists one space is left."""
    return re.sub(r"\n {10,}", " ", text)


def commands(text, begin="firedoor "):
    """The lines one could paste."""
    return [line.strip() for line in text.splitlines() if line.strip().startswith(begin)]


# Looking -------------------------------------------------------------------------------------


def test_the_list_says_how_bad_what_and_what_waits(book):
    assert "No incident is open." in firedoor("incidents")
    mild = opened(book, "a", severity=Severity.SEV3, owner="bo", journey="news")
    bad = opened(book, "b", severity=Severity.SEV1, actions=(WAITING,))
    for line in ("incidents", "incidents list"):
        told = firedoor(line).splitlines()
        assert told[0].split()[:4] == ["SEV1", bad.id, "open", "help"]
        assert "no owner" in told[0]
        assert "quality regression: refusals up on help" in told[1]
        assert "waits for you: gpt-5 → gpt-5-mini on help" in told[2]
        assert told[4].split()[:4] == ["SEV3", mild.id, "open", "news"]
        assert told[4].endswith("bo")
        assert max(map(len, told)) <= 80


def test_closed_ones_are_in_the_list_of_all(book, one):
    for step in ("contain", "stabilise", "diagnose"):
        getattr(one, step)("x")
    one.close(waiver="drill", owner="ana", recovered="looked")
    assert one.id not in firedoor("incidents list")
    assert one.id in firedoor("incidents list --all")
    assert one.id not in firedoor("incidents list --all --service bank")


def test_one_incident_with_all_that_a_person_asks(book):
    opened(
        book,
        evidence=(Evidence("refusal_rate", 0.312, 0.021, 0.9, 240),),
        severity_reasons=("SEV2: 31 % of help",),
        share=0.31,
        requests=75,
        contributing=(IncidentClass.LATENCY_SATURATION,),
        actions=(replace(APPLIED, state=ActionState.FAILED), WAITING),
    )
    told = firedoor("incidents show")
    for part in (
        "quality regression (also latency saturation)",
        "owner     nobody",
        "severity  SEV2: 31 % of help",
        "31 % of requests (75)",
        "detected after 25 s",
        "seen      refusal_rate 0.312, against 0.021, of 240, weight 0.9",
        "a1b2c3 did not help, still on: safe mode on help",
        "b2c3d4 waiting: gpt-5 → gpt-5-mini on help",
        "users are affected",
    ):
        assert part in flat(told), part
    assert all(
        len(line) <= 80 or line.strip().startswith("firedoor ") for line in told.splitlines()
    )


def test_with_several_open_it_asks_which(book):
    one, two = opened(book, "a"), opened(book, "b")
    said = firedoor("incidents show", code=2)
    assert one.id in said
    assert two.id in said
    assert one.id in firedoor(f"incidents show {one.id[4:9]}")


def test_what_others_wrote_cannot_steer_the_terminal(book):
    wicked = "\x1b[2J\x07gone\r\n[red]x[/red]"
    one = opened(book, title=wicked, journey=wicked, owner=wicked, why=wicked)
    book.update(one.id, lambda r: lifecycle.act(r, replace(WAITING, text=wicked), now=1.0))
    for line in ("incidents", f"incidents show {one.id}", f"runbook {one.id}"):
        assert not {"\x1b", "\x07", "\r"} & set(firedoor(line)), line


# Steps ---------------------------------------------------------------------------------------


def test_a_life_typed_by_following_what_is_printed(book, one):
    told = firedoor(f"incidents contain {one.id} -r 'safe mode holds'")
    assert f"✓ {one.id}  contained: safe mode holds  (by ana)" in told
    (line,) = commands(told)
    told = firedoor(line.removeprefix("firedoor ").replace("HOW", "'v12 again'"))
    assert "stabilised: v12 again" in told
    (line,) = commands(told)
    told = firedoor(line.removeprefix("firedoor "))
    assert "[ ] nobody owns it: name an owner" in told
    (line,) = commands(told)
    assert line == f"firedoor incidents close {one.id} --owner NAME -f WHAT-IT-TAUGHT -p PROBE"
    told = firedoor(f"{line.removeprefix('firedoor ')} --recovered 'asked support'")
    assert "closed: 1 finding" in told
    assert one.state is IncidentState.CLOSED
    (finding,) = one.findings
    assert (finding.text, finding.probe, finding.owner) == ("WHAT-IT-TAUGHT", "PROBE", "NAME")
    assert {entry.actor for entry in one.timeline} == {"firedoor", "ana"}


def test_a_step_out_of_order_is_refused_with_the_reason(one):
    said = firedoor(f"incidents diagnose {one.id}", code=2)
    assert "diagnosis before containment is refused" in said
    assert f"firedoor incidents contain {one.id}" in said
    assert one.state is IncidentState.OPEN


def test_a_step_that_was_taken_is_no_error(one):
    firedoor(f"incidents contain {one.id} -r x")
    assert "contained already: nothing to do" in firedoor(f"incidents contain {one.id} -r y")


def test_closing_says_all_that_is_missing_at_once(book, one):
    for step in ("contain", "stabilise", "diagnose"):
        getattr(one, step)("x")
    book.update(one.id, lambda r: lifecycle.act(r, APPLIED, now=book.time()))
    said = firedoor(f"incidents close {one.id} -f 'v13 refuses'", code=2)
    for part in (
        "cannot be closed yet",
        "[ ] no signal says that it is over",
        "[ ] still in force: safe mode on help",
        "[ ] nobody owns it",
        "[ ] without a probe: 'v13 refuses'",
        f"firedoor incidents revert {one.id} a1b2c3 -r WHY",
    ):
        assert part in flat(said), part
    assert one.findings == ()
    assert "--finding for each" in firedoor(f"incidents close {one.id} -p p", code=2)


def test_owner_and_notes(one):
    firedoor(f"incidents assign {one.id} bo")
    firedoor(f"incidents note {one.id} 'asked the provider' --actor cy")
    assert one.owner == "bo"
    assert (one.timeline[-1].text, one.timeline[-1].actor) == ("asked the provider", "cy")
    assert "say it in a few words" in firedoor(f"incidents note {one.id} ' '", code=2)


def test_what_is_typed_is_redacted(one):
    firedoor(f"incidents note {one.id} 'mail ana.lopez@example.com'")
    assert "ana.lopez" not in repr(one.record)


def test_what_a_person_noticed_is_opened_by_hand(book):
    told = firedoor(
        "incidents open 'answers in the wrong language' --service shop --journey help"
        " --class quality_regression --severity sev2"
    )
    (one,) = book.current()
    assert f"✓ {one.id}  opened: answers in the wrong language" in told
    assert f"firedoor runbook {one.id}" in commands(told)
    assert (one.service, one.journey, one.severity) == ("shop", "help", Severity.SEV2)
    assert (one.timeline[0].text, one.timeline[0].actor) == (
        "declared: answers in the wrong language",
        "ana",
    )
    assert "--service" in firedoor("incidents open x", code=2)


# Actions -------------------------------------------------------------------------------------


def test_approving_the_only_one_needs_no_id(book, one):
    book.update(one.id, lambda r: lifecycle.act(r, WAITING, now=book.time()))
    told = firedoor(f"incidents approve {one.id}")
    assert "✓" in told
    assert "the application applies it at its next look" in flat(told)
    (record,) = book.refresh()
    assert record.actions[0].approved_by == "ana"
    assert "has no action that is waiting" in firedoor(f"incidents approve {one.id}", code=2)
    assert "approved by ana: nothing to do" in firedoor(f"incidents approve {one.id} b2c3")


def test_rejecting_reverting_and_promoting(book, one):
    for action in (WAITING, APPLIED, replace(APPLIED, id="c" * 12)):
        book.update(one.id, lambda r, a=action: lifecycle.act(r, a, now=book.time()))
    assert "too dear" in firedoor(f"incidents reject {one.id} -r 'too dear'")
    assert "say which" in firedoor(f"incidents revert {one.id} -r over", code=2)
    firedoor(f"incidents revert {one.id} a1b -r over")
    firedoor(f"incidents promote {one.id} ccc -r 'better so' --done")
    states = {action.id[0]: (action.state, action.wanted) for action in one.actions}
    assert states == {
        "b": (ActionState.REJECTED, None),
        "a": (ActionState.APPLIED, ActionState.REVERTED),
        "c": (ActionState.PROMOTED, None),
    }


# Programs ------------------------------------------------------------------------------------


def test_json_for_programs(book, one):
    (listed,) = json.loads(firedoor("incidents list --json"))
    assert listed["id"] == one.id
    assert listed["time_to_detect"] == pytest.approx(25.0)
    assert [check["name"] for check in listed["checks"]] == [
        "recovered",
        "actions",
        "owner",
        "finding",
    ]
    assert json.loads(firedoor("incidents --json")) == [listed]
    assert json.loads(firedoor("incidents show --json")) == listed
    made = json.loads(firedoor(f"incidents contain {one.id} -r x --json"))
    assert (made["state"], made["version"]) == ("contained", 2)
    times = json.loads(firedoor("incidents times --json"))
    assert times["quality_regression"]["contain"]["count"] == 1


def test_times_for_people(book, one):
    one.contain()
    told = firedoor("incidents times").splitlines()
    assert told[1].split()[:3] == ["quality", "regression", "1"]
    assert max(map(len, told)) <= 80


# The ledger ----------------------------------------------------------------------------------


def test_memory_and_none_are_refused_with_the_reason(monkeypatch):
    monkeypatch.delenv("FIREDOOR_LEDGER", raising=False)
    assert "inside the application's own process" in firedoor(
        "incidents list --ledger memory://", code=2
    )
    assert "FIREDOOR_LEDGER" in firedoor("incidents", code=2)


def test_a_ledger_that_cannot_be_opened_is_told_without_its_password(monkeypatch):
    monkeypatch.delenv("FIREDOOR_LEDGER", raising=False)
    said = firedoor("incidents list --ledger postgresql://ops:hunter2@127.0.0.1:9/x", code=2)
    assert "127.0.0.1:9/x cannot be used" in said
    assert "hunter2" not in said


def test_the_ledger_is_in_the_lines_to_paste_only_where_it_was_typed(book, url, monkeypatch):
    one = opened(book)
    monkeypatch.delenv("FIREDOOR_LEDGER")
    told = firedoor(f"incidents contain {one.id} -r x --ledger {url}")
    assert commands(told)[0].endswith(f"--ledger {url}")


def test_an_option_before_the_command_would_be_lost_and_is_refused(url):
    said = firedoor(f"incidents --ledger {url} list", code=2)
    assert "give it after list" in said
    assert "give it after list" in firedoor("incidents --json list", code=2)


# Forgetting ----------------------------------------------------------------------------------


def aged(book, number, days, **fields):
    at = book.time() - days * 86_400
    record = incident(f"INC-{number}", state=IncidentState.CLOSED, updated_at=at, **fields)
    assert book.ledger.save(record, expected=0)


def test_what_would_be_forgotten_is_counted_first_with_the_line_that_does_it(book):
    for number in range(130):
        aged(book, number, 91)
    aged(book, "young", 89)
    opened(book, "help")
    said = firedoor("incidents prune --older-than 90d")
    assert "130 closed incidents untouched for 90d. None is forgotten yet:" in said
    assert len(book.history(1_000)) == 132
    (line,) = commands(said, "forget them")
    assert firedoor(line.removeprefix("forget them  firedoor ")) == (
        "✓ 130 closed incidents forgotten, untouched for 90d\n"
    )
    assert sorted(r.state for r in book.records()) == [IncidentState.CLOSED, IncidentState.OPEN]
    assert "✓ 0 closed incidents" in firedoor("incidents prune --older-than 90d")


def test_of_one_application_and_for_programs(book, tmp_path, monkeypatch):
    monkeypatch.delenv("FIREDOOR_LEDGER")
    url = f"sqlite:///{tmp_path / 'incidents.db'}"
    aged(book, 1, 91)
    aged(book, 2, 91, service="the bank")
    (line,) = commands(
        firedoor(f"incidents prune --older-than 90d --service 'the bank' --ledger {url}"), "forget"
    )
    assert line == (
        "forget them  firedoor incidents prune --older-than 90d --service 'the bank' --yes "
        f"--ledger {url}"
    )
    said = json.loads(firedoor(f"{line.removeprefix('forget them  firedoor ')} --json"))
    assert said == {"incidents": ["INC-2"], "forgotten": True}
    said = json.loads(firedoor(f"incidents prune --older-than 36h --json --ledger {url}"))
    assert said == {"incidents": ["INC-1"], "forgotten": False}
    assert book.ledger.load("INC-1") is not None


def test_days_are_not_taken_for_seconds(book):
    aged(book, 1, 1)
    assert "say 90d" in flat(firedoor("incidents prune --older-than 90 --yes", code=2))
    assert "older_than='soon'" in flat(firedoor("incidents prune --older-than soon --yes", code=2))
    assert book.ledger.load("INC-1") is not None


# Runbooks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*IncidentClass, "unknown", "cost-runaway"])
def test_a_runbook_for_every_class_on_one_screen(name):
    page = firedoor(f"runbook {name}").rstrip("\n").splitlines()
    assert page[0].startswith("DO FIRST")
    assert len(page) <= 24
    assert max(map(len, page)) <= 80


def test_a_runbook_of_an_incident_is_filled_in(one):
    for line in ("runbook", f"runbook {one.id[4:10]}"):
        page = firedoor(line)
        assert one.id in page
        assert "help" in page
    small = firedoor("runbook --width 50 --height 10").rstrip("\n").splitlines()
    assert len(small) <= 10
    assert max(map(len, small)) <= 50


def test_a_runbook_as_markdown_and_as_json(one):
    assert firedoor("runbook --markdown").startswith("# Quality regression\n")
    said = json.loads(firedoor("runbook --json"))
    assert said["incident"] == one.id
    assert "Affected: help" in said["communication"]


def test_your_own_runbooks(tmp_path, one):
    file = tmp_path / "books.toml"
    file.write_text(
        """
        [[runbooks]]
        incident_class = "quality_regression"
        first_action = "ring the bell"
        communication = "soon"
        closure = ["it is over"]
        severity = {}
        owners = {lead = "Zoe"}
        rollback = [{label = "a", does = "b", command = "firedoor status"}]
        actions = [{kind = "safe_mode", ttl = "30m"}]
        """
    )
    assert "ring the bell" in firedoor(f"runbook --file {file}")
    assert "Keep answers" in firedoor(f"runbook retrieval_failure --file {file}")
    file.write_text("x = 1")
    assert f"{file}: runbook field 'x'" in firedoor(f"runbook --file {file}", code=2)


def test_a_name_that_is_no_runbook_lists_them(monkeypatch):
    monkeypatch.delenv("FIREDOOR_LEDGER", raising=False)
    for line in ("runbook", "runbook nonsense"):
        assert "retrieval_failure" in firedoor(line, code=2)
    assert "FIREDOOR_LEDGER" in firedoor("runbook INC-1", code=2)


def test_an_application_is_looked_at_once(tmp_path, monkeypatch):
    """A module may make its door as it is asked for it, and that may be dear."""
    (tmp_path / "lazyshop.py").write_text(
        "import firedoor as fd\n"
        "asked = []\n"
        "def __getattr__(name):\n"
        "    if name != 'door':\n"
        "        raise AttributeError(name)\n"
        "    asked.append(name)\n"
        f"    return fd.Firedoor('shop', ledger='sqlite:///{tmp_path}/lazy.db')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    ledger = open_ledger(f"sqlite:///{tmp_path}/lazy.db")
    one = opened(Incidents(ledger, service="shop"))
    assert one.id in firedoor("runbook --app lazyshop:door")
    assert "DO FIRST" in firedoor("runbook cost_runaway --app lazyshop:door")
    assert len(importlib.import_module("lazyshop").asked) == 2
    ledger.close()


def test_what_keeps_coming_back_is_said(book):
    one = opened(book, alerts=(AlertRecord("refusals-up", "refusal_rate", flaps=3),))
    opened(book, "news", alerts=(AlertRecord("late", "latency_p95"),))
    assert "flaps     refusals-up has come back 3 times" in firedoor(f"incidents show {one.id}")
    assert "flaps" not in firedoor(f"incidents show {book.current()[1].id}")


def test_everything_a_record_can_hold_can_be_shown(book, url):
    ledger = open_ledger(url)
    ledger.save(replace(full(), alerts=(AlertRecord("a", "b"),)), expected=0)
    ledger.close()
    assert "INC-0000000f" in firedoor("incidents show")
    json.loads(firedoor("incidents show --json"))
