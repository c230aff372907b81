#!/usr/bin/env bash
# split.sh - a set is made independent while a host reads a snapshot of it, and the server is killed in the middle: the
# LUN stays, what it holds stays, and the disks that it was cut from can go.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"
requires losetup mkfs.ext4 qemu-storage-daemon python3
enter_world "$0" "$@"

sum_of() # NAME: of all files of the mounted file system
{
    (cd "$WORK/$1" && find . -type f -exec sha256sum {} + | sort | sha256sum)
}

field() # NOUN NAME EXPRESSION
{
    quietly_tarn "$1" show "$2" --json | json "$3"
}

job_done() # ID
{
    [ "$(quietly_tarn job show "$1" --json | json 'd["state"]')" = 'done' ]
}

nothing_left_over()
{
    # shellcheck disable=SC2034  # prove prints it
    WHY=$(quietly_tarn pool check main 2>&1)
    [ "$(field pool main 'd["unclaimed_count"] + d["unclaimed_disk_count"]')" = 0 ]
}

chapter "A disk with a file system, and a set of it and another"
write_tarn_conf
start_tarnd
tarn pool create main --file "$WORK/main.pool" --size 512M --sparse > /dev/null 2>&1
tarn disk create data --size 128M > /dev/null
tarn disk create wal --size 64M > /dev/null
tarn host create db1 --initiator "$INITIATOR" --auth chap --chap-secret-file "$CHAP_FILE" > /dev/null
tarn map add db1 data --lun 1 > /dev/null
# shellcheck disable=SC2034  # for lun_attach
TARGET=$(target_name)
lun_attach data 1
cleanup_push lun_detach data
lun_format data
lun_mount data
head -c 60000000 /dev/urandom > "$WORK/data/big"
seq 1 100000 > "$WORK/data/numbers"
sync -f "$WORK/data"
BEFORE=$(sum_of data)
tarn snapshot create data wal --name friday > /dev/null
rm "$WORK/data/big"
head -c 20000000 /dev/urandom > "$WORK/data/other"
sync -f "$WORK/data"

chapter "The host reads the snapshot while it becomes a disk"
tarn set import friday --host db1 > /dev/null
NUMBER=$(field snapshot friday-data 'd["maps"][0]["lun"]')
NAA=$(field snapshot friday-data 'd["naa"]')
lun_attach copy "$NUMBER" ro
cleanup_push lun_detach copy
lun_mount copy ro,noload
prove "the snapshot holds what was there at the cut" equal "$(sum_of copy)" "$BEFORE"
JOB=$(quietly_tarn set split friday --no-wait --json | json 'd["job"]["id"]')
sleep 0.1
stop tarnd KILL
start_tarnd
wait_until 60 "the job to be done" job_done "$JOB"
prove "killed in the middle, the job was finished at the next start" job_done "$JOB"
echo 3 > /proc/sys/vm/drop_caches 2> /dev/null || true
prove "the file system that the host has mounted reads the same" equal "$(sum_of copy)" "$BEFORE"
prove "the disk has the identity of the snapshot" equal "$(field disk friday-data 'd["naa"]')" "$NAA"
prove "and its LUN" equal "$(field disk friday-data 'd["maps"][0]["lun"]')" "$NUMBER"
prove "the set is broken" equal "$(field set friday 'd["state"]')" broken

chapter "The disk that it was cut from goes"
lun_umount data
lun_detach data
tarn map remove db1 1 > /dev/null
tarn disk delete data --now > /dev/null
prove "what was split off holds the same" equal "$(sum_of copy)" "$BEFORE"
prove "nothing is left over in the pool" nothing_left_over
finish
