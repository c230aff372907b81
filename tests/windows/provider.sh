#!/usr/bin/env bash
# provider.sh - the provider end to end: a real tarnd, real LUNs over iSCSI, the provider as a service under Wine, and the
# stand-in as the VSS service.  Each call of the stand-in's is a process of its own.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"
requires python3 qemu-storage-daemon
enter_native_world "$0" "$@"

url() # LUN
{
    echo "iscsi://$CHAP_USER%$CHAP_SECRET@$ISCSI/$TARGET/$1"
}

# What Windows reads of the LUNs of its initiator, into a file on drive C.
scan() # FILE LUN...
{
    local file=$DRIVE_C/$1 lun
    shift
    : > "$file"
    for lun in "$@"; do
        lun_tool inquiry "$(url "$lun")" >> "$file" || return 1
    done
}

# The numbers of the snapshots' LUNs at the host.
snapshot_luns()
{
    quietly_tarn map list --json | json '" ".join(str(m["lun"]) for m in d["maps"] if m["kind"] == "snapshot")'
}

newest_set() # EXPRESSION over s
{
    quietly_tarn set list --json | json "(lambda s: $1)(max(d['sets'], key=lambda s: s['created_at']))"
}

# The stand-in comes to its end, and says so.
standin()
{
    local said status=0
    said=$(wine 120 standin.exe "$@") || status=$?
    # shellcheck disable=SC2034  # prove prints it
    WHY="status $status, and it said: $(tail -n 4 <<< "$said" | tr '\n' ';') log: $(tail -n 2 \
        "$DRIVE_C/ProgramData/Tarn/tarn-vss.log" | tr '\n' ';')"
    [ "$status" = 0 ] && [[ $said == *done ]]
}

aborted_at() # STEP
{
    standin create-abort disks.txt "$1" || return 1
    WHY="there are $(snapshot_count) snapshots"
    [ "$(snapshot_count)" = 0 ]
}

# VSS dies after so many calls, and the service is stopped: it gives up what was not created.
vanished_at() # STEP
{
    standin create-vanish disks.txt "$1" && runs "" windows/system32/net.exe stop TarnVss || return 1
    WHY="there are $(snapshot_count) snapshots"
    [ "$(snapshot_count)" = 0 ]
}

