# main_job_life.sh - chapters of main_job.sh: what a shadow copy is for when something has gone wrong, and what it
# can become.  Uses what main_job.sh has made: two disks with a database, and its helpers.
# shellcheck shell=bash

readonly LUN_RESCUE=41 LUN_OWN=51
readonly CUSTOMERS=1000 LOST=417

# ---- The copy deleted, had back, deleted for good -------------------------------------------------------

pool_field() # NAME
{
    quietly_tarn pool show main --json | json "d[\"$1\"]"
}

# Every deletion is swept.  Blocks it freed may still wait for their turn to be used again (reclaiming_bytes).
pool_settled()
{
    equal "$(pool_field reclaim_pending)" False
}

at_rest()
{
    wait_until 30 "the pool to come to rest" pool_settled || die "$WHY"
}

trash_copy()
{
    local identities
    pg_stop postgres
    lun_umount wal
    lun_umount data
    at_rest
    HELD=$(pool_field data_bytes)
    identities=$(identities_of friday)
    tarn set delete friday > /dev/null
    prove "a deleted set is in the trash" in_trash friday
    prove "its snapshots are served to nobody any more" serving_refused "$SNAP_DATA"
    at_rest
    prove "and its space is still taken" equal "$(pool_field data_bytes)" "$HELD"
    tarn trash restore friday > /dev/null
    prove "restored, its snapshots have the identities that they had" equal "$(identities_of friday)" "$identities"
    tarn map add db1 "$SNAP_DATA" --lun "$LUN_COPY" > /dev/null
    lun_attach copy "$LUN_COPY" ro
    lun_mount copy ro
    prove "and the content" note_is copy "written before the shadow copy"
    lun_umount copy
    lun_detach copy
    tarn map remove db1 "$LUN_COPY" > /dev/null
}

identities_of() # SET: serial and NAA of its snapshots
{
    quietly_tarn snapshot list --json |
        json "*sorted((s[\"disk\"], s[\"serial\"], s[\"naa\"]) for s in d[\"snapshots\"] if s[\"set\"] == \"$1\")"
}

in_trash() # SET: its snapshots are, and it is no set any more
{
    WHY=$(quietly_tarn trash list)
    grep -q "^$1-pgdata " <<< "$WHY" && grep -q "^$1-pgwal " <<< "$WHY" && no_such_set "$1"
}

serving_refused() # SNAPSHOT
{
    ! WHY=$(quietly_tarn map add db1 "$1" --lun "$LUN_COPY" 2>&1)
}

delete_copy()
{
    local after
    tarn set delete friday --now > /dev/null
    at_rest
    after=$(pool_field data_bytes)
    figure "the pool held, with the copy" "$HELD bytes ($(human "$HELD"))"
    figure "and holds without it" "$after bytes ($(human "$after"))"
    figure "given back" "$((HELD - after)) bytes ($(human $((HELD - after))))"
    prove "the copy held space, and gave some back" test "$HELD" -gt "$after"
    prove "what is left is exactly what the two disks map" left_is_mapped "$after"
    prove "no snapshot is left" no_snapshot_left
    prove "the pool's own check finds nothing" pool_check_clean
}

left_is_mapped() # BYTES
{
    local data wal
    data=$(timeout 60 lun_tool mapped "$(url "$LUN_DATA")")
    wal=$(timeout 60 lun_tool mapped "$(url "$LUN_WAL")")
    figure "mapped blocks, asked over iSCSI" "$data + $wal = $((data + wal)) bytes"
    equal "$((data + wal))" "$1"
}

no_snapshot_left()
{
    equal "$(quietly_tarn snapshot list --json | json 'len(d["snapshots"])')" 0
}

pool_check_clean()
{
    WHY=$(quietly_tarn pool check main 2>&1)
}

# ---- A table dropped by accident ------------------------------------------------------------------------

make_customers()
{
    sql "$PG_PORT" "create table customer (id int primary key, name text not null);
        insert into customer select i, 'customer ' || md5(i::text) from generate_series(1, $CUSTOMERS) i"
}

shadow_under_load() # NAME
{
    load_start "$CLIENTS"
    wait_until 20 "transactions" load_reaches "$SOME" || die "$WHY"
    tarn shadow create "$WORK/data=pgdata" "$WORK/wal=pgwal" --name "$1" \
        --writer "postgresql:host=127.0.0.1 port=$PG_PORT user=postgres" > /dev/null 2>&1
    prove "a shadow copy is made under load" set_is_created "$1"
    prove "the database goes on" load_goes_on
    load_stop
    wait_until 20 "the clients' ends" no_other_client || die "$WHY"
}

# A transaction that pgbench has left behind may still be on its way.
no_other_client()
{
    equal "$(sql "$PG_PORT" "select count(*) from pg_stat_activity where backend_type = 'client backend'")" 1
}

drop_table()
{
    lun_mount data
    lun_mount wal
    pg_start postgres "$PG_DATA" "$PG_PORT" || die "$WHY: $(tail -n 3 "$WORK/log/postgres.log")"
    shadow_under_load saturday
    sql "$PG_PORT" "drop table customer"
    say "drop table customer: all of its $CUSTOMERS rows are gone"
    prove "the table is gone" customers_are gone
    rescue_row
    LATER=$(pg_sums "$PG_PORT")
}

customers_are() # COUNT|gone
{
    equal "$(sql "$PG_PORT" "select count(*) from customer" 2>&1 | sed 's/.*does not exist.*/gone/' | head -n 1)" "$1"
}

