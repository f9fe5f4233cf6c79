"""The documents: the docstrings of the Python standard library that runs this process.

Every machine that runs firedoor has them, they are true, and they differ a little from one Python
to the next, as real documents do.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType

__all__ = ["MODULES", "Document", "read_corpus"]

MODULES: tuple[str, ...] = tuple(
    """
    argparse array ast asyncio base64 bisect calendar collections concurrent.futures configparser
    contextlib contextvars copy csv dataclasses datetime decimal difflib email.message enum
    fileinput fnmatch fractions functools getpass glob gzip hashlib heapq hmac html http.client
    http.server inspect io ipaddress itertools json keyword linecache locale logging lzma math
    mimetypes operator os os.path pathlib pickle platform pprint queue random re sched secrets
    select selectors shelve shlex shutil signal smtplib socket sqlite3 ssl statistics string struct
    subprocess tempfile textwrap threading time timeit tokenize traceback types unicodedata
    urllib.parse urllib.request uuid warnings weakref xml.etree.ElementTree zipfile zlib zoneinfo
    """.split()  # noqa: SIM905 - a paragraph is read faster than ninety lines
)
"""Modules whose import has no effect worth speaking of, on any platform they exist on."""

EXCERPT_CHARACTERS = 600
"""How much of a docstring a document keeps: a small model answers from its first paragraphs."""


@dataclass(frozen=True, slots=True)
class Document:
    """One docstring.

    Attributes:
        id: Where it stands, as in `heapq.heappush`.
        text: Its first paragraphs, at most `EXCERPT_CHARACTERS`.
    """

    id: str
    text: str


def read_corpus(modules: Iterable[str] = MODULES) -> tuple[Document, ...]:
    """The documented public functions, classes and methods of `modules`, in a stable order.

    A module that this Python does not have is left out: builds differ in `ssl`, `lzma` and others.
    """
    found: dict[str, str] = {}
    for name in modules:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        for path, thing in _public(name, module):
            text = inspect.getdoc(thing)
            if text:
                found.setdefault(path, _excerpt(text))
    return tuple(Document(path, text) for path, text in sorted(found.items()))


def _public(module_name: str, module: ModuleType) -> Iterator[tuple[str, object]]:
    exported = getattr(module, "__all__", ())
    for name, thing in vars(module).items():
        if name.startswith("_") or not callable(thing):
            continue
        home = getattr(thing, "__module__", None) or ""
        # C accelerators call themselves _heapq; what a module merely imports is not its own.
        if name not in exported and home.lstrip("_") != module.__name__:
            continue
        path = f"{module_name}.{name}"
        yield path, thing
        if inspect.isclass(thing):
            yield from _methods(path, thing)


def _methods(path: str, owner: type) -> Iterator[tuple[str, object]]:
    for name in vars(owner):
        if name.startswith("_"):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            method = getattr(owner, name, None)
        if callable(method) and not inspect.isclass(method):
            yield f"{path}.{name}", method


def _excerpt(text: str) -> str:
    if len(text) <= EXCERPT_CHARACTERS:
        return text
    return text[:EXCERPT_CHARACTERS].rsplit(None, 1)[0] + " …"
