#!/usr/bin/env bash
# vss_fault.sh - shadow copy sets that go wrong: the provider dies at each boundary between calls, the server dies or is
# away at each state of the set, the commit comes late, half, or unanswered, the pool is full.  Each ends with a failure
# that the requester sees, and with nothing left on the server; and the next set is made as if nothing had been.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/vss.sh"
enter_vss_world "$0" "$@"

readonly PROXY=7270 CONTROL=$WORK/proxy.control

make_set() # a transportable one: its end is the server's to tell
{
    shadow create --transportable --metadata 'C:\fault.cab' "${VOLUMES[@]}"
}

deleted() # all sets that there are: an administrator's deed
{
    local name
    for name in $(quietly_tarn set list --json | json '" ".join(s["name"] for s in d["sets"] if s["state"] == "created")'); do
        quietly_tarn set delete "$name" > /dev/null || return 1
    done
    quietly_tarn trash empty > /dev/null
}

next_one_is_made()
{
    make_set && deleted
}

fails_by_proxy()
{
    if make_set; then
        deleted
        # shellcheck disable=SC2034  # prove prints it
        WHY="it was made"
        return 1
    fi
    [ -z "$(vss_fault_of "$DRIVE_C/vss.log")" ] || return 1
    # shellcheck disable=SC2034  # prove prints it
    WHY="the proxy did nothing; $WHY"
    [ "$(cat "$CONTROL")" = "done" ]
}

spoiled() # WORDS...: for the proxy
{
    echo "$*" > "$CONTROL"
    prove "a set fails when it is: $*" fails_by_proxy
}

# As a service manager does: it is started again at once.
start_tarnd_for_ever()
{
    stop_tarnd
    READY_SEEN=$(grep -cs 'msg="*ready' "$WORK/log/tarnd.log" || true)
    # shellcheck disable=SC2016  # the inner shell's own parameters
    spawn tarnd bash -c 'until "$0" -c "$1"; do :; done' "$TARN_BUILD/src/tarnd/tarnd" "$WORK/tarn.conf"
    wait_until 30 "tarnd to be ready" tarnd_ready || die "$WHY"
}

# The server that comes back knows a prepared or committed set; a provider that asks again gets its answer.
whole_or_not()
{
    local made=no
    if make_set; then made=yes; fi
    [ -z "$(vss_fault_of "$DRIVE_C/vss.log")" ] && [ "$(cat "$CONTROL")" = "done" ] || return 1
    wait_until 30 "tarnd to be ready again" tarnd_ready || return 1
    if [ "$made" = yes ]; then
        WHY="it was made, and the server has: $(set_states)"
        [ "$(set_states)" = created ] && [ "$(snapshot_count)" = 2 ] && deleted
    else
        only_leased
    fi
}

# Both that the server has died and that something is to be written come to the host at once.
written_across_a_death()
{
    local seen status=0 writer
    seen=$(grep -c 'msg="*ready' "$WORK/log/tarnd.log")
    io "$PORT" get 1 "$VOLUME_FIRST" 128 "$WORK/piece" > /dev/null || return 1
    kill -STOP "${PIDS[db1]}"
    io "$PORT" put 1 "$VOLUME_FIRST" "$WORK/piece" > /dev/null &
    writer=$!
    pkill -KILL -P "${PIDS[tarnd]}"
    sleep 0.2
    kill -CONT "${PIDS[db1]}"
    wait "$writer" || status=$?
    READY_SEEN=$seen # of tarnd_ready
    wait_until 30 "tarnd to be ready again" tarnd_ready || return 1
    # shellcheck disable=SC2034  # prove prints it
    WHY="the write ended with $status; the host: $(tail -n 3 "$WORK/log/db1.log" | tr '\n' ';')"
    [ "$status" = 0 ] && alive db1
}

killed() # BEFORE: the method before which the provider's process dies
{
    export STANDIN_FAULT=kill-before:$1
    # shellcheck disable=SC2016
    prove "a set whose provider dies before $1 fails" shadow_fails create --transportable --metadata 'C:\fault.cab' "${VOLUMES[@]}"
    unset STANDIN_FAULT
    prove "what is left of it is only leased" only_leased
}

