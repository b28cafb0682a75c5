"""One engine's side of the comparison: run every case of a folder, write what becomes of it.

    python -m tests.parity.engine sail|jvm FOLDER

Started twice, by two interpreters: `pyspark-client` (Sail) and `pyspark` (JVM) are one package in
two forms. Nothing but the transform and what it needs may be imported here. Tables are Parquet
folders on both sides, and a MERGE is done here as its clauses say.
"""

from __future__ import annotations

import contextlib
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import fastavro
import pyarrow.parquet  # type: ignore[import-untyped]  # It ships no types.
from pyspark.sql import SparkSession
from pyspark.sql import functions as fn

from shared.domain.dataset import Curated
from transforms.clean import RAW_SCHEMA, clean_records, clean_schema
from transforms.clean_table import clean_types, find_rows_changed
from transforms.curated_inputs import seen
from transforms.curated_sql import curated_rows, curated_types
from transforms.drift import find_drift
from transforms.history import find_versions_changed, history_types
from transforms.increment import find_increment
from transforms.manifest import CuratedManifest, Manifest
from transforms.newest import PLACE, newest_rows, order_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructField

type Json = dict[str, Any]
type Frames = Iterator[tuple[str, DataFrame | Json]]

#: What a merge changes of a version that is in the history.
_DERIVED = ("validFrom", "validTo", "isCurrent", "_repeated")


def main() -> None:
    """Run every case in one session, in the order of their names."""
    engine, folder = sys.argv[1], Path(sys.argv[2])
    with _jvm() if engine == "jvm" else _sail() as session:
        _read_parquet_for_delta(session)
        for path in sorted(folder.glob("*.case.json")):
            name = path.name.removesuffix(".case.json")
            lake = Lake(session, engine, folder, json.loads(path.read_text()))
            found = lake.answer() if "dataset" in lake.case else lake.answer_in_sql()
            answer = {frame: _content(rows) for frame, rows in found}
            (folder / f"{name}.{engine}.json").write_text(json.dumps(answer))


class Lake:
    """The tables of one case on one engine."""

    def __init__(self, session: SparkSession, engine: str, folder: Path, case: Json) -> None:
        """`case` says what the manifests say."""
        self.case = case
        self._session = session
        self._engine = engine
        self._folder = folder
        self._root = folder / engine / case["name"]
        self._steps = 0

    def answer(self) -> Frames:
        """Run after run: what is clean, what wins, what is merged, and the tables at the end."""
        for number, avro in enumerate(self.case["runs"]):
            manifest = self._manifest(number)
            records = self._stage(self._clean(avro, manifest), clean_schema(manifest.dataset))
            yield f"cleaned-{number}", records
            yield f"drift-{number}", find_drift(records, manifest.dataset)
            yield from self._merge(manifest, records, number)

    def answer_in_sql(self) -> Frames:
        """What curated SQL makes of small tables, whose cells come as text."""
        tables = {}
        for name, (types, rows) in self.case["tables"].items():
            schema = ", ".join(f"`{column}` string" for column in types)
            casts = [fn.col(column).cast(kind).alias(column) for column, kind in types.items()]
            tables[name] = self._session.createDataFrame(rows, schema).select(*casts)
        curated, *views = map(Curated.model_validate, self.case["curated"])
        yield "rows", curated_rows(self._session, curated, tables, views=views)

    def _clean(self, avro: str, manifest: Manifest) -> DataFrame:
        return clean_records(
            _events(self._session, self._engine, self._folder / avro), manifest.dataset
        )

    def _merge(self, manifest: Manifest, records: DataFrame, number: int) -> Frames:
        dataset = manifest.dataset
        if dataset.ingestion != "append" and not dataset.primary_key:
            return
        order = order_of(dataset)
        yield f"newest-{number}", newest_rows(records, dataset, places_differ=True)
        if dataset.history:
            types = history_types(dataset)
            versions = find_versions_changed(
                self._session, manifest, records, self._url("versions")
            ).staged
            yield f"versions-{number}", versions
            history = self._replace(
                manifest.history_url, versions, types, key=PLACE, updated=_DERIVED
            )
            yield f"history-{number}", history
        changed = find_rows_changed(self._session, manifest, records, self._url("rows")).staged
        yield f"changed-{number}", changed
        news = changed.where("_effect <> 'older'")
        types = clean_types(dataset)
        table = self._replace(manifest.table_url, news, types, key=order.key, updated=list(types))
        yield f"table-{number}", table
        if curated := self.case.get("increment"):
            yield from self._increment(Curated.model_validate(curated), table, manifest, number)

    def _increment(
        self, curated: Curated, table: DataFrame, manifest: Manifest, number: int
    ) -> Frames:
        """What SQL that leaves out a part of the rows changes in a table made of all of them."""
        own = CuratedManifest.model_validate(
            {
                "version": 1, "kind": "curated", "run": manifest.run,
                "storage": {**manifest.storage.model_dump(), "curated": self._folder_of(number)},
                "curated": curated.model_dump(by_alias=True),
                "inputs": [{"name": "d", "kind": "clean", "version": 0}],
            }
        )  # fmt: skip
        types = curated_types(curated)
        changed = table.where(fn.col("_run") == manifest.run)
        rows = seen(changed).where("flag is not false").select(*types)
        staged = find_increment(self._session, own, rows, changed, self._url("increment")).staged
        yield f"increment-{number}", staged
        made = seen(table).where("flag is null").select(*types)
        made.write.parquet(f"{self._folder_of(number + 1)}/{curated.name}")

    def _manifest(self, number: int) -> Manifest:
        """The manifest of a run, whose tables are where the run before left them."""
        dataset = self.case["dataset"]
        folder = self._folder_of(number)
        manifest = Manifest.model_validate(
            {
                "version": 1, "run": f"run-{number}", "dataset": dataset,
                "storage": dict.fromkeys(("raw", "clean", "quarantine", "state"), folder),
                "blobs": [{
                    "name": "m/p0-20261120T000000-0.avro", "partition": "0", "events": 1,
                    "sequenceFirst": 0, "sequenceLast": 0,
                }],
            }
        )  # fmt: skip
        if number == 0:
            empty = [(manifest.table_url, clean_types(manifest.dataset))]
            if manifest.dataset.history:
                empty.append((manifest.history_url, history_types(manifest.dataset)))
            if curated := self.case.get("increment"):
                types = curated_types(Curated.model_validate(curated))
                empty.append((f"{folder}/{curated['name']}", types))
            for url, types in empty:
                columns = [fn.lit(None).cast(kind).alias(name) for name, kind in types.items()]
                # Of a frame without rows, Sail writes no file, and so no types.
                path = Path(url.removeprefix("file://"))
                path.mkdir(parents=True)
                nothing = self._session.range(0).select(*columns)
                pyarrow.parquet.write_table(nothing.toArrow(), path / "empty.parquet")
        return manifest

    def _replace(
        self,
        url: str,
        source: DataFrame,
        types: Mapping[str, str],
        *,
        key: Sequence[str],
        updated: Sequence[str],
    ) -> DataFrame:
        """Do what a MERGE does: some columns of rows that are there, whole rows that are not."""
        target = self._session.read.parquet(url)
        same_key = fn.expr(" and ".join(f"s.`{name}` <=> t.`{name}`" for name in key))
        s, t = source.alias("s"), target.alias("t")
        both = [fn.col(f"{'s' if name in updated else 't'}.`{name}`").alias(name) for name in types]
        rows = (
            t.join(s, same_key, "left_anti").select(*types)
            .unionByName(t.join(s, same_key).select(*both))
            .unionByName(s.join(t, same_key, "left_anti").select(*types))
        )  # fmt: skip
        folder, _, name = url.rpartition("/")
        number = int(folder.rpartition("-")[2])
        return self._stage(rows, None, f"{self._folder_of(number + 1)}/{name}")

    def _stage(self, rows: DataFrame, schema: str | None = None, url: str = "") -> DataFrame:
        url = url or self._url("rows")
        rows.write.parquet(url)
        return (self._session.read.schema(schema) if schema else self._session.read).parquet(url)

    def _url(self, name: str) -> str:
        self._steps += 1
        return f"file://{self._root}/staging/{self._steps}-{name}"

    def _folder_of(self, number: int) -> str:
        return f"file://{self._root}/tables-{number}"


