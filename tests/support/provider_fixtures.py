"""Fixtures around `ProviderServer`: `from support.provider_fixtures import *` in a conftest."""

import pytest
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI

from support.provider_server import ProviderServer

__all__ = ["Provider", "provider", "provider_server"]


class Provider:
    """The loopback provider and real clients for it, without retries of their own."""

    def __init__(self, server: ProviderServer) -> None:
        self.server = server
        self.url = server.url
        self.script = server.script
        self.on = server.on
        self._sync = []
        self._async = []

    @property
    def requests(self):
        return self.server.requests

    def openai(self, **options) -> OpenAI:
        return self._keep(self._sync, OpenAI, f"{self.url}/v1", options)

    def async_openai(self, **options) -> AsyncOpenAI:
        return self._keep(self._async, AsyncOpenAI, f"{self.url}/v1", options)

    def anthropic(self, **options) -> Anthropic:
        return self._keep(self._sync, Anthropic, self.url, options)

    def async_anthropic(self, **options) -> AsyncAnthropic:
        return self._keep(self._async, AsyncAnthropic, self.url, options)

    @staticmethod
    def _keep(clients, kind, url, options):
        given = {"base_url": url, "api_key": "test-key", "max_retries": 0, "timeout": 20.0}
        client = kind(**{**given, **options})
        clients.append(client)
        return client

    async def close(self) -> None:
        for client in self._sync:
            client.close()
        for client in self._async:
            await client.close()


@pytest.fixture(scope="session")
def provider_server():
    with ProviderServer() as server:
        yield server


@pytest.fixture
async def provider(provider_server):
    """A provider with nothing scripted. Async, so that async clients close on their own loop."""
    provider_server.reset()
    made = Provider(provider_server)
    yield made
    await made.close()
