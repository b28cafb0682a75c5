#!/usr/bin/env bash
# What lives in the metastore of Unity Catalog outlives the workspace, unless it goes first. The
# outputs of the deployment are in the environment.
set -euo pipefail

export DATABRICKS_AUTH_TYPE=azure-cli
for container in raw clean curated quarantine state; do
  databricks external-locations delete "$PIPELINE_NAME-$container" --force || true
done
databricks storage-credentials delete "$PIPELINE_NAME" --force || true
