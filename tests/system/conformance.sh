#!/usr/bin/env bash
# conformance.sh - tarnd with its real engine under other people's tools: the suites of iscsi-test-cu that the project
# requires (tests/conformance/run has them), each tool of Debian's libiscsi-bin, and QEMU's driver in a session under
# which LUNs come and go.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"
requires iscsi-test-cu iscsi-ls iscsi-inq iscsi-readcapacity16 iscsi-swp iscsi-perf qemu-storage-daemon python3
enter_world "$0" "$@"

SUITES=iqn.2007-10.com.github:sahlberg:libiscsi:iscsi-test # and -2: the names that iscsi-test-cu gives itself
TOOLS=iqn.2026-11.example:tools

url() # LUN
{
    echo "iscsi://$ISCSI/$TARGET/$1"
}

said() # WORDS COMMAND...
{
    local words=$1 seen status=0
    shift
    seen=$(timeout 30 "$@" 2>&1) || status=$?
    # shellcheck disable=SC2034  # prove prints it
    WHY="status $status, and it said: $(tail -n 3 <<< "$seen")"
    [ "$status" = 0 ] && grep -qF -- "$words" <<< "$seen"
}

not()
{
    ! "$@"
}

run_suites()
{
    local line
    TARN_CONFORMANCE=required timeout 600 "$TARN_ROOT/tests/conformance/run" "$(url 0)" "$(url 2)" \
        > "$WORK/suites" 2>&1 || true
    while read -r line; do
        if [[ $line =~ ^(ok|not ok)\ [0-9]+\ -\ (suite .*)$ ]]; then
            point "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
        else
            say "$line"
        fi
    done < "$WORK/suites"
}

# Reads a block that was not read before, through QEMU's driver.
NEXT_BLOCK=100
block_is_read()
{
    NEXT_BLOCK=$((NEXT_BLOCK + 50))
    # shellcheck disable=SC2034  # prove prints it
    WHY="the driver said: $(tail -n 2 "$WORK/log/lun-live.log")"
    timeout 20 dd if="$LUNS/live" of=/dev/null bs=4k count=1 skip="$NEXT_BLOCK" status=none 2> /dev/null
}

attentions()
{
    grep -ciE '0x3f0e|REPORTED_LUNS_DATA_HAS_CHANGED' "$WORK/log/lun-live.log" || true
}

attention_and_data() # COUNT of attentions from the start
{
    block_is_read && equal "$(attentions)" "$1"
}

chapter "A server with a disk and a snapshot"
write_tarn_conf
start_tarnd
tarn pool create main --file "$WORK/main.pool" --size 1G --sparse > /dev/null 2>&1
tarn disk create disk --size 64M > /dev/null
tarn host create suites --initiator "$SUITES" --initiator "$SUITES-2" --auth none > /dev/null
tarn host create tools --initiator "$TOOLS" --auth none > /dev/null
tarn host create db1 --initiator "$INITIATOR" --auth chap --chap-secret-file "$CHAP_FILE" > /dev/null
tarn map add db1 disk --lun 1 > /dev/null
tarn snapshot create disk --name point > /dev/null
for host in suites tools; do
    tarn map add "$host" disk --lun 0 > /dev/null
    tarn map add "$host" point --lun 2 > /dev/null
done
TARGET=$(target_name)

chapter "The tools of libiscsi"
prove "iscsi-ls lists both LUNs" said "Lun:2" iscsi-ls -i "$TOOLS" -s "iscsi://$ISCSI"
prove "iscsi-inq shows the vendor" said "Vendor:TARN" iscsi-inq -i "$TOOLS" "$(url 0)"
prove "iscsi-readcapacity16 shows the size" said 67108864 iscsi-readcapacity16 -i "$TOOLS" -s "$(url 0)"
prove "iscsi-swp shows no write protection" said "SWP:0" iscsi-swp -i "$TOOLS" "$(url 0)"
prove "iscsi-swp protects" said "" iscsi-swp -i "$TOOLS" -s ON "$(url 0)"
prove "and it is shown" said "SWP:1" iscsi-swp -i "$TOOLS" "$(url 0)"
prove "iscsi-swp takes it back" said "" iscsi-swp -i "$TOOLS" -s OFF "$(url 0)"
prove "iscsi-perf reads" said "iops" iscsi-perf -i "$TOOLS" -t 1 -m 8 "$(url 0)"

chapter "QEMU's driver, in one session under which LUNs come and go"
lun_attach live 1
cleanup_push lun_detach live
prove "it reads" block_is_read
before=$(attentions)
tarn map add db1 point --lun 2 > /dev/null
prove "a LUN that came is told by a unit attention, and the read goes on" attention_and_data $((before + 1))
prove "it is told once" attention_and_data $((before + 1))
tarn map remove db1 2 > /dev/null
prove "a LUN that went, too" attention_and_data $((before + 2))
tarn map remove db1 1 > /dev/null
prove "what is not there any more is not read" not block_is_read
tarn map add db1 disk --lun 1 > /dev/null
prove "there again, it is read in the same session" block_is_read
prove "there was one session only" equal \
    "$(grep -c "session up.*initiator=$INITIATOR " "$WORK/log/tarnd.log")" 1
lun_detach live

chapter "The suites of iscsi-test-cu, on the real engine"
run_suites
prove "all 21 suites that are required ran" test "$(grep -cE '^(not )?ok ' "$WORK/suites")" = 21
prove "the pool's own check finds nothing" said "" "$TARN_BUILD/src/cli/tarn" pool check main
prove "the server is the same process" alive tarnd
finish
