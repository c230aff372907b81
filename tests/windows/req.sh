#!/usr/bin/env bash
# req.sh - tarn-shadow.exe, a requester that knows only the public interface of VSS: every recipe of doc/recipes, and its
# own commands, against a real tarnd with real LUNs that hold NTFS, the provider as a service, and the stand-in for VSS.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"
. "$(dirname "${BASH_SOURCE[0]}")/machine.sh"
machine_requires
command -v ntfs-3g > /dev/null || skip_all "needs ntfs-3g (tools/deps install check)"
enter_native_world "$0" "$@"

readonly PORT=7301

# ---- The host ------------------------------------------------------------------------------------------

# A disk with its file; the volume's name as Windows has it goes into VOLUME.
make_disk() # LUN TEXT
{
    echo "$2" > "$WORK/report.txt"
    make_windows_disk "$WORK/image$1" "$WORK/report.txt"
    io "$PORT" put "$1" 0 "$WORK/image$1"
    VOLUME=$(sgdisk -i 2 "$WORK/image$1" | awk '/unique GUID/ { print tolower($NF) }')
    VOLUME="\\\\?\\Volume{$VOLUME}\\"
}

# The file of the disk, as it is now.
now_holds() # LUN TEXT
{
    volume_of "$PORT" "$1" "$WORK/now"
    # shellcheck disable=SC2034  # prove prints it
    WHY="it holds: $(file_of "$WORK/now" report.txt)"
    [ "$(file_of "$WORK/now" report.txt)" = "$2" ]
}

# Windows mounts what is exposed; here it is this, at the stand-in's word.  An exposed shadow copy is read by NTFS-3G.
mounter()
{
    local want name id lun first blocks directory
    while sleep 0.05; do
        for want in "$DRIVE_C"/standin/exposed/*.want; do
            [ -e "$want" ] && [ ! -e "${want%.want}.done" ] || continue
            { read -r name && read -r lun first blocks; } < "$want" || continue
            id=${want##*/} directory=$WORK/mnt-${id%.want}
            mkdir -p "$directory"
            io "$PORT" get "$lun" "$first" "$blocks" "$directory.ntfs" || continue
            ntfs-3g -o ro "$directory.ntfs" "$directory" || continue
            ln -sfn "$directory" "$WINEPREFIX/dosdevices/${name,,}"
            echo "$name" > "${want%.want}.done"
        done
        for want in "$DRIVE_C"/standin/exposed/*.done; do
            [ -e "$want" ] && [ ! -e "${want%.done}.want" ] || continue
            id=${want##*/} directory=$WORK/mnt-${id%.done}
            name=$(cat "$want")
            rm -f "$WINEPREFIX/dosdevices/${name,,}"
            umount -l "$directory"
            rm -f "$want"
        done
    done
}

# ---- The requester -------------------------------------------------------------------------------------

shadow() # TEXT ARGUMENTS...: it succeeds and says so; all it said is in SAID
{
    local text=$1 status=0
    shift
    SAID=$(wine 120 tarn-shadow.exe "$@") || status=$?
    # shellcheck disable=SC2034  # prove prints it
    WHY="status $status, and it said: $(tail -n 6 <<< "$SAID" | tr '\n' ';') trace: $(tail -n 3 \
        "$DRIVE_C/trace.log" 2>&1 | tr '\n' ';') log: $(tail -n 2 "$DRIVE_C/ProgramData/Tarn/tarn-vss.log" | tr '\n' ';')"
    [ "$status" = 0 ] && [[ $SAID == *"$text"* ]]
}

refused() # TEXT ARGUMENTS...
{
    local text=$1 status=0
    shift
    SAID=$(wine 120 tarn-shadow.exe "$@") || status=$?
    # shellcheck disable=SC2034  # prove prints it
    WHY="status $status, and it said: $(tail -n 6 <<< "$SAID" | tr '\n' ';')"
    [ "$status" = 1 ] && [[ $SAID == *"$text"* ]]
}

recipe() # TEXT NAME PARAMETERS...: as the page says, with lines that end with CR LF
{
    local text=$1 name=$2
    shift 2
    sed 's/$/\r/' "$TARN_ROOT/doc/recipes/$name" > "$DRIVE_C/$name"
    shadow "$text" /s "C:\\$name" "$@"
}

set_of() # what SAID tells
{
    sed -n 's/.*Shadow copy set: \({[^}]*}\).*/\1/p' <<< "$SAID" | tail -n 1
}

said_both()
{
    WHY="it said: $SAID"
    grep -q '^	\* Shadow copy ID = {[0-9a-f-]*}		%data%$' <<< "$SAID" &&
        grep -q '^	\* Shadow copy ID = {[0-9a-f-]*}		%log%$' <<< "$SAID" &&
        grep -q '^		- Shadow copy set: {[0-9a-f-]*}		%VSS_SHADOW_SET%$' <<< "$SAID" &&
        [[ $SAID == *"Number of shadow copies listed: 2"* ]]
}

