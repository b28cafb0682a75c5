#!/usr/bin/env bash
# What a deployment does once the templates are applied: the budget, code, the subscription of Event
# Grid, jobs, SQL views. Each step may be repeated. Run it from the root of a release, signed in by `az login`:
#   eval "$(az deployment sub show --name NAME --query properties.outputs | python3 -m infra.deploy.outputs)"
#   bash infra/deploy/release.sh [--without-code] [functions.zip]
set -euo pipefail

code=functions.zip
if [[ "${1:-}" == "--without-code" ]]; then code=""; else code="${1:-$code}"; fi

say() { printf '\n== %s\n' "$*"; }

# For what Azure takes some minutes to make true.
again() {
  local attempt
  for attempt in {1..20}; do
    if "$@"; then return; fi
    printf 'attempt %s: not ready yet\n' "$attempt"
    sleep 30
  done
  return 1
}

# A budget keeps the month that it began in: the service refuses any other.
set_budget() {
  say "budget: budget-$PIPELINE_NAME"
  local began
  began=$(az consumption budget list --only-show-errors --resource-group "$AZURE_RESOURCE_GROUP" \
    --query "[?name=='budget-$PIPELINE_NAME'].timePeriod.startDate | [0]" --output tsv)
  began=${began:-$(date -u +%Y-%m-01)}
  az deployment group create --only-show-errors --output none --name budget \
    --resource-group "$AZURE_RESOURCE_GROUP" --template-file infra/bicep/budget.bicep \
    --parameters name="budget-$PIPELINE_NAME" actionGroupId="$ACTION_GROUP_ID" \
    startDate="${began:0:10}"
}

deploy_code() {
  say "code: $code"
  az functionapp deployment source config-zip --only-show-errors \
    --resource-group "$AZURE_RESOURCE_GROUP" --name "$FUNCTION_APP_NAME" --src "$code"
}

# The key of the endpoint exists once the host has loaded the code: until then this step fails.
subscribe_to_blobs() {
  say "Event Grid: $EVENT_GRID_TOPIC_NAME calls $FUNCTION_APP_NAME"
  again az deployment group create --only-show-errors --output none --name event-grid \
    --resource-group "$AZURE_RESOURCE_GROUP" --template-file infra/bicep/event-grid.bicep \
    --parameters topicName="$EVENT_GRID_TOPIC_NAME" functionAppName="$FUNCTION_APP_NAME" \
    hostStorageName="$HOST_STORAGE_NAME" deadLetterContainer="$DEAD_LETTER_CONTAINER"
}

# The workspace knows the app by its client id, and the lake by the connector's identity.
introduce_to_workspace() {
  say "Databricks: who starts jobs, and what jobs reach the lake with"
  local known
  known=$(databricks service-principals list --output json \
    --filter "applicationId eq \"$IDENTITY_CLIENT_ID\"")
  if [[ "$known" != *"$IDENTITY_CLIENT_ID"* ]]; then
    databricks service-principals create --output json --json \
      "{\"applicationId\": \"$IDENTITY_CLIENT_ID\", \"displayName\": \"$PIPELINE_NAME\"}"
  fi
  if ! databricks storage-credentials get "$PIPELINE_NAME" >/dev/null 2>&1; then
    databricks storage-credentials create --output json --json \
      "{\"name\": \"$PIPELINE_NAME\", \"azure_managed_identity\": {\"access_connector_id\": \"$DATABRICKS_CONNECTOR_ID\"}}"
  fi
}

deploy_jobs() {
  say "jobs: $PIPELINE_NAME"
  (
    cd infra/databricks
    databricks bundle deploy --target "$MILLRACE_SIZE" \
      --var "environment=$AZURE_ENV_NAME" \
      --var "function_client_id=$IDENTITY_CLIENT_ID" \
      --var "lake_name=$LAKE_NAME"
  )
}

# The endpoint lets nobody in by itself: this address is let in for as long as the scripts run.
open_endpoint() {
  local address
  address=$(curl --fail --silent --show-error --max-time 20 https://api.ipify.org)
  trap close_endpoint EXIT
  az synapse workspace firewall-rule create --only-show-errors --output none \
    --workspace-name "$SYNAPSE_NAME" --resource-group "$AZURE_RESOURCE_GROUP" --name deployment \
    --start-ip-address "$address" --end-ip-address "$address"
  again python3 -m infra.deploy.synapse # A rule takes up to five minutes.
}

close_endpoint() {
  az synapse workspace firewall-rule delete --only-show-errors --yes \
    --workspace-name "$SYNAPSE_NAME" --resource-group "$AZURE_RESOURCE_GROUP" --name deployment
}

deploy_views() {
  say "SQL views: $SYNAPSE_DATABASE"
  python3 -m infra.deploy.synapse "sql/$AZURE_ENV_NAME"
}

test_by_one_record() {
  say "smoke test"
  EVENT_HUBS__fullyQualifiedNamespace="$EVENT_HUBS_NAMESPACE" \
    python3 -m infra.deploy.smoke_test "$SMOKE_TEST_TOKEN"
}

export DATABRICKS_AUTH_TYPE=azure-cli
set_budget
[[ -z "$code" ]] || deploy_code
subscribe_to_blobs
introduce_to_workspace
deploy_jobs
open_endpoint
deploy_views
[[ -z "${SMOKE_TEST_TOKEN:-}" ]] || test_by_one_record
