#!/usr/bin/env bash
# vss_orders.sh - the orders of calls that VSS may use, drawn from seeds, over COM; aborts before, after and beside the
# calls, and a VSS that dies; resynchronisation and break with one process of the provider.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/vss.sh"
enter_vss_world "$0" "$@"

chapter "A server, and a host with two disks"
start_server 192M
vss_one_host

differ()
{
    ! cmp -s "$1" "$2"
}

trace_has() # WORDS: in what was called since the trace was emptied
{
    # shellcheck disable=SC2034  # prove prints it
    WHY=$(tail -n 20 "$DRIVE_C/vss.log")
    grep -q "$1" "$DRIVE_C/vss.log"
}

chapter "Orders drawn from seeds, each a set here and gone"
for seed in 1 2 3; do
    export STANDIN_SEED=$seed
    [ "$seed" != 3 ] || export STANDIN_EACH_CALL=1
    prove "a set is made in the order of seed $seed" shadow create "${VOLUMES[@]}"
    prove "and deleted" shadow delete --set "$(set_of_said)"
    prove "and gone" nothing_left "$PORT"
done
unset STANDIN_SEED STANDIN_EACH_CALL

chapter "Aborts"
for fault in abort-before:hold abort-after:CommitSnapshots abort-before:GetTargetLuns abort-during:EndPrepareSnapshots \
    abort-during:PreCommitSnapshots abort-during:CommitSnapshots abort-during:PostCommitSnapshots; do
    : > "$DRIVE_C/vss.log"
    export STANDIN_FAULT=$fault
    prove "a set fails with $fault" shadow_fails create "${VOLUMES[@]}"
    unset STANDIN_FAULT
    prove "AbortSnapshots was called" trace_has "AbortSnapshots"
    prove "nothing is left of it" nothing_left "$PORT"
done

chapter "VSS dies"
for step in EndPrepareSnapshots PostCommitSnapshots; do
    export STANDIN_FAULT=vanish-after:$step
    prove "a set whose VSS dies after $step is not made" shadow_fails create "${VOLUMES[@]}"
    unset STANDIN_FAULT
    prove "what is left of it is only leased" only_leased
    prove "and can be aborted" abort_the_leased
done

chapter "Back, and broken off, with one process of the provider"
volume_of "$PORT" 1 "$WORK/was"
prove "a transportable set is made" shadow create --transportable --metadata 'C:\back.cab' "${VOLUMES[0]}=one"
head -c 16384 /dev/urandom > "$WORK/noise"
io "$PORT" put 1 "$NUMBERS_FIRST" "$WORK/noise"
volume_of "$PORT" 1 "$WORK/now"
prove "the volume is another one by now" differ "$WORK/was" "$WORK/now"
prove "the disk takes the set's content" shadow resync 'C:\back.cab' %one%
volume_of "$PORT" 1 "$WORK/now"
prove "byte for byte" cmp "$WORK/was" "$WORK/now"
prove "and its marks are off" equal "$(sources_marks)" 00000000000000000000000000000000
prove "a set is made here" shadow create "${VOLUMES[0]}"
LUN=$(snapshot_luns "$PORT")
prove "it is broken" shadow break --writable "$(set_of_said)"
prove "and its jobs end" wait_until 60 "the jobs" jobs_ended
volume_of "$PORT" "$LUN" "$WORK/now"
prove "its disk has the content of the cut" cmp "$WORK/was" "$WORK/now"
prove "and no marks" equal "$(marks_of "$PORT" "$LUN")" 0000000000000000
io "$PORT" put "$LUN" "$NUMBERS_FIRST" "$WORK/noise"
volume_of "$PORT" 1 "$WORK/now"
prove "what is written to it is not on its source" cmp "$WORK/was" "$WORK/now"
finish
