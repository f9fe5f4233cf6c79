"""The secret for tokens: one for all processes of a state, whoever comes first."""

import threading

import pytest

import firedoor as fd
from firedoor.clock import SYSTEM_CLOCK
from firedoor.errors import StoreError
from firedoor.stores import MemoryStore
from firedoor.stores.key import shared_key
from firedoor.testing import FakeClock


def test_is_one_for_all_who_come_at_once(store):
    start = threading.Barrier(8)
    found = []

    def come():
        start.wait()
        found.append(shared_key(store, SYSTEM_CLOCK))

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert len(found[0]) == 32
    assert shared_key(store, SYSTEM_CLOCK) == found[0]


def test_is_made_by_the_next_where_the_first_was_killed_over_it():
    clock = FakeClock(auto=True)
    store = MemoryStore(clock)
    assert store.claim("key", "killed", 5.0)
    assert len(shared_key(store, clock)) == 32
    assert clock.now() == pytest.approx(5.0, abs=0.1)


def test_is_not_waited_for_without_end():
    clock = FakeClock(auto=True)
    store = MemoryStore(clock)
    store.claim("key", "stuck", 3600.0)
    with pytest.raises(StoreError, match="others do not come to an end"):
        shared_key(store, clock)


def test_gives_a_user_the_same_token_in_every_process(shared_url):
    tokens = set()
    for _ in range(2):
        with (
            fd.Firedoor("app", state=shared_url) as door,
            door.request("ask", user="ana@example.com") as request,
        ):
            tokens.add(request.user)
    assert len(tokens) == 1


def test_takes_the_place_of_no_key_that_was_given(shared_url):
    given = fd.Redactor(key=b"sixteen bytes it is")
    with (
        fd.Firedoor("app", state=shared_url, redactor=given) as door,
        door.request("ask", user="ana") as request,
    ):
        assert request.user == fd.Redactor(key=b"sixteen bytes it is").token("ana", "user")
