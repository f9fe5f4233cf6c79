"""The labelled answers in tests/data/refusals, and how well a detector tells them apart."""

from pathlib import Path
from typing import NamedTuple

DATA = Path(__file__).parents[1] / "data/refusals"


class Row(NamedTuple):
    """One answer."""

    label: str
    language: str
    style: str
    text: str


class Rates(NamedTuple):
    """What a detector makes of labelled answers.

    Attributes:
        recall: Share of the full refusals that are told as refusals, full or partial.
        full: Share of them that are told as full ones.
        false_alarms: Share of the honest answers that are told as refusals of either kind.
        partial: Share of the partial refusals that are told as such.
    """

    recall: float
    full: float
    false_alarms: float
    partial: float


def load(name):
    """The rows of one file."""
    rows = []
    for line in (DATA / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            label, language, style, text = (part.strip() for part in line.split(" | ", 3))
            rows.append(Row(label, language, style, text.replace("\\n", "\n")))
    return rows


def rates(detect, rows):
    """How well `detect(text)`, answering "full", "partial" or None, tells the rows apart."""

    def share(label, *told):
        answers = [detect(row.text) for row in rows if row.label == label]
        return sum(answer in told for answer in answers) / len(answers)

    return Rates(
        share("full", "full", "partial"),
        share("full", "full"),
        share("honest", "full", "partial"),
        share("partial", "partial"),
    )
