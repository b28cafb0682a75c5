"""The manifest: what one run reads, written by the function app before it starts the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from shared.domain.dataset import Dataset  # noqa: TC001 -- pydantic needs it when it runs.
from transforms.errors import RunFailed
from transforms.storage import read_whole

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


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


class Storage(_Part):
    """The root URL of each container."""

    raw: str
    clean: str
    quarantine: str
    state: str


class Manifest(_Part):
    """The exact list of blobs of one run, and the dataset as it was when the run was planned."""

    version: Literal[1]
    run: str = Field(pattern=r"^[\w.:-]+$")  # It becomes part of URLs and of SQL.
    dataset: Dataset
    storage: Storage
    blobs: tuple[Blob, ...] = Field(min_length=1)

    @property
    def events(self) -> int:
        """How many events the blobs hold, quarantined ones included."""
        return sum(blob.events for blob in self.blobs)

    @property
    def raw_urls(self) -> list[str]:
        """Where the blobs are."""
        return [f"{self.storage.raw}/{blob.name}" for blob in self.blobs]

    @property
    def table_url(self) -> str:
        """Where the dataset's table is."""
        return f"{self.storage.clean}/{self.dataset.name}"

    @property
    def quarantine_url(self) -> str:
        """Where the dataset's quarantined records are."""
        return f"{self.storage.quarantine}/refused/{self.dataset.name}"

    @property
    def result_url(self) -> str:
        """Where the run's result goes."""
        return f"{self.storage.state}/results/{self.dataset.name}/{self.run}"

    def staging_url(self, attempt: str) -> str:
        """Where one attempt of the run keeps what it must not compute twice."""
        return f"{self.storage.state}/staging/{self.run}/{attempt}"


def read_manifest(session: SparkSession, url: str, *, run: str) -> Manifest:
    """Read the manifest of `run`; raise `RunFailed` when it is absent, wrong or another run's."""
    text = read_whole(session, url)
    if text is None:
        raise RunFailed(f"there is no manifest at {url}")
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors()
        )
        raise RunFailed(f"the manifest at {url} is wrong: {problems}") from error
    if manifest.run != run:
        raise RunFailed(f"the manifest at {url} is of run {manifest.run!r}, not of {run!r}")
    return manifest
