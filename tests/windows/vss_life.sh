#!/usr/bin/env bash
# vss_life.sh - the life of shadow copies, end to end: two hosts that run Windows, a real tarnd, NTFS volumes on GPT disks
# over iSCSI, numbers that are written while shadow copies are made, tarn-shadow.exe as the requester.  First with one
# process of the provider, then with a new process for each call.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/vss.sh"
enter_vss_world "$0" "$@"

# The volumes of the snapshots' LUNs, as files in the order of the sources: $WORK/snap1, $WORK/snap2.
fetch_snapshots() # PORT
{
    local lun found=0
    rm -f "$WORK/snap1" "$WORK/snap2"
    for lun in $(snapshot_luns "$1"); do
        volume_of "$1" "$lun" "$WORK/snap"
        found=$(file_of "$WORK/snap" which.txt)
        mv "$WORK/snap" "$WORK/snap$found"
        SNAPSHOT_LUN[found]=$lun
    done
    # shellcheck disable=SC2034  # prove prints it
    WHY="the LUNs are $(snapshot_luns "$1")"
    [ -s "$WORK/snap1" ] && [ -s "$WORK/snap2" ]
}
declare -a SNAPSHOT_LUN=()

same_files() # of the snapshots, and of the volumes before
{
    cmp -s "$WORK/report1.txt" <(file_of "$WORK/snap1" report1.txt) &&
        cmp -s "$WORK/report2.txt" <(file_of "$WORK/snap2" report2.txt)
}

newest_hold()
{
    sed -n 's/^held at //p' "$WORK/log/db1.log" | tail -n 1
}

# Every write of before the hold, and none of after the release.
exactly_the_cut() # [NUMBER]: of another hold than the newest
{
    local held=${1:-$(newest_hold)}
    numbers_agree "$WORK/snap1" "$WORK/snap2" || return 1
    # shellcheck disable=SC2034  # prove prints it
    WHY="$WHY, the hold was at $held"
    [ "$NEWEST" = "$held" ]
}

disk_id() # PORT LUN
{
    io "$1" table "$2" | head -n 1
}

no_ids_twice() # PORT
{
    local lun
    for lun in 1 2 "${SNAPSHOT_LUN[@]:1}"; do io "$1" table "$lun"; done | awk '{ print $1 }' > "$WORK/ids"
    # shellcheck disable=SC2034  # prove prints it
    WHY=$(sort "$WORK/ids" | uniq -d | tr '\n' ' ')
    [ -z "$WHY" ]
}

numbers_go_on()
{
    local before
    volume_of 7301 1 "$WORK/live"
    before=$(newest_number "$WORK/live")
    wait_until 10 "new numbers" number_is_over "$before"
}

number_is_over() # NUMBER
{
    volume_of 7301 1 "$WORK/live" && (($(newest_number "$WORK/live") > $1))
}

source_goes() # with the snapshots that it has
{
    quietly_tarn disk delete disk1 --with-snapshots > /dev/null && quietly_tarn trash empty > /dev/null
}

here_and_gone() # a set on the host that makes it
{
    prove "a set is made while numbers are written" shadow create "$(volume_name "$PORT" 1)" "$(volume_name "$PORT" 2)"
    SET=$(set_of_said)
    prove "its LUNs are here" fetch_snapshots "$PORT"
    prove "with the files of the volumes" same_files
    prove "and the numbers of exactly the cut" exactly_the_cut
    prove "its volumes are marked" equal "$(marks_of "$PORT" "${SNAPSHOT_LUN[1]}")" f000000000000000
    prove "in a sound table" table_is_sound "$PORT" "${SNAPSHOT_LUN[2]}"
    prove "the volumes of the host are not" equal "$(sources_marks)" 00000000000000000000000000000000
    prove "no id is on two disks" no_ids_twice "$PORT"
    prove "the host goes on writing" numbers_go_on
    prove "it is listed" shadow list
    prove "with its id" test "$(grep -ic "${SET:-no id}" <<< "$SAID")" -ge 2
    prove "it is deleted" shadow delete --set "$SET"
    prove "and gone" nothing_left "$PORT"
}

