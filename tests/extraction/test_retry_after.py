"""How long a provider asks to be left alone: every form in which it may say so."""

import pytest

from firedoor.extraction.faults import retry_after
from support.provider_server import Failure

NOW = 1_790_000_000.0  # 2026-09-21T14:13:20Z


class Answered(Exception):
    def __init__(self, **headers):
        self.response = type("Response", (), {"headers": self._named(headers)})()

    @staticmethod
    def _named(headers):
        return {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
@pytest.mark.parametrize(
    ("failure", "seconds"),
    [
        (Failure(429, retry_after=3), 3.0),
        (Failure(429, retry_after=2.5), 2.5),
        (Failure(429, retry_after=9, headers={"retry-after-ms": "1500"}), 1.5),
        (Failure(429, retry_after="Mon, 21 Sep 2026 14:14:20 GMT"), 60.0),
        (Failure(503), None),
    ],
)
def test_real_clients_errors_tell(provider, sdk, failure, seconds):
    provider.script(failure)
    messages = [{"role": "user", "content": "Hi"}]
    with pytest.raises(Exception) as caught:
        if sdk == "openai":
            provider.openai().chat.completions.create(model="m", messages=messages)
        else:
            provider.anthropic().messages.create(model="m", max_tokens=9, messages=messages)
    assert retry_after(caught.value, now=NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x_ratelimit_reset_requests": "1m30s"}, 90.0),
        ({"x_ratelimit_reset_tokens": "250ms"}, 0.25),
        ({"x_ratelimit_reset_requests": "2s", "x_ratelimit_reset_tokens": "6m0s"}, 360.0),
        ({"x_ratelimit_reset_tokens": "6m0s", "x_ratelimit_remaining_tokens": "149000"}, None),
        ({"x_ratelimit_reset_tokens": "6m0s", "x_ratelimit_remaining_tokens": "0"}, 360.0),
        ({"anthropic_ratelimit_tokens_reset": "2026-09-21T14:13:50Z"}, 30.0),
        ({"x_ratelimit_reset": str(int(NOW) + 12)}, 12.0),
        ({"Retry_After": "4"}, 4.0),
        ({"retry_after": "-5"}, 0.0),
        ({"retry_after": "1e30"}, 86_400.0),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({}, None),
    ],
)
def test_every_form_is_read(headers, seconds):
    assert retry_after(Answered(**headers), now=NOW) == seconds


@pytest.mark.parametrize("error", [ValueError("no"), Answered()])
def test_errors_without_headers_say_nothing(error):
    assert retry_after(error) is None
