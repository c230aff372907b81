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
    "$WINDOWS_BUILD/windows/standin/com_probe.exe" "$WINDOWS_BUILD/windows/standin/crypto_probe.exe"
wine_install "$WINDOWS_BUILD"/windows/messages/tarn-vss-messages-*.dll \
    "$WINDOWS_BUILD/windows/messages/message_probe.exe"
prove "tarn-vss registers its service and class" runs "registered" tarn-vss.exe register
prove "again is fine" runs "registered" tarn-vss.exe register
prove "the stand-in's proxy is registered" runs "" windows/system32/regsvr32.exe /s 'C:\vssps.dll'
relay message_probe.exe
relay com_probe.exe
relay crypto_probe.exe
prove "every call is in the trace, with its state" traced 'EndPrepareSnapshots 80042306 state=failed'
prove "a veto has its event, with what to do" traced 'event: .* What to do: '
prove "the service stops" runs "" windows/system32/net.exe stop TarnVss
prove "tarn-vss unregisters both" runs "unregistered" tarn-vss.exe unregister
prove "and nothing of the class is left" gone
prove "again is fine" runs "unregistered" tarn-vss.exe unregister
finish
