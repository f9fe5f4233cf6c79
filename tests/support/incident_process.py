"""One process of an application: `python incident_process.py STATE LEDGER MODE`; it does as it is told.

`serve N` makes so many requests, of which the first model refuses four in five. `look` evaluates,
and answers in JSON what it sees. `close` ends it, and `die` as a kill would.
"""

import json
import os
import sys

import firedoor as fd
from firedoor.clock import SYSTEM_CLOCK
from support.incident_app import App, refusals


def seen(app):
    app.door.evaluate()
    app.door.switches.sync()
    app.serve(1)
    found = app.door.incidents.current()
    return {
        "model": app.models[-1],
        "switches": [s.id for s in app.door.switches.active()],
        "incidents": [
            {
                "id": incident.id,
                "state": str(incident.state),
                "actions": [
                    {"id": a.id, "state": str(a.state), "text": a.text, "undo": dict(a.undo)}
                    for a in incident.actions
                ],
            }
            for incident in found
        ],
    }


class Running:
    """The system's clock, which does not advance for being told so."""

    @staticmethod
    def advance(seconds):
        pass


def main():
    state, ledger, mode = sys.argv[1:4]
    app = App(None, state=state, ledger=ledger or None)
    app.clock = Running
    app.refusing["gpt-5"] = 0.8
    then = (fd.actions.SafeMode(),)
    app.door.watch([refusals(mode=mode, then=then, pending=0.0)])
    print(json.dumps({"clock": type(SYSTEM_CLOCK).__name__}), flush=True)
    for line in sys.stdin:
        verb, *rest = line.split()
        if verb == "die":
            os._exit(9)
        if verb == "close":
            break
        if verb == "serve":
            app.serve(int(rest[0]))
            app.door.flush()
        print(json.dumps(seen(app) if verb == "look" else {}), flush=True)
    app.door.close()


if __name__ == "__main__":
    main()
