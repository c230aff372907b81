#!/usr/bin/env bash
# standin_disks.sh - the disks of a host for the stand-in for VSS (tests/windows/machine.sh) against a real server: what
# Windows writes, held writes, and a server that dies in between; judged by sgdisk and ntfs-3g's programs.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"
. "$(dirname "${BASH_SOURCE[0]}")/../windows/machine.sh"
machine_requires
enter_world "$0" "$@"

readonly PORT=7301 OTHER=7302 LINUX=iqn.2026-11.example:linux

log_has() # NAME PATTERN
{
    # shellcheck disable=SC2034  # prove prints it
    WHY="its log: $(tail -n 5 "$WORK/log/$1.log" | tr '\n' ';')"
    grep -q "$2" "$WORK/log/$1.log"
}

last_write() # the newest number that the volumes have now
{
    volume_of "$PORT" 1 "$WORK/a" && newest_number "$WORK/a"
}

goes_on() # FROM: the writer
{
    [ "$(last_write)" -gt "$1" ]
}

chapter "A server, a Windows host with two disks, and a Linux host"
start_server 256M
tarn host create db1 --initiator "$INITIATOR" --os windows --auth chap --chap-secret-file "$CHAP_FILE" > /dev/null
tarn host create linux --initiator "$LINUX" --os linux --auth chap --chap-secret-file "$CHAP_FILE" > /dev/null
seq 1 50000 > "$WORK/report.txt"
for lun in 1 2; do
    tarn disk create "disk$lun" --size 32M > /dev/null
    tarn map add db1 "disk$lun" --lun "$lun" > /dev/null
done
machine_start windows "$PORT" "$INITIATOR" "$CHAP_USER"
machine_start other "$OTHER" "$LINUX" linux
for lun in 1 2; do
    make_windows_disk "$WORK/image" "$WORK/report.txt"
    io "$PORT" put "$lun" 0 "$WORK/image"
done
prove "both disks are found" equal "$(io "$PORT" scan | awk '{ printf "%s %s ", $1, $2 }')" "1 65536 2 65536 "
prove "and nothing by the other host" equal "$(io "$OTHER" scan)" ""
prove "what was put is there" table_is_sound "$PORT" 1

chapter "What Windows writes"
io "$PORT" mark 1
prove "the marks are on the volume" equal "$(marks_of "$PORT" 1)" f000000000000000
prove "in a table that is sound to sgdisk" table_is_sound "$PORT" 1
io "$PORT" unmark 1
prove "and off" equal "$(marks_of "$PORT" 1)" 0000000000000000
before=$(io "$PORT" table 1 | awk '{ print $1 }')
io "$PORT" new-ids 1
prove "new ids are others" test "$before" != "$(io "$PORT" table 1 | awk '{ print $1 }')"
prove "in a table that is sound to sgdisk" table_is_sound "$PORT" 1
prove "a burst of recovery" io "$PORT" recover 1
volume_of "$PORT" 1 "$WORK/a"
prove "leaves the files as they were" cmp -s "$WORK/report.txt" <(file_of "$WORK/a" report.txt)

chapter "A cut while numbers are written"
numbers_start numbers "$PORT" 1 2
wait_until 20 "some numbers" goes_on 100 || die "$WHY"
tarn set prepare disk1 disk2 --name shot --vss > /dev/null
for verb in arm commit confirm finish; do quietly_tarn set "$verb" shot > /dev/null; done
tarn snapshot rename shot-disk1 shot1 > /dev/null
tarn snapshot rename shot-disk2 shot2 > /dev/null
tarn map add db1 --snapshot shot1 --lun 11 > /dev/null
tarn map add db1 --snapshot shot2 --lun 12 > /dev/null
prove "the snapshots' LUNs are found" io_says "
12 65536 512" "$PORT" scan
prove "the host was told that there are others" log_has windows '^attention [0-9]* 3f/0e'
volume_of "$PORT" 11 "$WORK/a"
volume_of "$PORT" 12 "$WORK/b"
prove "they are of one instant, whole files" numbers_agree "$WORK/a" "$WORK/b"
prove "and the numbers have gone on" goes_on "$NEWEST"

chapter "Held writes"
io "$PORT" hold 1500 &
holder=$!
wait_until 10 "the hold" log_has windows '^held at'
held=$(sed -n 's/^held at //p' "$WORK/log/windows.log")
volume_of "$PORT" 1 "$WORK/a"
prove "the newest number is that of the hold" equal "$(newest_number "$WORK/a")" "$held"
prove "and is still, a while later" equal "$(last_write)" "$held"
prove "another one cannot hold them" io_says "hold: error" "$PORT" hold 1
wait "$holder"
prove "released, the numbers go on" wait_until 10 "numbers" goes_on "$held"

chapter "A server that dies"
stop tarnd KILL
start_tarnd
from=$(last_write)
prove "the host finds its session again, and the numbers go on" wait_until 20 "numbers" goes_on "$from"
prove "the session was lost" log_has windows '^session lost'
stop numbers

chapter "What is refused"
tarn map add linux --snapshot shot2 --lun 5 > /dev/null
prove "a write to a write-protected LUN is a data protect" io_says "data protect" "$OTHER" mark 5
prove "as the target said it" log_has other '^refused 5 8a 07/27/00'
io "$PORT" scan > /dev/null
tarn map remove db1 11 > /dev/null
prove "a LUN that went is gone" io_says "gone" "$PORT" get 11 0 1 "$WORK/nothing"
finish