served_count()
{
    quietly_tarn map list --json | json 'sum(m["kind"] == "snapshot" for m in d["maps"])'
}

# The copies that the script of the recipe made.
copied() # DATA LOG
{
    # shellcheck disable=SC2034  # prove prints it
    WHY="copied were: $(cat "$DRIVE_C/backup/data.txt" "$DRIVE_C/backup/log.txt" 2>&1)"
    [ "$(cat "$DRIVE_C/backup/data.txt")" = "$1" ] && [ "$(cat "$DRIVE_C/backup/log.txt")" = "$2" ] || return 1
    rm "$DRIVE_C/backup/"*.txt
}

no_rule_broken()
{
    # shellcheck disable=SC2034  # prove prints it
    WHY=$(grep -m 3 'broken rule' "$DRIVE_C/trace.log")
    [ -z "$WHY" ]
}

cab_holds() # CAB NAMES...
{
    local cab=$1 name
    shift
    rm -rf "$DRIVE_C/cab" && mkdir "$DRIVE_C/cab"
    wine 60 windows/system32/extrac32.exe /y /e /l 'C:\cab' "C:\\$cab" > /dev/null || true
    # shellcheck disable=SC2034  # prove prints it
    WHY="it holds: $(ls "$DRIVE_C/cab")"
    for name in "$@"; do [ -s "$DRIVE_C/cab/$name" ] || return 1; done
}

chapter "A server, and a Windows host with two NTFS volumes"
start_server 256M
tarn host create db1 --initiator "$INITIATOR" --os windows --auth chap --chap-secret-file "$CHAP_FILE" > /dev/null
for lun in 1 2; do
    tarn disk create "disk$lun" --size 32M > /dev/null
    tarn map add db1 "disk$lun" --lun "$lun" > /dev/null
done
machine_start windows "$PORT" "$INITIATOR" "$CHAP_USER"
make_disk 1 "data of monday"
STANDIN_MOUNTS="D:=$VOLUME"
make_disk 2 "log of monday"
STANDIN_MOUNTS="$STANDIN_MOUNTS;E:=$VOLUME"
wine_begin
mkdir "$WORK/d" "$WORK/e" "$DRIVE_C/backup"
ln -s "$WORK/d" "$WINEPREFIX/dosdevices/d:"
ln -s "$WORK/e" "$WINEPREFIX/dosdevices/e:"
timeout 60 "$WINESERVER" -k -w || true
export STANDIN_MACHINE=$PORT STANDIN_MOUNTS STANDIN_EXPOSE_MS=20000 STANDIN_TRACE='C:\trace.log'
timeout 60 "$WINESERVER" -p60
wine_install "$WINDOWS_BUILD/windows/provider/tarn-vss.exe" "$WINDOWS_BUILD/windows/standin/vssps.dll" \
    "$WINDOWS_BUILD/windows/shadow/tarn-shadow.exe"
install_vssapi
product_type ServerNT
prove "without a provider no volume is taken" refused "no provider takes volume D:" create D:
prove "the host is enrolled" runs "enrolled as db1" tarn-vss.exe enrol "$(quietly_tarn host enrol db1 --json | json 'd["code"]')"
prove "the provider is registered" runs "registered" tarn-vss.exe register
prove "and the stand-in's proxy" runs "" windows/system32/regsvr32.exe /s 'C:\vssps.dll'
prove "VSS knows the provider" shadow "VSS_PROV_HARDWARE" list providers
mounter &
MOUNTER=$!
cleanup_push kill "$MOUNTER"

chapter "Recipe: backup"
printf '@echo off\r\ncopy X:\\report.txt C:\\backup\\data.txt > nul\r\ncopy Y:\\report.txt C:\\backup\\log.txt > nul\r\n' \
    > "$DRIVE_C/copy.cmd"
prove "it runs to its end" recipe "Number of shadow copies deleted: 2" backup.dsh 'C:\today.cab' 'C:\copy.cmd'
prove "it told both shadow copies, with their aliases" said_both
prove "and copied the files out of them" copied "data of monday" "log of monday"
prove "nothing of it is left to VSS" shadow "No shadow copies found in system." list
prove "nothing is served any more" equal "$(served_count)" 0
prove "what carries its documents is a cabinet to Windows' own tool" cab_holds today.cab BCDocument.xml Aliases.txt

chapter "Recipe: off-host backup"
prove "the set is made" recipe 'C:\off.cab tells a host what to import' off-host-create.dsh 'C:\off.cab'
prove "and served to nobody" equal "$(served_count)" 0
prove "it is imported, copied and deleted" recipe "Number of shadow copies deleted: 1" off-host-copy.dsh 'C:\off.cab' \
    'C:\copy.cmd'
