#!/bin/bash
# The PostgreSQL writer of tarn shadow against a psql that pretends: what it asks, and what it refuses.
set -eu
writer=$(cd "$(dirname "$0")/../.." && pwd)/src/shadow/writers/postgresql
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
points=0 failed=0

point() # NAME SEEN WANTED
{
    points=$((points + 1))
    if [ "$2" = "$3" ]; then
        echo "ok $points - $1"
    else
        echo "not ok $points - $1"
        printf '%s\n' "$2" | sed 's/^/# seen: /'
        failed=1
    fi
}

# Answers by what is asked; notes each question.
cat > "$work/psql" << 'PSQL'
#!/bin/sh
while [ $# -gt 1 ]; do
    case $1 in -d) dsn=$2 ;; esac
    shift
done
echo "$dsn: $1" >> "$FAKE/asked"
[ -z "${FAKE_DOWN:-}" ] || { echo "connection refused" >&2; exit 2; }
case $1 in
*server_version*) echo "15.18 (Debian)" ;;
*data_directory*) echo "$FAKE/data" ;;
*tablespace*) cat "$FAKE/spaces" ;;
CHECKPOINT) [ -z "${FAKE_DENY:-}" ] || { echo "ERROR:  must be superuser" >&2; exit 1; } ;;
esac
PSQL
chmod +x "$work/psql"
mkdir -p "$work/data/pg_wal" "$work/space"
: > "$work/spaces"
export FAKE=$work TARN_PSQL=$work/psql
here=$(stat -c %m "$work")
export TARN_MOUNTS=/somewhere$'\n'$here

say() # COMMANDS...: the writer's answers, on one line
{
    : > "$work/asked"
    printf '%s\n' "$@" | "$writer" 'host=/run user=postgres' | paste -sd'|'
}

point "identify says the version" "$(say 'identify 1')" "ok PostgreSQL 15.18 (Debian)"
point "the connection string is handed to psql" "$(cut -d: -f1 "$work/asked" | sort -u)" "host=/run user=postgres"
point "prepare does a CHECKPOINT" "$(say prepare)/$(grep -c ': CHECKPOINT' "$work/asked")" "info CHECKPOINT|ok/1"
point "the other steps need nothing" "$(say freeze thaw 'post created' abort)" "ok|ok|ok|ok"
point "an unknown command is an error" "$(say bogus)" "error unknown command bogus"
point "a server that is away is an error" "$(FAKE_DOWN=1 say 'identify 1')" "error cannot reach the server: connection refused"
point "a CHECKPOINT that is denied is an error" "$(FAKE_DENY=1 say prepare)" \
    "info CHECKPOINT|error CHECKPOINT failed: ERROR:  must be superuser"
point "a data directory outside of the copy is refused" "$(TARN_MOUNTS=/somewhere say prepare)" \
    "error $work/data does not lie on a file system of this copy: name its mount point too"
point "and no CHECKPOINT is done then" "$(grep -c ': CHECKPOINT' "$work/asked" || true)" "0"

# A WAL or tablespace elsewhere: /proc is a file system of its own everywhere.
rmdir "$work/data/pg_wal"
ln -s /proc/sys "$work/data/pg_wal"
point "a WAL outside of the copy is refused" "$(say prepare)" \
    "error $work/data/pg_wal does not lie on a file system of this copy: name its mount point too"
rm "$work/data/pg_wal"
mkdir "$work/data/pg_wal"
printf '%s\n' "$work/space" /proc > "$work/spaces"
point "a tablespace outside of the copy is refused" "$(say prepare)" \
    "error /proc does not lie on a file system of this copy: name its mount point too"
printf '%s\n' /nonexistent > "$work/spaces"
point "what cannot be seen from here is only said" "$(say prepare)" \
    "info cannot see /nonexistent from here; make sure that it is part of the copy|info CHECKPOINT|ok"
echo "1..$points"
exit $failed
