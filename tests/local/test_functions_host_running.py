"""The functions host as a process, with a sample app, against the real Azurite."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import httpx
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue import TextBase64DecodePolicy, TextBase64EncodePolicy
from azure.storage.queue.aio import QueueClient

from local.functions_host.connections import named_parts
from tests.local_functions_host import App, eventually, eventually_there

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HOSTS = "azure-webjobs-hosts"
POISON = "webjobs-blobtrigger-poison"


@pytest.fixture
def app(tmp_path: Path, azurite: str) -> App:
    """The sample app of everyday triggers, with containers of its own."""
    parts = named_parts(azurite)
    lake = ";".join(
        f"{name}={parts[name.lower()]}" for name in ("AccountName", "AccountKey", "BlobEndpoint")
    )
    container = f"inbox-{abs(hash(tmp_path))}"
    return App(
        "everyday", folder=tmp_path, storage=azurite, LAKE=lake, INBOX=container, TICK="* * * * * *"
    )


@pytest.fixture
async def blobs(azurite: str) -> AsyncIterator[BlobServiceClient]:
    """A client for the storage behind the app."""
    async with BlobServiceClient.from_connection_string(azurite) as client:
        yield client


def queue(azurite: str, name: str) -> QueueClient:
    """A queue whose messages are Base64, as the host writes them."""
    return QueueClient.from_connection_string(
        azurite,
        name,
        message_encode_policy=TextBase64EncodePolicy(),
        message_decode_policy=TextBase64DecodePolicy(),
    )


async def names(blobs: BlobServiceClient, prefix: str) -> list[str]:
    """The host's own blobs below a prefix."""
    container = blobs.get_container_client(HOSTS)
    try:
        return [blob.name async for blob in container.list_blobs(prefix)]
    except ResourceNotFoundError:
        return []


async def test_timer_of_every_second_fires_once_in_each_second(app: App) -> None:
    """The demo polls every second: a second fired twice or a schedule that drifts shows there."""
    with app.running("--functions", "tick"):
        await eventually(lambda: len(app.recorded(name="tick")) >= 3)

    seconds = [
        datetime.fromisoformat(line["now"]).replace(microsecond=0)
        for line in app.recorded(name="tick")
    ]
    assert all(one < other for one, other in pairwise(seconds))
    assert app.recorded(name="tick")[0]["status"] == {}


async def test_timer_that_missed_its_time_runs_at_once_and_once(
    app: App, blobs: BlobServiceClient
) -> None:
    """A machine that slept at three in the morning still does its nightly work."""
    status = f"timers/{app.id}/Host.Functions.nightly/status"
    with app.running("--functions", "nightly"):
        await eventually_there(lambda: names(blobs, status))
    first = app.recorded(name="nightly")
    missed = {
        "Last": "2026-11-01T03:00:00+00:00",
        "Next": "2026-11-02T03:00:00+00:00",
        "LastUpdated": "2026-11-01T03:00:00+00:00",
    }
    blob = blobs.get_blob_client(HOSTS, status)
    await blob.upload_blob(json.dumps(missed), overwrite=True)

    async def rewritten() -> dict[str, str] | None:
        found: dict[str, str] = json.loads(await (await blob.download_blob()).readall())
        return found if found != missed else None

    with app.running("--functions", "nightly"):
        stored = await eventually_there(rewritten)
    with app.running("--functions", "nightly", "tick"):
        await eventually(lambda: app.recorded(name="tick"))

    assert first == []
    assert [line["past_due"] for line in app.recorded(name="nightly")] == [True]
    assert app.recorded(name="nightly")[0]["status"] == missed
    assert datetime.fromisoformat(stored["Next"]) > datetime.now(UTC)


async def test_blob_fires_once_a_version_even_over_a_restart(
    app: App, blobs: BlobServiceClient
) -> None:
    """A receipt per ETag: what was announced is not announced again, what is new is."""
    inbox = await blobs.create_container(app.settings["INBOX"])
    await inbox.upload_blob("a/b.txt", b"one", metadata={"made": "here"})
    await inbox.upload_blob("ignored", b"it has no kind")
    receipts = f"blobreceipts/{app.id}/Host.Functions.inspect/"

    with app.running("--functions", "inspect"):
        await eventually(lambda: app.recorded(name="inspect"))
        await eventually_there(lambda: names(blobs, f"blobscaninfo/{app.id}/"))
    first = app.recorded(name="inspect")
    with app.running("--functions", "inspect"):
        await inbox.upload_blob("c.txt", b"next")
        await eventually(lambda: app.recorded(body="next"))
        await inbox.upload_blob("a/b.txt", b"two", overwrite=True)
        await eventually(lambda: app.recorded(body="two"))

    name = f"{inbox.container_name}/a/b.txt"
    assert first == [
        {"name": "inspect", "blob": name, "body": "one", "length": 3, "more": {"made": "here"}}
    ]
    assert [line["body"] for line in app.recorded(name="inspect")] == ["one", "next", "two"]
    found = sorted(path.removeprefix(receipts) for path in await names(blobs, receipts))
    assert len(found) == 3
    assert sum(path.endswith(f"/{name}") and path.startswith('"0x') for path in found) == 2