# A second PostgreSQL on branches of the copy; what it has is written into the live database.
rescue_row()
{
    local port=5435 name
    branches_up rescue saturday-pgdata saturday-pgwal "$LUN_RESCUE"
    pg_start rescue "$WORK/rescue-data/pg" "$port" || die "$WHY: $(tail -n 3 "$WORK/log/rescue.log")"
    name=$(sql "$port" "select name from customer where id = $LOST")
    sql "$PG_PORT" "create table rescued as select $LOST as id, '$name'::text as name"
    pg_stop rescue
    branches_down rescue "$LUN_RESCUE"
    figure "fetched from the copy" "$LOST, $name"
    prove "one row is fetched from the copy into the live database" rescued_is "customer $(printf %s "$LOST" | md5sum | cut -c 1-32)"
}

rescued_is() # NAME
{
    equal "$(sql "$PG_PORT" "select name from rescued where id = $LOST" 2>&1)" "$1"
}

# The database down and its disks taken from the host: nobody sees their content change.
disks_away()
{
    pg_stop postgres
    local part
    for part in wal data; do
        lun_umount $part
        lun_detach $part
    done
    tarn map remove db1 "$LUN_DATA" > /dev/null
    tarn map remove db1 "$LUN_WAL" > /dev/null
}

disks_back()
{
    tarn map add db1 pgdata --lun "$LUN_DATA" > /dev/null
    tarn map add db1 pgwal --lun "$LUN_WAL" > /dev/null
    lun_attach data "$LUN_DATA"
    lun_attach wal "$LUN_WAL"
    lun_mount data
    lun_mount wal
    rm -f "$PG_DATA/postmaster.pid" # of a process of that time
    pg_start postgres "$PG_DATA" "$PG_PORT" || die "$WHY: $(tail -n 3 "$WORK/log/postgres.log")"
}

revert_disks()
{
    local start_ms
    prove "a revert under a mounted file system is refused" revert_refused
    disks_away
    tarn disk revert pgdata --to saturday --dry-run | say_lines
    start_ms=$(now_ms)
    tarn disk revert pgdata --to saturday > /dev/null
    tarn disk revert pgwal --to saturday > /dev/null
    figure "both disks were reverted in" "$(seconds_since "$start_ms") s, two commands"
    disks_back
    prove "the table is back, with all its rows" customers_are "$CUSTOMERS"
    prove "what was written after the copy is not there" sql_fails "select * from rescued"
    prove "all sums agree" pg_invariant "$PG_PORT"
}

revert_refused()
{
    local status=0
    WHY=$(quietly_tarn disk revert pgdata --to saturday 2>&1) || status=$?
    figure "it said" "$(head -n 1 <<< "$WHY")"
    [ "$status" = 4 ] && [[ $WHY == *"is in use"* ]]
}

sql_fails() # STATEMENT
{
    ! WHY=$(sql "$PG_PORT" "$1" 2>&1)
}

undo_reverts()
{
    disks_away
    tarn disk undo pgdata > /dev/null
    tarn disk undo pgwal > /dev/null
    disks_back
    prove "the table is gone again" customers_are gone
    prove "the fetched row is there again" rescued_is "customer $(printf %s "$LOST" | md5sum | cut -c 1-32)"
    prove "every later transaction is there again" equal "$(pg_sums "$PG_PORT")" "$LATER"
    prove "the copy is still there" set_is_created saturday
}

# ---- A set that becomes independent disks ---------------------------------------------------------------

split_set()
{
    local identities start_ms
    shadow_under_load sunday
    LATER=$(pg_sums "$PG_PORT")
    identities=$(identities_of sunday)
    start_ms=$(now_ms)
    tarn set promote sunday > /dev/null 2>&1
    figure "promoted, a copy of its own, in" "$(seconds_since "$start_ms") s"
    prove "promoted, its snapshots share no block with the disks" snapshots_are_full sunday
    tarn set split sunday > /dev/null 2>&1
    tarn set delete sunday --now > /dev/null
    prove "split, its snapshots are disks with the same identities" equal \
        "$(quietly_tarn disk list --json | json '*sorted((x["name"].split("-")[1], x["serial"], x["naa"]) for x in d["disks"] if x["name"].startswith("sunday-"))')" \
        "$identities"
    prove "the set is deleted" no_such_set sunday
    use_own_disks
}

snapshots_are_full() # SET
{
    equal "$(quietly_tarn snapshot list --json | json "*[s[\"type\"] for s in d[\"snapshots\"] if s[\"set\"] == \"$1\"]")" "full full"
}

no_such_set() # NAME
{
    [[ $(quietly_tarn set list) != *"$1"* ]]
}

# A database of its own from now on: checked, and written.
use_own_disks()
{
    local port=5436
    pair_up own sunday-pgdata sunday-pgwal "$LUN_OWN"
    prove "PostgreSQL starts on them" pg_start own "$WORK/own-data/pg" "$port"
    prove "all sums agree" pg_invariant "$port"
    prove "pg_amcheck finds nothing" amcheck_clean "$port"
    timeout 60 "$PG_BIN/pgbench" -n -c 1 -t "$SOME" -p "$port" postgres > "$WORK/log/pgbench-own.log" 2>&1
    prove "what is written there is there" test "$(pg_sums "$port")" != "$LATER"
    prove "and not on the disks that it came from" equal "$(pg_sums "$PG_PORT")" "$LATER"
    prove "all sums still agree" pg_invariant "$port"
    pg_stop own
    prove "pg_checksums finds nothing" checksums_clean "$WORK/own-data/pg"
    pair_down own "$LUN_OWN"
    tarn disk delete sunday-pgdata --now > /dev/null
    tarn disk delete sunday-pgwal --now > /dev/null
    at_rest
    prove "with them away, the pool's own check finds nothing" pool_check_clean
}
