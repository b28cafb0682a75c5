#!/usr/bin/env bash
# After `azd provision`: make a release of this checkout and deploy it. azd hands over the outputs.
set -euo pipefail

make setup
export PATH="$PWD/.venv/bin:$PATH" PYTHON=python
python -m pip install --quiet --requirement infra/deploy/requirements.txt
bash infra/deploy/check_secrets.sh
bash infra/deploy/make_release.sh .millrace/release "$AZURE_ENV_NAME"
cd .millrace/release
bash infra/deploy/release.sh
