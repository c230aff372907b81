# functions.sh - Wine for the tests of the Windows programs: a prefix of the run's own, and its end.
# shellcheck shell=bash
#
#     . functions.sh
#     wine_begin                     # skips the whole test, with the reason, where there is no Wine
#     prove "it runs" runs "text" tarn-vss.exe version
#     finish
#
# Everything lives in WINE_DIR, a directory of its own, and ends with the script: the processes of Wine belong to
# the wineserver of that prefix, and to no other.

. "$(dirname "${BASH_SOURCE[0]}")/../system/functions.sh"

# The native programs: of the build that ./check made before, or of the one that was named.
TARN_BUILD=${TARN_NATIVE:-$TARN_ROOT/build/gcc}
export WINDOWS_BUILD=${WINDOWS_BUILD:-$TARN_ROOT/build/windows} TARN_NATIVE=$TARN_BUILD
WINE=(/usr/lib/wine/wine64)
# Wine's loader has a fixed place, and the kernel puts its heap anywhere in the GiB behind it: now and then over the page
# 0x7ffe0000, which Wine must have.  Then the program ends with the status 1 and, by WINEDEBUG=-all, without a word.  Not
# randomised, the heap begins right behind the loader.  Processes that Wine starts inherit that.
! setarch -R true 2> /dev/null || WINE=(setarch -R "${WINE[@]}")
WINESERVER=/usr/lib/wine/wineserver64
export WINEARCH=win64 WINEDEBUG=${WINEDEBUG:--all}
export WINEDLLOVERRIDES='mscoree,mshtml,winemenubuilder.exe,winedbg.exe=d;vssapi=n,b'
unset DISPLAY

wine_end()
{
    [ -z "${WINE_DIR:-}" ] || {
        timeout 60 "$WINESERVER" -k -w 2> /dev/null || true
        rm -rf "$WINE_DIR"
    }
}

# A world (enter_world) in which Wine's end is seen to, for what needs a tarnd.
enter_native_world() # SCRIPT ARGUMENTS...
{
    [ -x "$TARN_BUILD/src/tarnd/tarnd" ] || skip_all "needs a native build (./check makes it; or set TARN_NATIVE)"
    enter_world "$@"
    IN_WORLD=yes
}

# A fresh prefix; its server is stopped once, because services that COM starts fail in one that was just made.
wine_begin()
{
    [ -x "${WINE[-1]}" ] || skip_all "needs wine64 (tools/deps install windows)"
    WINE_DIR=$(mktemp -d ${IN_WORLD:+-p "$WORK"})
    export WINEPREFIX=$WINE_DIR/prefix
    if [ -n "${IN_WORLD:-}" ]; then
        cleanup_push wine_end
    else
        trap wine_end EXIT
        trap 'exit 143' INT TERM HUP
    fi
    timeout 120 "${WINE[@]}" wineboot -i > "$WINE_DIR/wineboot.log" 2>&1 ||
        die "wineboot failed: $(tail -n 3 "$WINE_DIR/wineboot.log")"
    timeout 60 "$WINESERVER" -k -w || true
    timeout 60 "$WINESERVER" -p60
    DRIVE_C=$WINEPREFIX/drive_c
}

# Written beside and renamed: a program that runs keeps its own file.
wine_install() # FILE...
{
    local file
    for file in "$@"; do
        cp "$file" "$DRIVE_C/.new"
        mv "$DRIVE_C/.new" "$DRIVE_C/${file##*/}"
    done
}

# The stand-in for the VSS service, where Windows has its own.
install_vssapi()
{
    cp "$WINDOWS_BUILD/windows/standin/vssapi.dll" "$DRIVE_C/windows/system32/vssapi.dll.new"
    mv "$DRIVE_C/windows/system32/vssapi.dll.new" "$DRIVE_C/windows/system32/vssapi.dll"
    prove "the stand-in for VSS is registered" runs "" windows/system32/regsvr32.exe /s vssapi.dll
}

# What Windows it is: ServerNT, or WinNT for a client.
product_type() # TYPE
{
    prove "Windows is of the type $1" runs "" windows/system32/reg.exe add \
        'HKLM\SYSTEM\CurrentControlSet\Control\ProductOptions' /v ProductType /t REG_SZ /d "$1" /f
}

windows_build() # NUMBER
{
    prove "its build is $1" runs "" windows/system32/reg.exe add \
        'HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion' /v CurrentBuildNumber /t REG_SZ /d "$1" /f
}

wine() # SECONDS PROGRAM ARGUMENTS...: on drive C; carriage returns are taken off what it says
{
    local seconds=$1 program=$2 status=0
    shift 2
    (cd "$DRIVE_C" && timeout "$seconds" "${WINE[@]}" "C:\\$program" "$@") > "$WINE_DIR/out" 2>&1 || status=$?
    tr -d '\r' < "$WINE_DIR/out"
    return "$status"
}

# The program ends with 0 and says so.  An exit status alone proves little under Wine.
runs() # TEXT PROGRAM ARGUMENTS...
{
    local text=$1 said status=0
    shift
    said=$(wine 60 "$@") || status=$?
    # shellcheck disable=SC2034  # prove prints it
    WHY="status $status, and it said: $said"
    [ "$status" = 0 ] && [[ $said == *"$text"* ]]
}

ends_with() # STATUS PROGRAM ARGUMENTS...
{
    local wanted=$1 said status=0
    shift
    said=$(wine 60 "$@") || status=$?
    # shellcheck disable=SC2034  # prove prints it
    WHY="status $status, and it said: $said"
    [ "$status" = "$wanted" ]
}

# It was called wrongly, and the program says so.
refuses() # TEXT PROGRAM ARGUMENTS...
{
    local text=$1
    shift
    ends_with 2 "$@" && [[ $WHY == *"$text"* ]]
}

# The points of a program that prints TAP become ours.  Without its plan it did not come to its end.
relay() # PROGRAM ARGUMENTS...
{
    local line said planned=no
    said=$(wine 120 "$@" || true)
    while IFS= read -r line; do
        case $line in
        'ok '*) prove "${line#*- }" true ;;
        'not ok '*) prove "${line#*- }" false ;;
        '1..'*) planned=yes ;;
        *) say "${line#\# }" ;;
        esac
    done <<< "$said"
    prove "$1 came to its end" equal "$planned" yes
}
