#!/usr/bin/env bash
# world_test.sh - whatever a world was doing when it was killed with SIGKILL, nothing of it stays: no process, no
# loop device, no file.  The worst case is a file system that is frozen at that moment, with a writer asleep on it.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"

# Inside: a disk behind FUSE under a loop device, as in the demo, then what the case asks for, then sleep.
world() # CASE DIRECTORY
{
    truncate -s 64M "$WORK/image"
    : > "$LUNS/disk"
    spawn lun-disk qemu-storage-daemon --blockdev "driver=file,filename=$WORK/image,node-name=lun" \
        --export "fuse,id=export,node-name=lun,mountpoint=$LUNS/disk,writable=on,allow-other=off"
    wait_until 10 "the export" test -s "$LUNS/disk" || die "$WHY"
    lun_format disk
    lun_mount disk
    findmnt -no SOURCE "$WORK/disk" > "$2/device"
    case $1 in
    busy) spawn writer dd if=/dev/zero "of=$WORK/disk/file" bs=4k count=10000 oflag=dsync ;;
    frozen) fsfreeze -f "$WORK/disk" ;;
    stuck)
        fsfreeze -f "$WORK/disk"
        spawn writer sh -c "echo x > $WORK/disk/file"
        sleep 0.3
        ;;
    esac
    touch "$2/ready"
    sleep 60
}

nothing_left() # DEVICE
{
    ! losetup "$1" && [ -z "$(pgrep -f "$LUNS/disk")" ] && ! compgen -G "$TARN_BUILD/world.*"
}

killed_world_leaves_nothing() # CASE
{
    local dir pid device
    dir=$(mktemp -d)
    VOICE=tap TARN_BUILD=$dir "$0" inside "$1" "$dir" > "$dir/out" 2>&1 &
    pid=$!
    disown
    wait_until 20 "the world to be $1" test -e "$dir/ready" || { WHY="$WHY: $(tail -n 3 "$dir/out")" && return 1; }
    device=$(cat "$dir/device")
    losetup "$device" > /dev/null || { WHY="there was no loop device" && return 1; }
    kill -KILL "$pid"
    TARN_BUILD=$dir wait_until 10 "$device and its processes to go" nothing_left "$device" || return 1
    rm -r "$dir"
}

# Inside a box: a process that has left session and parent behind.
box() # DIRECTORY NUMBER
{
    setsid sleep "$2" > /dev/null 2>&1 &
    disown
    touch "$1/ready"
    sleep 60
}

killed_box_leaves_nothing()
{
    local dir number=7$$$RANDOM pid
    dir=$(mktemp -d)
    "$0" box "$dir" "$number" > "$dir/out" 2>&1 &
    pid=$!
    disown
    wait_until 20 "the box" test -e "$dir/ready" || { WHY="$WHY: $(tail -n 3 "$dir/out")" && return 1; }
    pgrep -fx "sleep $number" > /dev/null || { WHY="the box started nothing" && return 1; }
    kill -KILL "$pid"
    wait_until 10 "what it had started to go" no_process "sleep $number" || return 1
    rm -r "$dir"
}

no_process() # COMMAND LINE
{
    ! pgrep -fx "$1" > /dev/null
}

if [ "${1:-}" = box ]; then
    . "$TARN_ROOT/tools/box.sh"
    enter_box "$0" "$@"
    box "$2" "$3"
    exit 0
fi
requires qemu-storage-daemon mkfs.ext4 fsfreeze losetup python3
if [ "${1:-}" = inside ]; then
    WORK_SIZE=200M enter_world "$0" "$@"
    WORK_SIZE=200M world "$2" "$3"
    exit 0
fi
enter_guest_if_needed "$0" "$@"
prove "a world killed while it writes leaves nothing" killed_world_leaves_nothing busy
prove "a world killed while a file system is frozen leaves nothing" killed_world_leaves_nothing frozen
prove "a world killed while a writer sleeps on a frozen file system leaves nothing" killed_world_leaves_nothing stuck
prove "a killed ./check leaves no process: a box dies with all that it started" killed_box_leaves_nothing
finish
