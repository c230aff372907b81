#!/usr/bin/env bash
# block_device.sh - a pool on a raw block device: what is on it is not overwritten unasked, it is taken whole, and it is
# there again after a kill.  And a pool on a file: written through unless it is made sparse.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"
requires losetup mkfs.ext4 qemu-storage-daemon python3
enter_world "$0" "$@"

readonly DEVICE_BYTES=$((256 * 1024 * 1024))

# A loop device that goes when its last user goes: it is told to while we hold it open.
attach_device()
{
    truncate -s "$DEVICE_BYTES" "$WORK/device"
    DEVICE=$(losetup -f --show "$WORK/device")
    # shellcheck disable=SC2034  # open is all that it has to be
    exec {device_fd}<> "$DEVICE"
    losetup -d "$DEVICE"
}

# The command fails with that status and that word, and the device is as it was.
device_refused() # STATUS WORD TARN_ARGUMENTS...
{
    local status=0 wanted=$1 word=$2 said before
    shift 2
    before=$(sha256sum < "$DEVICE")
    said=$(quietly_tarn "$@" 2>&1) || status=$?
    WHY="status $status, and it said: $said"
    [ "$status" = "$wanted" ] && [[ $said == *"$word"* ]] || return 1
    WHY="the device is another one now"
    [ "$(sha256sum < "$DEVICE")" = "$before" ]
}

made_on_device()
{
    WHY=$(quietly_tarn pool create raw --file "$DEVICE" --overwrite 2>&1)
}

allocated_bytes() # FILE
{
    echo $(($(stat -c '%b * %B' "$1")))
}

pool_check_clean()
{
    # shellcheck disable=SC2034  # prove prints it
    WHY=$(quietly_tarn pool check raw 2>&1)
}

is_pattern()
{
    # shellcheck disable=SC2034  # prove prints it
    WHY="the LUN holds something else"
    cmp -s -n "$(stat -c %s "$WORK/pattern")" "$WORK/pattern" "$LUNS/lun"
}

chapter "A device with a file system on it"
write_tarn_conf
start_tarnd
attach_device
mkfs.ext4 -q "$DEVICE"
prove "what is on a device is not overwritten unasked" \
    device_refused 4 "not empty" pool create raw --file "$DEVICE"
prove "asked to, a pool is made on it" made_on_device
prove "the device is taken whole" equal \
    "$(quietly_tarn pool show raw --json | json 'd["size_bytes"]')" "$DEVICE_BYTES"
prove "a second pool on it is refused" device_refused 4 "" pool create again --file "$DEVICE" --overwrite

chapter "A disk on it"
tarn disk create disk --size 64M > /dev/null
tarn host create db1 --initiator "$INITIATOR" --auth chap --chap-secret-file "$CHAP_FILE" > /dev/null
tarn map add db1 disk --lun 1 > /dev/null
# shellcheck disable=SC2034  # for lun_attach
TARGET=$(target_name)
lun_attach lun 1
cleanup_push lun_detach lun
head -c 33000000 /dev/urandom > "$WORK/pattern"
timeout 60 dd if="$WORK/pattern" of="$LUNS/lun" bs=1M conv=notrunc,fsync status=none
prove "what was written is read" is_pattern
stop tarnd KILL
start_tarnd
prove "after a kill the pool is there again" equal "$(quietly_tarn pool show raw --json | json 'd["state"]')" ok
prove "and what was written" is_pattern
prove "the pool's own check finds nothing" pool_check_clean

chapter "Pools on files"
tarn pool create full --file "$WORK/full.pool" --size 64M > /dev/null 2>&1
tarn pool create thin --file "$WORK/thin.pool" --size 64M --sparse > /dev/null 2>&1
prove "a file is written through, so that it cannot run out of space later" \
    test "$(allocated_bytes "$WORK/full.pool")" -ge $((64 * 1024 * 1024))
prove "a sparse one is not" test "$(allocated_bytes "$WORK/thin.pool")" -lt $((16 * 1024 * 1024))
finish
