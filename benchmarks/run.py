"""Every benchmark, one after the other: `nox -s bench`, or `python benchmarks/run.py [--only NAMES]`.

--only instrumentation,redaction     just these
--peers all                          instrumentation beside every peer, and fallback beside
                                     LiteLLM (installs them; minutes)
--peers litellm                      fallback beside LiteLLM
"""

from __future__ import annotations

import argparse
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent


def peers_for(name: str, asked: str) -> list[str]:
    """The arguments that give a benchmark its peers in environments of their own."""
    chosen = [peer for peer in asked.split(",") if peer]
    if name == "fallback":
        return ["--peers", "litellm"] if {"all", "litellm"} & set(chosen) else []
    if name == "instrumentation":
        theirs = [peer for peer in chosen if peer != "litellm"]
        return ["--peers", ",".join(theirs)] if theirs else []
    return []


def main() -> int:
    """Run them; the number of those that failed."""
    names = sorted(p.stem for p in HERE.glob("[!_]*.py") if p.stem != "run")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help=f"some of {', '.join(names)}")
    parser.add_argument("--peers", default="", help="'all', or names: see above")
    asked = parser.parse_args()
    chosen = asked.only.split(",") if asked.only else names
    unknown = sorted(set(chosen) - set(names))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}: choose from {', '.join(names)}")
    failed = 0
    for name in chosen:
        print(f"\n# {name}\n", flush=True)
        extra = peers_for(name, asked.peers)
        failed += (
            subprocess.run(
                [sys.executable, str(HERE / f"{name}.py"), *extra], check=False
            ).returncode
            != 0
        )
    return failed


if __name__ == "__main__":
    sys.exit(main())
