#!/usr/bin/env bash
# gpt.sh - what VSS leaves on a cut, on a disk that sgdisk partitioned and mkntfs formatted: outside of VSS the volume is
# visible and writable in what is made of the cut, and the cut itself never changes.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"
PATH=$PATH:/usr/sbin:/sbin
requires python3 qemu-storage-daemon
for program in sgdisk mkntfs ntfscp ntfscat ntfsinfo; do
    command -v "$program" > /dev/null || skip_all "needs $program (tools/deps install check)"
done
enter_world "$0" "$@"

readonly SECTOR=4096 SECTORS=32768 # where the volume is, in sectors of 512

# A disk as Windows sets one up, with a file on its volume; made beside, and copied to the LUN.
make_windows_disk()
{
    truncate -s 32M "$WORK/image"
    truncate -s 16M "$WORK/ntfs"
    sgdisk -n 1:2048:4095 -t 1:0C01 -n "2:$SECTOR:+16M" -t 2:0700 -c 2:Data "$WORK/image" > /dev/null
    mkntfs -F -Q -q -s 512 -p "$SECTOR" -H 16 -S 63 "$WORK/ntfs" > /dev/null 2>&1
    seq 1 50000 > "$WORK/report.txt"
    ntfscp "$WORK/ntfs" "$WORK/report.txt" report.txt > /dev/null 2>&1
    dd if="$WORK/ntfs" of="$WORK/image" bs=512 seek="$SECTOR" conv=notrunc status=none
    timeout 60 dd if="$WORK/image" of="$LUNS/source" bs=1M conv=notrunc,fsync status=none
}

# As VSS does before the commit, and after it.
mark() # set|clear
{
    timeout 60 sgdisk -A "2:$1:60" -A "2:$1:61" -A "2:$1:62" -A "2:$1:63" "$LUNS/source" > /dev/null
    sync "$LUNS/source"
}

flags() # LUN NAME
{
    sgdisk -i 2 "$LUNS/$1" 2> /dev/null | sed -n 's/^Attribute flags: //p'
}

table_is_sound() # LUN NAME
{
    # shellcheck disable=SC2034  # prove prints it
    WHY=$(sgdisk -v "$LUNS/$1" 2>&1 | tail -n 4)
    [[ $WHY == *"No problems found"* ]]
}

# The volume opens, is clean, and has the file.
volume_reads_back() # LUN NAME
{
    dd if="$LUNS/$1" of="$WORK/volume" bs=512 skip="$SECTOR" count="$SECTORS" status=none
    # shellcheck disable=SC2034  # prove prints it
    WHY=$(ntfsinfo -m "$WORK/volume" 2>&1 | tail -n 2)
    ntfsinfo -m "$WORK/volume" > /dev/null 2>&1 && ntfscat "$WORK/volume" report.txt 2> /dev/null | cmp -s - "$WORK/report.txt"
}

serve() # NAME LUN ARGUMENTS...: one more LUN for the host, attached
{
    local name=$1 lun=$2
    shift 2
    tarn map add db1 "$@" --lun "$lun" > /dev/null
    lun_attach "$name" "$lun" ro
    cleanup_push lun_detach "$name"
}

unserve() # NAME LUN
{
    lun_detach "$1"
    tarn map remove db1 "$2" > /dev/null
}

chapter "A disk that sgdisk partitioned and mkntfs formatted"
start_server 256M
tarn disk create disk --size 32M > /dev/null
tarn host create db1 --initiator "$INITIATOR" --os linux --auth chap --chap-secret-file "$CHAP_FILE" > /dev/null
tarn map add db1 disk --lun 1 > /dev/null
lun_attach source 1
cleanup_push lun_detach source
make_windows_disk
prove "the table is sound" table_is_sound source

chapter "A set cut as VSS does it: marked before the commit, unmarked after it"
tarn set prepare disk --name shot-set --vss > /dev/null
mark set
for verb in arm commit; do quietly_tarn set "$verb" shot-set > /dev/null; done
mark clear
for verb in confirm finish; do quietly_tarn set "$verb" shot-set > /dev/null; done
tarn snapshot rename shot-set-disk shot > /dev/null
prove "the source has no marks any more" equal "$(flags source)" 0000000000000000

chapter "What is made of the cut"
tarn snapshot branch shot work > /dev/null
serve work 2 --disk work
prove "a branch: the marks are off" equal "$(flags work)" 0000000000000000
prove "in both tables, with all checksums" table_is_sound work
prove "and the volume reads back" volume_reads_back work
unserve work 2

tarn snapshot branch shot marked --keep-vss-flags > /dev/null
serve marked 3 --disk marked
prove "with --keep-vss-flags the marks are there" equal "$(flags marked)" F000000000000000
prove "in a sound table" table_is_sound marked
before=$(sha256sum < "$LUNS/marked")
unserve marked 3

tarn snapshot verify shot > /dev/null
serve shot 4 --snapshot shot
prove "served write-protected to a host that is not Windows: the marks are off" equal "$(flags shot)" 0000000000000000
prove "in both tables, with all checksums" table_is_sound shot
prove "and the volume reads back" volume_reads_back shot
unserve shot 4
prove "the cut itself is what it was: it verifies" tarn snapshot verify shot

serve shot 6 --snapshot shot --keep-vss-flags
prove "with --keep-vss-flags it is the cut itself, marks and all" equal "$(sha256sum < "$LUNS/shot")" "$before"
unserve shot 6

lun_detach source
tarn disk revert disk --to shot --force > /dev/null
lun_attach source 1
prove "the source reverted: the marks are off" equal "$(flags source)" 0000000000000000
prove "in both tables, with all checksums" table_is_sound source
prove "and the volume reads back" volume_reads_back source

# A Windows host gets a branch of its own, as every requester but VSS itself wants it.
readonly WINDOWS=iqn.1991-05.com.microsoft:win1
tarn host create win1 --initiator "$WINDOWS" --os windows --auth chap --chap-secret-file "$CHAP_FILE" > /dev/null
tarn map add win1 --snapshot shot --lun 4 > /dev/null
CHAP_USER=win1 INITIATOR=$WINDOWS lun_attach windows 4
cleanup_push lun_detach windows
prove "served to a Windows host: the marks are off" equal "$(flags windows)" 0000000000000000
prove "in both tables, with all checksums" table_is_sound windows
prove "and the volume reads back" volume_reads_back windows
lun_detach windows
tarn map remove win1 4 > /dev/null

tarn snapshot branch shot again --keep-vss-flags > /dev/null
serve again 5 --disk again
prove "the cut itself never changed" equal "$(sha256sum < "$LUNS/again")" "$before"
finish
