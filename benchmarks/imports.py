"""What importing firedoor adds to importing its own dependencies.

    python benchmarks/imports.py [--runs 9]

A first process lists the modules of other packages that `import firedoor` loads. Then fresh
processes import all of those, and after them firedoor, and time the second step; it is the cost to
an application that has pydantic and OpenTelemetry loaded anyway. Warm file cache; least of all runs
beside the median, because everything else a machine does only adds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile

from _harness import spread, table, versions

LIST = """
import json, sys, sysconfig
import firedoor
standard = set(sys.stdlib_module_names)
print(json.dumps([
    name for name in sys.modules
    if name.partition(".")[0] not in standard | {"firedoor", "__main__"}
    and getattr(sys.modules[name], "__spec__", None) is not None
]))
"""

TIME = """
import importlib, json, sys, time
names = json.loads(sys.argv[1])
began = time.perf_counter()
for name in names:
    try:
        importlib.import_module(name)
    except ImportError:
        pass
between = time.perf_counter()
import firedoor
ended = time.perf_counter()
ours = sum(name.partition(".")[0] == "firedoor" for name in sys.modules)
print(json.dumps([(between - began) * 1e3, (ended - between) * 1e3, ours]))
"""


def run(cache, code, *arguments):
    """What `code` prints, in a process of its own that finds its bytecode in `cache`."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled once
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as cache:
        foreign = run(cache, LIST)  # fills the caches, too
        names = json.dumps(foreign)
        figures = [run(cache, TIME, names) for _ in range(runs)]
    print(
        f"\nImporting, milliseconds over {runs} runs. {versions('pydantic', 'opentelemetry-sdk')}\n"
    )
    print(
        table(
            ["step", "modules", "least", "median", "greatest"],
            [
                ["its dependencies", len(foreign), *spread(f[0] for f in figures)],
                ["firedoor after them", figures[0][2], *spread(f[1] for f in figures)],
            ],
        )
    )


if __name__ == "__main__":
    main()
