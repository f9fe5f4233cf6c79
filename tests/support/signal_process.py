"""One process of a fleet: `python signal_process.py URL REFUSALS ANSWERS`; lives until told to end.

Makes that many calls, says `ready`, and answers each line it reads with what the fleet's refusal
rate is to it now. `die` makes it end as a kill would.
"""

import os
import sys

import firedoor as fd
from firedoor.records import OpenDecision
from firedoor.types import Outcome, RouteKind

SERVICE = "fleet"


def call(*, refused):
    record = OpenDecision()
    record.__dict__.update(
        id="d1",
        request_id="r1",
        journey="checkout-help",
        kind=RouteKind.LLM,
        route="llm:answer",
        alias="gpt-5",
        latency_s=2.0 if refused else 0.5,
        outcome=Outcome.REFUSED if refused else Outcome.ANSWERED,
        refusal="text" if refused else None,
    )
    return record.freeze()


def main():
    url, refusals, answers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    door = fd.Firedoor(SERVICE, state=url)
    for n in range(refusals + answers):
        door.signals.record(call(refused=n < refusals))
    door.flush()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "die":
            os._exit(9)
        door.flush()
        sample = door.signals.read("refusal_rate", journey="checkout-help")
        slow = door.signals.read("latency_p99", route="llm:answer").value
        print(f"{int(sample.total)} {sample.size} {slow:.4f}", flush=True)


if __name__ == "__main__":
    main()
