"""What the users of the drill ask."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from firedoor.drill.corpus import Document

__all__ = ["ABOUT_THE_VERSION", "BANK", "Question", "draw"]


@dataclass(frozen=True, slots=True)
class Question:
    """A question and the id of the document that answers it."""

    text: str
    about: str


BANK: tuple[Question, ...] = tuple(
    Question(text, about)
    for text, about in (
        ("How do I push an item onto a heap?", "heapq.heappush"),
        ("How do I copy a whole directory tree?", "shutil.copytree"),
        ("What does functools.lru_cache do?", "functools.lru_cache"),
        ("How do I compute the greatest common divisor?", "math.gcd"),
        ("How do I create a temporary directory?", "tempfile.TemporaryDirectory"),
        ("How do I shuffle a list in place?", "random.shuffle"),
        ("How do I wrap a paragraph of text to fit a width?", "textwrap.fill"),
        ("How do I find the median of data?", "statistics.median"),
        ("How do I merge multiple sorted inputs?", "heapq.merge"),
        ("How do I compile a regular expression pattern?", "re.compile"),
        ("How do I split a shell command line string?", "shlex.split"),
        ("How do I escape special HTML characters?", "html.escape"),
        ("How do I compress a string with zlib?", "zlib.compress"),
        ("How do I run a command and capture its output?", "subprocess.run"),
        ("How do I generate a random URL-safe token?", "secrets.token_urlsafe"),
        ("How do I make a deep copy of an object?", "copy.deepcopy"),
        ("How do I serialize an object to a JSON formatted string?", "json.dumps"),
        ("How do I pretty-print an object?", "pprint.pp"),
        ("How do I suppress exceptions in a with statement?", "contextlib.suppress"),
        ("How do I insert an item into a sorted list?", "bisect.insort"),
        ("How do I delay execution for some seconds?", "time.sleep"),
        ("How do I get the current working directory?", "os.getcwd"),
        ("How do I move a file or directory to another location?", "shutil.move"),
        ("How do I list files matching a pathname pattern?", "glob.glob"),
    )
)
"""Questions in a person's words, whose answer BM25 finds among its first three documents."""


ABOUT_THE_VERSION = Question(
    "Which function returns the Python version, and which is it here?", "platform.python_version"
)
"""The one question that needs a tool."""


def draw(count: int, *, seed: int, documents: Sequence[Document]) -> tuple[Question, ...]:
    """`count` questions, the same for the same seed, one about the version second among them.

    The others are from the bank; when it is used up, one per document.

    Raises:
        ValueError: If there are not so many.
    """
    chance = random.Random(seed)
    wanted = max(count - 1, 0)
    drawn = chance.sample(BANK, k=min(wanted, len(BANK)))
    rest = wanted - len(drawn)
    if rest > len(documents):
        most = len(BANK) + len(documents) + 1
        raise ValueError(f"{count} questions asked for, at most {most} known")
    drawn += [Question(f"What does {one.id} do?", one.id) for one in chance.sample(documents, rest)]
    drawn.insert(1, ABOUT_THE_VERSION)
    return tuple(drawn[:count])
