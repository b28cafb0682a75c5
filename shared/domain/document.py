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
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from shared.domain.errors import Misconfigured
from shared.domain.fields import SETTING, ColumnName, Duration, Name, Schedule, Url

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

LANDING_GROUP = "hub-to-raw"
GAPS_GROUP = "hub-to-raw-gaps"  # To read again what is missing, without stealing a partition.


class _Part(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        frozen=True,
    )


class NoPaging(_Part):
    """The whole answer is one page."""

    kind: Literal["none"] = "none"


class NoAuth(_Part):
    """The tool asks for no credentials."""

    kind: Literal["none"] = "none"


Paging = Annotated[NoPaging, Field(description="How the tool splits its answer into pages.")]
Auth = Annotated[NoAuth, Field(description="How a request proves who is asking.")]


class Limits(_Part):
    """What one poll may cost at most."""

    page_bytes: int = Field(default=64 * 1024 * 1024, gt=0, description="Bytes of one page.")
    seconds: float = Field(default=120, gt=0, description="Time of one whole poll.")


class Source(_Part):
    """A third-party tool that answers HTTP GET."""

    name: Name
    url: Url = Field(description="Address to GET; `%SETTING%` stands for an app setting.")
    query: dict[str, str] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    schedule: Schedule = Field(description="When to poll: NCRONTAB, six fields, UTC.")
    format: Literal["json", "geojson"] = "json"
    records: str = Field(
        default="", description="Dotted path to the array of records; empty: the whole body."
    )
    key: str = Field(
        default="id", description="Dotted path to what names a record; keeps its versions in order."
    )
    paging: Paging = NoPaging()
    auth: Auth = NoAuth()
    limits: Limits = Limits()
    publishes: Name = Field(description="The material this source's records become.")


