"""The local stack: every system the pipeline meets in Azure, on one machine."""
