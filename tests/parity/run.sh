#!/bin/sh
# Compares Sail with Spark on a JVM: makes .venv-parity (400 MB to download) and runs the tests of
# this folder with it. Java comes from the machine: JAVA_HOME, or `java` on the PATH.
set -eu
cd "$(dirname "$0")/../.."

environment=.venv-parity
java_needed=17

fail() {
    printf 'parity: %s\n' "$1" >&2
    exit 1
}

java_version() {
    "$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p'
}

java=${JAVA_HOME:+$JAVA_HOME/bin/}java
version=$(java_version || true)
[ -n "$version" ] && [ "$version" -ge $java_needed ] || fail "Spark needs Java $java_needed or newer${version:+, not $version}; \
install it with: sudo apt install openjdk-$java_needed-jre-headless (or point JAVA_HOME to one)"

# Written last, so that a kill leaves no half environment that is taken for whole.
if ! cmp -s requirements-parity.txt $environment/installed; then
    echo "parity: installing Spark into $environment"
    rm -rf $environment
    python=$(.venv/bin/python -c 'import sys; print(sys._base_executable)')
    "$python" -m venv $environment
    $environment/bin/python -m pip install --disable-pip-version-check --no-input --quiet \
        --requirement requirements-parity.txt || {
        rm -rf $environment
        fail "Spark could not be installed; what pip says is above"
    }
    cp requirements-parity.txt $environment/installed
fi

PARITY_PYTHON="$PWD/$environment/bin/python" exec .venv/bin/python -m pytest tests/parity "$@"
