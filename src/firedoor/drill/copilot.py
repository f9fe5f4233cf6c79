"""The application of the drill: a copilot that answers questions about the standard library.

It is written as an application writes itself: search, perhaps a tool, then the model through the
`openai` client, each behind the door. Nothing in it knows of faults.
"""

from __future__ import annotations

import platform
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openai import AsyncOpenAI, AsyncStream, OpenAI, Stream
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam

import firedoor as fd
from firedoor.drill.proxy import ROUTE_HEADER
from firedoor.drill.retrieval import Hit, Index, Shelf

__all__ = ["JOURNEY", "TIMEOUT", "Answer", "Copilot"]

JOURNEY = "docs-help"

INSTRUCTIONS = (
    "You answer questions about the Python standard library from the documentation given, "
    "in one or two short sentences, and name the function to use."
)
LOOK_FURTHER = "look further"
"""What a model says in whose words the answer is not final."""

MAX_TOKENS = 56
PASSAGE_CHARACTERS = 240
"""How much of a document goes into the prompt: reading it is what takes a small model long."""

TIMEOUT = 60.0
"""Seconds without a byte after which a client gives up, where nothing else is said."""

Messages = list[ChatCompletionMessageParam]


@dataclass(slots=True)
class Answer:
    """What one request came to.

    Attributes:
        question: As asked.
        text: What the user was shown, perhaps in part.
        error: What reached the application instead of an answer or of the rest of it.
        decisions: firedoor's record of the request, one per call.
    """

    question: str
    text: str = ""
    error: Exception | None = None
    decisions: tuple[fd.Decision, ...] = field(default=(), repr=False)


