#!/bin/bash
# tarn shadow against a real tarnd, on file systems that stand in for the disks: what the set is in the end, whatever
# happens to the requester.
set -eu
WORK_SIZE=2G
# shellcheck source=tests/system/functions.sh
. "$(dirname "$0")/functions.sh"
requires mkfs.ext4 losetup fsfreeze python3 "${TARN_BUILD:-build}/src/tarnd/tarnd" "${TARN_BUILD:-build}/src/cli/tarn"
enter_world "$0" "$@"

OUT=$WORK/out
A=$WORK/a B=$WORK/b

make_fs() # IMAGE MOUNT
{
    truncate -s 100M "$1"
    mkfs.ext4 -q -F "$1"
    mkdir -p "$2"
    mount -o loop "$1" "$2"
    cleanup_push umount "$2"
    cleanup_push fsfreeze -u "$2"
    # shellcheck disable=SC2016  # the inner shell's own parameter
    setsid bash -c 'sleep 60; while :; do fsfreeze -u "$1"; sleep 1; done' bash "$2" > /dev/null 2>&1 &
    cleanup_push kill "$!"
    disown
}

shadow() # ARGUMENTS...
{
    STATUS=0
    quietly_tarn shadow create "$A=data" "$B=wal" "$@" > "$OUT" 2>&1 || STATUS=$?
}

ended_with() # STATUS
{
    WHY="it ended with $STATUS: $(cat "$OUT")"
    [ "$STATUS" = "$1" ]
}

said() # WORDS
{
    WHY=$(cat "$OUT")
    grep -qF -- "$1" "$OUT"
}

set_is() # NAME STATE
{
    equal "$(quietly_tarn set show "$1" --json 2>&1 | json 'd["state"]')" "$2"
}

snapshots_are() # COUNT
{
    equal "$(quietly_tarn snapshot list --json | json 'len(d["snapshots"])')" "$1"
}

writable() # both, without being caught by a freeze: a frozen one says EBUSY
{
    local mount
    for mount in "$A" "$B"; do
        WHY="$mount is frozen"
        fsfreeze -f "$mount" 2> /dev/null || return 1
        fsfreeze -u "$mount"
    done
}

writer() # NAME: a writer that stays in freeze until it is told otherwise
{
    cat > "$WORK/$1" << 'SH'
#!/bin/sh
while read -r c; do
    echo "$c" >> "$0.heard"
    [ "$c" != "$WAIT_IN" ] || { : > "$0.waits"; sleep 1000; }
    echo ok
done
SH
    chmod +x "$WORK/$1"
}

chapter "A server, two disks, two file systems"
write_tarn_conf
start_tarnd
cleanup_push stop tarnd
[ -z "${EXPECT_RUNTIME:-}" ] ||
    prove "its log says that io_uring is refused" grep -q 'io_uring is refused' "$WORK/log/tarnd.log"
[ -z "${EXPECT_RUNTIME:-}" ] ||
    prove "and that it runs over $EXPECT_RUNTIME" grep -q "msg=\"*runtime.*backend=$EXPECT_RUNTIME" "$WORK/log/tarnd.log"
make_fs "$WORK/a.img" "$A"
make_fs "$WORK/b.img" "$B"
tarn pool create main --file "$WORK/main.pool" --size 128M --sparse > /dev/null 2>&1
tarn disk create data --size 32M > /dev/null
tarn disk create wal --size 32M > /dev/null

chapter "A shadow copy"
shadow --name first --json
prove "it is made" ended_with 0
figure "writes were frozen for" "$(json 'd["frozen_ms"]' < "$OUT") ms"
figure "the commit took" "$(json 'd["commit_ms"]' < "$OUT") ms"
prove "the commit went over the connection that arm had used" equal "$(json 'd["connection_reused"]' < "$OUT")" True
prove "the answer is a created set" equal "$(json 'd["set"]["state"]' < "$OUT")" created
prove "both file systems were held" equal "$(json 'sum(f["frozen"] for f in d["file_systems"])' < "$OUT")" 2
prove "both disks have a snapshot" snapshots_are 2
prove "writes go on" writable
shadow --name second
prove "for a person it is told in words" said "Writes were frozen for"
shadow --name second
prove "a name that is taken is a conflict" ended_with 4
prove "and the set that has it stays" set_is second created
tarn shadow delete second --now > /dev/null
prove "deleted, its snapshots go" wait_until 20 "the deletion" snapshots_are 2

chapter "Nothing to be had"
shadow --name none --writer nosuch
prove "a writer that is not there is not found" ended_with 3
prove "and leaves no snapshot" snapshots_are 2
STATUS=0
quietly_tarn shadow create "$A=nosuch" > "$OUT" 2>&1 || STATUS=$?
prove "a disk that is not there is not found" ended_with 3
prove "writes go on" writable

chapter "A requester that dies"
writer waits
WAIT_IN=prepare "$TARN_BUILD/src/cli/tarn" shadow create "$A=data" "$B=wal" --name dies --writer "$WORK/waits" > "$OUT" 2>&1 &
victim=$!
disown
prove "while its writer prepares, the set is prepared" wait_until 20 "the writer" test -e "$WORK/waits.waits"
prove "and its set can be seen" set_is dies prepared
kill -TERM "$victim"
prove "asked to end, it aborts the set" wait_until 20 "the abort" set_is dies aborted
prove "and leaves no snapshot" snapshots_are 2
rm -f "$WORK/waits.waits"
WAIT_IN=freeze "$TARN_BUILD/src/cli/tarn" shadow create "$A=data" "$B=wal" --name killed --writer "$WORK/waits" > "$OUT" 2>&1 &
victim=$!
disown
wait_until 20 "the writer" test -e "$WORK/waits.waits" || die "$WHY"
kill -KILL "$victim"
prove "killed, it leaves nothing frozen" writable
prove "and a set with a lease of at most a minute" equal \
    "$(quietly_tarn set show killed --json | json 'd["state"] == "prepared" and d["lease_left_ms"] <= 60000')" True
tarn set abort killed > /dev/null

chapter "A server that dies"
stop tarnd KILL
shadow --name late
prove "a server that is away is unreachable" ended_with 6
prove "writes go on" writable
start_tarnd
prove "when it is back, what was made is there" set_is first created
shadow --name later
prove "and a copy can be made" ended_with 0
finish
