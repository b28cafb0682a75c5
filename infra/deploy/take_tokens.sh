#!/usr/bin/env bash
# Right after a sign-in from GitHub: takes a token for each service that a release speaks to. GitHub's
# word, which they are given for, is good for five minutes; they are kept, and good for an hour.
set -euo pipefail

scopes=(
  https://management.core.windows.net//.default
  https://vault.azure.net/.default
  https://database.windows.net/.default
  https://eventhubs.azure.net//.default
  2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default # Azure Databricks.
)
for scope in "${scopes[@]}"; do
  az account get-access-token --only-show-errors --output none --scope "$scope"
done
