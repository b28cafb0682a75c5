"""operate: HTTP functions for people: look at the quarantine, replay from it, discard from it."""

import azure.functions as func

from shared import wiring
from shared.adapters import http_operate

blueprint = func.Blueprint()


@blueprint.function_name("list_quarantine")
@blueprint.route(
    trigger_arg_name="request",
    route="quarantine",
    methods=["GET"],
    auth_level=func.AuthLevel.FUNCTION,
)
async def list_entries(request: func.HttpRequest) -> func.HttpResponse:
    """List what is open, or what `kind`, `material`, `reason` and `state` select."""
    app = await wiring.app()
    return await http_operate.list_entries(request, quarantine=app.quarantine)


@blueprint.function_name("show_quarantined")
@blueprint.route(
    trigger_arg_name="request",
    route="quarantine/{*name}",
    methods=["GET"],
    auth_level=func.AuthLevel.FUNCTION,
)
async def show_entry(request: func.HttpRequest) -> func.HttpResponse:
    """Show one entry with its bytes."""
    app = await wiring.app()
    return await http_operate.show_entry(request, quarantine=app.quarantine)


@blueprint.function_name("change_quarantined")
@blueprint.route(
    trigger_arg_name="request",
    route="quarantine/{*name}",
    methods=["POST"],
    auth_level=func.AuthLevel.FUNCTION,
)
async def change_entry(request: func.HttpRequest) -> func.HttpResponse:
    """Replay an entry, as it was or repaired, or discard it."""
    app = await wiring.app()
    return await http_operate.change_entry(
        request,
        document=app.document,
        quarantine=app.quarantine,
        hub=app.hub,
        clock=app.clock,
        emit=app.telemetry.emit,
    )
