"""The real parts of the drill over loopback HTTP, with the extractive answerer for a model."""

from collections.abc import Iterator

import openai
import pytest

from firedoor.drill.corpus import read_corpus
from firedoor.drill.extractive import ExtractiveServer
from firedoor.drill.proxy import ROUTE_HEADER, FaultProxy
from firedoor.drill.retrieval import Index


@pytest.fixture(scope="session")
def index() -> Index:
    return Index(read_corpus())


@pytest.fixture
def extractive() -> Iterator[ExtractiveServer]:
    with ExtractiveServer() as server:
        yield server


@pytest.fixture
def proxy(extractive: ExtractiveServer) -> Iterator[FaultProxy]:
    with FaultProxy(extractive.base_url) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=proxy.base_url,
        api_key="none",
        max_retries=0,
        timeout=30.0,
        default_headers={ROUTE_HEADER: "answer"},
    ) as client:
        yield client
