# machine.sh - a host's disks for tests of VSS: standin_host has the iSCSI session of a host, standin_io uses it.
# shellcheck shell=bash
#
#     . machine.sh
#     machine_start win1 7301 "$INITIATOR" "$CHAP_USER"    # log/win1.log says what the host met
#     make_windows_disk "$WORK/image" report.txt FILE...   # GPT by sgdisk, NTFS by mkntfs, with files
#     io 7301 put 1 0 "$WORK/image"
#     volume_of 7301 1 "$WORK/volume"                      # the volume of LUN 1, as a file for ntfscat
#
# Volumes begin at block VOLUME_FIRST of disks of 32 MiB, and have VOLUME_BLOCKS.

VOLUME_FIRST=4096 VOLUME_BLOCKS=32768
SLOTS=64 # of 512 bytes, in the file numbers.dat of each volume

machine_requires()
{
    local program
    for program in sgdisk mkntfs ntfscp ntfscat ntfscluster python3; do
        command -v "$program" > /dev/null || skip_all "needs $program (tools/deps install check)"
    done
    [ -x "$TARN_BUILD/tests/system/standin_host" ] || skip_all "needs libiscsi-dev and a native build (./check makes it)"
}

machine_start() # NAME PORT INITIATOR USER
{
    spawn "$1" standin_host "$2" "$ISCSI" "$TARGET" "$3" "$4" "$CHAP_FILE"
    wait_until 20 "the host $1 to be ready" grep -q '^ready' "$WORK/log/$1.log" || die "$WHY"
}

io() # PORT COMMAND...
{
    timeout -k 2 60 standin_io "$@"
}

# What it says goes into SAID.
io_says() # TEXT PORT COMMAND...
{
    local wanted=$1
    shift
    SAID=$(io "$@") || true
    # shellcheck disable=SC2034  # prove prints it
    WHY="it said: $SAID"
    [[ $SAID == *"$wanted"* ]]
}

# A disk as Windows sets one up: a reserved partition, and an NTFS volume with the files, and numbers.dat.
make_windows_disk() # IMAGE FILE...
{
    local image=$1 file
    shift
    rm -f "$image" "$WORK/ntfs"
    truncate -s 32M "$image"
    truncate -s $((VOLUME_BLOCKS * 512)) "$WORK/ntfs"
    sgdisk -n 1:2048:4095 -t 1:0C01 -n "2:$VOLUME_FIRST:+$((VOLUME_BLOCKS / 2))K" -t 2:0700 -c 2:Data "$image" > /dev/null
    mkntfs -F -Q -q -s 512 -p "$VOLUME_FIRST" -H 16 -S 63 "$WORK/ntfs" > /dev/null 2>&1
    head -c $((SLOTS * 512)) /dev/zero > "$WORK/numbers.dat"
    for file in "$WORK/numbers.dat" "$@"; do
        ntfscp "$WORK/ntfs" "$file" "${file##*/}" > /dev/null 2>&1
    done
    NUMBERS_FIRST=$((VOLUME_FIRST + $(first_block_of "$WORK/ntfs" numbers.dat)))
    dd if="$WORK/ntfs" of="$image" bs=512 seek="$VOLUME_FIRST" conv=notrunc status=none
}

# Where a file of one extent begins in the volume (clusters of 4 KiB).
first_block_of() # VOLUME NAME
{
    ntfscluster -F "$2" "$1" 2> /dev/null | awk 'NF == 3 && $1 == 0 && $2 ~ /^[0-9]+$/ { print $2 * 8 }'
}

volume_of() # PORT LUN FILE
{
    io "$1" get "$2" "$VOLUME_FIRST" "$VOLUME_BLOCKS" "$3"
}

file_of() # VOLUME NAME
{
    ntfscat "$1" "$2" 2> /dev/null
}

# The table of the LUN, judged by sgdisk, which wants the whole disk.
table_is_sound() # PORT LUN
{
    io "$1" get "$2" 0 65536 "$WORK/whole" || return 1
    # shellcheck disable=SC2034  # prove prints it
    WHY=$(sgdisk -v "$WORK/whole" 2>&1 | tail -n 4)
    [[ $WHY == *"No problems found"* ]]
}

marks_of() # PORT LUN: of the volume's partition
{
    io "$1" table "$2" | awk -v first="$VOLUME_FIRST" '$2 == first { print $4 }'
}

# The newest number in the numbers.dat of a volume, if the whole file is what it was then.
newest_number() # VOLUME
{
    file_of "$1" numbers.dat > "$WORK/numbers.got"
    standin_io 0 numbered "$WORK/numbers.got" "$SLOTS"
}

# Numbers are written into both volumes: to A, flushed, then to B.  So a cut has in B what A has, or one less.
numbers_agree() # VOLUME_A VOLUME_B
{
    local a b
    a=$(newest_number "$1") || true
    b=$(newest_number "$2") || true
    # shellcheck disable=SC2034  # prove prints it
    WHY="A is of the time of \"$a\", B of \"$b\""
    NEWEST=$a
    [[ $a =~ ^[1-9][0-9]*$ && $b =~ ^[0-9]+$ ]] && ((a == b || a == b + 1))
}

numbers_start() # NAME PORT LUN_A LUN_B
{
    spawn "$1" standin_io "$2" number "$3" "$NUMBERS_FIRST" "$4" "$NUMBERS_FIRST" "$SLOTS"
}
