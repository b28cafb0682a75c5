"""What the tests of the clean stage are made of: events in, rows out, no storage between."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shared.domain.dataset import Dataset
from tests.transforms.lake import Event, Json, event
from transforms.clean import RAW_SCHEMA, clean_records, clean_schema

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def dataset_of(columns: Json, **parts: Any) -> Dataset:
    """A dataset of these columns; without a key unless `parts` say otherwise."""
    style = {} if "primaryKey" in parts else {"ingestion": "append"}
    document = {"name": "d", "consumes": "m", "columns": columns, **style, **parts}
    return Dataset.model_validate(document)


def clean_frame(
    session: SparkSession, dataset: Dataset, *events: Event, look_every: int = 1
) -> DataFrame:
    """What becomes of some events, with the columns in the order in which they are staged."""
    names = [part.split()[0] for part in RAW_SCHEMA.split(", ")]
    rows = [tuple(each.to_avro()[name] for name in names) for each in events]
    frame = session.createDataFrame(rows, RAW_SCHEMA)
    cleaned = clean_records(frame, dataset, look_every=look_every)
    return cleaned.to(session.createDataFrame([], clean_schema(dataset)).schema)


def clean(session: SparkSession, columns: Json, *events: Event, **parts: Any) -> list[Json]:
    """Return the rows that become of some events, in the events' order."""
    frame = clean_frame(session, dataset_of(columns, **parts), *events)
    return [row.asDict() for row in frame.orderBy("_sequence", "_line").collect()]


def read_one(session: SparkSession, column: Json, *values: Any) -> list[tuple[Any, str]]:
    """Return what becomes of some values of one column `c`, each with its reasons."""
    records = [json.dumps({"c": value}).encode() for value in values]
    return [(row["c"], row["_reason"]) for row in clean(session, {"c": column}, event(0, *records))]


def at(*parts: int) -> datetime:
    """A time as Sail hands it over: in UTC, without saying so."""
    return datetime(*parts, tzinfo=UTC).replace(tzinfo=None)  # type: ignore[misc,arg-type] # Splat.
