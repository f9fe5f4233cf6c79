"""A runbook is whole or not made; its page fits the screen and keeps what matters, whatever is in it."""

import re
import shlex
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import firedoor as fd
from firedoor.core.facts import FACTS, fill_command
from firedoor.core.incident import ActionRecord, ActionState, AlertRecord, IncidentRecord
from firedoor.core.screen import columns
from firedoor.errors import ConfigurationError
from firedoor.types import Evidence, IncidentClass, IncidentState, Severity

ALL = [*fd.runbooks.defaults(), fd.runbooks.unclassified()]
LABELS = ["DO FIRST", "CLASS", "SEVERITY", "CALL", "ROLL BACK", "TELL USERS", "CLOSE WHEN"]

# What names look like in real systems, at their longest, and in other people's scripts.
names = st.one_of(
    st.from_regex(r"[a-z0-9][a-z0-9_.:/-]{0,63}", fullmatch=True),
    st.sampled_from(
        [
            "checkout-help",
            "enterprise-contract-renewal-assistant-eu-central-1",
            "anthropic/claude-sonnet-4-5-20250929-v1:0-inference-profile-eu-west-1",
            "客户服务-退款流程-企业版",
            "поддержка-возвратов-для-корпоративных-клиентов",
        ]
    ),
)
anything = st.text(max_size=200)
sentences = st.lists(names, min_size=1, max_size=30).map(" ".join)
moments = st.none() | st.floats(0, 4e9)
incidents = st.builds(
    IncidentRecord,
    st.from_regex(r"INC-[0-9a-f]{8}", fullmatch=True),
    names,
    state=st.sampled_from(IncidentState),
    severity=st.sampled_from(Severity),
    incident_class=st.none() | st.sampled_from(IncidentClass),
    title=sentences | anything,
    journey=st.none() | names | anything,
    route=st.none() | names.map("llm:{}".format) | anything,
    alias=st.none() | names | anything,
    owner=st.none() | sentences | anything,
    recurrence_of=st.none() | names,
    evidence=st.lists(
        st.builds(
            Evidence, names, st.floats(0, 1e9), st.none() | st.floats(0, 1e9), sample=st.integers(0, 10**9)
        ),
        max_size=8,
    ).map(tuple),
    actions=st.lists(
        st.builds(
            ActionRecord, names, names, sentences | anything, state=st.sampled_from(ActionState)
        ),
        max_size=5,
    ).map(tuple),
    alerts=st.lists(st.builds(AlertRecord, names, names), max_size=5).map(tuple),
    first_bad_at=moments,
    detected_at=moments,
    contained_at=moments,
)  # fmt: skip
books = st.sampled_from(ALL)


def page(runbook, incident=None, width=80, height=24):
    lines = runbook.render(width, height, incident).split("\n")
    assert len(lines) <= height
    assert max(map(columns, lines)) <= width
    return lines


# The screen ----------------------------------------------------------------------------------


@settings(max_examples=250)
@given(book=books, incident=st.none() | incidents)
def test_every_class_fits_80_by_24_with_the_longest_values(book, incident):
    lines = page(book, incident)
    text = "\n".join(lines)
    assert lines[0].startswith("DO FIRST")
    assert [label for label in LABELS if f"\n{label}" not in f"\n{text}"] == []
    if incident is not None:
        assert "\nDONE " in text
    # Plain text: no colour, nothing that a terminal obeys or that turns the direction.
    assert all(char == "\n" or char.isprintable() for char in text)


@settings(max_examples=200)
@given(
    book=books,
    incident=st.none() | incidents,
    width=st.integers(1, 200),
    height=st.integers(1, 60),
)
def test_it_fits_whatever_the_screen(book, incident, width, height):
    page(book, incident, width, height)


