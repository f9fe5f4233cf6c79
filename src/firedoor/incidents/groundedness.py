"""The default check: does the answer say what the request's own sources say?

No model, and no text outlives it. What it can and cannot see: `firedoor.extraction.grounding`.
"""

from __future__ import annotations

from firedoor.extraction.grounding import ground
from firedoor.incidents.scoring import CheckContext, Score
from firedoor.shell.runtime import Runtime
from firedoor.types import RouteKind

__all__ = ["Groundedness"]

_NOTHING_TO_JUDGE = Score(None)


class Groundedness:
    """Scores an answer against what its request retrieved and its tools told.

    - A refusal, an abstention or a mere courtesy claims nothing: not applicable.
    - Claims, and no sources at all: 0. Where the door guards no retrieval and no tool told
      anything, or the call was in no request, there is nothing to hold an answer to: not applicable.
    - Sources whose text could not be read: not applicable.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def __call__(self, answer: str, context: CheckContext) -> Score:
        """The score of one answer."""
        if context.decision.refusal is not None or not context.in_request:
            return _NOTHING_TO_JUDGE
        sources = (*reversed(context.documents), *reversed(context.tool_results))
        if not sources and (context.unread or not (context.retrieved or self._retrieves())):
            return _NOTHING_TO_JUDGE
        found = ground(answer, sources, context.question, context.prompt)
        return Score(
            found.score,
            found.claims,
            found.unsupported,
            explanation="\n".join(found.worst) or None,
        )

    def _retrieves(self) -> bool:
        routes = list(self._runtime.routes.values())
        return any(route.kind is RouteKind.RETRIEVAL for route in routes)
