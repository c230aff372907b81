#!/usr/bin/env bash
# vss_fault.sh - shadow copy sets that go wrong: the commit comes late, half, or unanswered.  Each ends with a failure
# that VSS sees, and with nothing left on the server; and the next set is made as if nothing had been.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"
. "$(dirname "${BASH_SOURCE[0]}")/machine.sh"
machine_requires
[ -x "$TARN_BUILD/src/tarnd/tarnd" ] || skip_all "needs a native build (./check makes it; or set TARN_NATIVE)"
enter_world "$0" "$@"
IN_WORLD=yes

readonly PORT=7301 PROXY=7270 CONTROL=$WORK/proxy.control

snapshot_count()
{
    quietly_tarn snapshot list --json | json 'len(d["snapshots"])'
}

set_states() # of those that are not at their end
{
    quietly_tarn set list --json |
        json '" ".join(sorted(s["state"] for s in d["sets"] if s["state"] not in ("aborted", "trashed")))'
}

make_set() # a volume on each of two disks
{
    local status=0
    SAID=$(wine 60 standin.exe create disks.txt set.txt) || status=$?
    # shellcheck disable=SC2034  # prove prints it
    WHY="status $status, and it said: $(tail -n 4 <<< "$SAID" | tr '\n' ';') log: $(tail -n 3 \
        "$DRIVE_C/ProgramData/Tarn/tarn-vss.log" | tr '\n' ';') proxy: $(tail -n 1 "$WORK/log/proxy.log")"
    [ "$status" = 0 ] && [[ $SAID == *done ]]
}

delete_set()
{
    [[ $(wine 60 standin.exe delete set.txt) == *done ]] && wait_until 10 "the trash" no_snapshots
}

no_snapshots()
{
    [ "$(snapshot_count)" = 0 ]
}

fails() # WHAT: the set is not made, by what the proxy did
{
    if make_set; then
        delete_set
        # shellcheck disable=SC2034  # prove prints it
        WHY="it was made"
        return 1
    fi
    [ "$(cat "$CONTROL")" = "done" ] || return 1
}

# Of the sets that failed nothing is there, and no disk has a mark.
nothing_left()
{
    # shellcheck disable=SC2034  # prove prints it
    WHY="snapshots: $(snapshot_count), sets: $(set_states), marks: $(marks_of "$PORT" 1) $(marks_of "$PORT" 2)"
    [ "$(snapshot_count)" = 0 ] && [ -z "$(set_states)" ] && [ "$(marks_of "$PORT" 1)" = 0000000000000000 ] &&
        [ "$(marks_of "$PORT" 2)" = 0000000000000000 ]
}

spoiled() # WORDS...: for the proxy
{
    echo "$*" > "$CONTROL"
    prove "a set fails when it is: $*" fails
    echo pass > "$CONTROL"
}

chapter "A server, a host with two disks, and a proxy between"
write_tarn_conf
start_tarnd
tarn pool create pool --file "$WORK/pool" --size 256M --sparse > /dev/null 2>&1
tarn host create db1 --initiator "$INITIATOR" --os windows --auth chap --chap-secret-file "$CHAP_FILE" > /dev/null
# shellcheck disable=SC2034  # for machine_start
TARGET=$(target_name)
for lun in 1 2; do
    tarn disk create "disk$lun" --size 32M > /dev/null
    tarn map add db1 "disk$lun" --lun "$lun" > /dev/null
done
machine_start windows "$PORT" "$INITIATOR" "$CHAP_USER"
make_windows_disk "$WORK/image"
for lun in 1 2; do io "$PORT" put "$lun" 0 "$WORK/image"; done
echo pass > "$CONTROL"
spawn proxy "$TARN_ROOT/tests/windows/proxy.py" "$PROXY" "${API##*:}" "$CONTROL"
wine_begin
wine_install "$WINDOWS_BUILD/windows/provider/tarn-vss.exe" "$WINDOWS_BUILD/windows/standin/vssps.dll" \
    "$WINDOWS_BUILD/windows/standin/standin.exe"
install_vssapi
product_type ServerNT
CODE=$(quietly_tarn host enrol db1 --json | json 'd["code"]')
CODE=${CODE/"$API"/127.0.0.1:$PROXY}
prove "the host is enrolled, through the proxy" runs "enrolled as db1" tarn-vss.exe enrol "$CODE"
ln -s "$DRIVE_C/ProgramData/Tarn/tarn-vss.log" "$WORK/log/tarn-vss.log"
prove "the service is registered" runs "registered" tarn-vss.exe register
prove "and the stand-in's proxy" runs "" windows/system32/regsvr32.exe /s 'C:\vssps.dll'
for lun in 1 2; do
    lun_tool inquiry "iscsi://$CHAP_USER%$CHAP_SECRET@$ISCSI/$TARGET/$lun"
done > "$DRIVE_C/disks.txt"
prove "a set is made through the proxy" make_set
prove "and deleted" delete_set

chapter "The commit's body"
spoiled late 6000
wait_until 20 "the commit's body" grep -q "it has come" "$WORK/log/proxy.log"
prove "nothing is left, also when it has come" nothing_left
spoiled half
spoiled never
spoiled unanswered
prove "nothing is left of a commit that was done, but not answered" nothing_left
prove "the next set is made" make_set
prove "and deleted" delete_set
finish
