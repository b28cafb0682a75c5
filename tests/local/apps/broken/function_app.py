"""A sample app that cannot be imported."""

import azure.functions as func
import nowhere_to_be_found  # type: ignore[import-not-found]  # That is the point.

app = func.FunctionApp()
nowhere_to_be_found.use(app)
