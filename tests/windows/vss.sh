# vss.sh - hosts that run Windows, for tests of VSS: Wine with the provider, the stand-in for VSS, and tarn-shadow.exe as the
# requester; disks over iSCSI (machine.sh).
# shellcheck shell=bash
#
#     . vss.sh
#     enter_vss_world "$0" "$@"
#     start_server 192M
#     vss_one_host                       # or its steps, one by one: vss_host, vss_disk, vss_wine, as_host, vss_enrol
#     shadow create "${VOLUMES[@]}"      # tarn-shadow.exe; what it says is in SAID
#
# A second host has a prefix of its own, copied from the first one before that one was enrolled.

. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"
. "$(dirname "${BASH_SOURCE[0]}")/machine.sh"

declare -A VSS_PORT=() VSS_PREFIX=() SHADOW_PROGRAM=()
SAID=

enter_vss_world() # SCRIPT ARGUMENTS...
{
    machine_requires
    enter_native_world "$@"
}

vss_fault_of() # FILE: the last rule that was broken, if any
{
    grep -h '^RULE ' "$1" 2> /dev/null | tail -n 1
}

# The programs and what VSS is, in a new prefix for this host; it is not enrolled yet.
vss_wine() # NAME
{
    wine_begin
    VSS_PREFIX[$1]=$WINEPREFIX
    wine_install "$WINDOWS_BUILD/windows/provider/tarn-vss.exe" "$WINDOWS_BUILD/windows/shadow/tarn-shadow.exe" \
        "$WINDOWS_BUILD/windows/standin/vssps.dll"
    install_vssapi
    product_type ServerNT
    prove "the stand-in's proxy is registered" runs "" windows/system32/regsvr32.exe /s 'C:\vssps.dll'
}

vss_end() # PREFIX
{
    WINEPREFIX=$1 timeout 60 "$WINESERVER" -k -w 2> /dev/null || true
}

# Registered with tarnd, and its iSCSI session.
vss_host() # NAME PORT INITIATOR
{
    VSS_PORT[$1]=$2
    tarn host create "$1" --initiator "$3" --os windows --auth chap --chap-secret-file "$CHAP_FILE" > /dev/null
    machine_start "$1" "$2" "$3" "$1"
}

# A disk with a volume, which has the files.
vss_disk() # NAME LUN FILE...
{
    local name=$1 lun=$2
    shift 2
    tarn disk create "disk$lun" --size 32M > /dev/null
    tarn map add "$name" "disk$lun" --lun "$lun" > /dev/null
    make_windows_disk "$WORK/image" "$@"
    io "${VSS_PORT[$name]}" scan > /dev/null
    io "${VSS_PORT[$name]}" put "$lun" 0 "$WORK/image"
}

# A prefix of its own for a second host: as the first one's is now.
vss_second_prefix() # NAME
{
    timeout 60 "$WINESERVER" -k -w || true
    VSS_PREFIX[$1]=$WINE_DIR/prefix-$1
    cp -a "$WINEPREFIX" "${VSS_PREFIX[$1]}"
    cleanup_push vss_end "${VSS_PREFIX[$1]}"
    local prefix
    for prefix in "${VSS_PREFIX[@]}"; do
        WINEPREFIX=$prefix timeout 60 "$WINESERVER" -p60
    done
}

as_host() # NAME
{
    local name=$1
    export WINEPREFIX=${VSS_PREFIX[$name]} STANDIN_COMPUTER=$name STANDIN_MACHINE=${VSS_PORT[$name]}
    export STANDIN_TRACE='C:\vss.log'
    PORT=$STANDIN_MACHINE DRIVE_C=$WINEPREFIX/drive_c
}

# The provider of the host: enrolled by a code, registered with VSS.
vss_enrol() # NAME [ADDRESS]: another address than the server's own
{
    local code
    code=$(quietly_tarn host enrol "$1" --json | json 'd["code"]')
    [ -z "${2:-}" ] || code=${code/"$API"/"$2"}
    prove "$1 is enrolled" runs "enrolled as $1" tarn-vss.exe enrol "$code"
    prove "its provider is registered with VSS" runs "registered" tarn-vss.exe register
    ln -sf "$DRIVE_C/ProgramData/Tarn/tarn-vss.log" "$WORK/log/$1-vss.log"
    ln -sf "$DRIVE_C/vss.log" "$WORK/log/$1-standin.log"
}

# One host, db1, with two disks and an enrolled provider; VOLUMES are its volumes' names.
vss_one_host() # [ADDRESS]: of vss_enrol
{
    vss_host db1 "$SOURCES_AT" "$INITIATOR"
    vss_disk db1 1
    vss_disk db1 2
    vss_wine db1
    as_host db1
    vss_enrol db1 "$@"
    VOLUMES=("$(volume_name "$PORT" 1)" "$(volume_name "$PORT" 2)")
}

