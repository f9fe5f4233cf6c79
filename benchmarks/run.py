"""Every benchmark, one after the other: `nox -s bench`, or `python benchmarks/run.py [--only NAMES]`.

--only instrumentation,redaction     just these
--peers all                          instrumentation beside every peer (installs them; minutes)
"""

from __future__ import annotations

import argparse
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent


def main() -> int:
    """Run them; the number of those that failed."""
    names = sorted(p.stem for p in HERE.glob("[!_]*.py") if p.stem != "run")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help=f"some of {', '.join(names)}")
    parser.add_argument("--peers", default="", help="for instrumentation: 'all', or names")
    asked = parser.parse_args()
    chosen = asked.only.split(",") if asked.only else names
    unknown = sorted(set(chosen) - set(names))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}: choose from {', '.join(names)}")
    failed = 0
    for name in chosen:
        print(f"\n# {name}\n", flush=True)
        extra = ["--peers", asked.peers] if name == "instrumentation" and asked.peers else []
        failed += (
            subprocess.run(
                [sys.executable, str(HERE / f"{name}.py"), *extra], check=False
            ).returncode
            != 0
        )
    return failed


if __name__ == "__main__":
    sys.exit(main())
