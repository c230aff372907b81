#!/bin/bash
# A host enrols by a code and from then on makes its shadow copies with a credential of its own: what it may, what it
# may not, and what is left when the credential ends.
set -eu
WORK_SIZE=2G
# shellcheck source=tests/system/functions.sh
. "$(dirname "$0")/functions.sh"
requires mkfs.ext4 losetup fsfreeze python3 "${TARN_BUILD:-build}/src/tarnd/tarnd" "${TARN_BUILD:-build}/src/cli/tarn"
enter_world "$0" "$@"

HOST=$WORK/host.json
OUT=$WORK/out
A=$WORK/a

as_host() # ARGUMENTS...: what it said is in OUT
{
    STATUS=0
    quietly_tarn --config "$HOST" "$@" > "$OUT" 2>&1 || STATUS=$?
}

ended_with() # STATUS
{
    WHY="it ended with $STATUS: $(cat "$OUT")"
    [ "$STATUS" = "$1" ]
}

redeem() # CODE-FILE OUTPUT
{
    STATUS=0
    quietly_tarn host redeem --code-file "$1" --output "$2" > "$OUT" 2>&1 || STATUS=$?
}

code_for() # HOST ARGUMENTS...
{
    quietly_tarn host enrol "$@" --json | json 'd["code"]'
}

is_secret() # FILE
{
    equal "$(stat -c %a "$1")" 600
}

key_is_nowhere() # not in the server's files, not in its log
{
    local key
    key=$(json 'd["key"]' < "$HOST")
    WHY="the key, or the code's secret, was found"
    ! grep -rqF -e "$key" -e "$(sed 's/.*+//' "$WORK/code")" "$WORK/state" "$WORK/log"
}

set_says() # NAME FIELD VALUE
{
    equal "$(quietly_tarn set show "$1" --json | json "d['$2']")" "$3"
}

audit_has() # ACTOR VERB RESULT
{
    equal "$(quietly_tarn audit list --actor "$1" --verb "$2" --json | json 'd["records"][0]["result"]')" "$3"
}

chapter "A server, a host with one disk, and a disk of somebody else"
write_tarn_conf
start_tarnd
cleanup_push stop tarnd
truncate -s 100M "$WORK/a.img"
mkfs.ext4 -q -F "$WORK/a.img"
mkdir -p "$A"
mount -o loop "$WORK/a.img" "$A"
cleanup_push umount "$A"
cleanup_push fsfreeze -u "$A"
tarn pool create main --file "$WORK/main.pool" --size 128M --sparse > /dev/null 2>&1
tarn disk create data --size 32M > /dev/null
tarn disk create other --size 32M > /dev/null
tarn host create db1 --initiator "$INITIATOR" --auth none > /dev/null
tarn map add db1 data > /dev/null

chapter "Enrolment"
code_for db1 > "$WORK/code"
redeem "$WORK/code" "$HOST"
prove a_host_enrols_by_its_code ended_with 0
prove the_credential_is_for_its_owner_only is_secret "$HOST"
redeem "$WORK/code" "$WORK/second.json"
prove a_code_is_good_once ended_with 5
prove neither_key_nor_secret_is_in_the_servers_files_or_log key_is_nowhere

chapter "What it may do"
as_host shadow create "$A=data" --name nightly
prove a_host_makes_a_shadow_copy_with_its_credential_alone ended_with 0
prove the_set_is_created set_says nightly state created
prove the_set_belongs_to_the_host set_says nightly owner db1
prove the_record_names_the_host audit_has host:db1 set_finish OK
as_host shadow create "$A=other" --name stolen
prove a_disk_of_somebody_else_is_refused ended_with 5
as_host disk create x --size 1M
prove what_is_not_for_hosts_is_refused ended_with 5
prove the_refusal_is_recorded audit_has host:db1 disk_create DENIED
stop_tarnd
start_tarnd
as_host set show nightly
prove the_credential_outlives_a_restart_of_the_server ended_with 0
as_host shadow delete nightly
prove a_host_deletes_its_own_copy ended_with 0

chapter "The end of a credential"
code_for db1 --replace > "$WORK/code"
redeem "$WORK/code" "$WORK/new.json"
as_host set list
prove a_replaced_credential_is_refused ended_with 5
HOST=$WORK/new.json
as_host set list
prove its_successor_works ended_with 0
tarn credential revoke "$(json 'd["credential"]' < "$HOST")" > /dev/null
as_host set list
prove a_revoked_credential_is_refused ended_with 5
prove the_audit_is_whole quietly_tarn audit verify

finish
