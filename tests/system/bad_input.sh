#!/usr/bin/env bash
# bad_input.sh - what people, programs, disks and strangers get wrong is answered with a clear error, and changes
# nothing: command line, API, configuration, iSCSI, a damaged pool file.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"
requires python3 ip
enter_world "$0" "$@"

# Everything that the server knows, to compare.
inventory()
{
    local noun
    for noun in pool disk host map set snapshot token; do
        quietly_tarn "$noun" list --json
    done | sed 's/"started_at": *"[^"]*"//; s/"\(used\|free\|metadata\|data\|reclaiming\)_bytes": *[0-9]*//g'
}

# The command fails with that status, says that word, and nothing is different afterwards.
refused() # STATUS WORD TARN_ARGUMENTS...
{
    local status=0 wanted=$1 word=$2 said before
    shift 2
    before=$(inventory)
    said=$(quietly_tarn "$@" 2>&1 < /dev/null) || status=$?
    WHY="status $status, and it said: $said"
    [ "$status" = "$wanted" ] && [[ $said == *"$word"* ]] || return 1
    WHY="something changed"
    [ "$(inventory)" = "$before" ]
}

# One request with the administrator's token unless another is given; prints the HTTP status and the body.
request() # METHOD PATH BODY [TOKEN]
{
    python3 - "$TARN_CONFIG" "$@" << 'PYTHON'
import http.client, json, ssl, sys
config = json.load(open(sys.argv[1]))
method, path, body = sys.argv[2:5]
token = sys.argv[5] if len(sys.argv) > 5 else config["token"]
where = config["server"].split("//")[1]
tls = ssl.create_default_context()
tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
connection = http.client.HTTPSConnection(where, context=tls, timeout=10)
if body.startswith("@"):
    body = "[" * int(body[1:])
connection.request(method, path, body or None, {"Authorization": "Bearer " + token})
answer = connection.getresponse()
print(answer.status, answer.read().decode(errors="replace"))
PYTHON
}

answered() # STATUS METHOD PATH BODY [TOKEN]
{
    local wanted=$1 said before
    shift
    before=$(inventory)
    said=$(request "$@" 2>&1)
    WHY="it answered: $(cut -c 1-300 <<< "$said")"
    [[ $said == "$wanted "*'"error"'*'"message"'* ]] || return 1
    WHY="something changed"
    [ "$(inventory)" = "$before" ]
}

survives_strange_bytes()
{
    local i before
    before=$(inventory)
    for i in 1 2 3 4 5; do
        head -c $((i * 1000)) /dev/urandom | timeout 5 bash -c 'exec 3<> "/dev/tcp/${1%:*}/${1#*:}"; cat >&3; cat <&3' \
            bash "$ISCSI" > /dev/null 2>&1 || true
    done
    WHY="tarnd is gone: $(tail -n 3 "$WORK/log/tarnd.log")"
    alive tarnd && quietly_tarn server show > /dev/null || return 1
    WHY="before: $before; now: $(inventory)"
    [ "$(inventory)" = "$before" ]
}

inventory()
{
    local noun
    for noun in pool disk host map snapshot set; do quietly_tarn "$noun" list --json; done | grep -v '_ns"\|session' | cksum
}

config_refused() # WORD, the file on stdin
{
    cat > "$WORK/bad.conf"
    tarnd_refuses "$1" -c "$WORK/bad.conf" || return 1
    WHY="it made $WORK/other"
    [ ! -e "$WORK/other" ]
}

tarnd_refuses() # WORD ARGUMENTS...
{
    local status=0 said word=$1
    shift
    said=$(timeout 10 "$TARN_BUILD/src/tarnd/tarnd" "$@" 2>&1) || status=$?
    WHY="status $status, and it said: $said"
    [ "$status" != 0 ] && [ "$status" != 124 ] && ((status < 128)) && [[ $said == *"$word"* ]]
}

