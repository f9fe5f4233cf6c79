"""Connections to a Redis or Valkey server, and scripts run over them.

Every script is safe to repeat, so a connection that broke in the middle of one is made anew and
asked again. A server that does not know a script (it was restarted) is given its text.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis
import redis.asyncio
import redis.asyncio.retry
import redis.backoff
import redis.exceptions
import redis.retry

from firedoor.errors import ConfigurationError, StoreError

__all__ = [
    "ASYNC_CONNECTIONS",
    "CONNECTIONS",
    "FAILURES",
    "SOCKET_TIMEOUT",
    "Client",
    "Script",
    "address",
]

SOCKET_TIMEOUT = 1.0
"""Seconds to connect, and to wait for an answer, before the store counts as away."""

CONNECTIONS = 10_000
"""Connections of one process, unless the URL says `max_connections`: one for each thread that asks
at once. A server that hesitates is not away, so nobody is to be told that there are too many."""

ASYNC_CONNECTIONS = 32
"""Connections of one event loop; more tasks than that wait their turn."""

FAILURES = (
    redis.exceptions.RedisError,
    redis.exceptions.RedisClusterException,  # which is no RedisError
    OSError,
    RuntimeError,
)
"""How a server shows that it does not answer."""

_BACKOFF = redis.backoff.ExponentialBackoff(cap=0.05, base=0.005)
_RETRIES = 2
_REFUSED = (redis.exceptions.ConnectionError,)
"""What is tried again: a connection that broke. Who waited in vain has waited long enough."""

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")


class Script:
    """Lua, and the name the server knows it by."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class Client:
    """One server, or one cluster.

    Thread-safe and fork-safe; each event loop has connections of its own, which end with it.

    Args:
        url: As for `RedisStore`.

    Attributes:
        shown: The address without credentials and options.
        tag: What every key begins with; it is a hash tag, so that a cluster keeps all keys on one
            node.

    Raises:
        ConfigurationError: If the URL cannot be read.
    """

    def __init__(self, url: str) -> None:
        self.shown = address(url)
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        self.tag = _tag(query.pop("namespace", "firedoor"))
        self._cluster = _flag("cluster", query.pop("cluster", "false"))
        # Put together by hand: `urlunsplit` drops the // of an address that has no host.
        base = url.partition("#")[0].partition("?")[0]
        self._url = f"{base}?{urlencode(query)}" if query else base
        self._where = parts.hostname or parts.path
        self._options: dict[str, Any] = {
            name: SOCKET_TIMEOUT
            for name in ("socket_timeout", "socket_connect_timeout")
            if name not in query
        }
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = (
            weakref.WeakKeyDictionary()
        )
        client: Any = redis
        kind = client.RedisCluster if self._cluster else client.Redis
        most = {} if "max_connections" in query else {"max_connections": CONNECTIONS}
        self._redis: Any = kind.from_url(
            self._url,
            retry=redis.retry.Retry(_BACKOFF, _RETRIES, _REFUSED),
            **self._options,
            **most,
        )
        self._kept = None if self._cluster else _Kept(self._redis.connection_pool)
        self._execute: Callable[..., Any] = (
            self._redis.execute_command if self._kept is None else self._kept.execute
        )

    def __repr__(self) -> str:
        return f"<redis {self._where}>"

    def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """What a script answers.

        Raises:
            StoreError: If the server does not.
        """
        execute = self._execute
        try:
            try:
                return execute("EVALSHA", script.sha, len(keys), *keys, *args)
            except redis.exceptions.NoScriptError:
                return execute("EVAL", script.text, len(keys), *keys, *args)
        except FAILURES as error:
            raise self.away(error) from error

    async def arun(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """As `run`; over connections of the running event loop."""
        try:
            client = await self._of_loop()
            execute = client.execute_command
            task = asyncio.current_task()
            wished = 0 if task is None else task.cancelling()
            try:
                answer = await execute("EVALSHA", script.sha, len(keys), *keys, *args)
            except redis.exceptions.NoScriptError:
                answer = await execute("EVAL", script.text, len(keys), *keys, *args)
            if task is not None and task.cancelling() > wished:
                # The client waits by `asyncio.wait_for`, which in Python 3.11 loses a cancellation
                # that comes together with the answer (https://github.com/python/cpython/issues/86296).
                raise asyncio.CancelledError
            return answer
        except FAILURES as error:
            raise self.away(error) from error

    def fields(self, key: str, *names: str) -> Any:
        """Fields of a hash.

        Raises:
            StoreError: If the server does not answer.
        """
        try:
            return self._execute("HMGET", key, *names)
        except FAILURES as error:
            raise self.away(error) from error

    def messages(self) -> Any:
        """A subscription of redis-py, to nothing yet."""
        return self._redis.pubsub(ignore_subscribe_messages=True)

    async def _of_loop(self) -> Any:
        loop = asyncio.get_running_loop()
        held = self._loops.get(loop)
        if held is None:
            retry = redis.asyncio.retry.Retry(_BACKOFF, _RETRIES, _REFUSED)
            client: Any
            if self._cluster:
                client = redis.asyncio.RedisCluster.from_url(
                    self._url, retry=retry, **self._options
                )
            else:
                pool = redis.asyncio.BlockingConnectionPool.from_url(
                    self._url,
                    max_connections=ASYNC_CONNECTIONS,
                    timeout=None,
                    retry=retry,
                    **self._options,
                )
                client = redis.asyncio.Redis.from_pool(pool)
            lifetime = _until_loop_ends(client)
            held = self._loops[loop] = (client, lifetime)
            await anext(lifetime)
        return held[0]

    def away(self, error: Exception) -> StoreError:
        """What to raise when the server did not answer."""
        return StoreError(f"redis store at {self._where}: {type(error).__name__}: {error}")

    def close(self) -> None:
        """Close the connections. Those of an event loop end with the loop."""
        self._redis.close()
        if self._kept is not None:
            self._kept.close()


class _Kept:
    """Connections to one server, kept for the next who asks. Thread-safe and fork-safe.

    The pool of redis-py does more, at half the price of a round trip: it looks each time whether
    the connection is still sound. What is asked here may be asked twice, so it is sound until it
    breaks.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._idle: list[Any] = []  # the last in goes first; append and pop are atomic
        self._process = os.getpid()

    def execute(self, *command: Any) -> Any:
        """What the server answers.

        Raises:
            redis.exceptions.RedisError: If it does not, or not well.
        """
        if self._process != os.getpid():
            self._idle, self._process = [], os.getpid()
        idle = self._idle
        try:
            connection = idle.pop()
        except IndexError:
            connection = self._pool.make_connection()

        packed = [_packed(command)]

        def ask() -> Any:
            connection.send_packed_command(packed)
            return connection.read_response()

        try:
            connection.connect()
            return connection.retry.call_with_retry(ask, connection.disconnect)
        except redis.exceptions.ResponseError:
            raise  # an answer as good as any
        except BaseException:
            connection.disconnect()  # an answer may still come, for somebody else to read
            raise
        finally:
            idle.append(connection)

    def close(self) -> None:
        """Close those that nobody uses."""
        while self._idle:
            self._idle.pop().disconnect()


def _packed(command: Sequence[Any]) -> bytes:
    # As redis-py does it, for any size and kind of word, at three times the price.
    parts = [b"*%d\r\n" % len(command)]
    for word in command:
        raw = str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


async def _until_loop_ends(client: Any) -> AsyncIterator[None]:
    # An event loop ends its asynchronous generators before it closes: the one moment at which
    # its connections can still be closed properly.
    try:
        yield
    finally:
        await client.aclose()


def address(url: str) -> str:
    """The address alone, without credentials and options.

    Raises:
        ConfigurationError: If the two cannot be told apart.
    """
    parts = urlsplit(url)
    if "@" in parts.path + parts.query + parts.fragment:
        raise ConfigurationError(
            f"state='{parts.scheme}://...': an @ stands after the address: write / ? # and @ in "
            "user and password as %2F %3F %23 and %40"
        )
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _tag(namespace: str) -> str:
    if not namespace or "{" in namespace or "}" in namespace:
        raise ConfigurationError(
            f"state=redis://...?namespace={namespace}: give a name without braces, which a "
            "cluster's hash tags are made of"
        )
    return f"{{{namespace}}}:"


def _flag(name: str, given: str) -> bool:
    if given.lower() not in _TRUE + _FALSE:
        raise ConfigurationError(f"state=redis://...?{name}={given}: use true or false")
    return given.lower() in _TRUE
