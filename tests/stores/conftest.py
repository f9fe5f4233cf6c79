"""Stores of every kind, on real files and a real server."""

import pytest

from firedoor.stores import open_store
from support.valkey import cluster, valkey


@pytest.fixture(scope="session")
def valkey_server():
    with valkey() as server:
        yield server


@pytest.fixture(scope="session")
def valkey_cluster():
    with cluster() as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", "redis", "cluster"])
def store_url(request, tmp_path):
    if request.param == "memory":
        return "memory://"
    if request.param == "cluster":
        return request.getfixturevalue("valkey_cluster").url(cluster="true")
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.db"
    return request.getfixturevalue("valkey_server").url()


@pytest.fixture
def store(store_url):
    opened = open_store(store_url)
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "redis", "cluster"])
def shared_url(request, tmp_path):
    if request.param == "cluster":
        return request.getfixturevalue("valkey_cluster").url(cluster="true")
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.db"
    return request.getfixturevalue("valkey_server").url()
