"""A sample app with a trigger that the host does not have."""

import azure.functions as func

app = func.FunctionApp()


@app.function_name("answer")
@app.queue_trigger(arg_name="message", queue_name="questions", connection="AzureWebJobsStorage")
async def answer(message: func.QueueMessage) -> None:
    """Never start."""
