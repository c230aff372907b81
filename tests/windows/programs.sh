#!/usr/bin/env bash
# programs.sh - the programs for Windows, as Debian's mingw builds them, run under Wine, and need no library but Windows'.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"

readonly PROGRAM=$WINDOWS_BUILD/windows/provider/tarn-vss.exe

# Only what every Windows has: nothing to ship beside the program.
imports_only_windows()
{
    local dlls
    dlls=$(x86_64-w64-mingw32-objdump -p "$PROGRAM" | sed -n 's/.*DLL Name: //p' | tr 'A-Z\n' 'a-z ')
    # shellcheck disable=SC2034  # prove prints it
    WHY="it needs: $dlls"
    for dll in $dlls; do
        [[ " kernel32.dll msvcrt.dll advapi32.dll ole32.dll oleaut32.dll user32.dll winhttp.dll bcrypt.dll crypt32.dll \
            rpcrt4.dll shell32.dll " == *" $dll "* ]] || return 1
    done
}

wine_begin
wine_install "$PROGRAM"
prove "tarn-vss runs and tells its version" runs "tarn-vss 0." tarn-vss.exe version
prove "what it does not know is refused with the usage" ends_with 2 tarn-vss.exe nonsense
prove "it needs no library that Windows does not have" imports_only_windows
finish