prove "the files are those of the set" copied "data of monday" "log of monday"
prove "nothing is served any more" equal "$(served_count)" 0

chapter "Recipe: revert"
prove "the set is made" recipe "" revert-prepare.dsh 'C:\before.cab'
make_changed()
{
    local lun
    for lun in 1 2; do
        volume_of "$PORT" "$lun" "$WORK/changed"
        echo "tuesday" > "$WORK/report.txt"
        ntfscp -f "$WORK/changed" "$WORK/report.txt" report.txt > /dev/null 2>&1
        io "$PORT" put "$lun" "$VOLUME_FIRST" "$WORK/changed"
    done
}
make_changed
prove "then the files are changed" now_holds 1 tuesday
prove "both volumes go back" recipe "-> resync" revert.dsh 'C:\before.cab'
prove "the first has what it had" now_holds 1 "data of monday"
prove "and so has the second" now_holds 2 "log of monday"
printf 'load metadata C:\\before.cab\r\nbegin restore\r\nend restore\r\n' > "$DRIVE_C/restore.dsh"
prove "writers are told of a restore" shadow "-> end restore" -s 'C:\restore.dsh'
prove "the table is sound" table_is_sound "$PORT" 1
prove "and without marks" equal "$(marks_of "$PORT" 1)" 0000000000000000

chapter "Recipe: test copy"
prove "the set is made" recipe "" off-host-create.dsh 'C:\test.cab'
prove "it is imported" recipe "Number of shadow copies listed" test-copy-import.dsh 'C:\test.cab'
SET=$(set_of)
prove "its id is told" test -n "$SET"
prove "it is broken" recipe "-> break $SET" test-copy-break.dsh "$SET"
prove "and is none of VSS's any more" shadow "" list
prove "the list does not have it" test "${SAID#*"$SET"}" = "$SAID"

chapter "Commands, and what is refused"
export STANDIN_EACH_CALL=1 # at first: each call meets a new process of the provider
prove "a set is made by one command" shadow 'C:\c.cab tells a host what to import' create --transportable \
    --metadata 'C:\c.cab' D:=data
prove "imported" shadow "%data%" import 'C:\c.cab'
SET=$(set_of)
prove "masked" shadow "" mask "$SET"
prove "imported again" shadow "%data%" import 'C:\c.cab'
prove "deleted" shadow "Number of shadow copies deleted: 1" delete --set "$SET"
unset STANDIN_EACH_CALL
prove "a volatile shadow copy is made" shadow "Number of shadow copies listed: 1" create --volatile E:
prove "and gone with its session" shadow "No shadow copies found" list
printf 'exit /b 3\r\n' > "$DRIVE_C/fail.cmd"
prove "a script ends where its command file fails" refused "exit code 3" \
    /s 'C:\backup.dsh' 'C:\fail.cab' 'C:\fail.cmd'
prove "its persistent shadow copies stay" shadow "Number of shadow copies listed: 2" list
prove "the drive letters are taken back" shadow "no longer exposed as X:" unexpose X:
prove "both" shadow "no longer exposed as Y:" unexpose 'Y:\'
export STANDIN_LIST_ENDS=1
prove "a list that breaks off is no list" refused "Next: E_OUTOFMEMORY" list
prove "and nothing is deleted by it" refused "Next: E_OUTOFMEMORY" delete --all
unset STANDIN_LIST_ENDS
prove "all are there" shadow "Number of shadow copies listed: 2" list
# 0x80010100 is what RPC has for a system call that failed; Wine makes the status 1 of it.
export STANDIN_RAISES=2147549440
prove "an exception has a last word" refused "ended by exception 0x80010100 at" list
unset STANDIN_RAISES
unsaid()
{
    local status=0
    # shellcheck disable=SC2034  # prove prints it
    WHY=$({ (cd "$DRIVE_C" && timeout 60 "${WINE[@]}" 'C:\tarn-shadow.exe' list nonsense) > /dev/full; } 2>&1) || status=$?
    [ "$status" = 1 ] && [[ $WHY == *nonsense* ]]
}
prove "what stdout does not take is said on stderr" unsaid
prove "the oldest of a volume is deleted" shadow "deleted: 1" delete --oldest D:
prove "and all that is left" shadow "deleted: 1" delete --all
prove "what is not there cannot be exposed" refused "VSS_E_OBJECT_NOT_FOUND" expose "$SET" X:
prove "no volume is no volume" refused "there is no volume Q:" create Q:
prove "no set is no set" refused "VSS_E_OBJECT_NOT_FOUND" mask '{00000000-0000-4000-8000-000000000000}'
prove "what is no cabinet is said to be none" refused "is no .cab file" import 'C:\copy.cmd'
prove "neither is what is not there" refused "cannot be read" import 'C:\nothing.cab'
prove "metadata that cannot be written stop the set before it begins" refused "nothing was created" \
    create --metadata 'C:\nowhere\m.cab' D:
