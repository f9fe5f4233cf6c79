"""The pages say what the code does."""

import re
import shlex
from pathlib import Path

import pytest
import typer

import firedoor as fd
from firedoor.cli.app import app
from firedoor.core.signals import CATALOGUE
from firedoor.privacy import PERSONAL_KINDS, SECRET_KINDS
from firedoor.telemetry import names

ROOT = Path(__file__).parents[1]


def test_every_attribute_and_metric_is_on_the_telemetry_page():
    page = (ROOT / "docs/telemetry.md").read_text()
    source = Path(names.__file__).read_text()
    told = set(re.findall(r'"((?:gen_ai|firedoor)\.[\w.]+)"', source))
    told -= {names.REQUEST_SPAN, names.GATE_SPAN, names.INCIDENT_SPAN, names.ALERT_SPAN}
    told -= {names.DECISION_EVENT, names.EVALUATION_EVENT}
    assert sorted(name for name in told if f"`{name}`" not in page) == []


def test_every_kind_of_finding_is_on_the_redaction_page():
    page = (ROOT / "docs/redaction.md").read_text()
    kinds = set(PERSONAL_KINDS) | set(SECRET_KINDS)
    assert sorted(kind for kind in kinds if f"`{kind}`" not in page) == []


def test_the_runbook_on_the_incidents_page_can_be_used(tmp_path):
    page = (ROOT / "docs/incidents.md").read_text()
    file = tmp_path / "retrieval.yaml"
    file.write_text(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    (book,) = fd.runbooks.load(file)
    assert book.incident_class is fd.IncidentClass.RETRIEVAL_FAILURE
    assert [action.kind for action in book.actions] == ["reduce_depth", "safe_mode"]


def test_the_file_of_switches_on_the_containment_page_is_followed(tmp_path):
    page = (ROOT / "docs/containment.md").read_text()
    file = tmp_path / "switches.toml"
    file.write_text(re.search(r"```toml\n(.*?)```", page, re.DOTALL)[1])
    with fd.Firedoor("support-copilot", switches_file=file) as door:
        (switch,) = door.switches.active()
        assert (str(switch.kind), switch.target) == ("disable", "tool:refund")
        with pytest.raises(fd.RouteDisabled, match="double refunds"):
            door.tool("refund")(lambda: 1)()


def test_the_signals_page_says_of_each_what_the_code_counts():
    page = (ROOT / "docs/signals.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `") and line.count("|") == 7]
    assert rows == [
        f"| `{s.name}` | {s.shape}, {s.unit} | {s.kind} | {s.counts} | {s.among} "
        f"| {'up' if s.higher_is_worse else 'down'} |"
        for s in CATALOGUE.values()
    ]


def test_every_outcome_is_explained():
    page = (ROOT / "docs/decisions.md").read_text()
    assert [o for o in fd.Outcome if f"| `{o}` |" not in page] == []


def test_the_readme_begins_with_the_two_commands():
    top = (ROOT / "README.md").read_text()[:900]
    assert "nox -s demo" in top
    assert "nox -s tests" in top


@pytest.mark.parametrize(
    "page",
    [*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"],
    ids=lambda p: p.name,
)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_readme_names_every_page():
    readme = (ROOT / "README.md").read_text()
    pages = [page.name for page in ROOT.glob("docs/*.md")]
    assert [name for name in pages if f"](docs/{name})" not in readme] == []


def test_the_start_page_names_every_other():
    named = (ROOT / "docs/index.md").read_text().split("```{toctree}")[1].splitlines()
    pages = {page.stem for page in ROOT.glob("docs/*.md")} - {"index"}
    assert pages == pages & set(named)


def flat(text):
    return " ".join(text.split())


@pytest.mark.parametrize(
    "page", [*ROOT.glob("docs/*.md"), ROOT / "README.md"], ids=lambda p: p.name
)
def test_every_command_can_be_typed(page):
    """Each line is parsed as the command would parse it, with nothing run."""
    text = page.read_text()
    blocks = re.findall(r"^```\w*\n(.*?)^```$", re.sub(r"^```\{.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE | re.DOTALL)  # fmt: skip
    for line in "\n".join(blocks).splitlines():
        line = re.split(r"\s{3,}|\s#|  (?=[a-z])", line.strip())[0]
        line = re.sub(r"^(\w+=\S+ )+", "", line).replace("…", "x")
        if line.startswith("firedoor "):
            parse(shlex.split(line)[1:])
    for line in re.findall(r"`firedoor ([a-z][^`]*)`", text):
        parse(shlex.split(re.sub(r"\.\.\.|…", "x", flat(line))), whole=False)


def parse(words, *, whole=True):
    """Go from command to command as far as the words say; all of them have to fit if `whole`."""
    command, context = typer.main.get_command(app), None
    while True:
        try:
            context = command.make_context("firedoor", list(words), parent=context)
        except Exception as error:  # of click's, which typer has a copy of
            kind = type(error).__name__
            if kind == "NoArgsIsHelpError" or (kind == "MissingParameter" and not whole):
                return
            raise
        words = [*getattr(context, "_protected_args", ()), *context.args]
        if not words or not hasattr(command, "resolve_command"):
            return
        _, command, words = command.resolve_command(context, words)


@pytest.mark.parametrize(
    "line",
    ["incident", "switch disable --reason x", "status --stat x", "runbook --height tall", "incidents show a b"],
)  # fmt: skip
def test_a_command_that_cannot_be_typed_is_noticed(line):
    with pytest.raises(Exception, match=r"No such command|Missing|No such option|valid integer|unexpected"):  # fmt: skip
        parse(line.split())


def test_every_action_is_on_its_page():
    page = (ROOT / "docs/actions.md").read_text()
    named = [getattr(fd.actions, name) for name in fd.actions.__all__]
    made = [a for a in named if isinstance(a, type) and isinstance(getattr(a, "kind", None), str)]
    made = [a for a in made if a.kind]
    assert len(made) == 12
    assert [a.__name__ for a in made if f"| `{a.__name__}(" not in page] == []


def test_every_public_name_is_there():
    assert [name for name in fd.__all__ if not hasattr(fd, name)] == []
    assert len(set(fd.__all__)) == len(fd.__all__)


def test_every_public_name_is_in_the_reference():
    page = (ROOT / "docs/reference.md").read_text()
    whole = {"firedoor.errors", "firedoor.types"}  # told of as they are
    missing = [
        name
        for name in fd.__all__
        if callable(made := getattr(fd, name))
        and made.__module__ not in whole
        and f" firedoor.{name}\n" not in page
    ]
    assert missing == []