# After PostCommitSnapshots: the set exists by then, and VSS has no call that takes it away; but no rule is broken, and
# the set can be deleted.
died() # FAULT
{
    export STANDIN_FAULT=$1
    shadow create "${VOLUMES[@]}" || true
    unset STANDIN_FAULT
    prove "no rule is broken by a provider with the fault $1" equal "$(vss_fault_of "$DRIVE_C/vss.log")" ""
    prove "what was made can be deleted" deleted_or_aborted
}

deleted_or_aborted()
{
    local lun
    for lun in $(snapshot_luns "$PORT"); do
        quietly_tarn map remove db1 "$lun" > /dev/null || return 1
    done
    deleted && abort_the_leased && nothing_left "$PORT"
}

chapter "A server, a host with two disks, and a proxy between"
start_server 192M
echo pass > "$CONTROL"
spawn proxy "$TARN_ROOT/tests/windows/proxy.py" "$PROXY" "${API##*:}" "$CONTROL"
vss_one_host 127.0.0.1:$PROXY
prove "a set is made through the proxy" next_one_is_made
prove "and is gone" nothing_left "$PORT"

chapter "The commit's body"
spoiled late 6000
wait_until 20 "the commit's body" grep -q "it has come" "$WORK/log/proxy.log"
prove "nothing is left, also when it has come" nothing_left "$PORT"
spoiled half
prove "nothing is left" nothing_left "$PORT"
spoiled unanswered
prove "nothing is left of a commit that was done, but not answered" nothing_left "$PORT"
prove "the next set is made" next_one_is_made

chapter "A server that cannot be reached from some state on"
for state in prepared armed committed; do
    spoiled gone "$state"
    prove "what is left of it is only leased" only_leased
    echo pass > "$CONTROL"
    abort_the_leased
done
spoiled deaf confirmed
prove "what is left of it is only leased" only_leased
echo pass > "$CONTROL"
abort_the_leased
prove "the next set is made" next_one_is_made

chapter "A server that dies in mid set"
start_tarnd_for_ever
for _ in 1 2 3 4 5; do
    written_across_a_death || break
done
prove "a host whose server dies goes on with what it was doing" written_across_a_death
for state in prepared committed; do
    READY_SEEN=$(grep -c 'msg="*ready' "$WORK/log/tarnd.log")
    echo "kill $state $(pgrep -P "${PIDS[tarnd]}")" > "$CONTROL"
    prove "a set in which it dies when it is $state is made whole, or not at all" whole_or_not
    abort_the_leased
    prove "and then nothing is left" nothing_left "$PORT"
done
echo pass > "$CONTROL"
prove "the next set is made" next_one_is_made

chapter "A provider that dies"
for method in EndPrepareSnapshots PreCommitSnapshots PostCommitSnapshots CommitSnapshots; do
    killed "$method"
    [ "$method" = CommitSnapshots ] || abort_the_leased
done
prove "the lease of an armed set ends by itself" wait_until 20 "the end of the lease" nothing_left "$PORT"
for fault in kill-before:GetTargetLuns kill-after:GetTargetLuns kill-before:LocateLuns kill-after:LocateLuns; do
    died "$fault"
done
prove "the next set is made" next_one_is_made

chapter "A pool that is full"
tarn disk create filler --size 256M > /dev/null
tarn map add db1 filler --lun 9 > /dev/null
io "$PORT" scan > /dev/null
head -c 200M /dev/urandom > "$WORK/noise"
prove "writes fail for want of room" io_says "no space" "$PORT" put 9 0 "$WORK/noise"
rm "$WORK/noise"
prove "no set is made" shadow_fails create --transportable --metadata 'C:\fault.cab' "${VOLUMES[@]}"
tarn map remove db1 9 > /dev/null
prove "nothing is left" nothing_left "$PORT"
tarn disk delete filler > /dev/null
tarn trash empty > /dev/null
prove "with room again the next set is made" wait_until 20 "room" next_one_is_made
finish
