#!/usr/bin/env bash
# Removes an environment that is not kept, whole, also one whose deployment broke: AZURE_ENV_NAME says
# which. The locks of one that is kept make this fail, as they should.
set -euo pipefail

deployment="millrace-$AZURE_ENV_NAME"
group=$(az group list --tag "azd-env-name=$AZURE_ENV_NAME" --query '[0].name' --output tsv)
if [[ -z "$group" ]]; then
  echo "There is no environment $AZURE_ENV_NAME."
  exit 0
fi
outputs=$(az deployment sub show --name "$deployment" --query properties.outputs 2>/dev/null || true)
if [[ -n "$outputs" ]]; then # One that broke puts nothing out.
  exports=$(python3 -m infra.deploy.outputs <<<"$outputs")
  eval "$exports"
  if [[ "$MILLRACE_SIZE" == prod ]]; then
    echo "$AZURE_ENV_NAME is kept: its locks are removed by hand first." >&2
    exit 1
  fi
  bash infra/deploy/leave_catalog.sh
fi
vault=$(az keyvault list --resource-group "$group" --query '[0].name' --output tsv)
az group delete --name "$group" --yes
[[ -z "$vault" ]] || az keyvault purge --name "$vault" --no-wait || true
az deployment sub delete --name "$deployment" || true
