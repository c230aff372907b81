# functions.sh - what the demo and the system tests share: namespaces, voices, cleanup, disks over iSCSI.
# shellcheck shell=bash
#
# A run lives in mount, network and process namespaces of its own, on a file system of its own (WORK) whose
# backing file has no name.  When its first process ends, also by SIGKILL, the kernel takes everything with it.
#
# Where the machine does not allow that (no root, or a container without mounts, loop devices or FUSE), or where
# TARN_WORLD_KIND=vm, it is a guest of QEMU under software emulation (guest/run).  A script that sets GUEST_KIND=host
# is then on a host of its own, with the kernel's iSCSI initiator, and its server outside.
#
#     . functions.sh
#     enter_world "$0" "$@"          # re-executes the script inside
#     chapter "Two disks"
#     prove "the disk is there" test -e /mnt/disk
#     finish
#
# Two voices: VOICE=tap prints one TAP point for each prove; VOICE=demo prints for a person.
# A prove that fails is counted and the run goes on; any other command that fails ends the run.
# Nothing may write to a file system of a shadow copy between freeze and thaw: such a writer cannot be killed.

VOICE=${VOICE:-tap}
PATH=$PATH:/usr/sbin:/sbin # a user may not have them
TARN_ROOT=${TARN_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
TARN_BUILD=${TARN_BUILD:-$TARN_ROOT/build}
MARK=tarn-world          # label of our file systems; how leftovers are known
WORK=/mnt                # short, and on every Debian; mounted over in our own mount namespace only
[[ $TARN_ROOT/ != /mnt/* && $TARN_BUILD/ != /mnt/* ]] || WORK=/srv
LUNS=$WORK/tarn-luns     # the LUNs as files
SERVER_DIR=${SERVER_DIR:-$WORK} # what the server may write to

# ---- Voices ---------------------------------------------------------------------------------------

exec 3>&1 # what is said while a function's output is captured
POINTS=0 FAILED=0 SKIPPED=0 WHY='' CHAPTER='' CHAPTERS=0 FINISHED=
STARTED_MS=${STARTED_MS:-}

now_ms()
{
    local t=${EPOCHREALTIME/[.,]/}
    echo $((t / 1000))
}
STARTED_MS=${STARTED_MS:-$(now_ms)}

seconds_since() # MS: "12.3"
{
    local ms=$(($(now_ms) - $1))
    printf '%d.%d' $((ms / 1000)) $((ms % 1000 / 100))
}

say()
{
    if [ "$VOICE" = demo ]; then
        printf '   %s\n' "$*"
    else
        printf '# %s\n' "$*"
    fi
}

say_lines() # of the standard input
{
    local line
    while IFS= read -r line; do say "$line"; done
}

figure() # LABEL VALUE
{
    if [ "$VOICE" = demo ]; then
        printf '   %-46s %s\n' "$1" "$2"
    else
        printf '# %s: %s\n' "$1" "$2"
    fi
}

chapter()
{
    CHAPTER=$1 CHAPTERS=$((CHAPTERS + 1))
    if [ "$VOICE" = demo ]; then
        printf '\n%d. %s  (%s s)\n' "$CHAPTERS" "$1" "$(seconds_since "$STARTED_MS")"
    else
        printf '# %d. %s (%s s)\n' "$CHAPTERS" "$1" "$(seconds_since "$STARTED_MS")"
    fi
}

point() # ok|"not ok" NAME
{
    POINTS=$((POINTS + 1))
    [ "$1" = ok ] || FAILED=$((FAILED + 1))
    if [ "$VOICE" = demo ]; then
        local mark=' ok  '
        [ "$1" = ok ] || mark='FAIL '
        printf '  %s %s\n' "$mark" "$2"
    else
        printf '%s %d - %s\n' "$1" "$POINTS" "$2"
    fi
    if [ "$1" != ok ] && [ -n "$WHY" ]; then say "why: $WHY"; fi
}

# A predicate may set WHY to say what it saw instead.
prove() # NAME COMMAND...
{
    local name=$1
    shift
    WHY=
    if "$@"; then point ok "$name"; else point 'not ok' "$name"; fi
}

skip() # NAME REASON
{
    POINTS=$((POINTS + 1)) SKIPPED=$((SKIPPED + 1))
    if [ "$VOICE" = demo ]; then
        printf '   not yet: %s (%s)\n' "$1" "$2"
    else
        printf 'ok %d - %s # SKIP %s\n' "$POINTS" "$1" "$2"
    fi
}

equal() # SEEN EXPECTED
{
    WHY="it is \"$1\", expected \"$2\""
    [ "$1" = "$2" ]
}

die() # WHY: ends the run as failed
{
    WHY=$*
    point 'not ok' "${CHAPTER:-start}"
    FINISHED=yes
    exit 1
}

finish()
{
    FINISHED=yes
    if [ "$VOICE" = tap ]; then
        printf '1..%d\n' "$POINTS"
    else
        printf '\n%d of %d claims were true, %d not yet; it took %s s.\n' \
            $((POINTS - FAILED - SKIPPED)) "$POINTS" "$SKIPPED" "$(seconds_since "$STARTED_MS")"
    fi
    [ "$FAILED" = 0 ]
}

skip_all() # REASON
{
    FINISHED=yes
    if [ "$VOICE" = demo ]; then
        echo "This cannot be shown here: it $*" >&2
        exit 1
    fi
    echo "1..0 # SKIP $*"
    exit 0
}

# ---- Cleanup, last in first out ---------------------------------------------------------------------

CLEANUPS=()
cleanup_push()
{
    CLEANUPS+=("$(printf '%q ' "$@")")
}

run_cleanups()
{
    local status=$? i
    trap - EXIT
    trap '' INT TERM
    set +e
    if [ -z "$FINISHED" ] && [ "$status" != 0 ]; then
        WHY="a command failed (status $status)${FAILED_COMMAND:+: $FAILED_COMMAND}"
        point 'not ok' "${CHAPTER:-start}"
        show_logs
    elif [ "$FAILED" != 0 ]; then
        show_logs
    fi
    # Without the server an unmount would wait for ever: let the LUNs answer errors instead.
    tarnd_alive || kill_luns
    for ((i = ${#CLEANUPS[@]} - 1; i >= 0; i--)); do
        eval "${CLEANUPS[i]}" > /dev/null 2>&1
    done
    if [ -z "$FINISHED" ] && [ "$VOICE" = tap ]; then printf '1..%d\n' "$POINTS"; fi
    if [ "$status" = 0 ] && [ "$FAILED" != 0 ]; then status=1; fi
    exit "$status"
}

kill_luns()
{
    local name
    for name in "${!PIDS[@]}"; do
        if [[ $name == lun-* ]]; then kill -KILL "${PIDS[$name]}"; fi
    done 2> /dev/null
}

show_logs()
{
    local log
    for log in "$WORK"/log/*.log; do
        [[ -s $log && $log != */*init.log ]] || continue
        echo "# --- ${log##*/}, last lines"
        tail -n "${LOG_LINES:-6}" "$log" | cut -c 1-300 | sed 's/^/#   /'
    done
}