async def test_blob_that_always_fails_is_poison_after_five_attempts(
    app: App, blobs: BlobServiceClient, azurite: str
) -> None:
    """One bad blob must stop neither itself for ever nor the others."""
    inbox = await blobs.create_container(app.settings["INBOX"])
    await inbox.upload_blob("poison.txt", b"bad")

    async with queue(azurite, POISON) as poison:

        async def poisoned() -> dict[str, str] | None:
            found = [json.loads(message.content) for message in await poison.peek_messages(32)]
            mine = (one for one in found if one["ContainerName"] == inbox.container_name)
            return next(mine, None)

        with app.running("--functions", "inspect") as host:
            await inbox.upload_blob("good.txt", b"fine")
            await eventually(lambda: "is poison after 5 attempts" in host.log)
            message = await eventually_there(poisoned)
            await eventually(lambda: app.recorded(body="fine"))

    assert len(app.recorded(body="bad")) == 5
    assert message["FunctionId"] == "Host.Functions.inspect"
    assert message["BlobName"] == "poison.txt"
    assert message["ETag"].startswith('"0x')
    assert "inspect failed: ValueError('this blob is bad') (function_app.py:" in host.log
    assert "Traceback" not in host.log


async def test_message_for_an_older_version_is_dropped_unless_event_grid_sent_it(
    app: App, blobs: BlobServiceClient, azurite: str
) -> None:
    """A scan announces the newer version itself; Event Grid only says that something changed."""
    inbox = await blobs.create_container(app.settings["INBOX"])
    with app.running("--functions", "inspect", "follow"):
        await inbox.upload_blob("a.txt", b"now")
        await inbox.upload_blob("landed/0", b"now")
        await eventually(lambda: app.recorded(name="inspect") and app.recorded(name="follow"))
        async with queue(azurite, f"azure-webjobs-blobtrigger-{app.id}") as control:
            for function, blob in (("inspect", "a.txt"), ("follow", "landed/0"), ("gone", "x")):
                message = {
                    "Type": "BlobTrigger",
                    "FunctionId": f"Host.Functions.{function}",
                    "BlobType": "BlockBlob",
                    "ContainerName": inbox.container_name,
                    "BlobName": blob,
                    "ETag": '"0xOLD"',
                }
                await control.send_message(json.dumps(message))
            await eventually(lambda: len(app.recorded(name="follow")) == 2)

            async def emptied() -> bool:
                return (await control.get_queue_properties()).approximate_message_count == 0

            await eventually_there(emptied)

    assert len(app.recorded(name="inspect")) == 1


async def test_http_functions_answer_under_their_routes(app: App) -> None:
    """What a function returns and raises reaches the caller as it would in Azure."""
    with app.running("--functions", "greet", "greet_nobody", "fail") as host:
        address = f"http://127.0.0.1:{host.port}"
        async with httpx.AsyncClient(base_url=address) as client:
            greeted = await client.post(
                "/api/greet/Bob%20x/3?q=1&q=2&empty=", content="hi", headers={"X-Test": "yes"}
            )
            nobody = await client.get("/api/greet/nobody")
            failed = await client.get("/api/fail")
            wrong = [await client.delete("/api/greet/x"), await client.get("/greet/x")]
            admin = (await client.get("/admin/functions")).json()
            status = (await client.get("/admin/host/status")).json()

    assert greeted.status_code == 201
    assert greeted.json() == {
        "url": f"{address}/api/greet/Bob%20x/3?q=1&q=2&empty=",
        "route": {"name": "Bob x", "times": "3"},
        "query": {"q": "1,2"},
        "header": "yes",
        "body": "hi",
    }
    assert greeted.headers["set-cookie"] == "crumb=1; HttpOnly; Path=/"
    assert (greeted.headers["x-seen"], greeted.headers["content-type"]) == (
        "yes",
        "application/json",
    )
    assert (nobody.status_code, nobody.text) == (200, "nobody by GET")
    assert nobody.headers["content-type"] == "text/plain; charset=utf-8"
    assert (failed.status_code, failed.content) == (500, b"")
    assert [answer.status_code for answer in wrong] == [404, 404]
    assert [function["name"] for function in admin] == ["greet", "greet_nobody", "fail"]
    assert status == {"id": app.id, "state": "Running"}
    assert f"greet: [GET,POST] {address}/api/greet/{{name}}/{{times:int?}}" in host.log


