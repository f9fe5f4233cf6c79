"""The store of a fleet: Redis or Valkey, one server or a cluster.

One script for each operation, one round trip for each script; what that script may assume is in
`firedoor.stores.scripts`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from firedoor.clock import SYSTEM_CLOCK, Clock
from firedoor.core.budget import (
    Answer,
    Balance,
    Line,
    Settlement,
    check_lines,
    check_settlements,
)
from firedoor.errors import ConfigurationError, StoreError
from firedoor.stores import scripts
from firedoor.stores.base import OnChange, OnError, Settled, check_ttl
from firedoor.stores.redis_client import FAILURES, Client, Script, address
from firedoor.stores.watching import follow

__all__ = ["RedisStore"]

_SLICE = 0.2
"""Seconds a watcher sleeps before it looks whether it was stopped."""

_RESERVE = Script(scripts.RESERVE)
_SETTLE = Script(scripts.SETTLE)
_RENEW = Script(scripts.RENEW)
_COUNTERS = Script(scripts.COUNTERS)
_SWAP_BOARD = Script(scripts.SWAP_BOARD)
_PUBLISH = Script(scripts.PUBLISH)
_MEMBERS = Script(scripts.MEMBERS)
_CLAIM = Script(scripts.CLAIM)
_RELEASE = Script(scripts.RELEASE)


class RedisStore:
    """Counters and board on a Redis or Valkey server.

    Thread-safe and fork-safe; each event loop has connections of its own, which end with it.

    Args:
        url: `redis://[user:password@]host[:port][/database]`, `rediss://` for TLS. The query may
            set `namespace` (default `firedoor`; applications that share a server and not their
            budgets each need one), `cluster=true`, and redis-py's own (`socket_timeout`, ...).
        clock: Stands in for the server's wall clock between two answers.

    Raises:
        ConfigurationError: If there is no such server, or it does not let us in.
    """

    shared = True

    def __init__(self, url: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._offset = 0.0
        try:
            client = self._client = Client(url)
            self._keys = [client.tag + n for n in ("counters", "holds", "due", "expiring")]
            self._board_key = client.tag + "board"
            self._channel = client.tag + "board:changed"
            client.run(_COUNTERS, self._keys, ["-"])
        except ConfigurationError:
            raise
        except (StoreError, ValueError, TypeError, *FAILURES) as error:
            cause = error.__cause__ or error
            raise ConfigurationError(
                f"state={address(url)!r}: the server cannot be used "
                f"({type(cause).__name__}: {cause}): start it, or correct the address, the "
                "credentials or the options"
            ) from cause

    def __repr__(self) -> str:
        return f"<RedisStore {self._client.shown}>"

    def now(self) -> float:
        """The server's wall clock as of its last answer, carried on by this host's."""
        return self._clock.time_ns() / 1e9 + self._offset

    # Counters ------------------------------------------------------------------------------

    def reserve(self, hold: str, lines: Sequence[Line], lease: float) -> Answer:
        """See `Store.reserve`."""
        return self._answer(
            self._client.run(_RESERVE, self._keys, _reserve_args(hold, lines, lease))
        )

    def renew(self, holds: Sequence[str], lease: float) -> tuple[bool, ...]:
        """See `Store.renew`."""
        reply = self._client.run(_RENEW, self._keys, [_ms(lease), *holds])
        return tuple(bool(renewed) for renewed in reply[1:])

    def settle(self, settlements: Sequence[Settlement]) -> Settled:
        """See `Store.settle`."""
        return self._settled(self._client.run(_SETTLE, self._keys, _settle_args(settlements)))

    def balances(self, keys: Sequence[str]) -> tuple[Balance, ...]:
        """See `Store.balances`."""
        if not keys:
            return ()
        return _balances(self._client.run(_COUNTERS, self._keys, keys)[1:])

    def counters(self) -> Mapping[str, Balance]:
        """See `Store.counters`."""
        flat = self._client.run(_COUNTERS, self._keys, [])[1]
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        return {
            field[:-2].decode(): Balance(int(fields.get(field[:-1] + b"s", 0)), int(held))
            for field, held in sorted(fields.items())
            if field.endswith(b"|h")
        }

    async def areserve(self, hold: str, lines: Sequence[Line], lease: float) -> Answer:
        """See `Store.reserve`; over connections of the running event loop."""
        args = _reserve_args(hold, lines, lease)
        return self._answer(await self._client.arun(_RESERVE, self._keys, args))

    async def asettle(self, settlements: Sequence[Settlement]) -> Settled:
        """See `Store.settle`; over connections of the running event loop."""
        return self._settled(
            await self._client.arun(_SETTLE, self._keys, _settle_args(settlements))
        )

    def _answer(self, reply: list[int]) -> Answer:
        if reply[0] == -2:
            raise ValueError("the hold has other counters, or another order of them")
        self._hear(reply[1])
        verdict = reply[0]
        return Answer(verdict == 0, verdict - 1 if verdict > 0 else None, _balances(reply[2:]))

    def _settled(self, reply: list[int]) -> Settled:
        if reply[0] == -2:
            raise ValueError("a hold has more or fewer lines than amounts were given")
        self._hear(reply[0])
        found: list[tuple[Balance, ...] | None] = []
        at = 1
        while at < len(reply):
            count = reply[at]
            found.append(None if count < 0 else _balances(reply[at + 1 : at + 1 + 2 * count]))
            at += 1 + 2 * max(count, 0)
        return tuple(found)

    def _hear(self, milliseconds: int) -> None:
        self._offset = milliseconds / 1e3 - self._clock.time_ns() / 1e9

    # The board -----------------------------------------------------------------------------

    def board(self) -> tuple[int, str]:
        """See `Store.board`."""
        return _board(self._client.fields(self._board_key, "version", "text"))

    def swap_board(self, expected: int, text: str) -> int | None:
        """See `Store.swap_board`."""
        version = self._client.run(_SWAP_BOARD, [self._board_key], [expected, text, self._channel])
        return None if version < 0 else version

    def watch_board(
        self, on_change: OnChange, *, poll: float, on_error: OnError
    ) -> Callable[[], None]:
        """See `Store.watch_board`. Told by the server at once; the polling is for lost messages."""
        return follow(lambda: _BoardChannel(self), on_change, on_error, poll=poll)

    # Members and claims --------------------------------------------------------------------

    def publish(self, space: str, member: str, text: str, ttl: float) -> None:
        """See `Store.publish`."""
        check_ttl(ttl)
        self._client.run(_PUBLISH, self._space(space), [member, text, _ms(ttl)])

    def members(self, space: str) -> Mapping[str, str]:
        """See `Store.members`."""
        flat = [one.decode() for one in self._client.run(_MEMBERS, self._space(space), [])]
        return dict(zip(flat[::2], flat[1::2], strict=True))

    def claim(self, name: str, owner: str, ttl: float) -> bool:
        """See `Store.claim`."""
        check_ttl(ttl)
        return bool(
            self._client.run(_CLAIM, [f"{self._client.tag}claim:{name}"], [owner, _ms(ttl)])
        )

    def release(self, name: str, owner: str) -> None:
        """See `Store.release`."""
        self._client.run(_RELEASE, [f"{self._client.tag}claim:{name}"], [owner])

    def _space(self, space: str) -> list[str]:
        return [f"{self._client.tag}members:{space}", f"{self._client.tag}members-due:{space}"]

    def close(self) -> None:
        """Close the connections. Those of an event loop end with the loop."""
        self._client.close()


class _BoardChannel:
    """Follows the board by the server's messages."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._messages = store._client.messages()
        try:
            # Before the first look: what changes after it is told.
            self._messages.subscribe(store._channel)
        except FAILURES as error:
            raise store._client.away(error) from error

    def read(self) -> tuple[int, str]:
        return self._store.board()

    def wait(self, stopped: threading.Event, seconds: float) -> None:
        ends = time.monotonic() + seconds
        try:
            while not stopped.is_set() and (left := ends - time.monotonic()) > 0:
                # A message, or None after the time given or for a message of the protocol's own.
                if self._messages.get_message(timeout=min(left, _SLICE)) is not None:
                    break
            while self._messages.get_message(timeout=0) is not None:
                pass  # the board is read once for all of them
        except FAILURES as error:
            raise self._store._client.away(error) from error

    def close(self) -> None:
        self._messages.close()


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _reserve_args(hold: str, lines: Sequence[Line], lease: float) -> list[Any]:
    check_lines(lines)
    args: list[Any] = [hold, _ms(lease)]
    for line in lines:
        flags = (1 if line.strict else 0) + (2 if line.enforce else 0)
        expires = _ms(line.expires)
        args += (line.key, line.limit, line.amount, line.floor, expires, flags)
    return args


def _settle_args(settlements: Sequence[Settlement]) -> list[Any]:
    check_settlements(settlements)
    args: list[Any] = []
    for hold, actual in settlements:
        args += (hold, len(actual), *actual)
    return args


def _balances(flat: Sequence[int]) -> tuple[Balance, ...]:
    return tuple(Balance(s, h) for s, h in zip(flat[::2], flat[1::2], strict=True))


def _board(found: Sequence[bytes | None]) -> tuple[int, str]:
    version, text = found
    return (0, "") if version is None or text is None else (int(version), text.decode())
