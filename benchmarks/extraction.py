"""What reading answers, chunks and parameters costs: microseconds for each shape.

Run: taskset -c 1 python benchmarks/extraction.py [--rounds 15]
The objects are the SDKs' own, made as the SDKs make them from a provider's JSON.
"""

from __future__ import annotations

import argparse
import time

from _harness import Case, interleave, loop, spread, table, versions
from anthropic.types import Message, RawContentBlockDeltaEvent
from langchain_core.messages import AIMessage
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseTextDeltaEvent

from firedoor.extraction import Extractors, parameters

TEXT = "The order was shipped on Monday and should arrive within three days."

CHAT = {
    "id": "chatcmpl-9f3",
    "object": "chat.completion",
    "created": 1790000000,
    "model": "gpt-5-mini-2025-08-07",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": TEXT,
                "refusal": None,
                "annotations": [],
            },
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 120,
        "completion_tokens": 16,
        "total_tokens": 136,
        "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    },
    "service_tier": "default",
}
ASKS_FOR_A_TOOL = {
    **CHAT,
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "order_status", "arguments": '{"order": 48213}'},
                    }
                ],
            },
            "finish_reason": "tool_calls",
        }
    ],
}
MESSAGE = {
    "id": "msg_01",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": TEXT}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 56,
        "output_tokens": 16,
        "cache_read_input_tokens": 64,
        "cache_creation_input_tokens": 0,
    },
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1790000000,
    "model": "gpt-5-mini-2025-08-07",
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "output": [
        {"id": "rs_1", "type": "reasoning", "summary": []},
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": TEXT, "annotations": []}],
        },
    ],
    "usage": {
        "input_tokens": 120,
        "input_tokens_details": {"cached_tokens": 64},
        "output_tokens": 16,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 136,
    },
}
CHUNK = {
    "id": "chatcmpl-9f3",
    "object": "chat.completion.chunk",
    "created": 1790000000,
    "model": "gpt-5-mini-2025-08-07",
    "choices": [
        {"index": 0, "delta": {"content": " order"}, "logprobs": None, "finish_reason": None}
    ],
}
TEXT_DELTA = {
    "type": "response.output_text.delta",
    "item_id": "msg_1",
    "output_index": 0,
    "content_index": 0,
    "delta": " order",
    "sequence_number": 4,
}
BLOCK_DELTA = {
    "type": "content_block_delta",
    "index": 0,
    "delta": {"type": "text_delta", "text": " order"},
}
CHAIN = AIMessage(
    TEXT,
    id="run-1",
    response_metadata={
        "model_name": "gpt-5-mini",
        "finish_reason": "stop",
        "model_provider": "openai",
        "id": "chatcmpl-9f3",
    },
    usage_metadata={"input_tokens": 120, "output_tokens": 16, "total_tokens": 136},
)
ASK = {
    "messages": [{"role": "user", "content": "Where is my order?"}],
    "model": "gpt-5-mini",
    "temperature": 0.2,
    "max_tokens": 256,
}


def one(fn, value) -> Case:
    """A case that calls `fn(value)`."""

    def run(n: int) -> float:
        began = time.perf_counter()
        for _ in range(n):
            fn(value)
        return time.perf_counter() - began

    return run


def stream(extractors, chunk, length=500) -> Case:
    """A case that reads streams of `length` equal chunks; the figure is for one chunk."""

    def run(n: int) -> float:
        took = 0.0
        while n > 0:
            feed = extractors.reader().feed
            steps = min(n, length)
            n -= steps
            began = time.perf_counter()
            for _ in range(steps):
                feed(chunk)
            took += time.perf_counter() - began
        return took

    return run


def cases() -> dict[str, Case]:
    """Everything measured, by name."""
    extractors = Extractors()
    extract = extractors.extract
    whole = {
        "text": TEXT,
        "chat, dict": CHAT,
        "chat, openai ChatCompletion": ChatCompletion.construct(**CHAT),
        "chat that asks for a tool, dict": ASKS_FOR_A_TOOL,
        "chat that asks for a tool, openai": ChatCompletion.construct(**ASKS_FOR_A_TOOL),
        "message, dict": MESSAGE,
        "message, anthropic Message": Message.construct(**MESSAGE),
        "response, dict": RESPONSE,
        "response, openai Response": Response.construct(**RESPONSE),
        "LangChain AIMessage": CHAIN,
        "an object of no known shape": object(),
    }
    chunks = {
        "text": " order",
        "chat, dict": CHUNK,
        "chat, openai": ChatCompletionChunk.construct(**CHUNK),
        "message, dict": BLOCK_DELTA,
        "message, anthropic": RawContentBlockDeltaEvent.construct(**BLOCK_DELTA),
        "response, dict": TEXT_DELTA,
        "response, openai": ResponseTextDeltaEvent.construct(**TEXT_DELTA),
    }
    return {
        **{f"extract: {name}": one(extract, value) for name, value in whole.items()},
        "parameters of a call": one(parameters, ASK),
        "reader()": loop(extractors.reader),
        **{f"feed: {name}": stream(extractors, chunk) for name, chunk in chunks.items()},
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    figures = interleave(cases(), rounds=parser.parse_args().rounds, seconds=0.02)
    print(versions("openai", "anthropic", "langchain-core"))
    rows = [(name, spread(took).least, spread(took).median) for name, took in figures.items()]
    print(table(("read", "least µs", "median µs"), rows))


if __name__ == "__main__":
    main()
