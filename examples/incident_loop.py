"""An incident from its first bad answer to its finding, with nobody awake until it is contained.

A model begins to refuse what it answered before. The alert on it fires, its first action moves the
journey to the next model, the signal comes back, and a person finds an incident that is stable.
Time is faked, so that an hour takes a moment; without `clock=` the same code runs in real time.
"""

import random

import firedoor as fd
from firedoor.testing import FakeClock

clock = FakeClock()
door = fd.Firedoor("support-copilot", clock=clock)
refusing = {"gpt-5": 0.0, "gpt-5-mini": 0.0}
chance = random.Random(7).random


@door.llm("answer", tiers=[fd.Tier("gpt-5"), fd.Tier("gpt-5-mini"), fd.Canned("Later, please.")])
def answer(question, *, model=fd.ROUTED):
    """Stands in for a call to a provider."""
    if chance() < refusing[model]:
        return "I'm sorry, but I can't help with that request."
    return f"You asked: {question} Parcels leave our warehouse within two days."


door.watch(
    [
        fd.Alert(
            "refusals-up",
            signal="refusal_rate",
            journey="checkout-help",
            rule=fd.rules.Shift(baseline=1_800, window=300),
            incident_class="quality_regression",
            first_action=fd.actions.SwitchAlias(ttl="30m"),  # to the next model of the ladder
            then=(fd.actions.SafeMode(ttl="30m"),),
        )
    ]
)


def serve(minutes):
    for _ in range(round(minutes * 60)):
        clock.advance(1)
        with door.request("checkout-help"):
            answer("Where is my order?")


serve(40)
print("healthy:", door.snapshot()["alerts"]["refusals-up"]["state"])

refusing["gpt-5"] = 0.6
serve(2)
(incident,) = door.incidents.current()
print("two minutes after gpt-5 has changed:")
print(f"  {incident.severity} {incident.incident_class}, {incident.state}: {incident.title}")
for action in incident.actions:
    print(f"  {action.state}: {action.text}; touches {action.touches['text']}")

serve(15)
(action,) = incident.actions
print(f"a quarter of an hour later: {incident.state}, the action is {action.state}")
print(f"  detected after {incident.time_to_detect:.0f} s, contained after", end=" ")
print(f"{incident.time_to_contain:.0f} s, every signal back after {incident.time_to_recover:.0f} s")

refusing["gpt-5"] = 0.0  # the provider has put it right
incident.revert(action.id, actor="ana", reason="fixed by the provider")
serve(16)
incident.diagnose("the provider had changed the model", actor="ana")
incident.close(
    [fd.Finding("pin the model's version", owner="ana", probe="pinned-model")],
    owner="ana",
    actor="ana",
)
print("in the morning:", incident.state)
for entry in incident.timeline:
    print(f"  {entry.at - incident.first_bad_at:6.0f} s  {entry.actor:8}  {entry.text}")
door.close()
