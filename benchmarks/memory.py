"""Whether the memory of a process stays flat over 200,000 guarded calls.

    python benchmarks/memory.py [--calls 200000]

Each case runs in a process of its own, after 5,000 calls to warm up. Spans go through a
`BatchSpanProcessor` to an exporter that discards them; what grows is kept by firedoor or by the
SDK. The last column is what a call leaves behind, were all growth due to calls.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys

from _harness import table, versions
from instrumentation import BAR, CHUNKS, case_of, everything

CASES = (
    BAR,
    "firedoor",
    "firedoor, no SDK",
    "firedoor async",
    "firedoor stream",
    "distinct requests",
)


def resident_kib():
    """Resident memory of this process."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def distinct_requests():
    """Each call in a request of its own, with a user, a journey and a model of its own."""
    from instrumentation import chat, providers

    import firedoor as fd

    spans, meters = providers()
    door = fd.Firedoor("bench", tracer_provider=spans, meter_provider=meters)
    guarded = door.llm("answer")(chat)
    number = iter(range(10**9))

    def call(messages):
        n = next(number)
        with door.request(f"journey-{n % 5000}", user=f"user-{n}", tenant=f"tenant-{n % 1000}"):
            return guarded(messages, model=f"model-{n}")

    return call


def measure(name, calls):
    """Print how resident memory went over the calls of one case."""
    function = distinct_requests() if name == "distinct requests" else everything()[name]
    run = case_of(function)
    run(5000)
    gc.collect()
    before = peak = resident_kib()
    for _ in range(20):
        run(calls // 20)
        peak = max(peak, resident_kib())
    gc.collect()
    print(json.dumps({"before": before, "after": resident_kib(), "peak": peak, "calls": calls}))
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        measure(arguments.worker, arguments.calls)
        return
    rows = []
    for name in CASES:
        # A stream is as many steps as it has chunks.
        calls = arguments.calls // CHUNKS * 2 if "stream" in name else arguments.calls
        done = subprocess.run(
            [sys.executable, __file__, "--worker", name, "--calls", str(calls)],
            capture_output=True,
            text=True,
            timeout=900,
        )
        if done.returncode:
            print(f"{name}: {done.stderr.strip()[-300:]}", file=sys.stderr)
            continue
        seen = json.loads(done.stdout.splitlines()[-1])
        grown = seen["after"] - seen["before"]
        rows.append(
            [
                name,
                seen["calls"],
                *(seen[k] / 1024 for k in ("before", "after", "peak")),
                grown * 1024 / seen["calls"],
            ]
        )
    print(f"\nResident memory, MiB. {versions('opentelemetry-sdk')}\n")
    print(table(["case", "calls", "before", "after", "peak", "bytes a call"], rows))


if __name__ == "__main__":
    main()
