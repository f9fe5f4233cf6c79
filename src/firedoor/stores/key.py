"""The secret that the processes of a shared state make their tokens with, where none was given.

It is made by whichever process comes first and stays in the store. So a user or a tenant is the same
one in every process, and after a restart.
"""

from __future__ import annotations

import secrets

from firedoor.clock import Clock
from firedoor.errors import StoreError
from firedoor.stores.base import Store

__all__ = ["shared_key"]

_SPACE = "key"
_MEMBER = "tokens"
_FOREVER = 10 * 366 * 86_400.0
_TURN = 5.0
"""Seconds that one process has to make it; one that was killed meanwhile keeps others no longer."""
_WAIT = 0.02


def shared_key(store: Store, clock: Clock) -> bytes:
    """The secret, 32 bytes; made if there is none.

    Raises:
        StoreError: If the store does not answer, or nobody else comes to an end of making it.
    """
    own = secrets.token_hex(8)
    for _ in range(int(2 * _TURN / _WAIT)):
        found = store.members(_SPACE).get(_MEMBER)
        if found is not None:
            return bytes.fromhex(found)
        if not store.claim(_SPACE, own, _TURN):
            clock.sleep(_WAIT)
        elif _MEMBER not in store.members(_SPACE):  # nobody was first after all
            store.publish(_SPACE, _MEMBER, secrets.token_hex(32), _FOREVER)
    raise StoreError("the secret for tokens: others do not come to an end of making it")
