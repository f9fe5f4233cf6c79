"""A small application whose provider can go bad, for tests of what is done about it."""

import random

import firedoor as fd

JOURNEY = "checkout-help"


def said(text, *, refusal=None, model="gpt-5"):
    """What a provider answers, as plain values."""
    return {
        "id": "x",
        "object": "chat.completion",
        "model": model,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": text, "refusal": refusal},
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


class App:
    """A small application whose first model can begin to refuse."""

    def __init__(self, clock, *, seed=1, **door):
        self.clock = clock
        self.rng = random.Random(seed)
        self.refusing: dict[str, float] = {}
        self.failing: dict[str, float] = {}
        self.models: list[str] = []
        self.door = fd.Firedoor("shop", clock=clock, **door)

        @self.door.llm(
            "answer",
            tiers=[fd.Tier("gpt-5"), fd.Tier("gpt-5-mini"), fd.Canned("Later, please.")],
            prompt="answer",
        )
        def answer(question, *, model=fd.ROUTED):
            self.models.append(model)
            if self.rng.random() < self.failing.get(model, 0.0):
                raise ConnectionError("provider is down")
            if self.rng.random() < self.refusing.get(model, 0.0):
                return said(None, refusal="I can't help with that.", model=model)
            return said("It is on its way.", model=model)

        self.answer = answer

    def serve(self, seconds, *, journey=JOURNEY, rate=1):
        """`rate` requests a second for so long; the last one."""
        for _ in range(int(seconds)):
            self.clock.advance(1)
            for _ in range(rate):
                last = self.door.request(journey)
                with last:
                    self.answer("where is my order?")
        return last


def refusals(**kwargs):
    return fd.Alert(
        **{
            "name": "refusals-up",
            "signal": "refusal_rate",
            "journey": JOURNEY,
            "rule": fd.rules.Above(0.2, window=300, minimum=50),
            "incident_class": "quality_regression",
            "first_action": fd.actions.SwitchAlias("gpt-5", "gpt-5-mini", ttl="30m"),
            **kwargs,
        }
    )


def events(incident):
    """What happened, in a word each."""
    return [entry.event for entry in incident.timeline]