def _read_parquet_for_delta(session: SparkSession) -> None:
    """Neither `pyspark` nor any package beside it brings a reader of Delta along for the JVM."""
    reader = type(session.read)
    original = reader.format
    reader.format = lambda self, source: original(  # type: ignore[method-assign] # On purpose.
        self, "parquet" if source == "delta" else source
    )


def _events(session: SparkSession, engine: str, avro: Path) -> DataFrame:
    """Read raw events: Sail by its own reader, the JVM, which has none, by fastavro."""
    if engine == "sail":
        return session.read.format("avro").schema(RAW_SCHEMA).load([f"file://{avro}"])
    names = [part.split()[0] for part in RAW_SCHEMA.split(", ")]
    with avro.open("rb") as file:
        records = cast("Iterator[Json]", fastavro.reader(file))
        rows = [tuple(record[name] for name in names) for record in records]
    return session.createDataFrame(rows, RAW_SCHEMA)


def _content(rows: DataFrame | Json) -> Json:
    """A frame as JSON: its columns' types, and its rows in one order; drift as it is."""
    if isinstance(rows, dict):
        return rows
    columns = [_countable(column).alias(column.name) for column in rows.schema]
    found = [row.asDict() for row in rows.select(*columns).collect()]
    plain = [{name: _plain(value) for name, value in row.items()} for row in found]
    return {
        "types": {column.name: column.dataType.simpleString() for column in rows.schema},
        "rows": sorted(plain, key=lambda row: json.dumps(row, sort_keys=True)),
    }


def _countable(column: StructField) -> Expression:
    """A time as a number: Python has no years beyond 9999, and the engines have."""
    match column.dataType.simpleString():
        case "timestamp":
            return fn.unix_micros(f"`{column.name}`")
        case "date":
            return fn.unix_date(f"`{column.name}`")
        case _:
            return fn.col(f"`{column.name}`")


def _plain(value: Any) -> Any:
    """A cell as JSON, such that equal means equal: -0.0 is not 0.0, and 1.50 is not 1.5."""
    match value:
        case float():
            return {"double": repr(value)}
        case Decimal():
            return {"decimal": str(value)}
        case bytes() | bytearray():
            return {"bytes": bytes(value).hex()}
        case _:
            return value


@contextlib.contextmanager
def _sail() -> Iterator[SparkSession]:
    from transforms.session import open_session  # noqa: PLC0415 -- The other engine has no Sail.

    with open_session() as session:
        yield session


@contextlib.contextmanager
def _jvm() -> Iterator[SparkSession]:
    session = (
        SparkSession.builder.master("local[2]")
        .appName("parity")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        # Over so few rows, to compile a plan takes longer than to run it.
        .config("spark.sql.codegen.wholeStage", "false")
        .config("spark.sql.codegen.factoryMode", "NO_CODEGEN")
        .config("spark.log.level", "ERROR")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    try:
        yield session
    finally:
        session.stop()


if __name__ == "__main__":
    main()