@settings(max_examples=200)
@given(book=books, incident=incidents)
def test_a_command_is_shown_whole_or_not_at_all(book, incident):
    lines = page(book, incident)
    wanted = {tuple(shlex.split(fill_command(o.command, incident))) for o in book.rollback}
    index = 0
    while index < len(lines):
        if lines[index].strip().startswith("$ "):
            said = lines[index].strip().removeprefix("$ ")
            while said.endswith("\\"):
                index += 1
                said = said.removesuffix("\\") + lines[index].strip()
            assert tuple(shlex.split(said)) in wanted
        index += 1


@pytest.mark.parametrize("book", ALL, ids=lambda book: book.name)
def test_with_usual_names_every_way_back_is_on_the_page(book):
    incident = IncidentRecord(
        "INC-7f3a91c2",
        "support-copilot",
        incident_class=book.incident_class,
        severity=Severity.SEV2,
        journey="checkout-help",
        route="llm:answer",
        alias="gpt-5",
        evidence=(Evidence("refusal_rate", 0.3, 0.02, sample=240),),
        first_bad_at=1.7e9,
        detected_at=1.7e9 + 30,
    )
    text = "\n".join(page(book, incident))
    assert text.count("$ firedoor switch ") == len(book.rollback)
    assert "INC-7f3a91c2" in text
    assert "Affected: checkout-help. Since: 2023-11-14 22:13 UTC." in re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("book", ALL, ids=lambda book: book.name)
def test_without_an_incident_nothing_is_cut_but_the_end(book):
    lines = page(book)
    shown = [line for line in lines if line.startswith("CLOSE WHEN") or "[ ]" in line]
    assert len(shown) >= 2
    assert page(book, height=80)[-1].strip()
    assert "cut" not in page(book, height=80)[-1]


def test_what_is_cut_is_counted():
    lines = page(ALL[0], height=12)
    assert re.fullmatch(r"\(\d+ lines cut: the Markdown form has them all\)", lines[-1])


# Markdown ------------------------------------------------------------------------------------


@settings(max_examples=100)
@given(book=books, incident=st.none() | incidents)
def test_markdown_has_all_of_it(book, incident):
    text = book.to_markdown(incident)
    assert text.startswith("# ")
    for title in ("## Severity", "## Call", "## Roll back", "## Tell users", "## Close when"):
        assert f"\n{title}" in text
    assert text.count("- [ ] ") == len(book.closure)
    assert text.count("    ```sh\n") == len(book.rollback)
    assert all(char == "\n" or char.isprintable() for char in text)


def test_markdown_takes_names_literally():
    incident = IncidentRecord("INC-1", "s", journey="*a* [x](y) <b> `c`", title="t")
    text = ALL[0].to_markdown(incident)
    assert "\\*a\\* \\[x\\](y) \\<b\\> \\`c\\`" in text


# Templates -----------------------------------------------------------------------------------


def test_the_message_fills_itself_and_says_what_is_not_known():
    book = ALL[0]
    incident = IncidentRecord("INC-1", "shop", journey="help", first_bad_at=1.7e9)
    assert "Affected: help. Since: 2023-11-14 22:13 UTC." in book.communicate(incident)
    assert "Affected: all of shop" in book.communicate(replace(incident, journey=None))
    assert "Since: not known yet" in book.communicate(replace(incident, first_bad_at=None))
    assert "{" not in book.communicate()