async def test_functions_run_by_hand_from_the_admin_endpoint(
    app: App, blobs: BlobServiceClient
) -> None:
    """Waiting for three in the morning is no way to try a nightly timer."""
    inbox = await blobs.create_container(app.settings["INBOX"])
    await inbox.upload_blob("ignored", b"by hand")
    chosen = ("nightly", "inspect", "greet")

    with app.running("--functions", *chosen) as host:
        url = f"http://127.0.0.1:{host.port}/admin/functions"
        async with httpx.AsyncClient() as client:
            path = f"{inbox.container_name}/ignored"
            answers = [
                await client.post(f"{url}/nightly", json={"input": ""}),
                await client.post(f"{url}/Inspect", json={"input": path}),
                await client.post(f"{url}/greet", json={"input": ""}),
                await client.post(f"{url}/nightly", content="nothing"),
                await client.post(f"{url}/unknown", json={"input": ""}),
            ]
        await eventually(lambda: app.recorded(name="nightly") and app.recorded(body="by hand"))

    assert [answer.status_code for answer in answers] == [202, 202, 501, 400, 404]


async def test_request_under_way_is_answered_while_the_host_stops(app: App) -> None:
    """A stop takes no new work, and lets what is running end."""
    with app.running("--functions", "linger") as host:
        async with httpx.AsyncClient(timeout=30) as client:
            url = f"http://127.0.0.1:{host.port}/api/linger"
            asked = asyncio.create_task(client.get(url))
            await eventually(lambda: app.recorded(name="linger"))
            host.tell()
            await eventually_there(lambda: refused(url))
            app.open("answer")
            answer = await asked
        code = host.wait()

    assert (answer.status_code, answer.text) == (200, "at last")
    assert code == 0


async def refused(url: str) -> bool:
    """Whether nobody takes a new connection."""
    try:
        async with httpx.AsyncClient(timeout=1) as client:
            await client.get(url)
    except httpx.ConnectError:
        return True
    except httpx.TimeoutException:
        return False
    return False


async def test_missing_setting_takes_down_only_its_function(tmp_path: Path, azurite: str) -> None:
    """As in Azure: the line names function and setting, and the rest of the app runs."""
    app = App("unset", folder=tmp_path, storage=azurite)

    with app.running() as host:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{host.port}") as client:
            fine = await client.get("/api/fine")
            status = (await client.get("/admin/host/status")).json()
    alone = app.refused("--functions", "sleepless")

    problem = "the setting NOBODY_SETS_THIS is not set, but a binding uses it"
    assert f"sleepless cannot start: {problem}" in host.log
    assert fine.text == "GET"
    assert status["errors"] == [f"sleepless: {problem}"]
    assert alone[0] == 1
    assert alone[1].splitlines()[-1] == "no function of the app can start"


def test_app_that_cannot_be_imported_is_one_readable_line(tmp_path: Path, azurite: str) -> None:
    """An exception at import makes every function vanish; the reason must not vanish with them."""
    app = App("broken", folder=tmp_path, storage=azurite)

    code, text = app.refused()
    verbose = app.refused("--verbose")[1]

    assert code == 1
    assert text.count("\n") == 1
    assert text.startswith("ModuleNotFoundError: No module named 'nowhere_to_be_found'. ")
    assert text.endswith(" (function_app.py:4)\n")
    assert "Traceback (most recent call last)" in verbose


def test_binding_that_is_missing_here_ends_the_host(tmp_path: Path, azurite: str) -> None:
    """Leaving the function out would go unnoticed until somebody misses what it does."""
    app = App("foreign", folder=tmp_path, storage=azurite)

    code, text = app.refused()

    assert code == 1
    assert text.splitlines()[-1].startswith("answer: binding type queueTrigger is not emulated")


def test_unknown_function_name_is_refused_with_the_known_ones(tmp_path: Path, azurite: str) -> None:
    """A typo in --functions must not start an empty host."""
    app = App("unset", folder=tmp_path, storage=azurite)

    code, text = app.refused("--functions", "fin")

    assert code == 1
    assert text.splitlines()[-1] == "the app has no function 'fin'; it has fine, sleepless"
