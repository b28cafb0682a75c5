"""The map: what happens to a record on its way, one registration an arrow.

source ──poll──▶ hub ──land──▶ raw ──launch──▶ run ──transform──▶ table ──SQL
"""

import azure.functions as func

from functions import (
    hub_to_raw,
    maintain_tables,
    measure_pipeline,
    operate,
    poll_source,
    raw_to_run,
    source_to_hub,
    track_runs,
)

app = func.FunctionApp()

app.register_functions(source_to_hub.blueprint)  # timer: GET the source, send what is new
app.register_functions(poll_source.blueprint)  # HTTP: poll a source now, or a window of it
app.register_functions(hub_to_raw.blueprint)  # Event Hub: land every event once, as Avro
app.register_functions(raw_to_run.blueprint)  # blob: cover what landed by a Databricks run
app.register_functions(track_runs.blueprint)  # timer: follow runs until their rows are in the table
app.register_functions(maintain_tables.blueprint)  # timer: compact tables, tidy up after runs
app.register_functions(measure_pipeline.blueprint)  # timer: say how far every arrow is behind
app.register_functions(operate.blueprint)  # HTTP: look at runs and quarantine, decide about them