over_to_the_other() # a set that another host imports
{
    rm -f "$DRIVE_C/set.cab"
    prove "a transportable set is made" shadow create --transportable --metadata 'C:\set.cab' \
        "$(volume_name "$PORT" 1)=one" "$(volume_name "$PORT" 2)=two"
    prove "nothing is here yet" equal "$(snapshot_luns "$PORT")" ""
    cp "$DRIVE_C/set.cab" "${VSS_PREFIX[db2]}/drive_c/set.cab"
    as_host db2
    prove "the other host imports it" shadow import 'C:\set.cab'
    SET=$(set_of_said)
    prove "its LUNs are there" fetch_snapshots "$PORT"
    prove "and not at the first" equal "$(snapshot_luns 7301)" ""
    prove "with the files of the volumes" same_files
    prove "and the numbers of exactly the cut" exactly_the_cut
    prove "it is masked" shadow mask "$SET"
    prove "and its LUNs go" equal "$(snapshot_luns "$PORT")" ""
    prove "it is imported again" shadow import 'C:\set.cab'
    prove "with the same LUNs' content" fetch_snapshots "$PORT"
    prove "of the same cut" exactly_the_cut
    OTHERS_SET=$SET OTHERS_CUT=$(newest_hold)
}

broken() # after over_to_the_other
{
    prove "it is broken" shadow break --writable "$OTHERS_SET"
    prove "and its jobs end" wait_until 60 "the jobs" jobs_ended
    prove "its LUNs are there" fetch_snapshots "$PORT"
    prove "unmarked" equal "$(marks_of "$PORT" "${SNAPSHOT_LUN[1]}")" 0000000000000000
    prove "with the numbers of exactly the cut" exactly_the_cut "$OTHERS_CUT"
    prove "the files are the cut's" same_files
    tarn map remove db1 1 > /dev/null
    prove "the source may go for good now" source_goes
    prove "they are disks of their own" fetch_snapshots "$PORT"
    prove "with the numbers of exactly the cut still" exactly_the_cut "$OTHERS_CUT"
}

chapter "A server, and two hosts of one group that run Windows"
start_server 512M
vss_host db1 7301 "$INITIATOR"
vss_host db2 7302 iqn.2026-11.example:db2
tarn group create cluster > /dev/null
for name in db1 db2; do tarn group add cluster "$name" > /dev/null; done
for lun in 1 2; do
    seq "$lun" 1000 40000 > "$WORK/report$lun.txt"
    printf %s "$lun" > "$WORK/which.txt"
    vss_disk db1 "$lun" "$WORK/report$lun.txt" "$WORK/which.txt"
done
vss_wine db1
vss_second_prefix db2
as_host db2
vss_enrol db2
as_host db1
vss_install db1
numbers_start numbers 7301 1 2
prove "numbers are written" wait_until 20 "numbers" number_is_over 200

chapter "Here and gone, with one process of the provider"
here_and_gone
chapter "Over to the other host, with one process"
over_to_the_other
prove "it is deleted there" shadow delete --set "$SET"
prove "and gone" nothing_left "$PORT"

export STANDIN_EACH_CALL=1
chapter "Over to the other host, with a new process for each call"
as_host db1
over_to_the_other

chapter "Back: resynchronisation, with a new process for each call"
as_host db1
prove "a transportable set is made" shadow create --transportable --metadata 'C:\back.cab' \
    "$(volume_name "$PORT" 1)=one" "$(volume_name "$PORT" 2)=two"
volume=$(volume_name "$PORT" 1) id=$(disk_id "$PORT" 1)
numbers_go_on
stop numbers
prove "both disks take its content" shadow resync 'C:\back.cab' %one% %two%
volume_of "$PORT" 1 "$WORK/snap1"
volume_of "$PORT" 2 "$WORK/snap2"
prove "the files are the cut's" same_files
prove "and the numbers exactly" exactly_the_cut
prove "the disk is known by its id" equal "$(disk_id "$PORT" 1)" "$id"

chapter "Broken off: disks of their own"
as_host db2
broken

chapter "The end"
as_host db1
vss_uninstall db1
finish