catch_everything()
{
    set -E
    trap 'FAILED_COMMAND="line $LINENO of ${BASH_SOURCE[0]##*/}: $BASH_COMMAND"' ERR
    trap run_cleanups EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# ---- The world ------------------------------------------------------------------------------------

# A run that is killed while a file system is frozen leaves it frozen: it holds its loop device, and a process
# that wrote to it cannot end.  Both go when it is thawed.
heal_leftovers()
{
    local pid fs
    for pid in $(stuck_processes); do
        for fs in $(awk -v work="$WORK/" '$3 == "ext4" && index($2, work) == 1 { print $2 }' "/proc/$pid/mounts"); do
            timeout -k 1 10 nsenter -t "$pid" -m fsfreeze -u "$fs" || true
        done
    done 2> /dev/null
    for fs in /sys/fs/ext4/loop*; do
        if [ -d "$fs" ] && ! mounted_somewhere "/dev/${fs##*/}"; then thaw_unmounted "/dev/${fs##*/}"; fi
    done
}

# Killed (SIGKILL pending), asleep in the kernel, with one of our LUNs mounted.
stuck_processes()
{
    local status pid
    for status in /proc/[0-9]*/status; do
        pid=${status%/status}
        if awk '/^State:.*D/ { asleep = 1 } /^S..Pnd:.*[13579bdf]..$/ { killed = 1 } END { exit !(asleep && killed) }' \
            "$status" && grep -q "^/dev/fuse $LUNS/" "$pid/mounts"; then
            echo "${pid#/proc/}"
        fi
    done 2> /dev/null
}

mounted_somewhere() # DEVICE
{
    cat /proc/[0-9]*/mounts 2> /dev/null | grep -q "^$1 "
}

# Nobody has it mounted, yet it is there: frozen.  Its device answers nothing but errors by now, so the type is
# given rather than probed, and the label asked from the kernel; another's file system is left as it is.
thaw_unmounted() # DEVICE
{
    local dir
    dir=$(mktemp -d)
    # shellcheck disable=SC2016  # the inner shell's own parameters
    timeout -k 1 20 unshare --mount bash -c '
        mount -i -t ext4 "$1" "$2" || exit
        label=$(python3 -c "import fcntl, os, sys
print(fcntl.ioctl(os.open(sys.argv[1], 0), 0x81009431, bytes(256)).rstrip(b\"\\0\").decode())" "$2") # FS_IOC_GETFSLABEL
        [ "$label" != "$3" ] || fsfreeze -u "$2"
        umount "$2"' bash "$1" "$dir" "$MARK" > /dev/null 2>&1 || true
    rmdir "$dir"
}

# Outside of the world and of its process group: heals at once when the world is killed.  Its standard input
# ends when the one process that holds the other end, the parent of the world, is gone.
guard()
{
    trap '' INT TERM HUP
    cat > /dev/null
    for pause in 0.1 0.3 0.6; do
        sleep "$pause"
        heal_leftovers
    done
}

requires()
{
    local program
    for program in "$@"; do
        command -v "$program" > /dev/null || skip_all "needs the program $program (tools/deps install demo)"
    done
}

# Why there can be no world on this machine itself; nothing when there can.  It is tried: what a container forbids is
# not written anywhere.
world_refused()
{
    local file
    if [ "$(id -u)" != 0 ]; then
        echo "this user is not root"
        return
    fi
    for file in /dev/fuse /dev/loop-control; do
        if ! (: <> "$file") 2> /dev/null; then
            echo "$file cannot be opened"
            return
        fi
    done
    # shellcheck disable=SC2016  # the inner shell's own parameter
    timeout -k 1 20 unshare --mount --net --pid --fork --kill-child --mount-proc -- sh -ec '
        mount -t tmpfs none "$1"
        truncate -s 1M "$1/image"
        mkfs.ext4 -q "$1/image"
        mkdir "$1/there"
        mount -o loop "$1/image" "$1/there"
        umount "$1/there"' sh "$WORK" > /dev/null 2>&1 || echo "mounts in namespaces of one's own, or loop devices, are refused"
}

# Sets WORLD_KIND: here (namespaces) or vm; WORLD_WHY says why it is vm.  TARN_WORLD_KIND=here|vm forces it.
choose_world()
{
    WORLD_KIND=${TARN_WORLD_KIND:-} WORLD_WHY=${TARN_WORLD_WHY:-it was asked for}
    [ -z "$WORLD_KIND" ] || return 0
    WORLD_KIND=here
    WORLD_WHY=$(world_refused)
    [ -z "$WORLD_WHY" ] || WORLD_KIND=vm
}

guest_there()
{
    command -v qemu-system-x86_64 > /dev/null && [ -e "$TARN_ROOT/build/vm/guest/packages" ]
}

# Runs the script in a guest, if a world cannot be here; for scripts that make worlds themselves.
enter_guest_if_needed() # SCRIPT ARGUMENTS...
{
    choose_world
    [ "$WORLD_KIND" = vm ] || return 0
    guest_there || skip_all "needs a virtual machine, because $WORLD_WHY (tools/deps install vm; tools/deps unpack build/vm/guest guest)"
    say "In a virtual machine, because $WORLD_WHY"
    export VOICE TARN_ROOT TARN_BUILD STARTED_MS
    exec "$TARN_ROOT/tests/system/guest/run" "${GUEST_KIND:-whole}" "$@"
}

# Re-executes the script in namespaces, or in a guest; returns only inside.
enter_world() # SCRIPT ARGUMENTS...
{
    case ${TARN_WORLD:-} in
    inside) ;;
    guest)
        unset TARN_WORLD
        . "$TARN_ROOT/tests/system/guest/host.sh"
        guest_world
        return
        ;;
    *)
        enter_guest_if_needed "$@"
        heal_leftovers
        exec {LIFE_FD}> >(exec setsid bash -c '. "$0"; guard' "${BASH_SOURCE[0]}" > /dev/null 2>&1)
        export TARN_WORLD=inside VOICE TARN_ROOT TARN_BUILD STARTED_MS LIFE_FD
        exec unshare --mount --net --pid --fork --kill-child --mount-proc -- "$@"
        ;;
    esac
    unset TARN_WORLD
    exec {LIFE_FD}>&-
    catch_everything
    ip link set lo up
    make_work
}

