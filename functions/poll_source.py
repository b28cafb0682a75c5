"""poll_source: an HTTP function that polls a source now, beside its timer."""

import azure.functions as func

from shared import wiring
from shared.adapters import http_poll
from shared.telemetry import invocation

blueprint = func.Blueprint()


@blueprint.function_name("poll_now")
@blueprint.route(
    trigger_arg_name="request",
    route="sources/{name}/poll",
    methods=["POST"],
    auth_level=func.AuthLevel.FUNCTION,
)
@invocation("poll_now", trigger="http")
async def poll(request: func.HttpRequest) -> func.HttpResponse:
    """Poll as the timer would, or the window that the body names, or everything."""
    app = await wiring.app()
    return await http_poll.poll_now(
        request,
        document=app.document,
        reader=app.source,
        hub=app.hub,
        cursors=app.cursors,
        quarantine=app.quarantine,
        clock=app.clock,
        emit=app.telemetry.emit,
    )
