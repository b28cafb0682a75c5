"""Databricks Jobs on one machine: the REST interface, and processes instead of clusters."""
