#!/usr/bin/env bash
# Names the settings of sources whose secret is not in the vault yet; exit code 1 if there is one.
set -euo pipefail

missing=()
for setting in ${SECRET_SETTINGS:-}; do
  if ! az keyvault secret show --only-show-errors --output none \
    --vault-name "$KEY_VAULT_NAME" --name "${setting//_/-}" 2>/dev/null; then
    missing+=("$setting")
  fi
done
if ((${#missing[@]})); then
  echo "Not in the vault $KEY_VAULT_NAME yet:" >&2
  for setting in "${missing[@]}"; do
    echo "  az keyvault secret set --vault-name $KEY_VAULT_NAME --name ${setting//_/-} --value …" >&2
  done
  exit 1
fi
