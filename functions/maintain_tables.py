"""table → table: a timer that asks for each table to be compacted, and tidies up after runs."""

import azure.functions as func

from shared import wiring
from shared.flow.maintain_tables import maintain_tables
from shared.telemetry import invocation

blueprint = func.Blueprint()


@blueprint.function_name("maintain_tables")
@blueprint.timer_trigger(
    arg_name="timer", schedule="%MAINTENANCE_SCHEDULE%", run_on_startup=False, use_monitor=True
)
@invocation("maintain_tables", trigger="timer")
async def maintain(timer: func.TimerRequest) -> None:  # noqa: ARG001 -- Being called is the message.
    """Queue maintenance; the tracking timer launches it."""
    app = await wiring.app()
    report = await maintain_tables(
        app.document.tables, ledger=app.ledger, files=app.files, clock=app.clock
    )
    app.telemetry.emit(report)
