"""source → hub: one timer function a source, so that a slow source holds up no other."""

import azure.functions as func

from shared import wiring
from shared.domain.source import Source
from shared.flow.source_to_hub import poll_source
from shared.telemetry import invocation

blueprint = func.Blueprint()


def register(source: Source) -> None:
    """Register the function `poll_<source>`; its schedule is the document's."""
    name = f"poll_{source.name.replace('-', '_')}"

    @blueprint.function_name(name)
    @blueprint.timer_trigger(
        arg_name="timer", schedule=wiring.schedule(source), run_on_startup=False, use_monitor=True
    )
    @invocation(name, trigger="timer")
    async def poll(timer: func.TimerRequest) -> None:  # noqa: ARG001 -- Being called is the message.
        app = await wiring.app()
        report = await poll_source(
            source,
            app.document,
            reader=app.source,
            hub=app.hub,
            cursors=app.cursors,
            quarantine=app.quarantine,
            clock=app.clock,
        )
        app.telemetry.emit(report)


for each in wiring.document().sources:
    register(each)
