#!/usr/bin/env bash
# Removes an environment that is not kept, whole: AZURE_ENV_NAME says which. The locks of one that is
# kept make this fail, as they should.
set -euo pipefail

deployment="millrace-$AZURE_ENV_NAME"
if ! outputs=$(az deployment sub show --name "$deployment" --query properties.outputs 2>/dev/null); then
  echo "There is no environment $AZURE_ENV_NAME."
  exit 0
fi
eval "$(python3 -m infra.deploy.outputs <<<"$outputs")"
if [[ "$MILLRACE_SIZE" == prod ]]; then
  echo "$AZURE_ENV_NAME is kept: its locks are removed by hand first." >&2
  exit 1
fi

# What lives in the metastore of Unity Catalog outlives the workspace, unless it goes first.
export DATABRICKS_AUTH_TYPE=azure-cli
for container in raw clean curated quarantine state; do
  databricks external-locations delete "$PIPELINE_NAME-$container" --force || true
done
databricks storage-credentials delete "$PIPELINE_NAME" --force || true

az group delete --name "$AZURE_RESOURCE_GROUP" --yes
az keyvault purge --name "$KEY_VAULT_NAME" --no-wait || true
az deployment sub delete --name "$deployment"
