"""Records: the raw events' lines, each with typed columns, or with the reasons why not.

The reasons: `not-utf8`, `not-json` (or JSON, but not an object), or those of `checks.py`, all that
apply, joined with "; ".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pyspark.sql import functions as fn

from shared.domain.cloud_event import DELETIONS_TYPE
from transforms.checks import key_problems, problems, reasons
from transforms.columns import spark_type, value_of
from transforms.rest import rest_column
from transforms.texts import JsonTexts

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame, SparkSession

    from shared.domain.dataset import Column, Dataset
    from transforms.checks import Problem
    from transforms.manifest import Manifest

#: The columns of a raw event that the transform needs; the blobs hold more.
RAW_SCHEMA = (
    "sequence_number bigint, enqueued_time timestamp, partition string, "
    "attributes map<string,string>, quarantined string, body binary"
)
#: The reason of a record that has none.
GOOD = ""
#: Not a reason: the row holds no record and is there so that its event is counted.
BLANK = "blank"
#: The reasons of lines in which there is no record at all.
NO_RECORD = ("not-utf8", "not-json")
#: Those of the record's own fields that no column is read from; NULL where nobody looked.
UNKNOWN = "_unknown"
#: Before the name of a column with a default: true where the record has a value, or else NULL.
GIVEN = "_given_"

_ORIGIN = {
    "_event_id": "string",
    "_deleted": "boolean",
    "_partition": "string",
    "_sequence": "bigint",
    "_line": "int",
    "_enqueued_at": "timestamp",
}
_OF_EVENT = tuple(name for name in _ORIGIN if name != "_line")


def clean_schema(dataset: Dataset) -> str:
    """Return the schema of what `clean_records` makes."""
    types = {name: spark_type(column) for name, column in dataset.columns.items()}
    types |= {"_rest": "string"} if dataset.keep_rest else {}
    types |= {f"{GIVEN}{name}": "boolean" for name in columns_with_default(dataset)}
    types |= _ORIGIN | {"_reason": "string", "_body": "binary", UNKNOWN: "array<string>"}
    return ", ".join(f"`{name}` {kind}" for name, kind in types.items())


def columns_with_default(dataset: Dataset) -> list[str]:
    """Return the columns that do not show whether the record had a value."""
    return [name for name, column in dataset.columns.items() if column.default is not None]


def read_events(session: SparkSession, manifest: Manifest) -> DataFrame:
    """Read the manifest's events; Sail skips a missing blob without a word: count them."""
    return session.read.format("avro").schema(RAW_SCHEMA).load(manifest.raw_urls)


