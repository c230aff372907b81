#!/usr/bin/env bash
# msi.sh - the installer on a Windows Server (as far as the registry of a Wine prefix makes one): silent installation with
# enrolment at a real tarnd, repair, upgrade, a failing action, removal; and the commands of the installed provider.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"
requires python3 qemu-storage-daemon
[ -e "$WINDOWS_BUILD/windows/msi/tarn.msi" ] || skip_all "needs wixl and msibuild (tools/deps install windows)"
enter_native_world "$0" "$@"

readonly HERE='Program Files/Tarn' PROGRAM='Program Files\Tarn\tarn-vss.exe'

# msiexec goes on when its caller has ended only for the services; its own status is the low byte of the error.
msi() # STATUS ARGUMENTS...
{
    local wanted=$1 said status=0
    shift
    said=$(wine 120 windows/system32/msiexec.exe "$@" /qn) || status=$?
    # shellcheck disable=SC2034  # prove prints it
    WHY="status $status, and it said: $said"
    [ "$status" = "$wanted" ]
}

key_is_there() # KEY
{
    wine 60 windows/system32/reg.exe query "$1" > /dev/null
}

readonly SERVICE_KEY='HKLM\SYSTEM\CurrentControlSet\Services\TarnVss'
readonly VSS_KEY='HKLM\SYSTEM\CurrentControlSet\Services\VSS\Providers\{B1A9A2D4-6F0C-4E57-9A63-0D9C5F4F7E21}'
readonly HOST_KEY='HKLM\SOFTWARE\Tarn\Host'
readonly SOURCE_KEY='HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\TarnVss'

all_is_there()
{
    local thing
    for thing in tarn-vss.exe tarn-shadow.exe; do
        WHY="$thing is not there"
        [ -s "$DRIVE_C/$HERE/$thing" ] || return 1
    done
    for thing in "$SERVICE_KEY" "$VSS_KEY" "$HOST_KEY" "$SOURCE_KEY"; do
        # shellcheck disable=SC2034  # prove prints it
        WHY="$thing is not there"
        key_is_there "$thing" || return 1
    done
}

nothing_is_there()
{
    local thing
    for thing in "$SERVICE_KEY" "$VSS_KEY" "$HOST_KEY" "$SOURCE_KEY" 'HKLM\SOFTWARE\Tarn\Provider'; do
        WHY="$thing is there"
        ! key_is_there "$thing" || return 1
    done
    # shellcheck disable=SC2034  # prove prints it
    WHY="files are there: $(ls "$DRIVE_C/$HERE" 2>&1)"
    [ ! -e "$DRIVE_C/$HERE/tarn-vss.exe" ] && [ ! -e "$DRIVE_C/$HERE/tarn-shadow.exe" ]
}

new_code()
{
    quietly_tarn host enrol db1 --json | json 'd["code"]'
}

registered_version()
{
    wine 60 windows/system32/reg.exe query 'HKLM\SOFTWARE\Tarn\Provider' /v Version | grep -o '[0-9.]*$'
}

