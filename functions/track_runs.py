"""run → table: a timer that follows open runs to their end, and launches what is next.

What is next is what waits in a queue, curated tables whose inputs have newer rows, and landed blobs
that no blob event told of.
"""

import azure.functions as func

from shared import wiring
from shared.flow.raw_to_run import launch_runs
from shared.flow.track_runs import track_runs
from shared.telemetry import invocation

blueprint = func.Blueprint()


@blueprint.function_name("track_runs")
@blueprint.timer_trigger(
    arg_name="timer", schedule="%TRACK_SCHEDULE%", run_on_startup=False, use_monitor=True
)
@invocation("track_runs", trigger="timer")
async def track(timer: func.TimerRequest) -> None:  # noqa: ARG001 -- Being called is the message.
    """Follow what is open, then launch what is next."""
    app = await wiring.app()
    tracked = await track_runs(
        app.document.tables, ledger=app.ledger, files=app.files, jobs=app.jobs, clock=app.clock
    )
    app.telemetry.emit(tracked)
    launched = await launch_runs(
        app.document.tables,
        app.document,
        raw=app.raw,
        ledger=app.ledger,
        files=app.files,
        jobs=app.jobs,
        clock=app.clock,
        traces=app.traces,
    )
    app.telemetry.emit(launched)
