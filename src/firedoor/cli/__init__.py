"""The `firedoor` command. It needs the extra `cli`; without it, it says so."""

from __future__ import annotations

import importlib.util
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    missing = [name for name in ("typer", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"The firedoor command needs {' and '.join(missing)}: pip install 'firedoor[cli]'")
    from firedoor.cli.app import app  # noqa: PLC0415 - not before it is known to be possible

    app()