WORK_SIZE=${WORK_SIZE:-6G}
make_work()
{
    local backing device
    mkdir -p "$TARN_BUILD"
    backing=$(mktemp "$TARN_BUILD/world.XXXXXX")
    exec {work_fd}<> "$backing"
    rm "$backing"
    truncate -s "$WORK_SIZE" "/proc/self/fd/$work_fd"
    mkfs.ext4 -q -F -L "$MARK" -O ^has_journal -E lazy_itable_init=1,nodiscard "/proc/self/fd/$work_fd"
    mount -o loop "/proc/self/fd/$work_fd" "$WORK"
    exec {work_fd}>&-
    device=$(findmnt -no SOURCE "$WORK")
    losetup --direct-io=on "$device" 2> /dev/null || true # only faster
    mkdir "$WORK/log" "$LUNS"
    chmod 755 "$WORK"
}

# ---- Processes --------------------------------------------------------------------------------------

declare -A PIDS=()
spawn() # NAME COMMAND...: in the background, its output in log/NAME.log
{
    local name=$1
    shift
    setsid "$@" >> "$WORK/log/$name.log" 2>&1 < /dev/null &
    PIDS[$name]=$!
    disown # no word from bash when it is killed
}

alive() # NAME
{
    [ -n "${PIDS[$1]:-}" ] && kill -0 "${PIDS[$1]}" 2> /dev/null
}

