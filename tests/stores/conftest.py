"""Stores of every kind, on real files and a real server."""

import pytest

from firedoor.stores import open_store
from support.valkey import valkey


@pytest.fixture(scope="session")
def valkey_server():
    with valkey() as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store_url(request, tmp_path):
    if request.param == "memory":
        return "memory://"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.db"
    return request.getfixturevalue("valkey_server").url()


@pytest.fixture
def store(store_url):
    opened = open_store(store_url)
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "redis"])
def shared_url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.db"
    return request.getfixturevalue("valkey_server").url()
