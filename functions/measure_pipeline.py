"""measure: a timer that says how far every arrow is behind, also when nothing moves."""

import azure.functions as func

from shared import wiring
from shared.flow.measure_pipeline import measure_pipeline
from shared.telemetry import invocation

blueprint = func.Blueprint()


@blueprint.function_name("measure_pipeline")
@blueprint.timer_trigger(
    arg_name="timer", schedule="%MEASURE_SCHEDULE%", run_on_startup=False, use_monitor=True
)
@invocation("measure_pipeline", trigger="timer")
async def measure(timer: func.TimerRequest) -> None:  # noqa: ARG001 -- Being called is the message.
    """Change nothing."""
    app = await wiring.app()
    report = await measure_pipeline(
        app.document,
        hub=app.hub,
        raw=app.raw,
        quarantine=app.quarantine,
        ledger=app.ledger,
        clock=app.clock,
    )
    app.telemetry.emit(report)