printf 'add volume D: provider {11111111-0000-4000-8000-000000000000}\r\ncreate\r\n' > "$DRIVE_C/other.dsh"
prove "another provider does not take the volume" refused "VSS_E_PROVIDER_NOT_REGISTERED" -s 'C:\other.dsh'

chapter "Writers"
export STANDIN_WRITERS="Mail Writer;SQL Writer"
prove "they are listed" shadow '* WRITER "SQL Writer"' list writers
prove "with their number" shadow "Number of writers listed: 2" list writers
printf 'writer verify "sql writer"\r\nwriter exclude "Mail Writer"\r\nadd volume D:\r\ncreate\r\n' > "$DRIVE_C/writers.dsh"
prove "one can be demanded, and one left out" shadow "listed: 1" -s 'C:\writers.dsh'
printf 'writer verify "Mail Writer"\r\nwriter exclude "Mail Writer"\r\nadd volume D:\r\ncreate\r\n' > "$DRIVE_C/writers.dsh"
prove "who is left out does not take part" refused 'writer "Mail Writer" does not take part' -s 'C:\writers.dsh'
printf 'writer exclude "Exchange Writer"\r\nadd volume D:\r\ncreate\r\n' > "$DRIVE_C/writers.dsh"
prove "who is not there cannot be left out" refused 'there is no writer "Exchange Writer"' -s 'C:\writers.dsh'
export STANDIN_WRITER_FAILS="SQL Writer"
prove "a set of which a writer failed is no set" refused 'writer "SQL Writer" failed with 0x800423f2' create E:
prove "and nothing of it is left" shadow "No shadow copies found" list
prove "without writers it is" shadow "listed: 1" create --volatile --nowriters E:
unset STANDIN_WRITERS STANDIN_WRITER_FAILS
prove "nothing is left" shadow "No shadow copies found" list

chapter "The acceptance command of windows/accept"
# Its scripts with tarn-shadow in DiskShadow's place; the rest is what a Server is given.
mkdir -p "$DRIVE_C/accept" "$DRIVE_C/Program Files/Tarn"
cp "$WINDOWS_BUILD/windows/provider/tarn-vss.exe" "$DRIVE_C/Program Files/Tarn/"
cp "$TARN_ROOT"/windows/accept/* "$DRIVE_C/accept/"
accept() # ARGUMENTS...: it ends with 0, which means: every script ended well, and the trace is that of the repository
{
    local status=0
    SAID=$(DISKSHADOW='C:\tarn-shadow.exe' wine 240 windows/system32/cmd.exe /c 'C:\accept\run.cmd' "$@") || status=$?
    tr -d '\r' < "$DRIVE_C/accept/accept.txt" > "$WORK/log/accept.txt"
    # shellcheck disable=SC2034  # prove prints it
    WHY="status $status, and: $(sed -n '/^==== differences/,/^==== vshadow/p' "$WORK/log/accept.txt" | tr '\n' ';') $(grep -h \
        -A1 '^status\|^==== diskshadow' "$WORK/log/accept.txt" | tr '\n' ';')"
    [ "$status" = 0 ]
}
prove "its scripts run, and call the provider as windows/accept/expected.trace has it" accept code 127.0.0.1 D:
prove "six scripts, each with the status 0" equal "$(sed -n '/^==== diskshadow create/,/^==== trace/p' \
    "$WORK/log/accept.txt" | grep -c '^status 0$')" 6
expected_calls()
{
    sed -n '/^==== trace/,/^==== differences/p' "$WORK/log/accept.txt" | grep -v '^====' > "$WORK/log/trace.txt"
    # shellcheck disable=SC2034  # prove prints it
    WHY=$(diff "$TARN_ROOT/windows/accept/expected.trace" "$WORK/log/trace.txt")
    [ -z "$WHY" ]
}
prove "the trace that it collects is that, to the letter" expected_calls
sed -i '0,/^CommitSnapshots/{/^CommitSnapshots/d}' "$DRIVE_C/accept/expected.trace"
prove "a call that is not expected is told" ends_with 1 'Program Files\Tarn\tarn-vss.exe' log --compare \
    'C:\accept\expected.trace'
prove "and nothing else" equal "$(wine 60 'Program Files\Tarn\tarn-vss.exe' log --compare 'C:\accept\expected.trace' |
    cut -c1-18)" "+ CommitSnapshots "
prove "no rule of the contract was broken" no_rule_broken
finish