wrong_pin_sends_nothing()
{
    local said status=0
    local wrong=${CODE/"+$PIN+"/+${PIN//[0-7]/8}+}
    said=$(wine 60 tarn-vss.exe enrol "$wrong") || status=$?
    # shellcheck disable=SC2034  # prove prints it
    WHY="status $status, and it said: $said"
    [ "$status" = 1 ] && [[ $said == *"key is not the pinned one"* ]]
}

chapter "A server with two disks, and a host that runs Windows"
start_server 256M
tarn disk create one --size 32M > /dev/null
tarn disk create two --size 32M > /dev/null
tarn host create db1 --initiator "$INITIATOR" --os windows --auth chap --chap-secret-file "$CHAP_FILE" > /dev/null
tarn map add db1 one --lun 1 > /dev/null
tarn map add db1 two --lun 2 > /dev/null
lun_attach lun 1
cleanup_push lun_detach lun
wine_begin
wine_install "$WINDOWS_BUILD/windows/provider/tarn-vss.exe" "$WINDOWS_BUILD/windows/standin/vssps.dll" \
    "$WINDOWS_BUILD/windows/standin/standin.exe" "$WINDOWS_BUILD/windows/standin/vss_bench.exe"

chapter "Enrolment"
CODE=$(quietly_tarn host enrol db1 --json | json 'd["code"]')
PIN=$(cut -d+ -f3 <<< "$CODE")
prove "a server with another key gets nothing" wrong_pin_sends_nothing
prove "the code is redeemed" runs "enrolled as db1" tarn-vss.exe enrol "$CODE"
prove "a code is good for one use" ends_with 1 tarn-vss.exe enrol "$CODE"
prove "the server answers signed requests" runs "the server answers" tarn-vss.exe status
install_vssapi
product_type ServerNT
prove "the service is registered" runs "registered" tarn-vss.exe register
prove "and the stand-in's proxy" runs "" windows/system32/regsvr32.exe /s 'C:\vssps.dll'

chapter "A shadow copy set of two volumes"
prove "the LUNs are found over iSCSI" scan disks.txt 1 2
prove "it is created, in the documented order" standin create disks.txt set.txt
prove "the server has it as created" equal "$(newest_set 's["state"]')" created
prove "as application-consistent" equal "$(newest_set 's["application_consistent"]')" True
prove "with both disks" equal "$(newest_set 'len(s["members"])')" 2
figure "CommitSnapshots took" "$(sed -n 's/^CommitSnapshots 00000000 .*us=\([0-9]*\).*/\1/p' \
    "$DRIVE_C/ProgramData/Tarn/tarn-vss.log" | tail -n 1) us"
prove "nothing is served before the import" equal "$(snapshot_luns)" ""

chapter "Import, mask, import again, delete: by processes that never saw the set"
prove "the service is stopped, so that the next is another one" runs "" windows/system32/net.exe stop TarnVss
prove "it is imported" standin import set.txt
prove "both targets have LUNs now" equal "$(snapshot_luns | wc -w)" 2
# shellcheck disable=SC2046  # numbers
prove "the LUNs are found over iSCSI" scan arrived.txt $(snapshot_luns)
prove "and are known again by what was told of them beforehand" standin match set.txt arrived.txt
prove "import again is fine" standin import set.txt
prove "it is masked" standin mask set.txt
prove "and nothing is served" equal "$(snapshot_luns)" ""
prove "but it is there" equal "$(snapshot_count)" 2
prove "it is imported again" standin import set.txt
prove "it is deleted" standin delete set.txt
prove "nothing is served" equal "$(snapshot_luns)" ""
prove "delete again is fine" standin delete set.txt

chapter "Resynchronisation"
fill() # BYTE_VALUE: the first LUN
{
    head -c 4194304 /dev/zero | tr '\\0' "$1" | timeout 60 dd of="$LUNS/lun" bs=1M conv=notrunc,fsync status=none
}
begins_with() # LUN BYTE_VALUE
{
    lun_detach lun
    lun_attach lun "$1"
    WHY="it holds $(head -c 8 "$LUNS/lun" | od -An -c)"
    head -c 4194304 /dev/zero | tr '\\0' "$2" | cmp -s -n 4194304 - "$LUNS/lun"
}
fill a
prove "a persistent set is made" standin create disks.txt keep.txt 9
fill b
prove "both disks take its content again, right after they were written to" standin resync keep.txt disks.txt
prove "the first has it" begins_with 1 a
fill c
scan swapped.txt 2 1
prove "and each the content of the other's shadow copy" standin resync keep.txt swapped.txt
prove "the second disk has what the first had" begins_with 2 a
prove "the shadow copies are there still" equal "$(snapshot_count)" 2
prove "and are deleted" standin delete keep.txt
prove "into the trash, because they were persistent" equal "$(snapshot_count)" 0

chapter "Full copies"
all_are() # WHAT VALUE: of every snapshot, within a minute
{
    local i
    for ((i = 0; i < 60; i++)); do
        WHY="they are $(quietly_tarn snapshot list --json | json "[s['$1'] for s in d['snapshots']]")"
        [ "$WHY" != "they are ['$2', '$2']" ] || return 0
        sleep 1
    done
    return 1
}
prove "a set of full copies (PLEX) is made at once" standin create disks.txt full.txt 40009
prove "the server has it so" equal "$(newest_set 's["full"]')" True
prove "it is imported while it is copied" standin import full.txt
prove "and is full in the end" all_are type full
prove "and deleted" standin delete full.txt
prove "another one" standin create disks.txt full.txt 40009
prove "is deleted at once, whether it is copied yet or not" standin delete full.txt

chapter "A set that takes long is held"
lease_grows()
{
    local i before=999999999 now
    for ((i = 0; i < 60; i++)); do
        now=$(newest_set 's["lease_left_ms"]')
        WHY="the lease had $before ms left, then $now"
        [ "$now" -le "$before" ] || return 0
        before=$now
        sleep 0.3
    done
    return 1
}
set_state() # STATE, within a minute
{
    local i
    for ((i = 0; i < 60; i++)); do
        WHY="the set is $(newest_set 's["state"]')"
        [ "$WHY" != "the set is $1" ] || return 0
        sleep 1
    done
    return 1
}
runs "" windows/system32/net.exe stop TarnVss || true
prove "the service is to renew often" runs "" windows/system32/reg.exe add 'HKLM\SOFTWARE\Tarn\Host' \
    /v RenewMs /t REG_DWORD /d 700 /f
prove "VSS waits for writers after EndPrepareSnapshots" standin create-vanish disks.txt 1
prove "and the service renews the lease meanwhile" lease_grows
prove "it stops" runs "" windows/system32/net.exe stop TarnVss
prove "and gives the set up" set_state aborted

chapter "Break"
fill d
prove "a transportable set is made and imported" standin create disks.txt broken.txt 20
prove "so that its LUNs are there" standin import broken.txt
IMPORTED=$(snapshot_luns)
stop tarnd TERM
start_tarnd
prove "a break without a word to the provider loses no LUN, nor does a restart" equal "$(snapshot_luns)" "$IMPORTED"
prove "it is broken by READ_WRITE" standin state broken.txt 100
prove "again, with what needs nothing, is fine" standin state broken.txt 700
fill e
prove "it is broken in the end" set_state broken
prove "and again is fine still" standin state broken.txt 100
prove "no snapshot is left" equal "$(snapshot_count)" 0
prove "its LUN has what was cut" begins_with "${IMPORTED%% *}" d
lun_detach lun
lun_attach lun 1
prove "its source goes its own way" begins_with 1 e
prove "a masked and broken set" standin create disks.txt gone.txt 20
prove "which was imported" standin import gone.txt
prove "is given back first" standin state gone.txt 900
prove "and nothing of it is served" equal "$(snapshot_luns)" ""
prove "both again is fine" standin state gone.txt 900
prove "it becomes disks" set_state broken

chapter "Aborts"
for step in 0 1 2 3 4; do
    prove "an abort after $step calls leaves nothing" aborted_at "$step"
done

for step in 1 3; do
    prove "neither does a VSS that dies after $step calls, once the service is stopped" vanished_at "$step"
done
prove "a VSS that dies after PostCommitSnapshots" standin create-vanish disks.txt 4
prove "leaves a set that another process could finish" equal "$(newest_set 's["state"]')" confirmed
prove "the server holds it by its lease only" [ "$(newest_set 's["lease_left_ms"] > 0')" = True ]
quietly_tarn set abort "$(newest_set 's["uuid"]')" > /dev/null || true

chapter "What the commit touches"
# The provider's process, as Wine traces it: files, registry, event log.  The caller writes marks around CommitSnapshots.
trace_commit()
{
    timeout 60 "$WINESERVER" -k -w || true # the next one's services inherit this trace
    (cd "$DRIVE_C" && WINEDEBUG=+pid,+tid,+file,+reg,+eventlog timeout 120 "${WINE[@]}" 'C:\vss_bench.exe' disks.txt 1 mark) \
        > "$WORK/bench.out" 2> "$WORK/trace" || true
    timeout 60 "$WINESERVER" -k -w || true
    timeout 60 "$WINESERVER" -p60
    WHY="it said: $(tail -n 2 "$WORK/bench.out")"
    grep -q '^done' "$WORK/bench.out"
}
# Everything between the marks but the call's own pipe (which it came by) and sockets (device class 12h).
touched() # BEGINS ENDS: how many such lines
{
    awk -v begins="$1" -v ends="$2" '
        FNR == NR { if (/tarn-vss\.log/) pid = substr($0, 1, 4); next }
        index($0, begins) { inside = 1 }
        index($0, ends) { inside = 0 }
        !inside || substr($0, 1, 4) != pid { next }
        { handle = $0; sub(/.*\(/, "", handle); sub(/,.*/, "", handle) }
        /trace:file:NtReadFile / { is_pipe[handle] = 1; next }
        /trace:file:NtWriteFile / && is_pipe[handle] { next }
        /trace:file:NtDeviceIoControlFile .*,0x0012[0-9a-f]*,/ { next }
        { count++ }
        END { print pid == "" ? "no provider" : count + 0 }' "$WORK/trace" "$WORK/trace"
}
prove "two sets are made under a trace" trace_commit
prove "inside of CommitSnapshots it opens, writes and logs nothing" equal \
    "$(touched 'CommitSnapshots begins' 'CommitSnapshots ends')" 0
AFTER=$(touched 'CommitSnapshots ends' 'CommitSnapshots begins')
WHY="$AFTER lines"
prove "the same look at what comes after finds its log" [ "$AFTER" -gt 3 ]

chapter "A server that is away"
stop tarnd KILL
prove "is no server that supports a volume" ends_with 1 standin.exe create disks.txt none.txt
start_tarnd
finish
