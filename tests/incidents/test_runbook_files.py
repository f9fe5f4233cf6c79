"""Runbooks of one's own, in YAML or TOML."""

import pytest
import yaml

import firedoor as fd
from firedoor.errors import ConfigurationError
from firedoor.types import IncidentClass

BOOK = {
    "incident_class": "cost_runaway",
    "severity": {"sev1_share": 0.9},
    "owners": {"lead": "Zoe"},
    "rollback": [{"label": "a", "does": "b", "command": "firedoor status"}],
    "communication": "soon, {journey}",
    "closure": ["it is over"],
    "first_action": "ring the bell",
    "actions": [
        {"kind": "safe_mode", "ttl": "30m"},
        {"kind": "switch_alias", "alias": "gpt-5", "model": "gpt-5-mini"},
    ],
}


def written(path, said):
    path.write_text(said if isinstance(said, str) else yaml.safe_dump(said))
    return path


@pytest.mark.parametrize("wrap", [lambda b: b, lambda b: [b], lambda b: {"runbooks": [b]}])
def test_a_file_holds_one_or_several(tmp_path, wrap):
    (book,) = fd.runbooks.load(written(tmp_path / "book.yaml", wrap(BOOK)))
    assert book.incident_class is IncidentClass.COST_RUNAWAY
    assert book.severity.sev1_share == 0.9
    assert book.actions == (
        fd.actions.SafeMode(ttl="30m"),
        fd.actions.SwitchAlias("gpt-5", "gpt-5-mini"),
    )


def test_a_directory_is_all_of_its_files(tmp_path):
    written(tmp_path / "a.yml", BOOK)
    written(tmp_path / "b.yaml", {**BOOK, "incident_class": "unknown"})
    written(
        tmp_path / "c.toml",
        """
        incident_class = "safety_violation"
        first_action = "stop it"
        communication = "soon"
        closure = ["over"]
        severity = {}
        owners = {lead = "Zoe"}
        rollback = [{label = "a", does = "b", command = "firedoor status"}]
        """,
    )
    written(tmp_path / "notes.txt", "not a runbook")
    assert [book.name for book in fd.runbooks.load(tmp_path)] == [
        "cost_runaway",
        "unknown",
        "safety_violation",
    ]
    written(tmp_path / "d.yaml", BOOK)
    with pytest.raises(ConfigurationError, match="cost_runaway is in .*a.yml and in .*d.yaml"):
        fd.runbooks.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "said", "message"),
    [
        ("x.yaml", "a: [", "is no YAML"),
        ("x.toml", "a = [", "is no TOML"),
        ("x.json", "{}", "use a .yaml, .yml or .toml"),
        ("x.yaml", "just words", "holds no runbook"),
        ("x.yaml", [], "has none"),
        ("x.yaml", [BOOK, {**BOOK, "owners": {}}], r"x.yaml: runbook 2: .*owners"),
        ("x.yaml", {**BOOK, "ownres": {}}, "'ownres' does not exist"),
        ("x.yaml", {**BOOK, "actions": [{"kind": "dance"}]}, r"actions\[0\].*safe_mode"),
        ("x.yaml", {**BOOK, "actions": [{"kind": "call"}]}, "a file holds no functions"),
        ("x.yaml", {**BOOK, "actions": [{"kind": "safe_mode", "ttl": "soon"}]}, "ttl"),
    ],
)
def test_a_mistake_is_said_with_its_file_and_field(tmp_path, name, said, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        fd.runbooks.load(written(tmp_path / name, said))
    assert name in str(caught.value) or "has none" in message


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigurationError, match="nothing.yaml.*cannot be read"):
        fd.runbooks.load(tmp_path / "nothing.yaml")


def test_a_door_shows_and_uses_its_own(tmp_path, make_door):
    books = fd.runbooks.load(written(tmp_path / "book.yaml", BOOK))
    door = make_door(runbooks=books)
    one = door.incidents.open(
        fd.IncidentRecord("", "", incident_class=IncidentClass.COST_RUNAWAY, journey="help"), "k"
    )
    assert "ring the bell" in one.runbook()