# As vss_enrol, by the installer: files, service, credential, registration.  Without one (no wixl), as above.
vss_install() # NAME
{
    local msi=$WINDOWS_BUILD/windows/msi/tarn.msi code
    [ -e "$msi" ] || { vss_enrol "$1" && return; }
    cp "$msi" "$DRIVE_C/"
    rm "$DRIVE_C/tarn-vss.exe" "$DRIVE_C/tarn-shadow.exe"
    windows_build 17763
    code=$(quietly_tarn host enrol "$1" --json | json 'd["code"]')
    prove "tarn.msi is installed on $1" runs "" windows/system32/msiexec.exe /i 'C:\tarn.msi' /qn "SERVERCODE=$code"
    SHADOW_PROGRAM[$1]='Program Files\Tarn\tarn-shadow.exe'
    ln -sf "$DRIVE_C/ProgramData/Tarn/tarn-vss.log" "$WORK/log/$1-vss.log"
    ln -sf "$DRIVE_C/vss.log" "$WORK/log/$1-standin.log"
}

vss_uninstall() # NAME: if the installer was there
{
    [ -n "${SHADOW_PROGRAM[$1]:-}" ] || return 0
    prove "tarn.msi is removed from $1" runs "" windows/system32/msiexec.exe /x 'C:\tarn.msi' /qn
    prove "and its programs are gone" test ! -e "$DRIVE_C/Program Files/Tarn/tarn-vss.exe"
}

# tarn-shadow.exe ends with 0, and no rule was broken.
shadow() # ARGUMENTS...
{
    local status=0
    SAID=$(wine "${SHADOW_SECONDS:-60}" "${SHADOW_PROGRAM[$STANDIN_COMPUTER]:-tarn-shadow.exe}" "$@") || status=$?
    # shellcheck disable=SC2034  # prove prints it
    WHY="status $status, and it said: $(tail -n 5 <<< "$SAID" | tr '\n' ';') the stand-in: $(tail -n 3 \
        "$DRIVE_C/vss.log" | tr '\n' ';') the provider: $(tail -n 2 "$DRIVE_C/ProgramData/Tarn/tarn-vss.log" | tr '\n' ';')"
    [ "$status" = 0 ] && [ -z "$(vss_fault_of "$DRIVE_C/vss.log")" ]
}

# Ends otherwise, as it has to; but no rule was broken.
shadow_fails() # ARGUMENTS...
{
    ! shadow "$@" && [ -z "$(vss_fault_of "$DRIVE_C/vss.log")" ]
}

# The last shadow copy set that was told of.
set_of_said()
{
    grep -ioE 'set( id)?[ :=]+\{[0-9a-f-]+\}' <<< "$SAID" | grep -oE '\{[^}]*\}' | tail -n 1
}

volume_name() # PORT LUN: as Windows names the volume
{
    io "$1" table "$2" | awk -v first="$VOLUME_FIRST" '$2 == first { print "\\\\?\\Volume{" $1 "}\\" }'
}

SOURCES_AT=7301 # the host that has the disks, as LUNs 1 and 2

snapshot_luns() # PORT: the other LUNs
{
    io "$1" scan | awk -v sources=$(($1 == SOURCES_AT ? 2 : 0)) '$1 > sources { printf "%s%s", separator, $1; separator = " " }'
}

set_states() # of those that are not at their end
{
    quietly_tarn set list --json |
        json '" ".join(sorted(s["state"] for s in d["sets"] if s["state"] not in ("aborted", "trashed", "broken")))'
}

sources_marks()
{
    echo "$(marks_of "$SOURCES_AT" 1)$(marks_of "$SOURCES_AT" 2)"
}

# No snapshot, no set, no LUN, no mark on a source.
nothing_left() # PORT
{
    # shellcheck disable=SC2034  # prove prints it
    WHY="snapshots: $(snapshot_count), sets: $(set_states), LUNs: $(snapshot_luns "$1"), marks: $(sources_marks)"
    [ "$(snapshot_count)" = 0 ] && [ -z "$(set_states)" ] && [ -z "$(snapshot_luns "$1")" ] &&
        [ "$(sources_marks)" = 00000000000000000000000000000000 ]
}

# What a server holds of a set that nobody could abort ends with its lease: it is not created, and nothing is served of it.
only_leased()
{
    # shellcheck disable=SC2034  # prove prints it
    WHY="sets: $(set_states), LUNs: $(snapshot_luns "$PORT"), marks: $(sources_marks)"
    [[ ! " $(set_states) " =~ \ (created|imported|masked)\  ]] && [ -z "$(snapshot_luns "$PORT")" ] &&
        [ "$(sources_marks)" = 00000000000000000000000000000000 ]
}

abort_the_leased()
{
    local name
    for name in $(quietly_tarn set list --json |
        json '" ".join(s["name"] for s in d["sets"] if s["state"] not in ("aborted", "trashed"))'); do
        quietly_tarn set abort "$name" > /dev/null || return 1
    done
}

jobs_ended()
{
    quietly_tarn job list --json | json 'all(j["state"] not in ("running", "queued", "paused") for j in d["jobs"])' |
        grep -q True
}
