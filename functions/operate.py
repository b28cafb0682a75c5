"""operate: HTTP functions for people: look at quarantine and runs, and decide about either."""

import azure.functions as func

from shared import wiring
from shared.adapters import http_operate, http_runs
from shared.telemetry import invocation

blueprint = func.Blueprint()


@blueprint.function_name("list_quarantine")
@blueprint.route(
    trigger_arg_name="request",
    route="quarantine",
    methods=["GET"],
    auth_level=func.AuthLevel.FUNCTION,
)
@invocation("list_quarantine", trigger="http")
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
@invocation("show_quarantined", trigger="http")
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
@invocation("change_quarantined", trigger="http")
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


@blueprint.function_name("list_runs")
@blueprint.route(
    trigger_arg_name="request", route="runs", methods=["GET"], auth_level=func.AuthLevel.FUNCTION
)
@invocation("list_runs", trigger="http")
async def list_runs(request: func.HttpRequest) -> func.HttpResponse:
    """List the newest runs, or what `dataset`, `state` and `limit` select."""
    app = await wiring.app()
    return await http_runs.list_all(
        request, document=app.document, ledger=app.ledger, clock=app.clock
    )


@blueprint.function_name("show_run")
@blueprint.route(
    trigger_arg_name="request",
    route="runs/{run}",
    methods=["GET"],
    auth_level=func.AuthLevel.FUNCTION,
)
@invocation("show_run", trigger="http")
async def show_run(request: func.HttpRequest) -> func.HttpResponse:
    """Show one run, and what is to be done next."""
    app = await wiring.app()
    return await http_runs.show(
        request, document=app.document, ledger=app.ledger, files=app.files, clock=app.clock
    )


@blueprint.function_name("retry_run")
@blueprint.route(
    trigger_arg_name="request",
    route="runs/{run}/retry",
    methods=["POST"],
    auth_level=func.AuthLevel.FUNCTION,
)
@invocation("retry_run", trigger="http")
async def retry_run(request: func.HttpRequest) -> func.HttpResponse:
    """Try a failed or cancelled run again."""
    app = await wiring.app()
    return await http_runs.retry(
        request,
        document=app.document,
        ledger=app.ledger,
        clock=app.clock,
        emit=app.telemetry.emit,
    )


@blueprint.function_name("cancel_run")
@blueprint.route(
    trigger_arg_name="request",
    route="runs/{run}/cancel",
    methods=["POST"],
    auth_level=func.AuthLevel.FUNCTION,
)
@invocation("cancel_run", trigger="http")
async def cancel_run(request: func.HttpRequest) -> func.HttpResponse:
    """Cancel an open run."""
    app = await wiring.app()
    return await http_runs.cancel(
        request,
        document=app.document,
        ledger=app.ledger,
        jobs=app.jobs,
        clock=app.clock,
        emit=app.telemetry.emit,
    )
