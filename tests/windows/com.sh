#!/usr/bin/env bash
# com.sh - the provider as a service that COM starts, called from another process through marshalling: com_probe.c.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"

LOG='ProgramData/Tarn/tarn-vss.log'

traced() # PATTERN
{
    # shellcheck disable=SC2034  # prove prints it
    WHY="the log says: $(tail -n 5 "$DRIVE_C/$LOG" 2>&1)"
    grep -qE "$1" "$DRIVE_C/$LOG"
}

same_trace()
{
    wine 60 tarn-vss.exe log --normal > "$DRIVE_C/normal.txt" || return 1
    # The normal form is a trace too.
    runs "as expected" tarn-vss.exe log --compare 'C:\normal.txt' || return 1
    sed -i '0,/state=failed/s//state=idle/' "$DRIVE_C/normal.txt"
    ends_with 1 tarn-vss.exe log --compare 'C:\normal.txt'
}

doctor_json()
{
    local said
    said=$(wine 60 tarn-vss.exe doctor --json) || true
    # shellcheck disable=SC2034  # prove prints it
    WHY="it said: $said"
    [ "$(json 'd["wrong"] >= 1 and [c["result"] for c in d["checks"] if c["check"] == "vss"] == ["ok"]' <<< "$said")" = True ]
}

repaired()
{
    wine 60 windows/system32/reg.exe delete 'HKLM\SOFTWARE\Classes\CLSID\{5C3BE0F8-1D6A-4B0E-8F5D-3A7E2C914B66}' /f \
        > /dev/null || return 1
    runs "found: the COM class of the provider is not registered" tarn-vss.exe repair &&
        runs "now: the service TarnVss" tarn-vss.exe repair
}

full_trace()
{
    awk 'BEGIN { for (i = 0; i < 47000; i++)
        printf "AreLunsSupported 00000000 state=idle us=%d luns=1 context=0x0 at=2026-11-22T21:00:01.456Z\r\n", i }' \
        > "$DRIVE_C/full.txt"
    cat "$DRIVE_C/$LOG" >> "$DRIVE_C/full.txt"
    mv "$DRIVE_C/full.txt" "$DRIVE_C/$LOG"
}

# The full trace is the predecessor of a new one, and both are read, in order.
rotated()
{
    local said old=$DRIVE_C/ProgramData/Tarn/tarn-vss.old.log
    said=$(wine 60 tarn-vss.exe log) || return 1
    # shellcheck disable=SC2034  # prove prints it
    WHY="$(wc -c "$old" "$DRIVE_C/$LOG" 2>&1), lines: $(wc -l <<< "$said")"
    [ -s "$old" ] && [ "$(stat -c %s "$DRIVE_C/$LOG")" -lt 100000 ] &&
        [ "$(wc -l <<< "$said")" = "$(cat "$old" "$DRIVE_C/$LOG" | wc -l)" ] &&
        [[ $(head -n 1 <<< "$said") == *" 0.0 ms "* ]] && [[ $(tail -n 1 <<< "$said") != *"luns=1 context=0x0" ]]
}

bundled()
{
    wine 120 tarn-vss.exe doctor --bundle 'C:\bundle.txt' > /dev/null || true
    # shellcheck disable=SC2034  # prove prints it
    WHY="the bundle: $(wc "$DRIVE_C/bundle.txt" 2>&1)"
    cat "$DRIVE_C/ProgramData/Tarn/tarn-vss.old.log" "$DRIVE_C/$LOG" > "$DRIVE_C/both.txt"
    sed -n '/^==== call trace/,/^==== wevtutil/p' "$DRIVE_C/bundle.txt" | grep -ac 'state=' > "$DRIVE_C/count.txt"
    [ "$(cat "$DRIVE_C/count.txt")" = "$(grep -ac 'state=' "$DRIVE_C/both.txt")" ]
}

# Once for each start of the service, in place of what follows from it.
client_is_told()
{
    local count
    # shellcheck disable=SC2034  # prove prints it
    WHY="the log says: $(tail -n 5 "$DRIVE_C/$LOG" 2>&1)"
    count=$(grep -c 'event: This is a client Windows.*What to do: use Windows Server' "$DRIVE_C/$LOG")
    [ "$count" = 1 ]
}

