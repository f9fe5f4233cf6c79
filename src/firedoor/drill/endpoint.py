"""Which endpoint answers: the real small model, the extractive answerer, or one the user names."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from firedoor.drill import extractive, model
from firedoor.errors import ConfigurationError

__all__ = ["Choice", "Endpoint", "open_endpoint"]


class Choice(StrEnum):
    """What `--endpoint` accepts."""

    AUTO = "auto"
    """The model where its wheels are installed, else the extractive answerer."""
    MODEL = "model"
    EXTRACTIVE = "extractive"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI-compatible endpoint that runs.

    Attributes:
        kind: `model`, `extractive` or `remote`.
        base_url: What a client is given, `/v1` included.
        model: The model name to ask for.
        api_key: What a client sends; a placeholder for endpoints of the drill's own.
        why: Why it is this one, in a few words.
        patience: Seconds without a byte after which a client of the drill gives up, where the
            drill makes the endpoint stall: longer than it takes to read a prompt in earnest.
    """

    kind: str
    base_url: str
    model: str
    api_key: str
    why: str
    patience: float


@contextlib.contextmanager
def open_endpoint(
    choice: Choice = Choice.AUTO,
    *,
    base_url: str | None = None,
    model_name: str | None = None,
    api_key_env: str | None = None,
) -> Iterator[Endpoint]:
    """Run the endpoint that was chosen for as long as the block lasts.

    Args:
        choice: Which of the drill's own; ignored with a `base_url`.
        base_url: An endpoint that runs already, as in `https://api.openai.com/v1`.
        model_name: The model to ask for; needed with a `base_url`.
        api_key_env: Name of the environment variable that holds the API key.

    Raises:
        ConfigurationError: If the endpoint cannot be had; the message says what to do.
    """
    if base_url is not None:
        yield _remote(base_url, model_name, api_key_env)
        return
    if model_name is not None or api_key_env is not None:
        raise ConfigurationError(
            "--model and --api-key-env go with --base-url: the drill's own endpoints need neither"
        )
    missing = model.what_is_missing()
    if choice is Choice.EXTRACTIVE or (choice is Choice.AUTO and missing):
        why = f"no model here: {missing}" if choice is Choice.AUTO else "asked for"
        with extractive.ExtractiveServer() as server:
            yield Endpoint(
                "extractive", server.base_url, extractive.MODEL, "none", why, patience=0.5
            )
        return
    with contextlib.closing(model.ModelServer()) as running:
        why = "its wheels are installed" if choice is Choice.AUTO else "asked for"
        yield Endpoint("model", f"{running.url}/v1", model.MODEL, "none", why, patience=6.0)


def _remote(base_url: str, model_name: str | None, api_key_env: str | None) -> Endpoint:
    if not model_name:
        raise ConfigurationError(
            f"--base-url {base_url} needs --model: the name of a model that it serves"
        )
    api_key = "none"
    if api_key_env is not None:
        api_key = os.environ.get(api_key_env, "")
        if not api_key:
            raise ConfigurationError(
                f"--api-key-env {api_key_env}: the environment variable is not set; "
                f"export {api_key_env}=... or name another"
            )
    return Endpoint("remote", base_url, model_name, api_key, "asked for", patience=10.0)
