"""A sample app with one function whose setting is missing, and one that can run."""

import azure.functions as func

app = func.FunctionApp()


@app.function_name("sleepless")
@app.timer_trigger(arg_name="timer", schedule="%NOBODY_SETS_THIS%")
async def sleepless(timer: func.TimerRequest) -> None:
    """Never start."""


@app.function_name("fine")
@app.route(trigger_arg_name="request")
async def fine(request: func.HttpRequest) -> str:
    """Run all the same."""
    return request.method