once_by_doctor()
{
    local said
    said=$(wine 60 tarn-vss.exe doctor) || true
    # shellcheck disable=SC2034  # prove prints it
    WHY="it said: $said"
    [ "$(grep -c 'this is a client Windows' <<< "$said")" = 1 ] && [[ $said != *"tarn-vss repair"* ]]
}

gone()
{
    ! wine 60 windows/system32/reg.exe query 'HKLM\SOFTWARE\Classes\CLSID\{5C3BE0F8-1D6A-4B0E-8F5D-3A7E2C914B66}' > /dev/null
}

wine_begin
wine_install "$WINDOWS_BUILD/windows/provider/tarn-vss.exe" "$WINDOWS_BUILD/windows/standin/vssps.dll" \
    "$WINDOWS_BUILD/windows/standin/com_probe.exe" "$WINDOWS_BUILD/windows/standin/crypto_probe.exe" \
    "$WINDOWS_BUILD/windows/standin/register_probe.exe" "$WINDOWS_BUILD/windows/standin/trail_probe.exe"
wine_install "$WINDOWS_BUILD"/windows/messages/tarn-vss-messages-*.dll \
    "$WINDOWS_BUILD/windows/messages/message_probe.exe"
says() # TEXT PROGRAM ARGUMENTS...: and fails
{
    local text=$1 said status=0
    shift
    said=$(wine 60 "$@") || status=$?
    # shellcheck disable=SC2034  # prove prints it
    WHY="status $status, and it said: $said"
    [ "$status" = 1 ] && [[ $said == *"$text"* ]]
}
providers() # how many VSS has
{
    wine 60 windows/system32/reg.exe query 'HKLM\SYSTEM\CurrentControlSet\Services\VSS\Providers' /s |
        grep -ci '{b1a9a2d4-6f0c-4e57-9a63-0d9c5f4f7e21}$' || true
}
prove "a client Windows is told" says "this is a client Windows" tarn-vss.exe register
prove "and nothing of the class is left" gone
prove "the doctor says so once" once_by_doctor
product_type ServerNT
prove "a Windows without VSS is told" says "no Volume Shadow Copy service" tarn-vss.exe register
prove "and nothing of the class is left" gone
install_vssapi
prove "tarn-vss registers its service and class, and with VSS" runs "registered" tarn-vss.exe register
prove "again is fine" runs "registered" tarn-vss.exe register
prove "VSS has the provider, once" equal "$(providers)" 1
prove "the stand-in's proxy is registered" runs "" windows/system32/regsvr32.exe /s 'C:\vssps.dll'
relay message_probe.exe
relay com_probe.exe
relay crypto_probe.exe
relay register_probe.exe
relay trail_probe.exe
prove "every call is in the trace, with its state" traced 'EndPrepareSnapshots 80042306 state=failed'
prove "a veto has its event, with what to do" traced 'event: .* What to do: '
# Wine has none, and the doctor looks for it.
prove "a service of the name of VSS's is made" runs "" windows/system32/sc.exe create VSS binPath= 'C:\none.exe' \
    start= demand
prove "no set is being made" runs "idle" tarn-vss.exe idle
prove "the trace is shown in plain words" runs "VETO" tarn-vss.exe log
prove "the trace in its normal form is as expected of itself" same_trace
prove "the doctor says what is wrong with a host that is not enrolled" ends_with 1 tarn-vss.exe doctor
prove "and in JSON" doctor_json
prove "what is missing of the registration is put back" repaired
prove "the service stops" runs "" windows/system32/net.exe stop TarnVss
product_type WinNT
relay com_probe.exe
prove "a provider that runs on a client Windows says so, once" client_is_told
prove "the service stops" runs "" windows/system32/net.exe stop TarnVss
product_type ServerNT
full_trace
relay com_probe.exe
prove "a full trace becomes the predecessor of a new one, and both are shown" rotated
prove "the bundle has both" bundled
prove "the service stops" runs "" windows/system32/net.exe stop TarnVss
prove "tarn-vss unregisters all" runs "unregistered" tarn-vss.exe unregister
prove "VSS has it no more" equal "$(providers)" 0
prove "and nothing of the class is left" gone
prove "again is fine" runs "unregistered" tarn-vss.exe unregister
finish
