"""Histogram records whose attributes are known beforehand, past the SDK's search for their series.

For every record the SDK cleans the attributes, copies them, sorts and hashes them, and so finds the
aggregation to add to: four fifths of the price of a record. A `SdkSeries` has looked that up once.
What is added, where, and with which exemplar, is what `Histogram.record` would have done.

This reads private names of the SDK; `can_shortcut` says whether they are the ones it was written
against.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from time import time_ns
from typing import Any, Final

from opentelemetry.attributes import _clean_attribute_value
from opentelemetry.context import get_current
from opentelemetry.sdk.metrics._internal._view_instrument_match import (
    _hash_attributes,
    _ViewInstrumentMatch,
)
from opentelemetry.sdk.metrics._internal.instrument import Histogram, _Histogram
from opentelemetry.sdk.metrics._internal.measurement import Measurement
from opentelemetry.sdk.metrics._internal.measurement_consumer import (
    SynchronousMeasurementConsumer,
)
from opentelemetry.sdk.metrics._internal.metric_reader_storage import MetricReaderStorage

from firedoor.telemetry.sdk_code import fingerprint

__all__ = ["Target", "can_shortcut", "target_of"]

_MIRRORED: Final = [
    Histogram.record,
    Measurement.__post_init__,
    SynchronousMeasurementConsumer.consume_measurement,
    SynchronousMeasurementConsumer.add_metric_reader,
    SynchronousMeasurementConsumer.remove_metric_reader,
    MetricReaderStorage.consume_measurement,
    MetricReaderStorage._get_or_init_view_instrument_match,
    _ViewInstrumentMatch.consume_measurement,
    _ViewInstrumentMatch.collect,
    _hash_attributes,
    # Since 1.45.2 the series of readers that ask for differences are made anew at each collection.
    *filter(None, [getattr(_ViewInstrumentMatch, "_get_or_create_aggregation", None)]),
]
_KNOWN: Final = frozenset({3_344_653_572, 4_026_719_089})
"""Fingerprints of the SDK code this mirrors: opentelemetry-sdk 1.45.0 and 1.45.1, 1.45.2."""


@functools.cache
def can_shortcut() -> bool:
    """Whether the installed SDK is one that this module knows."""
    return fingerprint(_MIRRORED) in _KNOWN


class Target:
    """Where the records of one histogram with one set of attributes go, as of now."""

    __slots__ = ("_aggregations", "_attributes", "_consumer", "_filter", "_instrument", "_storages")

    def __init__(
        self, instrument: Any, attributes: Mapping[str, Any], aggregations: tuple[Any, ...]
    ) -> None:
        self._instrument = instrument
        self._attributes = attributes
        self._aggregations = aggregations
        self._consumer = instrument._measurement_consumer
        self._storages = self._consumer._reader_storages
        self._filter = self._consumer._sdk_config.exemplar_filter

    def record(self, amount: float) -> bool:
        """As `Histogram.record` of the SDK from there on; `amount` is finite and not negative.

        False, and nothing recorded, where a reader came or went or the meter was turned off.
        """
        if (
            self._consumer._reader_storages is not self._storages
            or not self._instrument._is_enabled()
        ):
            return False
        at = time_ns()
        context = get_current()
        measurement = object.__new__(Measurement)
        measurement.__dict__.update(
            value=amount,
            time_unix_nano=at,
            instrument=self._instrument,
            context=context,
            attributes=self._attributes,
        )
        sampled = self._filter.should_sample(amount, at, self._attributes, context)
        for aggregation in self._aggregations:
            aggregation.aggregate(measurement, sampled)
        return True


def target_of(instrument: object, attributes: Mapping[str, Any]) -> Target | None:
    """The target of a series that has been recorded to once; None where it may move.

    It may where a reader asks for differences (the SDK then makes new series at every collection)
    and where there are too many series (the record then went to the overflow).
    """
    if type(instrument) is not _Histogram:
        return None
    known: Any = instrument
    consumer = known._measurement_consumer
    if type(consumer) is not SynchronousMeasurementConsumer:
        return None
    cleaned: Any = _clean_attribute_value(dict(attributes), None)
    found = []
    for storage in consumer._reader_storages.values():
        if type(storage) is not MetricReaderStorage:
            return None
        for match in storage._get_or_init_view_instrument_match(known):
            if type(match) is not _ViewInstrumentMatch or getattr(
                match, "_reset_on_collect", False
            ):
                return None
            kept = match._view._attribute_keys
            series = {k: v for k, v in cleaned.items() if kept is None or k in kept}
            aggregation = match._attributes_aggregation.get(_hash_attributes(series))
            if aggregation is None:
                return None
            found.append(aggregation)
    return Target(known, cleaned, tuple(found))
