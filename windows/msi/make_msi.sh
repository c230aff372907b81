#!/usr/bin/env bash
# make_msi.sh - builds the installer with wixl, and adds what wixl cannot say.
#
#     make_msi.sh VERSION OUTPUT WXS FILE...      the files that go into it
set -euo pipefail

version=$1 output=$2 wxs=$3
shift 3
files=$(mktemp -d)
trap 'rm -rf "$files"' EXIT
messages=
for file in "$@"; do
    "${STRIP:-x86_64-w64-mingw32-strip}" -o "$files/${file##*/}" "$file" 2> /dev/null || cp "$file" "$files/"
    case $file in *messages*) messages=${file##*/} ;; esac
done
rm -f "$output"
cp "$wxs" "$files/tarn.wxs"
output=$(cd "${output%/*}" && pwd)/${output##*/}
cd "$files" # wixl takes no absolute names of files
wixl -a x64 -D Version="$version" -D Messages="$messages" -o "$output" tarn.wxs

# Types of custom actions (msidbCustomActionType...): a program in the package 2, installed 18, of a property 50; in the
# script 1024, without impersonation 2048; rollback 256; go on when it fails 64; target not in the log 8192.
readonly ROLLBACK=$((18 + 1024 + 2048 + 256 + 64)) ROLLBACK_BINARY=$((2 + 1024 + 2048 + 256 + 64))
readonly HIDDEN=$((18 + 1024 + 2048 + 8192))
msibuild "$output" -q "UPDATE CustomAction SET Type = $ROLLBACK_BINARY WHERE Action = 'RegisterUndo'" \
    -q "UPDATE CustomAction SET Source = 'Undo' WHERE Action = 'RegisterUndo'" \
    -q "UPDATE CustomAction SET Type = $ROLLBACK_BINARY WHERE Action = 'EnrolUndo'" \
    -q "UPDATE CustomAction SET Source = 'Undo' WHERE Action = 'EnrolUndo'" \
    -q "UPDATE CustomAction SET Type = $ROLLBACK WHERE Action = 'UnregisterUndo'" \
    -q "UPDATE CustomAction SET Type = $HIDDEN WHERE Action = 'Enrol'" \
    -q "UPDATE CustomAction SET Type = 50 WHERE Action = 'Idle'" \
    -q "UPDATE CustomAction SET Source = 'INSTALLEDPROGRAM' WHERE Action = 'Idle'" \
    -q "UPDATE Property SET Value = 'WIX_DOWNGRADE_DETECTED;WIX_UPGRADE_DETECTED;SERVERCODE' WHERE Property = 'SecureCustomProperties'" \
    -q "INSERT INTO Property (Property, Value) VALUES ('MsiHiddenProperties', 'SERVERCODE;Enrol')" \
    -q "UPDATE InstallExecuteSequence SET Sequence = 1501 WHERE Action = 'RemoveExistingProducts'"
