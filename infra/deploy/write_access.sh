#!/usr/bin/env bash
# For a recovery, and for no longer: lets a person write into the lake and its ledger.
#   bash infra/deploy/write_access.sh give|take OBJECT_ID
# Needs the outputs of the deployment in the environment, and the right to assign roles.
set -euo pipefail

account=$(az storage account show --name "$LAKE_NAME" --query id --output tsv)
case "${1:-}" in
  give) change=(create --assignee-principal-type User --assignee-object-id "$2") ;;
  take) change=(delete --assignee "$2") ;;
  *) echo "usage: write_access.sh give|take OBJECT_ID" >&2 && exit 2 ;;
esac
for role in "Storage Blob Data Contributor" "Storage Table Data Contributor"; do
  az role assignment "${change[@]}" --role "$role" --scope "$account" --output none
  echo "$1: $role on $LAKE_NAME"
done
