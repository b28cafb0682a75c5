"""The manifest: what one run reads, written by the function app before it starts the run.

There are three kinds: a clean run brings raw blobs into a dataset's table, a curated run makes a
table from other tables by SQL, a maintenance run compacts tables.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from shared.domain.dataset import Curated, Dataset  # noqa: TC001 -- pydantic needs it at run time.
from shared.domain.raw_blob import partition_of
from transforms.errors import RunFailed
from transforms.storage import read_whole

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

HISTORY = "_history"


class _Part(BaseModel):
    # A newer function app may say more than this wheel knows: unknown keys are not an error.
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True)


class Blob(_Part):
    """One raw blob: a contiguous range of one partition's sequence numbers."""

    name: str
    partition: str
    sequence_first: int
    sequence_last: int
    events: int
    size_bytes: int = Field(default=0, alias="bytes")


class Storage(_Part):
    """The root URL of each container; `curated` is absent where nothing is curated."""

    raw: str
    clean: str
    quarantine: str
    state: str
    curated: str = ""


class _Run(_Part):
    version: Literal[1]
    run: str = Field(pattern=r"^[\w.:-]+$")  # It becomes part of URLs and of SQL.
    document: str = ""
    #: Where in a trace the run was planned; empty when nobody traces.
    traceparent: str = ""
    storage: Storage
    #: Where this was read from.
    url: str = ""

    @property
    def result_url(self) -> str:
        """Where the run's result goes: beside the manifest, under the same names."""
        folder, _, _ = self.url.rpartition("/")
        return f"{self.storage.state}/results/{folder.rpartition('/')[2]}/{self.run}"

    def staging_url(self, attempt: str) -> str:
        """Where one attempt of the run keeps what it must not compute twice."""
        return f"{self.storage.state}/staging/{self.run}/{attempt}"


class Manifest(_Run):
    """The exact list of blobs of one run, and the dataset as it was when the run was planned."""

    kind: Literal["clean"] = "clean"
    dataset: Dataset
    blobs: tuple[Blob, ...] = Field(min_length=1)

    @property
    def events(self) -> int:
        """How many events the blobs hold, quarantined ones included."""
        return sum(blob.events for blob in self.blobs)

    @property
    def size_bytes(self) -> int:
        """How large the blobs are."""
        return sum(blob.size_bytes for blob in self.blobs)

    @property
    def repeats_itself(self) -> bool:
        """Whether two blobs hold some of the same events, as a fork of a chain makes them."""
        ranges = sorted(
            (partition_of(blob.name), blob.sequence_first, blob.sequence_last)
            for blob in self.blobs
        )
        return any(
            partition == partition_next and last >= first_next
            for (partition, _, last), (partition_next, first_next, _) in itertools.pairwise(ranges)
        )

    @property
    def raw_urls(self) -> list[str]:
        """Where the blobs are."""
        return [f"{self.storage.raw}/{blob.name}" for blob in self.blobs]

    @property
    def table_url(self) -> str:
        """Where the dataset's table is."""
        return f"{self.storage.clean}/{self.dataset.name}"

    @property
    def history_url(self) -> str:
        """Where every version of the dataset's rows is, if it keeps them."""
        return self.table_url + HISTORY

    @property
    def quarantine_url(self) -> str:
        """Where the dataset's quarantined records are."""
        return f"{self.storage.quarantine}/refused/{self.dataset.name}"


class Input(_Part):
    """A table that a curated run reads: at which version, and whose rows are new in it."""

    name: str
    kind: Literal["clean", "curated"]
    version: int
    runs: tuple[str, ...] = ()

    @property
    def table(self) -> str:
        """The table's name in SQL."""
        return self.name.replace("-", "_")


class CuratedManifest(_Run):
    """The versions of the tables that a curated table is made of, and the views it reads."""

    kind: Literal["curated"]
    curated: Curated
    inputs: tuple[Input, ...] = Field(min_length=1)
    views: tuple[Curated, ...] = ()

    @property
    def table_url(self) -> str:
        """Where the curated table is."""
        return f"{self.storage.curated}/{self.curated.name}"

    @property
    def made_with_url(self) -> str:
        """Where it is noted with which SQL the whole table was made."""
        return f"{self.storage.state}/curated/{self.curated.name}"

    def input_url(self, table: Input) -> str:
        """Where a table that is read lies."""
        root = self.storage.clean if table.kind == "clean" else self.storage.curated
        return f"{root}/{table.name}"


class Table(_Part):
    """A table to be maintained."""

    name: str
    kind: Literal["clean", "curated"]


class MaintenanceManifest(_Run):
    """The tables to compact, and how long the files they no longer need are kept."""

    kind: Literal["maintenance"]
    tables: tuple[Table, ...] = Field(min_length=1)
    retain_hours: int = Field(ge=0)

    def table_urls(self) -> dict[str, str]:
        """Where the tables are, by name, with the quarantine of each dataset among them."""
        roots = {"clean": self.storage.clean, "curated": self.storage.curated}
        urls = {table.name: f"{roots[table.kind]}/{table.name}" for table in self.tables}
        refused = {
            f"refused/{table.name}": f"{self.storage.quarantine}/refused/{table.name}"
            for table in self.tables
            if table.kind == "clean" and not table.name.endswith(HISTORY)
        }
        return urls | refused


def _kind(content: object) -> str:
    return str(content.get("kind", "clean")) if isinstance(content, dict) else "clean"


AnyManifest = Manifest | CuratedManifest | MaintenanceManifest

_MANIFEST: TypeAdapter[AnyManifest] = TypeAdapter(
    Annotated[
        Annotated[Manifest, Tag("clean")]
        | Annotated[CuratedManifest, Tag("curated")]
        | Annotated[MaintenanceManifest, Tag("maintenance")],
        Discriminator(_kind),
    ]
)


def read_manifest(session: SparkSession, url: str, *, run: str) -> AnyManifest:
    """Read the manifest of `run`; raise `RunFailed` when it is absent, wrong or another run's."""
    text = read_whole(session, url)
    if text is None:
        raise RunFailed(f"there is no manifest at {url}")
    try:
        manifest = _MANIFEST.validate_json(text)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors()
        )
        raise RunFailed(f"the manifest at {url} is wrong: {problems}") from error
    if manifest.run != run:
        raise RunFailed(f"the manifest at {url} is of run {manifest.run!r}, not of {run!r}")
    return manifest.model_copy(update={"url": url})
