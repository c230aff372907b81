#!/usr/bin/env bash
# readme_test.sh - the first session in README.md works as it is written, line by line.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"
requires iscsi-ls iscsi-inq python3
enter_world "$0" "$@"

# The indented lines of that section, without the build (there is one) and without the host that we have not; its
# files go where ours go.
session()
{
    awk '/^## / { on = /A first session/ } /^The real thing/ { on = 0 } on && /^    / { print substr($0, 5) }' \
        "$TARN_ROOT/README.md" | grep -vE '^(tools/deps|meson setup|export PATH)' | sed "s,/tmp/tarn,$WORK/tarn,g"
}

run_session()
{
    timeout 120 bash -euo pipefail -x "$WORK/session.sh" > "$WORK/log/session.log" 2>&1 < /dev/null && return
    WHY=$(tail -n 5 "$WORK/log/session.log")
    return 1
}

export PATH=$TARN_BUILD/src/tarnd:$TARN_BUILD/src/cli:$PATH
chapter "The first session of README.md"
{
    echo 'trap "kill %1" EXIT'
    echo "TARN_CONFIG=$WORK/tarn/state/client.json"
    # A person waits for the server without thinking about it.
    session | sed '/^tarnd .*&$/a for _ in {1..100}; do [ -s $TARN_CONFIG ] && break; sleep 0.1; done; sleep 0.5'
} > "$WORK/session.sh"
prove "it has commands" test "$(wc -l < "$WORK/session.sh")" -gt 20
prove "every command does what it should" run_session
prove "iscsi-ls shows the LUN" grep -q 'Lun:1' "$WORK/log/session.log"
prove "tarn server show names the target" grep -q 'iqn.2026-11.local.tarn:' "$WORK/log/session.log"
finish