damaged_pool_is_said()
{
    stop tarnd
    # Both superblocks, and everything near them.
    dd if=/dev/urandom "of=$WORK/main.pool" bs=4k count=64 conv=notrunc status=none
    start_tarnd
    WHY=$(quietly_tarn pool show main 2>&1) || return 1
    [ "$(quietly_tarn pool show main --json | json 'd["state"] != "ok" and d["trouble"] != ""')" = True ]
}

chapter "A server with one of each"
write_tarn_conf
start_tarnd
tarn pool create main --file "$WORK/main.pool" --size 128M > /dev/null 2>&1
tarn disk create mail --size 64M > /dev/null
tarn host create web --initiator "$INITIATOR" --auth none > /dev/null
tarn map add web mail --lun 1 > /dev/null
tarn snapshot create mail --name monday > /dev/null
tarn disk create docs --size 64M > /dev/null
tarn snapshot create docs --name tuesday > /dev/null

chapter "The command line"
prove "an unknown noun is a usage error" refused 2 "banana" banana list
prove "an unknown option is a usage error" refused 2 "--colour" disk list --colour
prove "a missing argument is a usage error" refused 2 "size" disk create other
prove "a size that is none is refused" refused 2 "12Q" disk create other --size 12Q
prove "a size that is no multiple of a block is refused" refused 2 "4" disk create other --size 4097
prove "a name that is taken is refused" refused 4 "mail" disk create mail --size 64M
prove "a disk that is not there is not found" refused 3 "nothing" disk show nothing
prove "a pool below the minimum is refused" refused 2 "64" pool create small --file "$WORK/small" --size 1M
prove "a pool over an existing file is refused" refused 4 "main.pool" pool create again --file "$WORK/main.pool" --size 128M
prove "a disk with snapshots is not deleted" refused 4 "snapshot" disk delete docs
prove "a disk that is served is not deleted" refused 4 "served" disk delete mail
prove "a LUN number that is taken is refused" refused 4 "1" map add web monday --lun 1
prove "a short CHAP secret is refused" refused 2 "12" \
    host create other --initiator iqn.2026-11.example:other --chap-secret-file <(echo short)
prove "a server that is not there is unreachable" \
    env TARN_CONFIG=/dev/null bash -c '! timeout 10 "$1" disk list 2> /dev/null' bash "$TARN_BUILD/src/cli/tarn"

chapter "The API"
prove "a body that is no JSON is refused" answered 400 POST /v1/disks '{"name": '
prove "a body of another type is refused" answered 400 POST /v1/disks '["name"]'
prove "a field of another type is refused" answered 400 POST /v1/disks '{"name": 7, "size": "64M"}'
prove "an unknown field is refused" answered 400 POST /v1/disks '{"name": "x", "size": "64M", "colour": "red"}'
prove "ten thousand brackets are refused" answered 400 POST /v1/disks '@10000'
prove "an unknown path is not found" answered 404 GET /v1/bananas ''
prove "a wrong method is refused" answered 501 PATCH /v1/disks '{}'
prove "a wrong token is refused" answered 401 GET /v1/disks '' wrong

chapter "The configuration"
prove "a file that is not there is said" tarnd_refuses missing.conf -c "$WORK/missing.conf"
prove "an unknown key is said" config_refused colour <<< "[server]
state_dir = $WORK/other
colour = red"
prove "an address that is none is said" config_refused nowhere <<< "[server]
state_dir = $WORK/other
[api]
listen = nowhere"
prove "a state directory in use is said" config_refused "$WORK/state" <<< "[server]
state_dir = $WORK/state
[api]
listen = 127.0.0.1:0
[iscsi]
listen = 127.0.0.1:0"

chapter "Strangers and damage"
prove "strange bytes on the iSCSI port end only their connection" survives_strange_bytes
prove "a damaged pool is said, and the server runs" damaged_pool_is_said
finish
