#!/usr/bin/env bash
# vm_test.sh - where a machine allows no mounts, the system tests run in a virtual machine: chosen by itself, also for
# a user who is not root, with the status of what ran, and nothing left when it is killed.  That the main job works there,
# with the kernel's initiator, is main_job_vm.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"

# Inside: where it is, and whether that is a place with mounts, loop devices and FUSE.
if [ "${1:-}" = inside ]; then
    enter_world "$0" "$@"
    echo "kernel $(uname -r)"
    echo "mount $(findmnt -no FSTYPE "$WORK") $(findmnt -no SOURCE "$WORK")"
    if [ -n "${GUEST_ASK_FD:-}" ]; then # a question in two parts, with longer between them than guest/run waits
        printf ti >&"$GUEST_ASK_FD"
        sleep 2.5
        echo me >&"$GUEST_ASK_FD"
        read -r -u "$GUEST_ASK_FD" answer
        echo "answer $answer"
    fi
    if [ "$2" = sleep ]; then
        touch "$WORK/file"
        sleep 600
    fi
    exit "$2"
fi

DIR=$(mktemp -d)
trap 'rm -rf "$DIR"' EXIT

# Root without the right to mount, as in a container.
CONTAINER=(setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin --)

refusal() # PREFIX...
{
    "$@" bash -c '. "$1"; world_refused' bash "$TARN_ROOT/tests/system/functions.sh"
}

refused_in_container()
{
    WHY="it was not noticed"
    [ -n "$(refusal "${CONTAINER[@]}")" ]
}

inside() # STATUS PREFIX...: runs itself as a world that ends with that status
{
    local status=0 wanted=$1
    shift
    mkdir -p "$DIR/build"
    TARN_BUILD=$DIR/build timeout -k 5 280 "$@" "$0" inside "$wanted" > "$DIR/out" 2>&1 || status=$?
    WHY="status $status: $(tail -n 3 "$DIR/out")"
    [ "$status" = "$wanted" ]
}

saw() # WORDS
{
    WHY=$(cat "$DIR/out")
    grep -q "$1" "$DIR/out"
}

no_guest_left()
{
    ! compgen -G "$DIR/build/guest.*" > /dev/null && ! pgrep -f "file=$DIR/build/guest"
}

killed_guest_leaves_nothing()
{
    local pid
    TARN_BUILD=$DIR/build TARN_WORLD_KIND=vm "$0" inside sleep > "$DIR/out" 2>&1 &
    pid=$!
    disown
    wait_until 280 "the guest" grep -q '^mount' "$DIR/out" || return 1
    no_guest_left && WHY="there was no guest" && return 1
    kill -KILL "$pid"
    wait_until 20 "everything to go" no_guest_left
}

guest_there || skip_all "needs the emulator and its guest (tools/deps install vm; tools/deps unpack build/vm/guest guest)"
chapter "Which world"
if [ "$(id -u)" = 0 ]; then
    prove "root without the right to mount has no world here" refused_in_container
else
    CONTAINER=()
    prove "a user who is not root has no world here" refused_in_container
fi
if [ -z "$(refusal)" ]; then
    prove "where all is allowed the world is here" inside 0
    prove "under the kernel of this machine" saw "^kernel $(uname -r)\$"
else
    skip "where all is allowed the world is here" "$(refusal)"
fi

chapter "In a virtual machine"
prove "where it is not, the world is in a virtual machine, and its status is what comes out" inside 7 "${CONTAINER[@]}"
prove "it says so" saw "In a virtual machine, because"
prove "under Debian's kernel" saw "^kernel $(basename "$TARN_ROOT"/build/vm/guest/boot/vmlinuz-* | cut -d- -f 2-)\$"
prove "there are mounts and loop devices" saw "^mount ext4 /dev/loop"
prove "a question that comes in two parts is understood" saw "^answer ok [0-9]"
prove "nothing is left" wait_until 5 "everything to go" no_guest_left
prove "a killed virtual machine leaves nothing" killed_guest_leaves_nothing
finish
