"""Whose fault an exception is, and what it is called: real exceptions of the real clients."""

import asyncio
import json
import socket
import ssl

import anthropic
import h11
import httpcore
import httpx
import httpx2
import openai
import pytest

import firedoor as fd
from firedoor.extraction.faults import (
    attribute,
    error_type,
    fault_of_code,
    is_context_overflow,
    is_retryable,
)
from firedoor.types import Fault
from support.provider_server import Failure

MESSAGES = [{"role": "user", "content": "Hi"}]

CALLS = {
    "openai": lambda p: p.openai().chat.completions.create(model="m", messages=MESSAGES),
    "anthropic": lambda p: p.anthropic().messages.create(
        model="m", max_tokens=9, messages=MESSAGES
    ),
}
SDKS = pytest.mark.parametrize("sdk", CALLS)


@pytest.fixture
def fails(provider):
    """The exception the real client raises for an answer."""

    def fails(sdk, failure):
        provider.script(failure)
        with pytest.raises(Exception) as caught:
            CALLS[sdk](provider)
        return caught.value

    return fails


@SDKS
@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_what_the_provider_could_not_do_is_the_targets(fails, sdk, status):
    error = fails(sdk, Failure(status))
    assert attribute(error) is Fault.TARGET
    assert is_retryable(error)


@SDKS
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422, 499])
def test_what_the_application_asked_wrongly_is_the_callers(fails, sdk, status):
    error = fails(sdk, Failure(status))
    assert attribute(error) is Fault.CALLER
    assert not is_retryable(error)


def test_an_empty_account_is_the_callers_and_waiting_does_not_help(fails):
    error = fails("openai", Failure(429, code="insufficient_quota"))
    assert isinstance(error, openai.RateLimitError)
    assert (attribute(error), is_retryable(error)) == (Fault.CALLER, False)
    assert error_type(error) == "insufficient_quota"


def test_the_provider_may_forbid_a_retry(fails):
    error = fails("openai", Failure(500, headers={"x-should-retry": "false"}))
    assert attribute(error) is Fault.TARGET
    assert not is_retryable(error)


@pytest.mark.parametrize(
    ("sdk", "failure", "name"),
    [
        ("openai", Failure(429), "rate_limit_exceeded"),
        ("openai", Failure(401), "invalid_api_key"),
        ("openai", Failure(503), "server_error"),
        ("openai", Failure(502, body="<html>bad gateway</html>"), "502"),
        ("openai", Failure(400, code="No code: sk-1234"), "invalid_request_error"),
        ("anthropic", Failure(529), "overloaded_error"),
        ("anthropic", Failure(401), "authentication_error"),
        ("anthropic", Failure(504, body=""), "504"),
    ],
)
def test_the_name_is_the_providers_code_or_the_status(fails, sdk, failure, name):
    assert error_type(fails(sdk, failure)) == name


@SDKS
def test_a_body_that_is_no_json_is_the_targets_though_it_is_a_bare_decode_error(fails, sdk):
    broken = Failure(200, body='{"id": ', headers={"content-type": "application/json"})
    error = fails(sdk, broken)
    assert isinstance(error, json.JSONDecodeError)
    assert attribute(error) is Fault.TARGET


def test_a_decode_error_of_the_application_is_the_callers():
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("{")
    assert attribute(caught.value) is Fault.CALLER
    assert attribute(caught.value, streaming=True) is Fault.TARGET


def test_nobody_listening_is_the_targets():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}", api_key="k", max_retries=0) as client:
        with pytest.raises(openai.APIConnectionError) as caught:
            client.models.list()
    assert attribute(caught.value) is Fault.TARGET


def test_a_request_that_could_not_be_sent_is_the_callers():
    with openai.OpenAI(base_url="ftp://example.com", api_key="k", max_retries=0) as client:
        with pytest.raises(openai.APIConnectionError) as caught:
            client.models.list()
    assert attribute(caught.value) is Fault.CALLER


@pytest.mark.parametrize(
    ("client", "call"),
    [(openai.OpenAI, CALLS["openai"]), (anthropic.Anthropic, CALLS["anthropic"])],
    ids=["openai", "anthropic"],
)
def test_a_denial_inside_the_transport_is_policy(client, call):
    """An egress guard refuses where the connection is made; some SDKs wrap what comes from there."""

    def refuse(request):
        raise fd.EgressDenied("example.com is not on the allowlist")

    class Refused:
        def made(self):
            transport = httpx2.Client(transport=httpx2.MockTransport(refuse))
            return client(api_key="k", max_retries=0, http_client=transport)

        openai = anthropic = made

    with pytest.raises(Exception) as caught:
        call(Refused())
    assert attribute(caught.value) is Fault.POLICY
    assert not is_retryable(caught.value)


def test_a_denial_is_policy_though_a_client_wrapped_it():
    wrapped = openai.APIConnectionError(request=httpx2.Request("GET", "http://example.com"))
    wrapped.__cause__ = fd.EgressDenied("example.com is not on the allowlist")
    assert attribute(wrapped) is Fault.POLICY


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("gone"),
        httpx2.ConnectError("gone"),
        httpcore.ReadError("gone"),
        h11.RemoteProtocolError("gone"),
        ConnectionResetError("gone"),
        BrokenPipeError("gone"),
        TimeoutError("slow"),
        socket.gaierror(-2, "no such host"),
        ssl.SSLError("gone"),
    ],
    ids=lambda e: f"{type(e).__module__}.{type(e).__name__}",
)
def test_bare_errors_of_the_transport_are_the_targets(error):
    assert attribute(error) is Fault.TARGET