reap() # NAME SECONDS: waits for its end; SIGKILL after that
{
    local pid=${PIDS[$1]:-} i
    [ -n "$pid" ] || return 0
    for ((i = 0; i < $2 * 20; i++)); do
        kill -0 "$pid" 2> /dev/null || break
        sleep 0.05
    done
    kill -KILL "$pid" 2> /dev/null || true
    unset "PIDS[$1]"
}

stop() # NAME [SIGNAL]
{
    [ -n "${PIDS[$1]:-}" ] || return 0
    kill -"${2:-TERM}" "${PIDS[$1]}" 2> /dev/null || true
    reap "$1" 60
}

wait_until() # SECONDS WHAT COMMAND...
{
    local limit=$(($1 * ${PATIENCE:-1})) what=$2 start
    shift 2
    start=$(now_ms)
    until "$@" > /dev/null 2>&1; do
        if (($(now_ms) - start > limit * 1000)); then
            WHY="waited $limit s for $what"
            return 1
        fi
        sleep 0.05
    done
}

json() # EXPRESSION over d, the JSON on stdin
{
    python3 -c 'import json, sys; d = json.load(sys.stdin); print('"$1"')'
}

human() # BYTES
{
    awk -v b="$1" 'BEGIN {
        split("B KiB MiB GiB TiB", u); i = 1
        while (b >= 1024 && i < 5) { b /= 1024; i++ }
        printf(i == 1 ? "%d %s\n" : "%.1f %s\n", b, u[i]) }'
}

# ---- The server ---------------------------------------------------------------------------------------

ISCSI=${ISCSI:-127.0.0.1:3260}
API=${API:-127.0.0.1:7260}
INITIATOR=iqn.2026-11.example:db1
CHAP_USER=db1
CHAP_FILE=$WORK/chap.secret
CHAP_SECRET=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')

