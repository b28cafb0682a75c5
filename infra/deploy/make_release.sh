#!/usr/bin/env bash
# A release, as one folder that every environment gets and that a rollback takes again:
#   bash infra/deploy/make_release.sh FOLDER ENVIRONMENT...
# functions.zip is the function app with its packages; the rest is what the other steps read.
set -euo pipefail

release=$1
shift
python=${PYTHON:-python3}
rm -rf "$release"
mkdir -p "$release"
app=$(mktemp -d)
trap 'rm -rf "$app"' EXIT

cp -R function_app.py functions shared host.json pipeline.json requirements.txt "$app"
# For the machines of the function app, whatever machine this is.
"$python" -m pip install --quiet --no-compile --only-binary=:all: --requirement requirements.txt \
  --implementation cp --python-version 3.13 \
  --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 \
  --target "$app/.python_packages/lib/site-packages"
find "$app" -name __pycache__ -type d -prune -exec rm -rf {} +
"$python" -m zipfile -c "$release/functions.zip" "$app/.python_packages" "$app"/*

cp -R infra shared transforms pipeline.json requirements.txt "$release"
for environment in "$@"; do
  "$python" -m cli sql synapse --environment "$environment" --folder "$release/sql/$environment"
done
find "$release" -name __pycache__ -type d -prune -exec rm -rf {} +
echo "release: $release"