class EventHub(_Part):
    """A hub: one material, perishable, in partitions."""

    model_config = ConfigDict(extra="allow")  # Free attributes become tags.

    material: Name
    partitions: int = Field(default=4, ge=1, le=32, description="Fixed once the hub exists.")
    expires_after: Duration = Field(
        default=timedelta(days=1), description="How long an event keeps: ISO 8601 or `3hrs`."
    )

    max_event_bytes: int = Field(
        default=60_000,
        ge=1,
        le=1_000_000,
        description="Records are packed into events of this size; the service bills by 64 KB.",
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


class Column(_Part):
    """A column of a dataset: where its value is in a record, and what it must be."""

    type: Annotated[
        str,
        StringConstraints(
            pattern=r"^(string|integer|long|double|boolean|date|timestamp|json|"
            r"decimal\([1-9]\d?, ?\d{1,2}\))$"
        ),
    ]
    path: str | None = Field(default=None, description="Dotted path; the column's name by default.")
    format: Literal["iso8601", "epochSeconds", "epochMilliseconds"] = Field(
        default="iso8601", description="How a timestamp or date is written in the record."
    )
    required: bool = Field(default=False, description="A record without it goes to quarantine.")


class Dataset(_Part):
    """A table: which material it is made of and what its columns are."""

    name: Name
    consumes: Name
    primary_key: tuple[ColumnName, ...] = Field(min_length=1)
    incremental_field: ColumnName | None = Field(
        default=None, description="Column that says which of two versions is newer."
    )
    partition_field: ColumnName | None = Field(
        default=None, description="Column that splits the table into folders."
    )
    ingestion: Literal["incremental"] = "incremental"
    columns: dict[ColumnName, Column] = Field(min_length=1)
    job: Name = Field(default="transform", description="The Databricks job that writes the table.")

    @property
    def table(self) -> str:
        """The table's name in SQL."""
        return self.name.replace("-", "_")

    @model_validator(mode="after")
    def _columns_differ_by_more_than_case(self) -> Self:
        lower = [column.lower() for column in self.columns]
        for column in self.columns:
            if lower.count(column.lower()) > 1:
                raise ValueError(f"columns {column!r} differ only in case, which SQL cannot tell")
        return self

    @model_validator(mode="after")
    def _names_columns(self) -> Self:
        named = (*self.primary_key, self.incremental_field, self.partition_field)
        for column in filter(None, named):
            if column not in self.columns:
                raise ValueError(
                    f"column {column!r} is not among the columns{_nearest(column, self.columns)}"
                )
        return self


class Job(_Part):
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


class Databricks(_Part):
    """Where the transforms run."""

    jobs: tuple[Job, ...] = (Job(name="transform", entry_point="transforms.job:main"),)


class Document(_Part):
    """All of `pipeline.json`."""

    schema_: str | None = Field(default=None, alias="$schema")
    name: Name
    environment: Name = Field(
        default="dev", description="The namespace: one branch, one isolated copy of everything."
    )
    sources: tuple[Source, ...] = ()
    eventhubs: tuple[EventHub, ...] = Field(default=(), alias="eventhubs")
    datasets: tuple[Dataset, ...] = ()
    databricks: Databricks = Databricks()

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        problems = list(_loose_ends(self))
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def source(self, name: str) -> Source:
        """Raise `Misconfigured` for a name the document does not hold."""
        return _named(self.sources, name, what="source")

    def dataset(self, name: str) -> Dataset:
        """Raise `Misconfigured` for a name the document does not hold."""
        return _named(self.datasets, name, what="dataset")

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


def _named[T: (Source, Dataset)](parts: Sequence[T], name: str, *, what: str) -> T:
    found = [part for part in parts if part.name == name]
    if not found:
        known = [part.name for part in parts]
        raise Misconfigured(what, f"no {what} is called {name!r}{_nearest(name, known)}")
    return found[0]


def _loose_ends(document: Document) -> Iterator[str]:
    materials = [hub.material for hub in document.eventhubs]
    for source in document.sources:
        if source.publishes not in materials:
            yield (
                f"source {source.name!r} publishes {source.publishes!r}, which no hub carries"
                f"{_nearest(source.publishes, materials)}"
            )
    for dataset in document.datasets:
        if dataset.consumes not in materials:
            yield (
                f"dataset {dataset.name!r} consumes {dataset.consumes!r}, which no hub carries"
                f"{_nearest(dataset.consumes, materials)}"
            )
        jobs = [job.name for job in document.databricks.jobs]
        if dataset.job not in jobs:
            yield f"dataset {dataset.name!r} wants job {dataset.job!r}{_nearest(dataset.job, jobs)}"
    for what, names in (
        ("source", [source.name for source in document.sources]),
        ("hub", materials),
        ("dataset", [dataset.name for dataset in document.datasets]),
    ):
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"two {what}s are called {name!r}"


def _nearest(word: str, known: Any) -> str:  # noqa: ANN401 -- Any collection of names.
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _explain(detail: ErrorDetails) -> str:
    """One problem as one line: path, what is wrong, what was probably meant."""
    location = ".".join(str(step) for step in detail["loc"] if step != "none")
    if detail["type"] == "extra_forbidden":
        key = str(detail["loc"][-1])
        return f"{location}: unknown key{_nearest(key, _known_keys(detail['loc'][:-1]))}"
    message = detail["msg"].removeprefix("Value error, ")
    return f"{location or 'document'}: {message[0].lower()}{message[1:]}"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """The keys the schema knows at a place of the document."""
    schema = Document.model_json_schema(by_alias=True)
    node: dict[str, Any] = schema
    for step in location:
        node = node.get("items", {}) if isinstance(step, int) else _property(node, step)
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return list(node.get("properties", {}))


def _property(node: dict[str, Any], key: str) -> dict[str, Any]:
    """The schema of a key: a known one, or what any key of this object holds."""
    found = node.get("properties", {}).get(key)
    free = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
    return found or next((each for each in free if isinstance(each, dict)), {})