write_tarn_conf()
{
    mkdir -p "$WORK/state"
    (umask 077 && printf %s "$CHAP_SECRET" > "$CHAP_FILE")
    cat > "$WORK/tarn.conf" << CONF
[server]
state_dir = $WORK/state
name = world
[api]
listen = $API
[iscsi]
listen = $ISCSI
CONF
    client_setup
}

client_setup()
{
    export TARN_CONFIG=$WORK/state/client.json TARN_WRITERS=$TARN_ROOT/src/shadow/writers
    export PATH=$TARN_BUILD/src/cli:$TARN_BUILD/tests/system:$PATH INITIATOR
}

tarnd_ready()
{
    alive tarnd || die "tarnd ended: $(tail -n 3 "$WORK/log/tarnd.log")"
    (($(grep -c 'msg="*ready' "$WORK/log/tarnd.log") > READY_SEEN))
}

start_tarnd()
{
    READY_SEEN=$(grep -cs 'msg="*ready' "$WORK/log/tarnd.log" || true)
    spawn tarnd "$TARN_BUILD/src/tarnd/tarnd" -c "$WORK/tarn.conf"
    wait_until 30 "tarnd to be ready" tarnd_ready || die "$WHY"
}

stop_tarnd() # [SIGNAL]
{
    stop tarnd "${1:-TERM}"
}

tarnd_alive()
{
    alive tarnd
}

# One tarn command, bounded; for a person it is shown first.
tarn()
{
    say "\$ tarn $*" >&3
    quietly_tarn "$@"
}

quietly_tarn()
{
    timeout -k 2 60 "$TARN_BUILD/src/cli/tarn" "$@"
}

target_name()
{
    quietly_tarn server show --json | json 'd["target_name"]'
}

# tarnd with a configuration and one pool, named pool; TARGET is then the name of its target.
start_server() # POOL_SIZE
{
    write_tarn_conf
    start_tarnd
    tarn pool create pool --file "$WORK/pool" --size "$1" --sparse > /dev/null 2>&1
    TARGET=$(target_name)
}

snapshot_count()
{
    quietly_tarn snapshot list --json | json 'len(d["snapshots"])'
}

# ---- A LUN as a block device: QEMU's iSCSI driver, exported through FUSE, under a loop device -----------

lun_attach() # NAME LUN [ro]: the file $LUNS/NAME is then the LUN
{
    local name=$1 lun=$2 file=$LUNS/$1 read_only=off writable=on
    if [ "${3:-}" = ro ]; then read_only=on writable=off; fi
    : > "$file"
    spawn "lun-$name" qemu-storage-daemon \
        --object "secret,id=chap,file=$CHAP_FILE" \
        --blockdev "driver=iscsi,node-name=lun,transport=tcp,portal=$ISCSI,target=$TARGET,lun=$lun,user=$CHAP_USER,password-secret=chap,initiator-name=$INITIATOR,cache.direct=on,discard=unmap,read-only=$read_only" \
        --export "fuse,id=export,node-name=lun,mountpoint=$file,writable=$writable,allow-other=off"
    wait_until 15 "LUN $lun to appear" lun_there "$name" || die "$WHY: $(tail -n 3 "$WORK/log/lun-$name.log")"
}

lun_there()
{
    alive "lun-$1" || die "qemu-storage-daemon ended: $(tail -n 3 "$WORK/log/lun-$1.log")"
    findmnt -n "$LUNS/$1" && [ -s "$LUNS/$1" ]
}

lun_detach() # NAME
{
    stop "lun-$1"
    umount -l "$LUNS/$1" 2> /dev/null || true
}

lun_format() # NAME
{
    timeout 60 mkfs.ext4 -q -F -L "$MARK" -E nodiscard "$LUNS/$1"
}

# The loop device goes by itself when the file system is unmounted, or with the namespace.
lun_mount() # NAME [OPTIONS]
{
    mkdir -p "$WORK/$1"
    timeout 60 mount -t ext4 -o "loop${2:+,$2}" "$LUNS/$1" "$WORK/$1"
    cleanup_push lun_umount "$1"
}

