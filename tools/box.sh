# box.sh - a box for a script that starts much: when the script is killed, also with SIGKILL, everything that it
# started dies with it.  To be sourced.
# shellcheck shell=bash
#
#     . tools/box.sh
#     enter_box "$0" "$@"      # re-executes the script inside; goes on as it is where that is not allowed
#
# The box is a process namespace.  A guard outside of it heals what a killed system test may leave frozen
# (tests/system/functions.sh).

TARN_GUARD=$(cd "$(dirname "${BASH_SOURCE[0]}")/../tests/system" && pwd)/functions.sh

enter_box() # SCRIPT ARGUMENTS...
{
    if [ "${TARN_BOX:-}" != inside ]; then
        unshare --mount --pid --fork --kill-child --mount-proc true 2> /dev/null || return 0
        # The guard sees the end when the one process that holds the pipe, the parent of the box, is gone.
        exec {TARN_LIFE_FD}> >(exec setsid bash -c '. "$0"; guard' "$TARN_GUARD" > /dev/null 2>&1)
        export TARN_BOX=inside TARN_LIFE_FD
        exec unshare --mount --pid --fork --kill-child --mount-proc -- "$@"
    fi
    unset TARN_BOX
    exec {TARN_LIFE_FD}>&-
}