@pytest.mark.parametrize(
    ("errors", "fault"),
    [
        ([TimeoutError(), ConnectionError()], Fault.TARGET),
        ([ExceptionGroup("inner", [TimeoutError()])], Fault.TARGET),
        ([TimeoutError(), ValueError("a bug beside it")], Fault.CALLER),
        ([TimeoutError(), fd.BudgetExceeded("no")], Fault.POLICY),
    ],
)
def test_of_several_at_once_it_is_the_targets_where_each_is(errors, fault):
    """A task group raises what its tasks raised as one."""
    assert attribute(ExceptionGroup("both", errors)) is fault
    assert attribute(ExceptionGroup("another", [ValueError()])) is Fault.CALLER


async def test_a_task_groups_time_out_falls_back(make_door, seen):
    @make_door().llm("answer", tiers=[fd.Tier("big"), fd.Tier("small")])
    async def answer(*, model):
        async def ask():
            if model == "big":
                raise TimeoutError
            return model

        async with asyncio.TaskGroup() as group:
            asking = group.create_task(ask())
        return asking.result()

    assert await answer() == "small"
    assert seen.decisions[0].attempts[0].fault is Fault.TARGET


class ApplicationError(Exception):
    status_code = 503


class HTTPException(Exception):
    status_code = 503


HTTPException.__module__ = "starlette.exceptions"


@pytest.mark.parametrize(
    "error",
    [
        KeyError("order"),
        ValueError("no"),
        FileNotFoundError("prompt.txt"),
        httpx.LocalProtocolError("illegal header"),
        httpx.UnsupportedProtocol("ftp"),
        h11.LocalProtocolError("no"),
        openai.OpenAIError("api_key must be set"),
        HTTPException("the application answers 503"),
        fd.ConfigurationError("limit=-1"),
        RecursionError(),
    ],
    ids=lambda e: type(e).__name__,
)
def test_bugs_and_wrong_use_are_the_callers(error):
    assert attribute(error) is Fault.CALLER
    assert not is_retryable(error)


def test_an_unknown_clients_status_is_believed():
    assert attribute(ApplicationError("busy")) is Fault.TARGET
    assert error_type(ApplicationError("busy")) == "503"


def test_denials_are_policy_and_our_own_faults_are_ours():
    assert attribute(fd.BudgetExceeded("used up")) is Fault.POLICY
    assert attribute(fd.DeadlineExceeded("late")) is Fault.POLICY
    assert attribute(fd.StoreError("away")) is Fault.FIREDOOR
    assert error_type(fd.BudgetExceeded("used up")) == "firedoor.BudgetExceeded"


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ValueError("a secret"), "ValueError"),
        (TimeoutError(), "TimeoutError"),
        (httpx.ReadTimeout("x"), "httpx.ReadTimeout"),
    ],
)
def test_classes_are_named_shortly_where_they_are_known(error, name):
    assert error_type(error) == name


def test_a_class_of_the_application_is_named_with_its_module():
    class Boom(Exception):
        code = "sk-live-0123456789abcdef0123456789abcdef0123456789abcdef0123"

    name = error_type(Boom())
    assert name.endswith("Boom")
    assert "sk-live" not in name
    assert "<locals>" not in name


@pytest.mark.parametrize(
    ("sdk", "failure"),
    [
        ("openai", Failure(400, code="context_length_exceeded")),
        ("openai", Failure(400, message="This model's maximum context length is 8192 tokens.")),
        ("anthropic", Failure(400, message="prompt is too long: 210000 tokens > 200000 maximum")),
        ("anthropic", Failure(413)),
    ],
)
def test_an_overflow_of_the_context_window_is_recognised(fails, sdk, failure):
    error = fails(sdk, failure)
    assert is_context_overflow(error)
    assert attribute(error) is Fault.CALLER


def test_other_bad_requests_are_no_overflow(fails):
    assert not is_context_overflow(fails("openai", Failure(400, message="Invalid 'temperature'.")))
    assert not is_context_overflow(ValueError("maximum context length"))


def test_the_content_filter_of_a_provider_is_policy():
    assert attribute(openai.ContentFilterFinishReasonError()) is Fault.POLICY


def test_codes_of_error_events_have_a_fault_too():
    assert fault_of_code("server_error") is Fault.TARGET
    assert fault_of_code("invalid_prompt") is Fault.CALLER


def test_causes_that_form_a_ring_end():
    first, second = openai.OpenAIError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert attribute(first) is Fault.CALLER


def test_anthropics_retryable_error_is_the_targets():
    assert attribute(anthropic.RetryableError("again")) is Fault.TARGET


def test_what_an_instance_says_counts_though_its_class_was_seen_without():
    class Silent(ConnectionError):
        pass

    assert attribute(Silent("gone")) is Fault.TARGET
    told = Silent("no such model")
    told.status_code = 404
    assert attribute(told) is Fault.CALLER
    assert error_type(told) == "404"
    denied = Silent("refused")
    denied.__cause__ = fd.EgressDenied("example.com is not on the allowlist")
    assert attribute(denied) is Fault.POLICY
    during = Silent("refused")
    during.__context__ = fd.EgressDenied("example.com is not on the allowlist")
    assert attribute(during) is Fault.POLICY
    assert attribute(Silent("gone")) is Fault.TARGET


def test_a_class_that_answers_for_fields_it_lacks_is_asked_every_time():
    class Chameleon(Exception):
        answer = 503

        def __getattr__(self, name):
            if name == "status_code":
                return Chameleon.answer
            raise AttributeError(name)

    assert attribute(Chameleon()) is Fault.TARGET
    Chameleon.answer = 404
    assert attribute(Chameleon()) is Fault.CALLER
