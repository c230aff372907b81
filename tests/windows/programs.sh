#!/usr/bin/env bash
# programs.sh - the programs for Windows, as Debian's mingw builds them, run under Wine, and need no library but Windows'.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"

readonly PROGRAM=$WINDOWS_BUILD/windows/provider/tarn-vss.exe REQUESTER=$WINDOWS_BUILD/windows/shadow/tarn-shadow.exe

# Only what every Windows has: nothing to ship beside the program.
imports_only_windows() # PROGRAM
{
    local dlls
    dlls=$(x86_64-w64-mingw32-objdump -p "$1" | sed -n 's/.*DLL Name: //p' | tr 'A-Z\n' 'a-z ')
    # shellcheck disable=SC2034  # prove prints it
    WHY="it needs: $dlls"
    for dll in $dlls; do
        [[ " kernel32.dll msvcrt.dll advapi32.dll ole32.dll oleaut32.dll user32.dll winhttp.dll bcrypt.dll crypt32.dll \
            rpcrt4.dll shell32.dll cabinet.dll " == *" $dll "* ]] || return 1
    done
}

without_vssapi()
{
    ! x86_64-w64-mingw32-objdump -p "$REQUESTER" | grep -qi 'DLL Name: vssapi'
}

# Of the acceptance command what can run here: it goes on to its end, whatever is missing, and collects all.
accept_collects()
{
    wine 120 windows/system32/cmd.exe /c 'C:\run.cmd' code 127.0.0.1 C: iqn.2026-11.example:target \
        name the-secret > /dev/null && return 1
    # shellcheck disable=SC2034  # prove prints it
    WHY="it has: $(grep '^====' "$DRIVE_C/accept.txt" | tr -d '\r' | tr '\n' ' ')"
    [ "$(grep -c '^====' "$DRIVE_C/accept.txt")" = 13 ] && [ "$(grep -c '^status [0-9]' "$DRIVE_C/accept.txt")" = 8 ] &&
        ! grep -q the-secret "$DRIVE_C/accept.txt"
}

wine_begin
wine_install "$PROGRAM" "$REQUESTER"
prove "tarn-vss runs and tells its version" runs "tarn-vss 0." tarn-vss.exe version
prove "its help is an answer" runs "tarn-vss(8)" tarn-vss.exe --help
prove "what it does not know is refused with the usage" ends_with 2 tarn-vss.exe nonsense
prove "and so are arguments that a command has not" refuses "usage: tarn-vss log [--follow" tarn-vss.exe log --nonsense
prove "it needs no library that Windows does not have" imports_only_windows "$PROGRAM"
prove "tarn-shadow runs and tells how it is used" runs "runs a DiskShadow script" tarn-shadow.exe --help
prove "what it does not know is refused with the usage" ends_with 2 tarn-shadow.exe nonsense
prove "it needs no library that Windows does not have" imports_only_windows "$REQUESTER"
prove "and binds VSS when it runs, as requesters do" without_vssapi
wine_install "$TARN_ROOT"/windows/accept/run.cmd
prove "the acceptance command says how it is called" ends_with 2 windows/system32/cmd.exe /c 'C:\run.cmd'
prove "it collects its parts in one file, without the secret, and does not call that a success" accept_collects
finish
