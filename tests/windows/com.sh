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

gone()
{
    ! wine 60 windows/system32/reg.exe query 'HKLM\SOFTWARE\Classes\CLSID\{5C3BE0F8-1D6A-4B0E-8F5D-3A7E2C914B66}' > /dev/null
}

wine_begin
wine_install "$WINDOWS_BUILD/windows/provider/tarn-vss.exe" "$WINDOWS_BUILD/windows/standin/vssps.dll" \
    "$WINDOWS_BUILD/windows/standin/com_probe.exe" "$WINDOWS_BUILD/windows/standin/crypto_probe.exe" \
    "$WINDOWS_BUILD/windows/standin/register_probe.exe"
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
prove "a Windows without VSS is told" says "no Volume Shadow Copy service" tarn-vss.exe register
prove "and nothing of the class is left" gone
install_vssapi
prove "so is a client Windows" says "Windows Server" tarn-vss.exe register
product_type ServerNT
prove "tarn-vss registers its service and class, and with VSS" runs "registered" tarn-vss.exe register
prove "again is fine" runs "registered" tarn-vss.exe register
prove "VSS has the provider, once" equal "$(providers)" 1
prove "the stand-in's proxy is registered" runs "" windows/system32/regsvr32.exe /s 'C:\vssps.dll'
relay message_probe.exe
relay com_probe.exe
relay crypto_probe.exe
relay register_probe.exe
prove "every call is in the trace, with its state" traced 'EndPrepareSnapshots 80042306 state=failed'
prove "a veto has its event, with what to do" traced 'event: .* What to do: '
prove "the service stops" runs "" windows/system32/net.exe stop TarnVss
prove "tarn-vss unregisters all" runs "unregistered" tarn-vss.exe unregister
prove "VSS has it no more" equal "$(providers)" 0
prove "and nothing of the class is left" gone
prove "again is fine" runs "unregistered" tarn-vss.exe unregister
finish
