"""raw → run: a blob function on the position that landing replaces after each blob.

The trigger needs to know only that something landed. The position blob says so in a hundred bytes;
bound to the raw blobs themselves, every one of them would travel through the host into the worker.
"""

import azure.functions as func

from shared import wiring
from shared.flow.raw_to_run import launch_runs
from shared.telemetry import invocation

blueprint = func.Blueprint()


@blueprint.function_name("launch_runs")
@blueprint.blob_trigger(
    arg_name="position",
    path="state/landed/{material}/{partition}.json",
    connection="LAKE",
    source=func.BlobSource.EVENT_GRID,
)
@invocation("launch_runs", trigger="datasource")
async def launch(position: func.InputStream) -> None:
    """Launch what the position's material feeds."""
    app = await wiring.app()
    report = await launch_runs(
        app.document.fed_by((position.name or "").split("/")[-2]),
        app.document,
        raw=app.raw,
        ledger=app.ledger,
        files=app.files,
        jobs=app.jobs,
        clock=app.clock,
        traces=app.traces,
    )
    app.telemetry.emit(report)
