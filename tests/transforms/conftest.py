"""Fixtures of the transform's tests: one Sail for all of them, and a lake on Azurite for each."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from azure.storage.blob import BlobServiceClient

from tests.transforms.lake import CONTAINERS, Lake
from transforms.session import open_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

_NAMES = (f"things-{number}" for number in itertools.count())


@pytest.fixture(scope="session")
def blobs(azurite: str) -> Iterator[BlobServiceClient]:
    """Azurite as the Azure SDK sees it, with the transform's containers."""
    with BlobServiceClient.from_connection_string(azurite) as client:
        existing = {container.name for container in client.list_containers()}
        for name in CONTAINERS:
            if name not in existing:
                client.create_container(name)
        yield client


@pytest.fixture(scope="session")
def emulator(blobs: BlobServiceClient) -> dict[str, str]:
    """The variables by which Sail finds Azurite."""
    address = blobs.url.rstrip("/").removesuffix(f"/{blobs.account_name}")
    return {"AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": address}


@pytest.fixture(scope="session")
def session(emulator: dict[str, str]) -> Iterator[SparkSession]:
    """Sail, started once: that takes longer than most tests."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in emulator.items():
            environment.setenv(name, value)
        with open_session() as session:
            yield session


@pytest.fixture
def lake(session: SparkSession, blobs: BlobServiceClient) -> Lake:
    """A lake with an empty dataset."""
    return Lake(session=session, blobs=blobs, name=next(_NAMES))
