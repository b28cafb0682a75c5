"""The document: `pipeline.json`, the one description of what exists.

Code, infrastructure, jobs, SQL and alerts derive from it. Its JSON Schema is generated from these
models (`millrace schema`), so an editor completes it; a key nobody knows is an error that names the
nearest known one.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from shared.domain.dataset import Curated, Dataset
from shared.domain.errors import Misconfigured
from shared.domain.fields import SETTING, Name, Part, nearest
from shared.domain.source import Source
from shared.domain.watch import RECORD_BYTES, RECORDS_PER_DAY, Alerts, Period

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

LANDING_GROUP = "hub-to-raw"
GAPS_GROUP = "hub-to-raw-gaps"  # To read again what is missing, without stealing a partition.


class EventHub(Part):
    """A hub: one material, perishable, in partitions."""

    model_config = ConfigDict(extra="allow")  # Free attributes become tags.

    material: Name
    partitions: int = Field(default=4, ge=1, le=32, description="Fixed once the hub exists.")
    expires_after: Period = Field(
        default=timedelta(days=1), description="How long an event keeps: ISO 8601 or `3hrs`."
    )

    max_event_bytes: int = Field(
        default=60_000,
        ge=1,
        le=1_000_000,
        description="Records are packed into events of this size; the service bills by 64 KB.",
    )
    expected_records_per_day: int = Field(
        default=RECORDS_PER_DAY, ge=1, description="What the plan's cost is reckoned with."
    )
    record_bytes: int = Field(
        default=RECORD_BYTES, ge=1, description="Size of one record, for the plan's cost."
    )

    @model_validator(mode="after")
    def _free_attributes_are_meant(self) -> Self:
        known = [to_camel(field) for field in type(self).model_fields]
        for key in self.model_extra or {}:
            if meant := difflib.get_close_matches(key, known, n=1, cutoff=0.8):
                raise ValueError(f"{key}: unknown key; did you mean {meant[0]!r}?")
        return self

    @property
    def consumer_groups(self) -> tuple[str, ...]:
        """One group a function, so that functions never steal partitions from one another."""
        return (LANDING_GROUP, GAPS_GROUP)

    @property
    def tags(self) -> dict[str, str]:
        """The free attributes, for example `storageTemperature`."""
        return {key: str(value) for key, value in (self.model_extra or {}).items()}


class Job(Part):
    """A Databricks job."""

    name: Name
    notebook: str | None = None
    entry_point: str | None = Field(default=None, description="`package.module:function`.")
    cluster: str = "serverless"
    workers: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _runs_one_thing(self) -> Self:
        if (self.notebook is None) == (self.entry_point is None):
            raise ValueError("a job needs either a notebook or an entryPoint, not both")
        return self


class Databricks(Part):
    """Where the transforms run."""

    jobs: tuple[Job, ...] = (Job(name="transform", entry_point="transforms.job:main"),)


class Document(Part):
    """All of `pipeline.json`."""

    schema_: str | None = Field(default=None, alias="$schema")
    name: Name
    environment: Name = Field(
        default="dev", description="The namespace: one branch, one isolated copy of everything."
    )
    sources: tuple[Source, ...] = ()
    eventhubs: tuple[EventHub, ...] = Field(default=(), alias="eventhubs")
    datasets: tuple[Dataset, ...] = ()
    curated: tuple[Curated, ...] = ()
    databricks: Databricks = Databricks()
    alerts: Alerts = Alerts()

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        problems = list(_loose_ends(self))
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def source(self, name: str) -> Source:
        """Raise `Misconfigured` for a name the document does not hold."""
        return _named(self.sources, name, what="source")

    def is_full(self, source: Source) -> bool:
        """Whether what disappears from the source is to be deleted from a table."""
        return any(dataset.ingestion == "full" for dataset in self.fed_by(source.publishes))

    def dataset(self, name: str) -> Dataset:
        """Raise `Misconfigured` for a name the document does not hold."""
        return _named(self.datasets, name, what="dataset")

    def table(self, name: str) -> Dataset | Curated:
        """Dataset or curated table; raise `Misconfigured` for a name the document does not hold."""
        return _named(self.tables, name, what="table")

    @property
    def tables(self) -> tuple[Dataset | Curated, ...]:
        """All that SQL can be asked about."""
        return (*self.datasets, *self.curated)

    def hub(self, material: str) -> EventHub:
        """Raise `Misconfigured` for a material no hub carries."""
        found = [hub for hub in self.eventhubs if hub.material == material]
        if not found:
            raise Misconfigured("eventhubs", f"no hub carries the material {material!r}")
        return found[0]

    def fed_by(self, material: str) -> list[Dataset]:
        """The datasets made of a material."""
        return [dataset for dataset in self.datasets if dataset.consumes == material]

    @property
    def digest(self) -> str:
        """SHA-256 of the document's canonical form: the version that a run was planned with."""
        canonical = self.model_dump_json(by_alias=True, exclude_none=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


def parse(text: str | bytes, *, origin: str = "pipeline.json") -> Document:
    """Read a document; raise `Misconfigured` with every problem, its path and the nearest key."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise Misconfigured(origin, f"is not JSON: {error}") from error
    try:
        return Document.model_validate(content)
    except ValidationError as error:
        problems = [_explain(detail) for detail in error.errors(include_url=False)]
        raise Misconfigured(origin, "\n".join(problems)) from error


def load(path: Path) -> Document:
    """Read the document at `path`; raise `Misconfigured` when it is absent or wrong."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise Misconfigured(str(path), f"cannot be read: {error.strerror}") from error
    return parse(text, origin=path.name)


def running_every(document: Document, period: str) -> Document:
    """The document with this `runEvery` for every dataset; as it is when the text is empty.

    Raises `Misconfigured` for what is no duration.
    """
    if not period:
        return document
    try:
        every = TypeAdapter(Period).validate_python(period)
    except ValidationError as error:
        problem = f"is {period!r}, which is no duration like PT15M"
        raise Misconfigured("RUN_EVERY", problem) from error
    datasets = [each.model_copy(update={"run_every": every}) for each in document.datasets]
    return document.model_copy(update={"datasets": datasets})


def json_schema() -> str:
    """The JSON Schema of the document, as committed in `pipeline.schema.json`."""
    schema = Document.model_json_schema(by_alias=True)
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def settings_named(text: str) -> list[str]:
    """The `%SETTING%`s a text refers to."""
    return SETTING.findall(text)


def fill(text: str, settings: dict[str, str]) -> str:
    """Replace each `%SETTING%`; raise `Misconfigured` naming one that is not set."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in settings:
            raise Misconfigured(match[1], f"is not set, but pipeline.json uses {match[0]}")
        return settings[match[1]]

    return SETTING.sub(value, text)


def _named[T: Source | Dataset | Curated](parts: Sequence[T], name: str, *, what: str) -> T:
    found = [part for part in parts if part.name == name]
    if not found:
        known = [part.name for part in parts]
        raise Misconfigured(what, f"no {what} is called {name!r}{nearest(name, known)}")
    return found[0]


def _loose_ends(document: Document) -> Iterator[str]:
    materials = [hub.material for hub in document.eventhubs]
    for source in document.sources:
        if source.publishes not in materials:
            yield (
                f"source {source.name!r} publishes {source.publishes!r}, which no hub carries"
                f"{nearest(source.publishes, materials)}"
            )
    for dataset in document.datasets:
        if dataset.consumes not in materials:
            yield (
                f"dataset {dataset.name!r} consumes {dataset.consumes!r}, which no hub carries"
                f"{nearest(dataset.consumes, materials)}"
            )
    yield from _loose_tables(document)
    yield from _unread_deletions(document)
    for what, names in (
        ("source", [source.name for source in document.sources]),
        ("hub", materials),
        ("table", [*(part.name for part in document.tables), *_histories(document)]),
    ):
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"two {what}s are called {name!r}"


def _histories(document: Document) -> list[str]:
    """Names that tables of versions take, in SQL and as folders of the lake."""
    return [f"{dataset.name}-history" for dataset in document.datasets if dataset.history]


def _loose_tables(document: Document) -> Iterator[str]:
    jobs = [job.name for job in document.databricks.jobs]
    for part in document.tables:
        if part.job not in jobs:
            yield f"table {part.name!r} wants job {part.job!r}{nearest(part.job, jobs)}"
    known = [dataset.name for dataset in document.datasets]
    for curated in document.curated:  # Those before it only, so that none reads itself.
        for name in curated.reads:
            if name not in known:
                yield (
                    f"curated table {curated.name!r} reads {name!r}, which no dataset or curated "
                    f"table before it is called{nearest(name, known)}"
                )
        known.append(curated.name)


def _unread_deletions(document: Document) -> Iterator[str]:
    """A full dataset needs one source that is read whole, and whose key is the table's."""
    for dataset in document.datasets:
        if dataset.ingestion != "full":
            continue
        sources = [each for each in document.sources if each.publishes == dataset.consumes]
        paths = [dataset.columns[name].path or name for name in dataset.primary_key]
        if len(sources) > 1:
            names = " and ".join(repr(source.name) for source in sources)
            yield f"full dataset {dataset.name!r} is fed by {names}: none of them has all rows"
        for source in sources:
            if sorted(source.keys) != sorted(paths):
                yield (
                    f"full dataset {dataset.name!r} is keyed by {', '.join(paths)}, but source "
                    f"{source.name!r} by {', '.join(source.keys)}: a deletion names a record by "
                    "the source's key, so both must be the same"
                )
            if source.cursor and source.cursor.parameter:
                yield (
                    f"source {source.name!r} asks only for what is new, so nobody can tell what is "
                    f"gone: full dataset {dataset.name!r} needs a source without cursor.parameter"
                )


def _explain(detail: ErrorDetails) -> str:
    """One problem as one line: path, what is wrong, what was probably meant."""
    path, node = _place(detail["loc"])
    location = ".".join(path)
    if detail["type"] == "extra_forbidden":
        return f"{location}: unknown key{nearest(path[-1], node.get('properties', {}))}"
    message = detail["msg"].removeprefix("Value error, ")
    return f"{location or 'document'}: {message[0].lower()}{message[1:]}"


def _place(location: tuple[int | str, ...]) -> tuple[list[str], dict[str, Any]]:
    """The path of an error as people write it, and the schema of what holds it."""
    schema = Document.model_json_schema(by_alias=True)
    path: list[str] = []
    node = holder = schema
    for step in location:
        kinds = node.get("discriminator", {}).get("mapping", {})
        if step in kinds:  # Which kind of paging or auth it is: no step in the text.
            node = {"$ref": kinds[step]}
        else:
            path.append(str(step))
            holder = node
            node = node.get("items", {}) if isinstance(step, int) else _property(node, step)
        node = next((each for each in node.get("anyOf", ()) if "$ref" in each), node)
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return path, holder


def _property(node: dict[str, Any], key: str) -> dict[str, Any]:
    """The schema of a key: a known one, or what any key of this object holds."""
    found = node.get("properties", {}).get(key)
    free = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
    return found or next((each for each in free if isinstance(each, dict)), {})
