#!/usr/bin/env bash
# tools_test.sh - the tools that judge others are judged themselves: tools/tidy finds what it forbids,
# tools/testlog counts what went wrong without a TAP point, tools/deps refuses what it does not know.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
count=0 bad=0

point() # STATUS NAME
{
    count=$((count + 1))
    if [ "$1" = 0 ]; then
        echo "ok $count - $2"
    else
        bad=$((bad + 1))
        echo "not ok $count - $2"
    fi
}

fresh_tree()
{
    rm -rf "$tree"
    mkdir -p "$tree"/{src/base,src/timeline,src/control,tests,windows,tools,doc}
    cp "$root/tools/tidy" "$tree/tools/"
    printf '#include <stdint.h>\nint base_add(int a, int b);\n' > "$tree/src/base/base.h"
}

# What tidy says of a tree with one file more.
tidy_finds() # RULE FILE, the file's content on stdin
{
    local status=0
    fresh_tree
    cat > "$tree/$2"
    "$tree/tools/tidy" > "$tree/out" 2>&1 || status=$?
    grep -q "^not ok [0-9]* - $1\$" "$tree/out" && grep -qF "${2##*/}" "$tree/out" && [ "$status" = 1 ]
}

fresh_tree
status=0
"$tree/tools/tidy" > "$tree/out" 2>&1 || status=1
point "$status" "tidy finds nothing in a clean tree"

status=0
tidy_finds modules_include_only_lower_layers src/base/up.c <<< '#include "control/control.h"' || status=1
point "$status" "tidy finds an include of a higher layer"

status=0
tidy_finds no_banned_calls src/base/copy.c <<< 'void f(char *a) { strcpy(a, "b"); }' || status=1
point "$status" "tidy finds a banned call"

status=0
tidy_finds no_io_time_or_randomness_outside_rt src/timeline/clock.c <<< 'long f(void) { return time(0); }' || status=1
point "$status" "tidy finds a clock outside of rt"

status=1
printf '/* time(0) */\nconst char *f(void) { return "time(0)"; }\nlong g(struct x *x) { return x->time(0); }\n' |
    tidy_finds no_io_time_or_randomness_outside_rt src/timeline/clock.c || status=0
point "$status" "tidy does not mind comments, strings and members"

status=0
{ echo 'int f(void)' && echo '{' && for _ in {1..71}; do echo '    ;'; done && echo '}'; } |
    tidy_finds functions_have_at_most_70_lines src/base/long.c || status=1
point "$status" "tidy finds a function of 71 lines"

status=0
for _ in {1..801}; do echo ';'; done | tidy_finds files_have_at_most_800_lines src/base/long.c || status=1
point "$status" "tidy finds a file of 801 lines"

status=0
tidy_finds headers_compile_alone src/base/lame.h <<< 'uint32_t f(void);' || status=1
point "$status" "tidy finds a header that needs another first"

status=0
tidy_finds every_todo_names_its_issue src/base/later.c <<< '/* TO''DO: later */' || status=1
point "$status" "tidy finds an open end without an issue"

# What testlog counts of one program's end.
counts() # EXPECTED RESULT RETURNCODE STDOUT
{
    local seen
    mkdir -p "$tree/meson-logs"
    python3 -c 'import json, sys
print(json.dumps({"name": "tarn:unit / x", "result": sys.argv[1], "returncode": int(sys.argv[2]),
                  "stdout": sys.argv[3], "duration": 1.0}))' "$2" "$3" "$4" > "$tree/meson-logs/testlog.json"
    seen=$("$root/tools/testlog" "$tree" | awk '$1 == "count" { print $2, $3, $4 }')
    [ "$seen" = "$1" ] || {
        echo "# counted $seen, expected $1"
        return 1
    }
}

check_counts() # NAME EXPECTED RESULT RETURNCODE STDOUT
{
    local name=$1 status=0
    shift
    counts "$@" || status=1
    point "$status" "$name"
}

check_counts "points are counted by their kind" "1 1 1" FAIL 1 \
    $'ok 1 - a\nnot ok 2 - b\nok 3 - c # SKIP no disk\n1..3'
check_counts "a crash before the first point is a failure" "0 1 0" FAIL -11 ""
check_counts "a crash after some points is a failure" "2 1 0" ERROR -6 $'ok 1 - a\nok 2 - b'
check_counts "a program that ran out of time is a failure" "1 2 0" TIMEOUT -15 $'ok 1 - a'
check_counts "fewer points than planned is a failure" "1 1 0" ERROR 0 $'1..2\nok 1 - a'
check_counts "a bad end after good points is a failure" "1 1 0" ERROR 3 $'ok 1 - a\n1..1'
check_counts "a program that skips as a whole is one skip" "0 0 1" SKIP 0 "1..0 # SKIP needs root"

status=1
"$root/tools/deps" list nonsense > /dev/null 2>&1 || status=0
point "$status" "deps refuses a group that it does not know"

status=1
"$root/tools/deps" unpack "$tree/none" nonsense > /dev/null 2>&1 || [ -e "$tree/none" ] || status=0
point "$status" "deps unpacks no group that it does not know, and leaves no directory"

echo "1..$count"
[ "$bad" = 0 ]