# The bundle has what it should, and nothing of the key nor of the code.
bundle_is_safe()
{
    local sealed secret
    wine 120 "$PROGRAM" doctor --bundle 'C:\bundle.txt' > /dev/null || true
    sealed=$(wine 60 windows/system32/reg.exe query "$HOST_KEY" /v Key | grep -io '[0-9a-f]\{64,\}' || true)
    secret=$(cut -d+ -f4 <<< "$CODE")
    WHY="no key is stored, or the code has no secret"
    [ ${#sealed} -gt 64 ] && [ ${#secret} -ge 32 ] || return 1
    WHY="a heading is missing: $(grep -c '^====' "$DRIVE_C/bundle.txt")"
    grep -q '==== doctor' "$DRIVE_C/bundle.txt" && grep -q '==== call trace' "$DRIVE_C/bundle.txt" &&
        grep -q '==== registry' "$DRIVE_C/bundle.txt" && grep -q '==== end' "$DRIVE_C/bundle.txt" || return 1
    # shellcheck disable=SC2034  # prove prints it
    WHY="it holds a secret"
    ! grep -qiF -e "${sealed:0:64}" -e "$secret" -e "$CHAP_SECRET" -e "${CODE:0:60}" "$DRIVE_C/bundle.txt"
}

scan()
{
    lun_tool inquiry "iscsi://$CHAP_USER%$CHAP_SECRET@$ISCSI/$TARGET/1" > "$DRIVE_C/disks.txt"
}

standin_begins()
{
    runs "done" standin.exe create-vanish disks.txt 1
}

# Once more with the code, because Wine's removal of the older version takes the credential away.
upgrades_at_once()
{
    msi 0 /x 'C:\tarn-next.msi' && msi 0 /i 'C:\tarn.msi' || return 1
    CODE=$(new_code)
    msi 0 /i 'C:\tarn-next.msi' "SERVERCODE=$CODE" || return 1
    # shellcheck disable=SC2034  # prove prints it
    WHY="it is version $(registered_version)"
    [ "$(registered_version)" = 99.0.0 ] && all_is_there
}

doctor_says()
{
    local said
    said=$(wine 60 "$PROGRAM" doctor --json) || true
    # shellcheck disable=SC2034  # prove prints it
    WHY="it said: $said"
    [ "$(json 'sorted(c["check"] for c in d["checks"] if c["result"] == "wrong")' <<< "$said")" = \
        "['initiator', 'vss']" ]
}

chapter "A server, and a host that runs Windows Server"
start_server 128M
tarn disk create one --size 32M > /dev/null
tarn host create db1 --initiator "$INITIATOR" --os windows --auth chap --chap-secret-file "$CHAP_FILE" > /dev/null
tarn map add db1 one --lun 1 > /dev/null
lun_attach lun 1
cleanup_push lun_detach lun
wine_begin
cp "$WINDOWS_BUILD"/windows/msi/tarn.msi "$WINDOWS_BUILD"/windows/msi/tarn-next.msi "$DRIVE_C/"
install_vssapi
wine_install "$WINDOWS_BUILD/windows/standin/vssps.dll" "$WINDOWS_BUILD/windows/standin/standin.exe"
prove "the stand-in's proxy is registered" runs "" windows/system32/regsvr32.exe /s 'C:\vssps.dll'

chapter "A client Windows gets the commands only"
product_type WinNT
windows_build 19045
prove "it installs" msi 0 /i 'C:\tarn.msi'
prove "the programs are there" runs "tarn-vss 0." "$PROGRAM" version
prove "and no service" ends_with 1 windows/system32/reg.exe query "$SERVICE_KEY"
prove "it is removed" msi 0 /x 'C:\tarn.msi'
prove "and leaves nothing" nothing_is_there

chapter "Windows Server 2019"
product_type ServerNT
windows_build 17763
prove "a code that is good for nothing ends the installation" msi 91 /i 'C:\tarn.msi' SERVERCODE=tarn1+nonsense
prove "and nothing is left of it" nothing_is_there
CODE=$(new_code)
prove "it installs and enrols without a question" msi 0 /i 'C:\tarn.msi' "SERVERCODE=$CODE"
prove "files, service, registration, credential and events are there" all_is_there
prove "the server answers the installed provider" runs "the server answers" "$PROGRAM" status
prove "the doctor sees the server, and what Wine has not" doctor_says
prove "the doctor's bundle has no secret" bundle_is_safe

chapter "Repair"
rm "$DRIVE_C/$HERE/tarn-shadow.exe"
wine 60 windows/system32/reg.exe delete "$VSS_KEY" /f > /dev/null
prove "it is repaired" msi 0 /i 'C:\tarn.msi' REINSTALL=ALL REINSTALLMODE=amus
prove "everything is there again" all_is_there

chapter "Upgrade"
prove "the LUN is found over iSCSI" scan
prove "a requester begins a set, and goes" standin_begins
prove "the provider says that it is busy" ends_with 1 "$PROGRAM" idle
prove "no upgrade begins meanwhile" msi 91 /i 'C:\tarn-next.msi'
prove "and it is the same version" equal "$(registered_version)" "$(cut -d' ' -f2 <<< "$(wine 60 "$PROGRAM" version)")"
prove "the service is stopped" runs "" windows/system32/net.exe stop TarnVss
prove "then it is idle" runs "idle" "$PROGRAM" idle
# What Windows does by itself, and Wine without saying that it is an upgrade: the older version goes first.
prove "the older version makes room" msi 0 /x 'C:\tarn.msi' UPGRADINGPRODUCTCODE='{00000000-0000-0000-0000-000000000001}'
prove "the next version installs over it" msi 0 /i 'C:\tarn-next.msi'
prove "it is that version" equal "$(registered_version)" 99.0.0
prove "service, registration and credential are there still" all_is_there
prove "the server answers it" runs "the server answers" "$PROGRAM" status
prove "the next one by itself, over an older one" upgrades_at_once
prove "the older one does not install over it" msi 67 /i 'C:\tarn.msi'

chapter "Removal"
stop tarnd KILL
prove "it is removed, also while the server is away" msi 0 /x 'C:\tarn-next.msi'
prove "nothing is left" nothing_is_there
finish
