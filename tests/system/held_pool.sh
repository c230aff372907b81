#!/usr/bin/env bash
# held_pool.sh - a server is started while another process still holds the lock of its pool: it waits for it, serves the
# disks as soon as it is let go, and can be stopped meanwhile.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"
requires python3 qemu-storage-daemon
enter_world "$0" "$@"

# As a server that was killed does until its last I/O has ended.
hold_pool()
{
    rm -f "$WORK/log/holder.log"
    spawn holder python3 -c '
import fcntl, struct, sys, time
file = open(sys.argv[1], "r+b")
fcntl.fcntl(file, fcntl.F_OFD_SETLKW, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
print("it is held", flush=True)
time.sleep(3600)' "$WORK/pool"
    wait_until 60 "the pool to be held" grep "it is held" "$WORK/log/holder.log" || die "$WHY"
}

said() # WORDS: how often the server has said them
{
    grep -c "$1" "$WORK/log/tarnd.log" || true
}

# Returns when it says that it waits.
start_tarnd_that_waits()
{
    WAITS_SEEN=$(said "the start waits for it")
    READY_SEEN=$(said 'msg="*ready')
    spawn tarnd "$TARN_BUILD/src/tarnd/tarnd" -c "$WORK/tarn.conf"
    wait_until 60 "tarnd to say that it waits" waits_more || die "$WHY"
}

waits_more()
{
    alive tarnd || die "tarnd ended: $(tail -n 3 "$WORK/log/tarnd.log")"
    (($(said "the start waits for it") > WAITS_SEEN))
}

says_once_what_it_waits_for()
{
    WHY=$(grep "the start waits for it" "$WORK/log/tarnd.log")
    [ "$(wc -l <<< "$WHY")" = 1 ] && [[ $WHY == *'pool="pool"'*"$WORK/pool"*"at_most_s=30"* ]]
}

ended()
{
    ! alive tarnd
}

pool_is_served()
{
    local state sum
    state=$(quietly_tarn pool show pool --json | json 'd["state"]')
    lun_attach data 1
    sum=$(sha256sum < "$LUNS/data")
    lun_detach data
    WHY="the pool is $state"
    [ "$state" = ok ] || return 1
    equal "$sum" "$BEFORE"
}

chapter "A pool with the disk of a host; the server is killed"
start_server 256M
tarn disk create data --size 16M > /dev/null
tarn host create db1 --initiator "$INITIATOR" --auth chap --chap-secret-file "$CHAP_FILE" > /dev/null
tarn map add db1 data --lun 1 > /dev/null
lun_attach data 1
dd if=/dev/urandom "of=$LUNS/data" bs=1M count=16 conv=notrunc,fsync status=none
BEFORE=$(sha256sum < "$LUNS/data")
lun_detach data
stop_tarnd KILL

chapter "The next one is started while the pool is held"
hold_pool
start_tarnd_that_waits
prove "it says once which pool it waits for, and how long at most" says_once_what_it_waits_for
prove "it is not ready without the pool" equal "$(said 'msg="*ready')" "$READY_SEEN"
stop holder
prove "it is ready when the pool is let go" wait_until 60 "tarnd to be ready" tarnd_ready
prove "it says that the pool was let go" equal "$(said "has let go of a pool")" 1
prove "the host's disk is served, with what was on it" pool_is_served

chapter "Another is told to stop while it waits"
stop_tarnd
hold_pool
start_tarnd_that_waits
kill -TERM "${PIDS[tarnd]}"
prove "it ends, and does not wait on" wait_until 25 "tarnd to end" ended
stop tarnd
stop holder
start_tarnd
prove "the host's disk is served by the one after it" pool_is_served
finish
