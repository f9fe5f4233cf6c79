"""Log events beside the spans of decisions and incidents: for pipelines that read logs.

The logs API of OpenTelemetry is not stable yet, so it is loaded only where a logger provider was
given, and looked at before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import Span, set_span_in_context

from firedoor._version import __version__
from firedoor.errors import ConfigurationError
from firedoor.telemetry.names import DECISION_EVENT, SCOPE

__all__ = ["Events"]


class Events:
    """Emits events with the attributes of a span: `firedoor.decision` unless told otherwise.

    Raises:
        ConfigurationError: If the installed OpenTelemetry cannot emit events.
    """

    def __init__(self, provider: Any, schema_url: str) -> None:
        try:
            from opentelemetry._logs import LogRecord, SeverityNumber  # noqa: PLC0415 - unstable

            self._logger = provider.get_logger(SCOPE, __version__, schema_url)
            self._record = LogRecord
            self._levels = (SeverityNumber.INFO, SeverityNumber.WARN)
            LogRecord(event_name=DECISION_EVENT, context=Context())
        except (ImportError, AttributeError, TypeError) as error:
            raise ConfigurationError(
                f"logger_provider={provider!r}: the installed opentelemetry-api cannot emit events "
                "through it; upgrade opentelemetry-api, or leave logger_provider out"
            ) from error

    def emit(
        self,
        attributes: Mapping[str, Any],
        span: Span,
        *,
        failed: bool,
        time_ns: int | None,
        name: str = DECISION_EVENT,
    ) -> None:
        """Emit one event, joined to `span` by its ids."""
        level = self._levels[failed]
        self._logger.emit(
            self._record(
                timestamp=time_ns,
                context=set_span_in_context(span, Context()),
                severity_number=level,
                severity_text=level.name,
                event_name=name,
                attributes=attributes,
            )
        )