def test_every_word_can_be_asked_for():
    book = own(communication=" ".join(f"{word}={{{word}}}" for word in FACTS))
    said = book.communicate(
        IncidentRecord(
            "INC-1",
            "shop",
            incident_class=IncidentClass.COST_RUNAWAY,
            contributing=(IncidentClass.LATENCY_SATURATION,),
            title="t",
            journey="help",
            route="llm:answer",
            alias="gpt-5",
            owner="ana",
            recurrence_of="INC-0",
            evidence=(Evidence("cost_velocity", 4.0, 1.0, sample=9),),
            alerts=(AlertRecord("cost-up", "cost_velocity"),),
            actions=(ActionRecord("a", "k", "tool off", state=ActionState.APPLIED),),
            first_bad_at=1000.0,
            detected_at=1030.0,
            contained_at=1300.0,
            stabilised_at=1400.0,
            recovered_at=1500.0,
            closed_at=1600.0,
        )
    )
    assert "not known yet" not in said
    for part in (
        "incident=INC-1",
        "where=help",
        "incident_class=cost runaway",
        "contributing=latency saturation",
        "signals=cost_velocity",
        "evidence=cost_velocity 4 (against 1, of 9)",
        "actions=tool off",
        "time_to_detect=30 s",
        "time_to_contain=5 min",
        "update_every=30 min",
    ):
        assert part in said, part


@given(value=st.text(max_size=60))
def test_a_name_in_a_command_is_one_word_of_the_shell_or_is_left_to_a_person(value):
    incident = IncidentRecord("INC-1", "s", journey=value, alias=value)
    words = shlex.split(fill_command("firedoor switch alias {alias} MODEL -r {incident}", incident))
    assert len(words) == 7
    assert words[3] in {value, "ALIAS"}
    assert words[6] == "INC-1"


# Six parts -----------------------------------------------------------------------------------

PARTS = {
    "incident_class": "quality_regression",
    "severity": {},
    "owners": {"lead": "Zoe"},
    "rollback": [{"label": "a", "does": "b", "command": "firedoor status"}],
    "communication": "c",
    "closure": ["d"],
    "first_action": "ring the bell",
}


def own(**fields):
    return fd.Runbook(**{**PARTS, **fields})


@pytest.mark.parametrize("part", PARTS)
def test_no_part_can_be_left_out(part):
    data = {name: value for name, value in PARTS.items() if name != part}
    with pytest.raises(ConfigurationError, match=part):
        fd.Runbook(**data)
    with pytest.raises(ConfigurationError, match=rf"{part}.*missing: give "):
        fd.Runbook.from_dict(data)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"owners": {}}, "owners"),
        ({"closure": []}, "closure"),
        ({"rollback": []}, "rollback"),
        ({"first_action": ""}, "first_action"),
        ({"first_action": "two\nlines"}, "one line"),
        ({"communication": "{jurnee}"}, r"\{jurnee\}.*\{journey\}"),
        ({"incident_class": "sadness"}, "incident_class"),
        ({"severity": {"sev1_share": 0.1, "sev2_share": 0.2}}, "falling order"),
        ({"actions": [object()]}, "fd.actions.SafeMode"),
        ({"rollback": [{"label": "a", "does": "b", "command": "x {y}"}]}, r"\{y\}"),
        ({"update_every": 0}, "update_every"),
    ],
)
def test_a_part_that_cannot_work_is_said(fields, said):
    with pytest.raises(ConfigurationError, match=said):
        own(**fields)


def test_the_defaults_are_one_for_each_class_with_six_parts():
    assert [book.incident_class for book in fd.runbooks.defaults()] == list(IncidentClass)
    for book in ALL:
        assert book.owners
        assert book.rollback
        assert book.closure
        assert book.communication
        assert book.first_action
    named = fd.runbooks.defaults(owners={"lead": "Zoe", "legal": "Max"})
    assert all(book.owners["lead"] == "Zoe" and book.owners["legal"] == "Max" for book in named)


@pytest.mark.parametrize("book", ALL, ids=lambda book: book.name)
def test_a_runbook_goes_to_a_file_and_comes_back(book, tmp_path):
    file = tmp_path / "book.yaml"
    file.write_text(book.to_yaml(), encoding="utf-8")
    build = fd.actions.build
    assert fd.Runbook.from_yaml(file, build=build) == book
    assert fd.Runbook.from_yaml(book.to_yaml(), build=build) == book
    assert fd.Runbook.from_dict(book.to_dict(), build=build) == book
