"""The labelled answers in tests/data/groundedness, and how well a score tells them apart."""

from pathlib import Path
from typing import NamedTuple

from firedoor.drill.corpus import read_corpus

DATA = Path(__file__).parents[1] / "data/groundedness"


class Case(NamedTuple):
    """One answer: `label` is `G` grounded, `I` invented, `M` half and half, `N` a fact or two changed."""

    label: str
    answer: str
    sources: tuple[str, ...]
    question: str


def load(name):
    """The answers of one file. Docstrings are those of the Python that runs."""
    documents = {document.id: document.text for document in read_corpus()}
    cases = []
    for block in (DATA / f"{name}.txt").read_text(encoding="utf-8").split("\n\n"):
        lines = [line.split(" | ", 1) for line in block.splitlines() if not line.startswith("#")]
        sources = [text for mark, text in lines if mark == "S"]
        sources += [f"{text}\n{documents[text]}" for mark, text in lines if mark == "D"]
        question = next((text for mark, text in lines if mark == "Q"), "")
        cases += [
            Case(mark, text, tuple(sources), question) for mark, text in lines if mark in "GIMN"
        ]
    return cases


def shuffled(cases):
    """The same answers beside the sources of another block: nothing of theirs is borne out."""
    blocks = list(dict.fromkeys(case.sources for case in cases))
    after = {block: blocks[(place + 1) % len(blocks)] for place, block in enumerate(blocks)}
    return [case._replace(sources=after[case.sources]) for case in cases if case.label == "G"]


def auc(good, bad):
    """The chance that a grounded answer scores above one that is not; ties count half."""
    pairs = [(g > b) + 0.5 * (g == b) for g in good for b in bad]
    return sum(pairs) / len(pairs)
