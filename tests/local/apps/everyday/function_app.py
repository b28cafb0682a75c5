"""A sample app: timers, blobs and HTTP; what happens is written to a file."""

import asyncio
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import azure.functions as func

app = func.FunctionApp()
GATES = Path(os.environ["GATES"])


def record(**line: Any) -> None:
    """Append one line of JSON; a single write of this size is never torn."""
    with (GATES / "record").open("a") as file:
        file.write(json.dumps(line) + "\n")


@app.function_name("tick")
@app.timer_trigger(arg_name="timer", schedule="%TICK%", run_on_startup=False)
async def tick(timer: func.TimerRequest) -> None:
    """Run every second."""
    now = datetime.now(UTC).isoformat()
    record(name="tick", now=now, past_due=timer.past_due, status=timer.schedule_status)


@app.function_name("nightly")
@app.timer_trigger(arg_name="timer", schedule="0 0 3 * * *", run_on_startup=False)
def nightly(timer: func.TimerRequest) -> None:
    """Run once a day, with its status kept."""
    record(name="nightly", past_due=timer.past_due, status=timer.schedule_status)


@app.function_name("inspect")
@app.blob_trigger(arg_name="blob", path="%INBOX%/{name}.{kind}", connection="LAKE")
async def inspect(blob: func.InputStream) -> None:
    """Fail for what is called poison."""
    body = blob.read().decode()
    record(name="inspect", blob=blob.name, body=body, length=blob.length, more=blob.metadata)
    if "poison" in (blob.name or ""):
        raise ValueError("this blob is bad")


@app.function_name("follow")
@app.blob_trigger(
    arg_name="blob",
    path="%INBOX%/landed/{name}",
    connection="LAKE",
    source=func.BlobSource.EVENT_GRID,
)
async def follow(blob: func.InputStream) -> None:
    """Stand for a function that Event Grid would start."""
    record(name="follow", blob=blob.name, body=blob.read().decode())


@app.function_name("greet")
@app.route(trigger_arg_name="request", route="greet/{name}/{times:int?}", methods=["GET", "POST"])
async def greet(request: func.HttpRequest) -> func.HttpResponse:
    """Show what arrived."""
    seen = {
        "url": request.url,
        "route": dict(request.route_params),
        "query": dict(request.params),
        "header": request.headers.get("x-test"),
        "body": request.get_body().decode(),
    }
    headers = {"Set-Cookie": "crumb=1; Path=/; HttpOnly", "X-Seen": "yes"}
    return func.HttpResponse(
        json.dumps(seen), status_code=201, headers=headers, mimetype="application/json"
    )


@app.function_name("greet_nobody")
@app.route(trigger_arg_name="request", route="greet/nobody", methods=["GET"])
def greet_nobody(request: func.HttpRequest) -> str:
    """Lie where the parameter of `greet` would match as well."""
    return f"nobody by {request.method}"


@app.function_name("fail")
@app.route(trigger_arg_name="request", methods=["GET"])
async def fail(request: func.HttpRequest) -> func.HttpResponse:
    """Raise."""
    raise RuntimeError(f"as asked by {request.method}")


@app.function_name("linger")
@app.route(trigger_arg_name="request", methods=["GET"])
async def linger(request: func.HttpRequest) -> str:
    """Answer only once the test creates a file."""
    record(name="linger", method=request.method)
    while not (GATES / "answer").exists():  # noqa: ASYNC110 -- Another process makes it.
        await asyncio.sleep(0.02)
    return "at last"
