"""What a process says of its gates to whoever has the store."""

import gc
import json
import weakref

import firedoor as fd
from firedoor.errors import StoreError
from firedoor.shell.presence import Presence, gates, processes
from firedoor.stores import MemoryStore
from support.waiting import until


class Away(MemoryStore):
    """A store that does not answer."""

    asked = 0

    def publish(self, *said):
        self.asked += 1
        raise StoreError("away")


def test_a_store_that_is_away_is_told_of_once_and_nobody_else_hears_of_it(door, monkeypatch):
    told = []
    monkeypatch.setattr(door._runtime, "internal", lambda seam, error: told.append(seam))
    monkeypatch.setattr("firedoor.shell.presence.EVERY", 0.001)
    store = Away()
    presence = Presence(door._runtime, store)
    until(lambda: store.asked > 3)
    presence.close()
    assert told == ["presence"]


def test_what_it_says_passes_the_redactor(door):
    """A model name may come from a user, and hold anything."""
    secret = "AKIAIOSFODNN7EXAMPLE"

    @door.llm("answer", tiers=[fd.Tier(secret)], limiter=fd.Limiter())
    def answer(messages, *, model):
        return "ok"

    answer("hi")
    assert secret in json.dumps(gates(door._runtime))
    store = MemoryStore()
    presence = Presence(door._runtime, store)
    until(lambda: processes(store))
    presence.close()
    (said,) = store.members("doors").values()
    assert secret not in said


def test_a_door_that_is_dropped_says_no_more(monkeypatch):
    """Its thread ends by itself: an application that forgets to close is not kept for ever."""
    monkeypatch.setattr("firedoor.shell.presence.EVERY", 0.001)
    door = fd.Firedoor("dropped")
    runtime = weakref.ref(door._runtime)
    presence = Presence(door._runtime, MemoryStore())
    assert presence.running
    door.close()
    del door
    gc.collect()
    assert runtime() is None
    until(lambda: not presence.running)
