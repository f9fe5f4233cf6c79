"""A deterministic answerer that speaks the OpenAI wire format.

It answers from the documentation it is given, by choosing the sentence that shares the rarest
words with the question. It knows nothing else and says so. It stands in for the model in tests and
where no model runs; requests, streams, usage and errors are those of a real endpoint.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

from firedoor.drill.loopback import LoopbackHandler, LoopbackServer
from firedoor.drill.wire import Reply, count_tokens, error_body

__all__ = ["MODEL", "NOTHING_TO_GO_BY", "ExtractiveServer", "extract_answer"]

MODEL = "extractive"
"""The model name the server lists; it answers under any name it is asked for."""

NOTHING_TO_GO_BY = "The documentation given does not answer this."

_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+|\n\s*\n")
_WORD = re.compile(r"\w+")
_ASKED = re.compile(r"(?:^|\n)\s*Question:\s*", re.IGNORECASE)
_SAYING_NOTHING = re.compile(
    "and|are|does|for|from|how|into|that|the|this|what|when|which|with", re.IGNORECASE
)
_HEADING = re.compile(r"^\[(?P<id>[\w.]+)\]\s*", re.MULTILINE)


def extract_answer(prompt: str) -> str:
    """The sentence of `prompt`'s documentation that answers its question best.

    A prompt is documentation, then a line that begins with `Question:`. Passages headed `[name]`
    are cited by that name.
    """
    *given, question = _ASKED.split(prompt)
    asked = _words(question)
    passages = _passages("\n".join(given))
    sentences = [
        (name, sentence.strip())
        for name, passage in passages
        for sentence in _SENTENCE_END.split(passage)
        if sentence.strip()
    ]
    known = Counter(word for name, sentence in sentences for word in _words(f"{name} {sentence}"))
    best, best_score = "", 0.0
    for name, sentence in sentences:
        # What a passage is called says more of what it is about than any one sentence in it.
        named = asked & _words(name)
        score = sum(1 / known[word] for word in asked & _words(f"{name} {sentence}")) + len(named)
        if score > best_score:
            best, best_score = f"{name}: {sentence}" if name else sentence, score
    return " ".join(best.split()) or NOTHING_TO_GO_BY


def _passages(text: str) -> list[tuple[str, str]]:
    parts = _HEADING.split(text)
    headed = list(zip(parts[1::2], parts[2::2], strict=True))
    return headed or [("", parts[0])]


def _words(text: str) -> set[str]:
    # A crude stem joins "pushes", "pushed" and "push"; the shortest words say nothing.
    words = (word.lower() for part in _WORD.findall(text) for word in part.split("_"))
    return {
        word.rstrip("s") for word in words if len(word) > 2 and not _SAYING_NOTHING.fullmatch(word)
    }


class ExtractiveServer(LoopbackServer):
    """Chat completions by extraction, streamed and not, at `base_url`."""

    def __init__(self) -> None:
        super().__init__(_Handler)


class _Handler(LoopbackHandler):
    def do_GET(self) -> None:  # noqa: N802 - the name http.server calls
        if self.path.rstrip("/") == "/v1/models":
            self.send_json(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        else:
            self._refuse(404, f"no route {self.path}")

    def do_POST(self) -> None:  # noqa: N802 - the name http.server calls
        body = self.read_body()
        if self.path != "/v1/chat/completions":
            self._refuse(404, f"no route {self.path}")
            return
        try:
            request = json.loads(body)
            reply = _reply(request)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._refuse(400, f"not a chat completion request: {error!r}")
            return
        if request.get("stream"):
            include_usage = bool((request.get("stream_options") or {}).get("include_usage"))
            self.begin_chunked(200, {"Content-Type": "text/event-stream"})
            for chunk in reply.events(include_usage=include_usage):
                self.write_chunk(chunk)
            self.end_chunked()
        else:
            self.send_json(200, reply.body())

    def _refuse(self, status: int, message: str) -> None:
        self.send_json(status, error_body(message, "invalid_request_error"))


def _reply(request: dict[str, Any]) -> Reply:
    texts = [_text(message["content"]) for message in request["messages"]]
    answer, finish_reason = extract_answer(texts[-1]), "stop"
    limit = request.get("max_completion_tokens") or request.get("max_tokens")
    if limit is not None and count_tokens(answer) > limit:
        answer, finish_reason = " ".join(answer.split()[:limit]), "length"
    return Reply(answer, request["model"], count_tokens(texts), finish_reason)


def _text(content: str | list[dict[str, Any]] | None) -> str:
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content)
    return content or ""
