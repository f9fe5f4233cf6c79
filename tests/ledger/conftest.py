"""Ledgers of every kind, on real files and a real server."""

import pytest

from firedoor.ledger import open_ledger
from support.postgres import postgres_server

__all__ = ["postgres_server"]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def ledger_url(request, tmp_path):
    if request.param == "memory":
        return "memory://"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/incidents.db"
    return request.getfixturevalue("postgres_server").url()


@pytest.fixture
def ledger(ledger_url):
    opened = open_ledger(ledger_url)
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgres"])
def shared_url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/incidents.db"
    return request.getfixturevalue("postgres_server").url()