def clean_records(events: DataFrame, dataset: Dataset, *, look_every: int = 1) -> DataFrame:
    """Return one row a record, plus one for each event whose first line holds none.

    Of a deletion only the primary key is read. In one of `look_every` records it is looked for
    fields that no column is read from: that costs a third of what reading the record does.
    """
    texts = JsonTexts(dataset.columns)
    lines = _split_into_lines(events, with_ids=dataset.ingestion == "append")
    # Sail pushes a filter down to where it reads: one on the reason would parse every record twice.
    kept = fn.col("_record").isNull() | ~_is_blank(fn.col("_record")) | (fn.col("_line") == 1)
    parsed = lines.where(kept).withColumn("_json", fn.from_json("_record", texts.schema))
    values = [_Value.find(name, dataset, texts) for name in dataset.columns]
    rest = rest_column(_unless_deleted("_record"), texts.fields)
    read = parsed.select(
        *(value.value.alias(value.name) for value in values),
        *([rest.alias("_rest")] if dataset.keep_rest else []),
        *(value.given.alias(f"{GIVEN}{value.name}") for value in values if value.has_default),
        *_ORIGIN,
        _reason(values, texts).alias("_reason"),
        "_record",
        "_bytes",
    )
    # A step of its own: in the one that makes the values, Sail would make each of them twice.
    more = {value.name: _unless_deleted(value.name) for value in values if not value.is_key}
    more["_body"] = fn.when(~fn.col("_reason").isin(GOOD, BLANK), fn.col("_bytes"))
    more[UNKNOWN] = _unknown_fields(dataset, texts, look_every=look_every)
    return read.withColumns(more).drop("_record", "_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Value:
    """A column's value in the record that is at hand."""

    name: str
    column: Column
    is_key: bool
    text: Expression
    value: Expression

    @classmethod
    def find(cls, name: str, dataset: Dataset, texts: JsonTexts) -> Self:
        """Find it where the column's path leads to."""
        column = dataset.columns[name]
        text = texts.text(name, record=fn.col("_record"), parsed=fn.col("_json"))
        value = value_of(text, column)
        is_key = name in dataset.primary_key
        return cls(name=name, column=column, is_key=is_key, text=text, value=value)

    @property
    def has_default(self) -> bool:
        """Say whether the column is never empty."""
        return self.column.default is not None

    @property
    def given(self) -> Expression:
        """True where the record has a value, NULL where it has none: that is what is counted."""
        return fn.when(self.text.isNotNull(), fn.lit(True))  # noqa: FBT003 -- A column's value.

    @property
    def problems(self) -> list[Problem]:
        """What may be wrong with the value of a record."""
        return list(problems(self.name, self.column, text=self.text, value=self.value))

    @property
    def key_problems(self) -> list[Problem]:
        """What may be wrong with the value of a deletion."""
        if not self.is_key:
            return []
        return list(key_problems(self.name, self.column, text=self.text, value=self.value))


def _reason(values: list[_Value], texts: JsonTexts) -> Expression:
    record = fn.col("_record")
    # Asked only where no column was found: it costs more than reading the record does.
    is_no_object = fn.from_json(record, "map<string,string>").isNull()
    return (
        fn.when(record.isNull(), "not-utf8")
        .when(_is_blank(record), BLANK)
        .when(texts.is_absent(fn.col("_json")) & is_no_object, "not-json")
        .when(fn.col("_deleted"), reasons(value.key_problems for value in values))
        .otherwise(reasons(value.problems for value in values))
    )


def _unknown_fields(dataset: Dataset, texts: JsonTexts, *, look_every: int) -> Expression:
    if dataset.keep_rest:
        return fn.json_object_keys("_rest")
    found = fn.filter(fn.json_object_keys("_record"), lambda field: ~field.isin(texts.fields))
    looked_at = ~fn.col("_deleted")
    if look_every > 1:
        looked_at &= (fn.col("_sequence") + fn.col("_line")) % look_every == 0
    return fn.when(looked_at, found)


def _unless_deleted(name: str) -> Expression:
    return fn.when(~fn.col("_deleted"), fn.col(name))


def _split_into_lines(events: DataFrame, *, with_ids: bool) -> DataFrame:
    """Return each line as text (NULL when it is not UTF-8) and as the bytes it was.

    A body that is UTF-8 as a whole is split as text. Any other is split as hexadecimal digits, two
    and a space a byte, so that "0A " is a line break and nothing else is; only the lines that are
    really broken then have no text.
    """
    body = fn.when(fn.col("quarantined") == "", fn.col("body")).otherwise(fn.lit(b""))
    text = fn.try_validate_utf8(body)
    spaced = fn.regexp_replace(fn.hex(body), "(..)", "$1 ")
    lines = fn.when(text.isNotNull(), fn.split(text, "\n")).otherwise(fn.split(spaced, "0A "))
    # The body is left behind before the lines spread: it would be repeated with every one.
    split = events.select(
        (_attribute("id") if with_ids else fn.lit(None).cast("string")).alias("_event_id"),
        _attribute("type").eqNullSafe(DELETIONS_TYPE).alias("_deleted"),
        fn.col("partition").alias("_partition"),
        fn.col("sequence_number").alias("_sequence"),
        fn.col("enqueued_time").alias("_enqueued_at"),
        text.isNull().alias("_in_hex"),
        lines.alias("_lines"),
    )
    spread = split.select(
        *_OF_EVENT, "_in_hex", fn.posexplode("_lines").alias("_position", "_text")
    )
    line = fn.col("_text")
    unhexed = fn.unhex(fn.replace(line, fn.lit(" "), fn.lit("")))
    in_hex = fn.col("_in_hex")
    return spread.select(
        *_OF_EVENT,
        (fn.col("_position") + 1).alias("_line"),
        fn.when(in_hex, fn.try_validate_utf8(unhexed)).otherwise(line).alias("_record"),
        fn.when(in_hex, unhexed).otherwise(line.cast("binary")).alias("_bytes"),
    )


def _attribute(name: str) -> Expression:
    # Sail looks a key up in a map far more slowly than in the two arrays that it is made of.
    attributes = fn.col("attributes")
    position = fn.array_position(fn.map_keys(attributes), name).cast("int")
    return fn.get(fn.map_values(attributes), position - 1)


def _is_blank(record: Expression) -> Expression:
    return fn.btrim(record, fn.lit(" \t\r")) == ""
