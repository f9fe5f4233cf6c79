"""The policies that need nothing but the text: patterns, lengths, schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from pydantic import Field, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from firedoor.config import Count, declarative
from firedoor.errors import ConfigurationError
from firedoor.policies.base import OPEN_END, Action, Context, Finding, Policy, SpanPolicy, Stage
from firedoor.policies.patterns import BoundedPattern, bounded_pattern
from firedoor.types import Verdict

__all__ = ["JsonSchema", "MaxLength", "Regex"]


@declarative
class Regex(SpanPolicy):
    """Finds what a regular expression matches.

    Attributes:
        pattern: In the syntax of `re`. On the output it must have a longest match, as a stream
            is held back while a match is still possible: bound its repeats, or give `max_length`.
            The time a search takes is the pattern's own affair: nested open repeats can be
            exponential in `re`.
        flags: Of `re`, as `re.IGNORECASE`.
        max_length: Characters that each open repeat (`+`, `*`, `{n,}`) of the pattern may take.
            The cap holds for whole texts too, so that a text is judged alike however it comes.
        label: What verdicts and markers call a finding. Default: the policy's name.
    """

    kind: ClassVar[str] = "regex"

    pattern: str = Field(min_length=1)
    flags: int = Field(default=0, kw_only=True)
    max_length: Count | None = Field(default=None, kw_only=True)
    label: str | None = Field(default=None, kw_only=True)

    def check(self) -> None:
        """The pattern compiles, and can be searched for in a stream where it must."""
        super().check()
        try:
            bounded = bounded_pattern(
                self.pattern,
                flags=int(self.flags),
                max_length=self.max_length,
                must_end=Stage.OUTPUT in self.stages,
            )
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
        object.__setattr__(self, "_bounded", bounded)
        object.__setattr__(self, "behind", bounded.behind)

    def advance(
        self,
        text: str,
        start: int = 0,
        *,
        offset: int = 0,  # noqa: ARG002
        final: bool = True,
    ) -> tuple[Sequence[Finding], int]:
        """The matches that no further text can change."""
        bounded: BoundedPattern = self._bounded  # type: ignore[attr-defined]
        search = bounded.match.search
        label = self.label or self.name or self.kind
        findings = []
        size = len(text)
        # Starts up to here have all the text that they could ever look at.
        settled = size if final else -1 if bounded.reach is None else size - bounded.reach
        found = search(text, start)
        while found is not None and found.start() <= settled:
            findings.append(Finding(label, found.start(), found.end()))
            start = found.end()
            found = search(text, start)
        if final:
            return findings, size
        return self._unsettled(text, max(start, settled + 1), findings, found)

    def _unsettled(
        self, text: str, start: int, findings: list[Finding], found: re.Match[str] | None
    ) -> tuple[Sequence[Finding], int]:
        """Go on where the pattern's reach passes the end of the text so far.

        A start there is settled all the same when no path from it runs into that end.
        """
        bounded: BoundedPattern = self._bounded  # type: ignore[attr-defined]
        label = self.label or self.name or self.kind
        size = len(text)
        position = -1
        while True:
            if position < start:
                open_at = bounded.pending.search(text, start)
                position = size if open_at is None else open_at.start()
            if found is None or found.start() >= position:
                return findings, position
            findings.append(Finding(label, found.start(), found.end()))
            start = found.end()
            found = bounded.match.search(text, start)


@declarative
class MaxLength(SpanPolicy):
    """Finds what exceeds a number of characters. Each text of a conversation counts for itself.

    `block` refuses a longer text (of a stream, the first `limit` characters are delivered);
    `redact` cuts it off there; `replace` puts `replacement` where it was cut.

    Attributes:
        limit: Characters (Unicode code points) that a text may have.
    """

    kind: ClassVar[str] = "max_length"

    limit: int = Field(ge=0)

    def advance(
        self,
        text: str,
        start: int = 0,
        *,
        offset: int = 0,
        final: bool = True,  # noqa: ARG002
    ) -> tuple[Sequence[Finding], int]:
        """Everything past the limit, as one finding without an end."""
        size = len(text)
        if offset + size <= self.limit or offset + start > self.limit:
            return (), size
        return (Finding("too_long", self.limit - offset, OPEN_END),), size

    def marker(self, kind: str, found: str) -> str:  # noqa: ARG002
        """Nothing: redacting is cutting off."""
        return ""


@declarative
class JsonSchema(Policy):
    """Asks that a text be JSON of a given shape. On a stream it sees the whole, or nothing.

    A model's reasoning ahead of its answer need not be: it is not looked at.

    `action="replace"` puts `replacement` in the place of a text that is not.

    Attributes:
        schema: A pydantic model or any type pydantic can validate (strictly as JSON: "1" is no
            integer); or a JSON Schema as a dict, which needs the `jsonschema` package. References
            to other documents are not fetched.
        replacement: The text to use instead; itself of the schema, if the application parses it.
    """

    kind: ClassVar[str] = "json_schema"

    schema: Any
    replacement: str = Field(default="", kw_only=True)

    def check(self) -> None:
        """The schema can be used, and the action makes sense for a whole text."""
        super().check()
        if Action.REDACT in self._actions():
            raise ValueError(
                "action='redact' has no span to redact: use 'block', 'replace' or 'flag'"
            )
        validate = (
            _by_json_schema(self.schema) if isinstance(self.schema, dict) else _by_type(self.schema)
        )
        object.__setattr__(self, "_violations", validate)

    def judge(self, text: str, context: Context) -> Verdict | None:
        """The kinds of violation as labels; nothing of the text."""
        if context.reasoning:
            return None
        violations: tuple[str, ...] = tuple(self._violations(text))  # type: ignore[attr-defined]
        if not violations:
            return None
        return self.verdict(
            context,
            labels=violations,
            reason=f"{len(violations)} violations",
            replacement=self.replacement,
        )


def _by_type(schema: Any) -> Callable[[str], Iterable[str]]:
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(schema)
    except PydanticSchemaGenerationError:
        raise ValueError(
            f"schema={schema!r} is no type that pydantic can validate: give a model, a type or a JSON Schema dict"
        ) from None

    def violations(text: str) -> Iterable[str]:
        try:
            adapter.validate_json(text, strict=True)
        except ValidationError as error:
            return [
                item["type"]
                for item in error.errors(
                    include_url=False, include_context=False, include_input=False
                )
            ]
        return ()

    return violations


def _by_json_schema(schema: dict[str, Any]) -> Callable[[str], Iterable[str]]:
    try:
        import jsonschema.validators  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra
        import referencing  # noqa: PLC0415
    except ImportError:
        raise ValueError(
            "schema= as a dict needs the jsonschema package: pip install 'firedoor[jsonschema]', or give a pydantic model"
        ) from None
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ValueError(f"schema= is not a valid JSON Schema: {error.message}") from None
    validator = kind(schema, registry=referencing.Registry())

    def violations(text: str) -> Iterable[str]:
        try:
            value = json.loads(text)
        except ValueError:
            return ("json_invalid",)
        return [str(error.validator) for error in validator.iter_errors(value)]

    return violations
