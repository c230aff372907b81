# host.sh - the world of a guest that is a host only, for functions.sh: the server is a process outside, disks are
# SCSI disks of the kernel's own iSCSI initiator.  Defines some of the functions of functions.sh again.
# shellcheck shell=bash disable=SC2034

# ---- Questions to the machine outside (guest/run) -------------------------------------------------------------

ask() # QUESTION [ARGUMENT]: prints the answer; false with WHY when it failed
{
    local word rest
    echo "$*" >&"$GUEST_ASK_FD"
    read -r -u "$GUEST_ASK_FD" word rest
    if [ "$word" != ok ]; then
        WHY="$1: $rest"
        return 1
    fi
    echo "$rest"
}

PG_LISTEN=127.0.0.1,10.0.2.15
PG_THREADS=1      # pgbench writes its log when a block is full, one for each
PATIENCE=5        # an emulated processor is slow
HOST_IN_GUEST=yes # the server's files are in SERVER_DIR, on another machine

guest_world()
{
    catch_everything
    mount -t tmpfs -o mode=755 work "$WORK"
    mkdir "$WORK/log" "$LUNS"
}

# ---- The server -------------------------------------------------------------------------------------------------

write_tarn_conf()
{
    mkdir -p "$WORK/state"
    (umask 077 && printf %s "$CHAP_SECRET" > "$CHAP_FILE")
    client_setup
}

start_tarnd()
{
    ask server-start > /dev/null || die "$WHY"
    (umask 077 && ask client > "$WORK/state/client.json")
}

stop_tarnd() # [SIGNAL]
{
    ask server-stop "${1:-TERM}" > /dev/null
}

tarnd_alive()
{
    ask server-alive > /dev/null
}

# ---- The database -----------------------------------------------------------------------------------------------

eval "$(declare -f pg_init | sed '1s/pg_init/pg_init_here/')"
pg_init() # DATA WAL
{
    local tar
    if tar=$(ask cluster "${PG_CLUSTER[*]}"); then
        mkdir -m 700 "$1"
        tar -xf "$tar" -C "$1" --no-same-owner
        mv "$1/pg_wal" "$2"
        ln -s "$2" "$1/pg_wal"
    else
        pg_init_here "$@"
    fi
}

# ---- Disks ------------------------------------------------------------------------------------------------------

# The initiator's own settings, but for its name, and timeouts as people set them for disks without multipath.
initiator_start()
{
    [ "${INITIATOR_STARTED:-}" != yes ] || return 0
    INITIATOR_STARTED=yes
    mkdir -p /etc/iscsi /run/lock
    echo "InitiatorName=$INITIATOR" > /etc/iscsi/initiatorname.iscsi
    spawn iscsid iscsid -f -c /etc/iscsi/iscsid.conf
    wait_until 20 "iscsid" grep -q @ISCSIADM /proc/net/unix || die "$WHY"
    initiator_adm -m discovery -t sendtargets -p "$ISCSI"
    local name
    for name in "auth.authmethod=CHAP" "auth.username=$CHAP_USER" "auth.password=$CHAP_SECRET" "timeo.replacement_timeout=-1"; do
        initiator_adm -m node -T "$TARGET" -p "$ISCSI" -o update -n "node.session.${name%%=*}" -v "${name#*=}"
    done
    initiator_adm -m node -T "$TARGET" -p "$ISCSI" --login
}

initiator_adm() # ARGUMENTS...
{
    echo "+ iscsiadm $*" >> "$WORK/log/iscsiadm.log"
    timeout 60 iscsiadm "$@" >> "$WORK/log/iscsiadm.log" 2>&1 || die "iscsiadm: $(tail -n 2 "$WORK/log/iscsiadm.log")"
}

# The kernel's disk with that LUN, while there is one.
scsi_disk() # LUN: sda
{
    local device
    for device in /sys/class/iscsi_session/session*/device/target*/*:"$1"/block/*; do
        if [ -d "$device" ]; then
            echo "${device##*/}"
            return
        fi
    done
    return 1
}

lun_attach() # NAME LUN [ro]
{
    initiator_start
    if ! scsi_disk "$2" > /dev/null; then initiator_adm -m session --rescan; fi
    wait_until 15 "LUN $2 to appear" scsi_disk "$2" || die "$WHY"
    DISK=$(scsi_disk "$2")
    wait_until 15 "/dev/$DISK" test -b "/dev/$DISK" || die "$WHY"
    ln -sfn "/dev/$DISK" "$LUNS/$1"
    if [ "${3:-}" = ro ]; then equal "$(cat "/sys/block/$DISK/ro")" 1 || die "LUN $2 is not write-protected"; fi
}

lun_detach() # NAME
{
    local disk
    disk=$(readlink "$LUNS/$1") || return 0
    blockdev --flushbufs "$disk"
    echo 1 > "/sys/block/${disk##*/}/device/delete"
    rm "$LUNS/$1"
}

# Not through a loop device: it is a disk.
lun_mount() # NAME [OPTIONS]
{
    mkdir -p "$WORK/$1"
    timeout 60 mount -t ext4 ${2:+-o "$2"} "$(readlink "$LUNS/$1")" "$WORK/$1"
    cleanup_push lun_umount "$1"
}

keep_up() # for ./demo --keep: the machine outside may use the database
{
    echo "host all all 10.0.2.2/32 trust" >> "$1/pg_hba.conf"
    sql "$PG_PORT" "select pg_reload_conf()" > /dev/null
    ask keep > /dev/null || die "$WHY"
}

kill_luns()
{
    : # the whole guest goes
}
