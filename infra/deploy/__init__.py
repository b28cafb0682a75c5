"""The steps of a deployment that are no template: what a pipeline, azd's hooks and a person run."""
