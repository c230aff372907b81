#!/usr/bin/env bash
# demo_test.sh - ./demo --keep leaves everything up and says how to reach it; what it says is true; and nothing
# is left when that has been ended, or when a ./demo was killed.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"

DIR=$(mktemp -d)
DEMO_PID='' INNER=''

end_it()
{
    [ -z "$INNER" ] || kill "$INNER" 2> /dev/null || true
    [ -z "$DEMO_PID" ] || kill -KILL "$DEMO_PID" 2> /dev/null || true
    rm -rf "$DIR"
}
trap end_it EXIT

demo() # OUTPUT ARGUMENTS...
{
    local out=$1
    shift
    env -u VOICE -u TARN_BUILD -u TARN_ROOT -u STARTED_MS "$TARN_ROOT/demo" "$@" > "$out" 2>&1 < /dev/null
}

keeps_everything_up()
{
    timeout -k 5 900 bash -c '"$0" --keep > "$1" 2>&1 < /dev/null' "$TARN_ROOT/demo" "$DIR/keep" || {
        WHY="it ended with $?: $(tail -n 3 "$DIR/keep")" && return 1
    }
    INNER=$(sed -n 's/.*nsenter -t \([0-9]*\) -a.*/\1/p' "$DIR/keep")
    WHY="it printed no nsenter line: $(tail -n 3 "$DIR/keep")"
    [ -n "$INNER" ] && kill -0 "$INNER"
}

# The lines that it prints, typed as they are.
can_be_reached()
{
    local lines
    lines=$(sed -n 's/.*then, inside *\(export .*\)/\1/p' "$DIR/keep")
    WHY="the lines were: $lines"
    timeout 60 nsenter -t "$INNER" -a bash -c "$lines"'
        tarn disk list && psql -h 127.0.0.1 -U postgres -Atc "select 40 + 2"' > "$DIR/inside" 2>&1 || {
        WHY="$WHY; $(tail -n 2 "$DIR/inside")" && return 1
    }
    grep -q pgdata "$DIR/inside" && grep -qx 42 "$DIR/inside"
}

no_leftover()
{
    ! pgrep -f "$LUNS/" > /dev/null && ! compgen -G "$TARN_ROOT/build/demo/world.*" > /dev/null
}

can_be_ended()
{
    kill "$INNER"
    wait_until 20 "everything to go" no_leftover
}

killed_leaves_nothing()
{
    demo "$DIR/killed" &
    DEMO_PID=$!
    disown
    wait_until 120 "the server" grep -q 'tarn disk create pgwal' "$DIR/killed" || { WHY=$(tail -n 3 "$DIR/killed") && return 1; }
    pkill -KILL -P "$DEMO_PID" || true
    kill -KILL "$DEMO_PID" 2> /dev/null || true
    wait_until 20 "everything to go" no_leftover
}

requires qemu-storage-daemon mkfs.ext4 losetup python3 nsenter
choose_world
[ "$WORLD_KIND" = here ] || skip_all "needs namespaces, loop devices and mounts: $WORLD_WHY"
prove "./demo --keep leaves everything up" keeps_everything_up
prove "the lines that it prints reach server and database" can_be_reached
prove "one kill ends it and leaves nothing" can_be_ended
prove "a killed ./demo leaves nothing" killed_leaves_nothing
finish
