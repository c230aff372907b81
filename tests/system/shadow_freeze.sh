#!/bin/bash
# The hold of tarn shadow on real file systems (ext4, and xfs where it can be made) on loop devices: order, proof,
# watchdog.  The server only pretends.  Whatever goes wrong, a guard thaws everything after 30 s.
set -eu
WORK_SIZE=2G
# shellcheck source=tests/system/functions.sh
. "$(dirname "$0")/functions.sh"
requires mkfs.ext4 losetup fsfreeze python3 "${TARN_BUILD:-build}/tests/system/shadow_probe"
enter_world "$0" "$@"

PROBE=$TARN_BUILD/tests/system/shadow_probe
OUT=$WORK/out

make_fs() # TYPE IMAGE MOUNT
{
    truncate -s 400M "$2"
    case $1 in
    xfs) mkfs.xfs -q "$2" ;;
    *) mkfs.ext4 -q -F "$2" ;;
    esac
    mkdir -p "$3"
    mount -o loop "$2" "$3"
    cleanup_push umount "$3"
    # Last in, first out: thawed before it is unmounted.
    cleanup_push fsfreeze -u "$3"
    guard_thaws "$3"
}

# The helper that keeps the machine safe from this test: it is there before anything is frozen.
guard_thaws() # MOUNT
{
    # shellcheck disable=SC2016  # the inner shell's own parameter
    setsid bash -c 'sleep 30; while :; do fsfreeze -u "$1"; sleep 1; done' bash "$1" > /dev/null 2>&1 &
    cleanup_push kill "$!"
    disown
}

probe() # ARGUMENTS...: its output in $OUT, its status returned
{
    timeout -k 1 25 "$PROBE" "$@" > "$OUT" 2>&1
}

said() # WORDS, somewhere in the output
{
    WHY=$(cat "$OUT")
    grep -qF -- "$1" "$OUT"
}

nothing_frozen()
{
    local mount status
    for mount in "$A" "$B" "$INNER"; do
        WHY="$mount is frozen"
        status=0
        "$PROBE" frozen "$mount" || status=$?
        [ "$status" = 1 ] || return 1
    done
}

no_watchdog_left()
{
    WHY="a watchdog is still there"
    ! pgrep -x tarn-watchdog > /dev/null
}

A=$WORK/a B=$WORK/b INNER=$WORK/b/inner
second=ext4
if command -v mkfs.xfs > /dev/null && grep -qw xfs /proc/filesystems; then second=xfs; fi
chapter "File systems"
make_fs ext4 "$WORK/a.img" "$A"
make_fs ext4 "$WORK/b.img" "$B"
truncate -s 320M "$B/inner.img"
if [ $second = xfs ]; then mkfs.xfs -q "$B/inner.img"; else mkfs.ext4 -q -F "$B/inner.img"; fi
mkdir "$INNER"
mount -o loop "$B/inner.img" "$INNER"
cleanup_push umount "$INNER"
cleanup_push fsfreeze -u "$INNER"
guard_thaws "$INNER"
say "$A and $B are ext4; $INNER is $second in a file on $B"

chapter "A hold that holds"
dd if=/dev/urandom of="$A/dirty" bs=1M count=16 status=none
probe make "$A=a" "$INNER=i" || true
prove "all are frozen when the cut is made, and the thaws prove it" said "prepare arm commit(all-frozen) confirm finish"
prove "the copy is made" said "made file system"
prove "nothing stays frozen" nothing_frozen
prove "no watchdog stays" no_watchdog_left

chapter "One stands on the other"
started=$(now_ms)
probe make "$B=b" "$INNER=i" || true
prove "named in the wrong order, the inner one is frozen first" said "member 0 $INNER $second frozen"
prove "the outer one after it" said "member 1 $B ext4 frozen"
prove "the copy is made" said "made file system"
figure "it took" "$(seconds_since "$started") s"

chapter "One file system, two mount points"
mkdir "$WORK/bind"
mount --bind "$A" "$WORK/bind"
cleanup_push umount "$WORK/bind"
probe make "$A=a" "$WORK/bind=a" || true
prove "it is frozen once" said "made file system"
umount "$WORK/bind"

chapter "The watchdog"
probe make --hold 500 --commit sleep:1500 "$A=a" "$B=b" || true
prove "a cut that takes longer than the hold aborts the set" said "prepare arm commit(all-frozen) abort"
prove "and says so" said "the watchdog thawed it"
prove "nothing stays frozen" nothing_frozen

"$PROBE" make --commit wait --tell "$WORK/holding" "$B=b" "$INNER=i" "$A=a" > "$OUT" 2>&1 &
victim=$!
disown
wait_until 20 "the hold" test -e "$WORK/holding" || die "$WHY"
prove "while it holds, file systems are frozen" "$PROBE" frozen "$INNER"
kill -KILL "$victim"
prove "killed with SIGKILL in the hold, it leaves nothing frozen" wait_until 5 "thaws" nothing_frozen
prove "and no watchdog" wait_until 5 "the watchdog's end" no_watchdog_left

"$PROBE" make --hold 500 --commit stop "$A=a" > "$OUT" 2>&1 &
victim=$!
disown
prove "stopped with SIGSTOP in the hold, it is thawed after the hold" wait_until 10 "the stop" \
    grep -q '^State:.*T' "/proc/$victim/status"
prove "nothing stays frozen" wait_until 5 "thaws" nothing_frozen
kill -CONT "$victim"
wait_until 10 "its end" said "failed" || true
prove "continued, it aborts the set" said "prepare arm commit(all-frozen) abort"

chapter "A writer in the hold"
probe make --hold 5000 --commit sleep:600 --tell "$WORK/slow" "$A=a" &
maker=$!
wait_until 10 "the hold" test -e "$WORK/slow" || die "$WHY"
bash -c 'echo later > "$1/later"' bash "$A" & # sleeps in the kernel until the thaw
late=$!
wait "$maker" || true
prove "who writes meanwhile waits and goes on" wait "$late"
prove "the copy is made" said "made file system"
prove "what was written is there" test -s "$A/later"

chapter "Others who freeze"
fsfreeze -f "$A"
probe make "$B=b" "$A=a" || true
prove "a file system that someone else froze is a failure" said "someone else has frozen it already"
prove "the set is aborted before the cut" said "prepare arm abort"
prove "the other's freeze is left to the other" "$PROBE" frozen "$A"
fsfreeze -u "$A"
prove "the rest is thawed" nothing_frozen
probe make --commit "thaw:$A" "$A=a" "$B=b" || true
prove "a thaw by someone else aborts the set" said "commit(all-frozen) abort"
prove "and says so" said "something else thawed it"

chapter "What cannot freeze"
mkdir "$WORK/tmp"
mount -t tmpfs none "$WORK/tmp"
cleanup_push umount "$WORK/tmp"
probe make "$WORK/tmp=t" "$A=a" || true
prove "tmpfs is refused before anything happens" said "which cannot be frozen"
probe make --allow "$WORK/tmp=t" "$A=a" || true
prove "where it is allowed, the copy is crash-consistent" said "made crash"
prove "and it is not confirmed" said "commit(some-frozen) finish"
probe make "/=r" || true
prove "the root of the system is refused" said "/ is the root of this system"
prove "nothing stays frozen at the end" nothing_frozen
finish
