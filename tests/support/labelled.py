"""The labelled set: texts in which every value to be hidden is marked."""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parents[1] / "data" / "privacy" / "labelled.txt"
_LABEL = re.compile(r"⟦([a-z0-9_]+)\|(.*?)⟧")


@dataclass
class Score:
    """What was found of one kind, and what was not."""

    right: int = 0
    missed: int = 0
    wrong: int = 0

    @property
    def precision(self):
        return self.right / (self.right + self.wrong) if self.right + self.wrong else 1.0

    @property
    def recall(self):
        return self.right / (self.right + self.missed) if self.right + self.missed else 1.0


def samples(path=DATA):
    """Each line as its text and the set of `(kind, start, end)` in it."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        parts, labels, at, size = [], set(), 0, 0
        for match in _LABEL.finditer(line):
            before = line[at : match.start()]
            start = size + len(before)
            size = start + len(match[2])
            parts += [before, match[2]]
            labels.add((match[1], start, size))
            at = match.end()
        yield "".join([*parts, line[at:]]), labels


def score(redactor, texts=None):
    """A `Score` per kind. A finding is right if kind, start and end are."""
    scores = defaultdict(Score)
    mistakes = []
    for text, labels in texts or samples():
        found = {tuple(match) for match in redactor.scan(text)}
        for kind, *_ in found & labels:
            scores[kind].right += 1
        for kind, start, end in labels - found:
            scores[kind].missed += 1
            mistakes.append(f"missed {kind} {text[start:end]!r} in {text!r}")
        for kind, start, end in found - labels:
            scores[kind].wrong += 1
            mistakes.append(f"wrong {kind} {text[start:end]!r} in {text!r}")
    return dict(scores), mistakes
