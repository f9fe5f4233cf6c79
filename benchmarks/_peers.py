"""Environments for peers that cannot live in the one the benchmarks run in.

Each is made on first use under `FIREDOOR_BENCH_VENVS` (default: `firedoor-bench` in the user's cache
folder), with firedoor in it too, so that a peer and firedoor are measured in one process.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).resolve().parent.parent


def environment(name: str, packages: Sequence[str]) -> pathlib.Path | None:
    """The Python of a peer's environment, made if it is not there yet; None where that fails."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    folder = pathlib.Path(os.environ.get("FIREDOOR_BENCH_VENVS", cache / "firedoor-bench")) / name
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if (folder / "complete").exists():
        return python
    uv = shutil.which("uv") or shutil.which("uv", path=str(pathlib.Path(sys.executable).parent))
    if uv:
        steps = [
            [uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "-q", "--python", str(python), *packages, "-e", str(ROOT)],
        ]
    else:
        steps = [
            [sys.executable, "-m", "venv", str(folder)],
            [str(python), "-m", "pip", "install", "-q", *packages, "-e", str(ROOT)],
        ]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name}: no environment: {done.stderr.strip()[-300:]}", file=sys.stderr)
            return None
    (folder / "complete").touch()
    return python
