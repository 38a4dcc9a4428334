# shellcheck shell=bash
# What do the scripts share? The root, the target directory and a way to say which step runs. Sourced, never run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ROHAS_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/rohas
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$ROHAS_CACHE/target}
cd "$ROOT" || exit

STARTED=$SECONDS

# step TEXT: announces a step, with the minutes that the script has been running.
step() {
    local elapsed=$((SECONDS - STARTED))
    printf '\n==> [%d:%02d] %s\n' $((elapsed / 60)) $((elapsed % 60)) "$*"
}

# say TEXT: a line below a step.
say() {
    printf '    %s\n' "$*"
}

# fail TEXT...: one line per argument on stderr, then exit 1.
fail() {
    printf '\n' >&2
    printf 'error: %s\n' "$1" >&2
    shift
    if (($# > 0)); then
        printf '       %s\n' "$@" >&2
    fi
    exit 1
}
