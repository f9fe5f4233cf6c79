"""What a model was asked: the user's last words, and the other texts it was given with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from firedoor.extraction.chat import text_of_content
from firedoor.extraction.fields import field, items, text

__all__ = ["asked"]

_CONVERSATIONS = ("messages", "input", "contents", "history")
_QUESTIONS = ("question", "query", "prompt", "input", "text", "message", "user_message")
_INSTRUCTIONS = ("system", "instructions", "system_prompt", "context")
_NOT_ASKED = frozenset({"model", "timeout", "stream", "user", "api_key"})
_MOST_TURNS = 64
_USERS = ("user", "human")


def asked(arguments: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The question of a model call by the arguments of its function, and its other texts.

    Args:
        arguments: By name. Messages are dicts or objects with `role` and `content`, the last 64
            of them; failing those, the first argument that reads like a question.
    """
    others: list[str] = []
    for name in _INSTRUCTIONS:
        given = text_of_content(arguments.get(name))
        if given:
            others.append(given)
    for name in _CONVERSATIONS:
        turns = items(arguments.get(name))
        if turns:
            return _conversation(turns[-_MOST_TURNS:], others)
    question = next((t for t in (text(arguments.get(n)) for n in _QUESTIONS) if t), None)
    for name, value in arguments.items():
        said = text(value)
        if said is None or name in _NOT_ASKED or name in _INSTRUCTIONS or said == question:
            continue
        if question is None:
            question = said
        else:
            others.append(said)
    return question or "", tuple(others)


def _conversation(turns: Any, others: list[str]) -> tuple[str, tuple[str, ...]]:
    question = ""
    for turn in turns:
        said = text_of_content(field(turn, "content")) or text(turn)
        if said is None:
            continue
        role = text(field(turn, "role")) or text(field(turn, "type"))
        if role is None or role in _USERS:
            if question:
                others.append(question)
            question = said
        else:
            others.append(said)
    return question, tuple(others)
