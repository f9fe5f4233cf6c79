"""What another process has done already is followed, though its incidents are not seen here."""

import pytest

import firedoor as fd
from firedoor import actions
from firedoor.testing import FakeClock
from support.incident_app import JOURNEY, App, refusals


@pytest.mark.parametrize("when", ["before", "as it looks"])
def test_a_switch_of_another_process_is_the_action(when, monkeypatch):
    app = App(FakeClock())
    board = app.door.switches

    def elsewhere():
        board.alias(
            "gpt-5", "gpt-5-mini", reason="INC-0000ffff aa: refusals", actor="firedoor",
            ttl="30m", journey=JOURNEY,
        )  # fmt: skip

    if when == "before":
        app.serve(1)
    else:
        resolved = actions.SwitchAlias.resolved

        def late(self, context):
            if not board.active():
                elsewhere()
            return resolved(self, context)

        monkeypatch.setattr(actions.SwitchAlias, "resolved", late)
    app.door.watch([refusals(then=(actions.SafeMode(),))])
    app.serve(400)
    # Both are bad at first, so that it is seen here as well.
    app.refusing.update({"gpt-5": 0.8, "gpt-5-mini": 0.8})
    if when == "before":
        elsewhere()
    app.serve(120)
    (incident,) = app.door.incidents.current()
    (action,) = incident.actions
    assert action.state is fd.ActionState.APPLIED
    assert action.text == "gpt-5 → gpt-5-mini on checkout-help (by another process)"
    assert action.undo == {}
    assert incident.state is fd.IncidentState.CONTAINED
    assert len(board.active()) == 1
    app.door.close()