class Copilot:
    """A retrieval-augmented copilot behind `door`.

    Args:
        door: Where its functions are guarded.
        index: The documents.
        base_url: The OpenAI-compatible endpoint to ask.
        model: The model name to ask for.
        api_key: Sent to the endpoint.
        gates: What `door.llm` is told of tiers, budgets and the like, instead of the model alone.
        route: What requests say of themselves in the proxy's header, for faults to tell them apart.
    """

    def __init__(
        self,
        door: fd.Firedoor,
        index: Index | Shelf,
        *,
        base_url: str,
        model: str,
        api_key: str,
        gates: Mapping[str, Any] | None = None,
        route: str = "answer",
    ) -> None:
        self._door = door
        guarded: Mapping[str, Any] = {"model": model} if gates is None else gates
        headers = {ROUTE_HEADER: route}
        # The client's own retries are off: they would hide what the provider did.
        self._client = OpenAI(
            base_url=base_url,
            api_key=api_key,
            max_retries=0,
            timeout=TIMEOUT,
            default_headers=headers,
        )
        self._async_client = AsyncOpenAI(
            base_url=base_url,
            api_key=api_key,
            max_retries=0,
            timeout=TIMEOUT,
            default_headers=headers,
        )

        @door.retrieval("stdlib-docs", depth="k")
        def search(query: str, *, k: int = 3) -> list[Hit]:
            return index.search(query, k=k)

        @door.tool("lookup_version", effect="read")
        def lookup_version() -> str:
            return platform.python_version()

        @door.llm("answer", provider="openai", **guarded)
        def answer(
            messages: Messages, *, model: str = fd.ROUTED, timeout: float | None = None
        ) -> ChatCompletion:
            return self._client.chat.completions.create(
                model=model,
                messages=messages,
                temperature=0,
                max_tokens=MAX_TOKENS,
                timeout=timeout,
            )

        @door.llm("answer", provider="openai", **guarded)
        def answer_streamed(
            messages: Messages, *, model: str = fd.ROUTED, timeout: float | None = None
        ) -> Stream[ChatCompletionChunk]:
            return self._client.chat.completions.create(
                model=model,
                messages=messages,
                temperature=0,
                max_tokens=MAX_TOKENS,
                timeout=timeout,
                stream=True,
                stream_options={"include_usage": True},
            )

        @door.llm("answer", provider="openai", **guarded)
        async def answer_async(
            messages: Messages, *, model: str = fd.ROUTED
        ) -> AsyncStream[ChatCompletionChunk]:
            return await self._async_client.chat.completions.create(
                model=model,
                messages=messages,
                temperature=0,
                max_tokens=MAX_TOKENS,
                stream=True,
                stream_options={"include_usage": True},
            )

        self._search = search
        self._lookup_version = lookup_version
        self._answer = answer
        self._answer_streamed = answer_streamed
        self._answer_async = answer_async

    def ask(
        self,
        question: str,
        *,
        user: str,
        stream: bool = False,
        timeout: float = TIMEOUT,
        stop_after: int | None = None,
    ) -> Answer:
        """Answer one question; a failure is told in the answer.

        Args:
            question: In the user's words.
            user: Who asks.
            stream: Read the answer as it is made.
            timeout: Seconds without a byte after which the client gives up.
            stop_after: Leave a stream after so many pieces of text, as a user who walks away.
        """
        answer = Answer(question)
        with self._door.request(JOURNEY, user=user, tenant="drill") as request:
            try:
                messages = self._prompt(question)
                if stream:
                    with self._answer_streamed(messages, timeout=timeout) as chunks:
                        for seen, piece in enumerate(_pieces(chunks), start=1):
                            answer.text += piece
                            if seen == stop_after:
                                break
                else:
                    message = self._answer(messages, timeout=timeout).choices[0].message
                    answer.text = message.content or message.refusal or ""
            except Exception as error:
                answer.error = error
        answer.decisions = request.decisions
        return answer

    def research(self, question: str, *, user: str, rounds: int) -> Answer:
        """Answer by asking again for as long as the model says that it must look further.

        What such a loop costs grows with every round, as each is told all that went before.

        Args:
            question: In the user's words.
            user: Who asks.
            rounds: How often it asks at most.
        """
        answer = Answer(question)
        with self._door.request(JOURNEY, user=user, tenant="drill") as request:
            try:
                messages = self._prompt(question)
                for _ in range(rounds):
                    answer.text = self._answer(messages).choices[0].message.content or ""
                    if LOOK_FURTHER not in answer.text:
                        break
                    messages = [
                        *messages,
                        {"role": "assistant", "content": answer.text},
                        {"role": "user", "content": f"Look further. Question: {question}"},
                    ]
            except Exception as error:
                answer.error = error
        answer.decisions = request.decisions
        return answer

    async def ask_async(self, question: str, *, user: str) -> Answer:
        """As `ask`, with the asynchronous client, streamed."""
        answer = Answer(question)
        async with self._door.request(JOURNEY, user=user, tenant="drill") as request:
            try:
                chunks = await self._answer_async(self._prompt(question))
                async for piece in _pieces_async(chunks):
                    answer.text += piece
            except Exception as error:
                answer.error = error
        answer.decisions = request.decisions
        return answer

    def close(self) -> None:
        """Close the connections of the synchronous client."""
        self._client.close()

    async def close_async(self) -> None:
        """Close the connections of the asynchronous client."""
        await self._async_client.close()

    def _prompt(self, question: str) -> Messages:
        passages = [_passage(hit) for hit in self._search(question)]
        if "version" in question.lower():
            passages.append(f"[python] This is Python {self._lookup_version()}.")
        documentation = "\n\n".join(passages)
        return [
            {"role": "system", "content": INSTRUCTIONS},
            {
                "role": "user",
                "content": f"Documentation:\n{documentation}\n\nQuestion: {question}",
            },
        ]


def _passage(hit: Hit) -> str:
    return f"[{hit['id']}] {hit['text'][:PASSAGE_CHARACTERS]}"


def _pieces(chunks: Iterable[ChatCompletionChunk]) -> Iterator[str]:
    for chunk in chunks:
        yield from _texts(chunk)


async def _pieces_async(chunks: AsyncIterator[ChatCompletionChunk]) -> AsyncIterator[str]:
    async for chunk in chunks:
        for text in _texts(chunk):
            yield text


def _texts(chunk: ChatCompletionChunk) -> Sequence[str]:
    texts = [choice.delta.content or choice.delta.refusal or "" for choice in chunk.choices]
    return [text for text in texts if text]