lun_umount() # NAME
{
    mountpoint -q "$WORK/$1" || return 0
    timeout 5 fsfreeze -u "$WORK/$1" 2> /dev/null || true
    timeout 30 umount "$WORK/$1" || umount -l "$WORK/$1"
}

file_system_errors() # NAME: what ext4 counted
{
    local device
    device=$(findmnt -no SOURCE "$WORK/$1")
    cat "/sys/fs/ext4/${device##*/}/errors_count"
}

# ---- PostgreSQL -----------------------------------------------------------------------------------------
# Its programs refuse to run as root, so they run as the user postgres of a user namespace that maps to root
# outside: no file needs another owner, and no directory on the way needs to be open to others.

PG_PORT=5432
PG_CLUSTER=(-k -A trust -U postgres -E UTF8 --locale=C --no-sync)
pg_setup()
{
    PG_BIN=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    [ -x "$PG_BIN/postgres" ] || skip_all "needs PostgreSQL (tools/deps install demo)"
    PG_AS=(unshare -U "--map-user=$(id -u postgres)" "--map-group=$(id -g postgres)" --)
    export TARN_PSQL=$PG_BIN/psql # for the writer; Debian's own is a wrapper in Perl
    export PGUSER=postgres PGHOST=127.0.0.1 PGDATABASE=postgres PGCONNECT_TIMEOUT=10
}

pg_init() # DATA WAL
{
    timeout 120 "${PG_AS[@]}" "$PG_BIN/initdb" "${PG_CLUSTER[@]}" -X "$2" -D "$1" > "$WORK/log/initdb.log" 2>&1
}

pg_start() # NAME DATA PORT [SECONDS]: false when it does not start
{
    local name=$1 data=$2 port=$3 limit=${4:-60}
    spawn "$name" "${PG_AS[@]}" "$PG_BIN/postgres" -D "$data" -p "$port" -c listen_addresses="${PG_LISTEN:-127.0.0.1}" \
        -c unix_socket_directories= -c shared_buffers=64MB -c max_wal_size=128MB -c log_checkpoints=off -c checkpoint_warning=0 \
        -c logging_collector=off -c restart_after_crash=off -c log_line_prefix='%m '
    wait_until "$limit" "PostgreSQL to start" pg_started_or_ended "$name" "$port" || return 1
    alive "$name"
}

pg_started_or_ended() # NAME PORT
{
    ! alive "$1" || pg_ready "$2"
}

pg_ready() # PORT
{
    "$PG_BIN/psql" -XAtq -p "$1" -c 'select 1' > /dev/null
}

pg_stop() # NAME: fast shutdown
{
    stop "$1" INT
}

sql() # PORT STATEMENT
{
    timeout 60 "$PG_BIN/psql" -XAtq -v ON_ERROR_STOP=1 -p "$1" -c "$2"
}

# pgbench moves money: each transaction adds one amount to an account, a teller and a branch alike.
pg_sums() # PORT: three sums
{
    sql "$1" 'select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers),
        (select sum(bbalance) from pgbench_branches)'
}

pg_invariant() # PORT
{
    local a t b
    IFS='|' read -r a t b < <(pg_sums "$1" 2>&1) || true
    WHY="accounts $a, tellers $t, branches $b"
    [ -n "$a" ] && [ "$a" = "$t" ] && [ "$a" = "$b" ]
}

load_start() # CLIENTS
{
    rm -f "$WORK"/log/pgbench_log.*
    spawn pgbench "$PG_BIN/pgbench" -n -c "$1" -j "${PG_THREADS:-2}" -T 3600 -p "$PG_PORT" -l \
        --log-prefix="$WORK/log/pgbench_log" postgres
}

load_stop()
{
    stop pgbench # SIGINT is ignored in what a script starts in the background
}

load_count() # transactions so far that reached the log
{
    cat "$WORK"/log/pgbench_log.* 2> /dev/null | wc -l
}

# Columns of pgbench's log: client, number, latency in us, script, end in s, end in us.
load_max_latency_ms() # FROM_MS: the slowest transaction that ended since then
{
    cat "$WORK"/log/pgbench_log.* | awk -v from="$1" \
        '$5 * 1000 + $6 / 1000 >= from && $3 > max { max = $3 } END { printf "%d\n", max / 1000 }'
}
