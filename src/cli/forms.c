/*
 * forms.c - how people type each verb: what is positional, what options are called, examples.
 *
 * What is not said here follows from verbs.def: path parameters are positional, every other
 * argument is an option of its own name.
 */
#include <ctype.h>
#include <string.h>

#include "cli/cli_int.h"

static const struct cli_form forms[] = {
    {.id = "server_show", .examples = {"tarn server show"}},
    {.id = "pool_create",
     .positionals = "name",
     .examples = {"tarn pool create main --file /var/lib/tarn/main.pool --size 100G",
                  "tarn pool create fast --file /dev/nvme0n1"},
     .note = "The file is written through once, so that it cannot run out of space later; that "
             "takes a while and "
             "shows its progress. --sparse skips it, for tests."},
    {.id = "pool_check",
     .examples = {"tarn pool check main"},
     .note =
         "It reads the whole map while hosts and jobs go on, follows what they change meanwhile, "
         "and judges all blocks as they are at one instant. All stored tables, pages and leaves of "
         "maps are read back through their checksums; data is not (tarn snapshot verify). Whether "
         "anything is kept that nothing needs is judged where deletions and promotions have come "
         "to rest. The result counts what could not be judged, after looking again for five "
         "seconds (unjudged_leaves, unjudged_pages). Exit status: 0, nothing is wrong in what was "
         "judged; 1, the pool is damaged, or failed."},
    {.id = "pool_set",
     .examples = {"tarn pool set main --warn 80"},
     .note =
         "A pool that is nearly full tells its hosts (SCSI 38h/07h) and the event list. With less "
         "than a twentieth free it gives back, in this order and one at a time: undo points, then "
         "the trash but for what is kept. A named snapshot never goes by itself."},
    {.id = "disk_create",
     .positionals = "name",
     .examples = {"tarn disk create mail --size 200G",
                  "tarn disk create mail --size 200G --pool fast"},
     .note = "Disks are thin: they take space in the pool when they are written."},
    {.id = "disk_grow", .examples = {"tarn disk grow mail --size 400G"}},
    {.id = "disk_rename",
     .positionals = "name new_name",
     .examples = {"tarn disk rename mail mail-old"}},
    {.id = "disk_delete",
     .examples = {"tarn disk delete mail --dry-run", "tarn disk delete mail --with-snapshots",
                  "tarn disk delete scratch --now"},
     .note =
         "A deleted disk is in the trash for 24 hours (tarn server set --trash): not served, its "
         "name free, its space still taken. To have it back: tarn trash restore"},
    {.id = "disk_revert",
     .examples = {"tarn disk revert mail --to nightly --dry-run",
                  "tarn disk revert mail --to nightly"},
     .note = "Takes milliseconds, whatever the size; all snapshots stay, newer ones too. What the "
             "disk was is kept for 24 hours as an undo point (tarn disk undo). Unmount the disk on "
             "its host first: while a host reads or writes it, the revert is refused."},
    {.id = "disk_replace",
     .examples = {"tarn disk replace test --from nightly-mail --dry-run",
                  "tarn disk replace test --from nightly-mail"},
     .note =
         "The disk keeps its name, identity and LUNs and takes content and size of the snapshot, "
         "at one moment when all is copied; until then it is as it was and fully usable. The job "
         "goes on after a restart: tarn job pause, resume, cancel. To take it back: tarn disk "
         "undo"},
    {.id = "disk_undo",
     .examples = {"tarn disk undo mail", "tarn disk undo mail --list",
                  "tarn disk undo mail --to before-revert-20261122T160500Z"},
     .note = "An undo leaves an undo point too: undo again to have back what it took away."},
    {.id = "server_clock",
     .examples = {"tarn server clock", "tarn server clock --confirm"},
     .note = "What is kept until a time is kept by this clock. It never goes back, and follows a "
             "wall clock that is set forward by more than an hour only when that is confirmed."},
    {.id = "disk_split",
     .examples = {"tarn disk split mail-test", "tarn disk split mail-test --dry-run"},
     .note = "What the branch still reads from its snapshot is copied first, in the background; it "
             "stays in full "
             "use meanwhile."},
    {.id = "host_set",
     .examples = {"tarn host set web1 --os windows"},
     .note =
         "A Windows host gets snapshots writable, as a private branch, because it writes to what "
         "it mounts; "
         "others get them write-protected."},
    {.id = "host_create",
     .positionals = "name",
     .examples = {"tarn host create web1 --initiator iqn.1993-08.org.debian:01:web1",
                  "tarn host create lab --initiator iqn.2026-01.lab:a --auth none",
                  "tarn host create db1 --initiator iqn.2026-01.lab:db1 --chap-secret-file "
                  "/etc/tarn/db1.secret"},
     .note = "Without --auth the host logs in with CHAP; a secret that is not given is drawn by "
             "the server and "
             "shown once. Secret files hold one line; - reads standard input."},
    {.id = "host_enrol",
     .examples = {"tarn host enrol db1", "tarn host enrol db1 --addresses tarn.example:7260 "
                                         "--addresses 192.0.2.1:7260 --replace"},
     .note = "The code holds addresses, the server's public key and a secret that is good once. On "
             "the host: tarn host redeem, or on Windows tarn-vss enrol. The secret is never sent; "
             "both sides make the host's key from it. A host may make shadow copies of the disks "
             "that are served to it or its group, and import, mask, break, delete and revert from "
             "what its group has made or imported; nothing else."},
    {.id = "host_redeem",
     .examples = {"tarn host redeem --code-file -",
                  "tarn host redeem --code-file code.txt --output "
                  "/etc/tarn/host.json"},
     .note = "The file is made anew with mode 0600; tarn shadow on this machine uses it.",
     .handler = cli_host_redeem},
    {.id = "credential_revoke",
     .examples = {"tarn credential revoke 6f1e"},
     .note =
         "The host can ask for nothing any more; what is served to it stays served. To change a "
         "host's key: tarn host enrol HOST --replace."},
    {.id = "group_create",
     .positionals = "name",
     .examples = {"tarn group create sql-cluster --hosts db1 --hosts db2"},
     .note =
         "A host is in one group at most. The hosts of a group have the same rights: what one of "
         "them has prepared or imported, the others may import, mask, break and delete."},
    {.id = "group_add", .positionals = "name host", .examples = {"tarn group add sql-cluster db3"}},
    {.id = "group_remove",
     .positionals = "name host",
     .examples = {"tarn group remove sql-cluster db3"},
     .note = "Sets that were prepared for the host while it was in the group stay with the group."},
    {.id = "grant_add",
     .examples = {"tarn grant add --to backup-servers --from sql-cluster"},
     .note = "For copies that one host makes and another reads, such as an off-host backup."},
    {.id = "grant_remove", .examples = {"tarn grant remove backup-servers sql-cluster"}},
    {.id = "map_add",
     .positionals = "host object",
     .shown = "HOST DISK|SNAPSHOT",
     .examples = {"tarn map add web1 mail", "tarn map add web1 mail --lun 3 --read-only",
                  "tarn map add backup1 --snapshot nightly-mail"},
     .note = "Looks up whether the name is a disk or a snapshot; --disk NAME and --snapshot NAME "
             "say so instead. "
             "Snapshots are served write-protected, to Windows hosts as a private writable branch; "
             "for another "
             "writable copy make a branch first.",
     .handler = cli_map_add},
    {.id = "map_remove", .examples = {"tarn map remove web1 3"}},
    {.id = "snapshot_create",
     .positionals = "disks...",
     .examples = {"tarn snapshot create mail --name before-upgrade",
                  "tarn snapshot create data wal --name nightly"},
     .note = "All disks are cut at one instant, without asking the hosts that use them: like after "
             "a power "
             "failure. For a copy of a quiet application see tarn shadow create."},
    {.id = "snapshot_rename",
     .positionals = "name new_name",
     .examples = {"tarn snapshot rename nightly-mail keep"}},
    {.id = "snapshot_branch",
     .positionals = "name new_name",
     .shown = "SNAPSHOT NEWDISK",
     .examples = {"tarn snapshot branch nightly-mail mail-test"},
     .note = "The new disk is writable and copies nothing: blocks that it did not write are those "
             "of the snapshot."},
    {.id = "snapshot_promote",
     .examples = {"tarn snapshot promote nightly-mail", "tarn snapshot promote nightly-mail "
                                                        "--no-wait"},
     .note = "A differential snapshot shares its blocks with the disk; a full one has its own. The "
             "copying is a "
             "job that goes on after a restart: tarn job pause, resume, cancel."},
    {.id = "snapshot_split",
     .examples = {"tarn snapshot split nightly-mail --name mail-copy",
                  "tarn snapshot split nightly-mail --dry-run"},
     .note = "The disk has the identity and the LUNs of the snapshot, which is forgotten. What it "
             "still shares is "
             "copied first, in the background."},
    {.id = "set_break",
     .examples = {"tarn set break nightly --dry-run", "tarn set break nightly --no-wait"},
     .note =
         "Answered at once: the LUNs stay in full use with their identities while the snapshots "
         "become "
         "independent disks in the background."},
    {.id = "snapshot_delete",
     .examples = {"tarn snapshot delete nightly-mail --dry-run",
                  "tarn snapshot delete nightly-mail", "tarn snapshot delete nightly-mail --now"},
     .note = "A deleted snapshot is in the trash for 24 hours (tarn server set --trash); its space "
             "comes back after that. To have it back: tarn trash restore"},
    {.id = "snapshot_verify",
     .positionals = "name",
     .shown = "NAME|--all",
     .examples = {"tarn snapshot verify nightly-mail", "tarn snapshot verify --all"},
     .note =
         "The SHA-256 is that of the whole content, as sha256sum of the LUN prints it; the first "
         "run stores it, later runs compare. What is damaged is in tarn event list."},
    {.id = "snapshot_retain",
     .examples = {"tarn snapshot retain month-end --for 90d",
                  "tarn snapshot retain month-end --until 2027-01-31",
                  "tarn snapshot retain month-end --for 90d --dry-run"},
     .note = "Until then delete, update and trash empty refuse, for administrators too; nor does a "
             "wall clock that is set forward end it. The time can only be made longer."},
    {.id = "snapshot_update",
     .examples = {"tarn snapshot update test-copy --dry-run", "tarn snapshot update test-copy"},
     .note = "What it showed before goes for good. Refused while it is served or kept (retain). "
             "Snapshots that were cut together are updated together: tarn set update"},
    {.id = "set_update", .examples = {"tarn set update nightly"}},
    {.id = "set_prepare",
     .positionals = "disks...",
     .examples = {"tarn set prepare data wal --name nightly"},
     .note = "The steps of a set, in order: prepare, arm, commit (the cut), confirm, finish; abort "
             "at any step "
             "before finish leaves nothing. tarn shadow create does all of it."},
    {.id = "set_delete", .examples = {"tarn set delete nightly --dry-run"}},
    {.id = "trash_restore",
     .examples = {"tarn trash restore nightly-mail",
                  "tarn trash restore mail --new-name mail-before"},
     .note =
         "With a disk come the snapshots that were deleted with it, with a set all its members. "
         "Identities (serial, NAA) are as they were; LUNs must be mapped again."},
    {.id = "trash_empty",
     .positionals = "name",
     .shown = "[NAME]",
     .examples = {"tarn trash empty --dry-run", "tarn trash empty nightly-mail",
                  "tarn trash empty mail --undo"},
     .note = "Undo points of reverts and replaces hold space for a day as well: with --undo they "
             "go too, and with a disk's name only its own."},
    {.id = "server_set",
     .examples = {"tarn server set --trash 7d", "tarn server set --trash 0"},
     .note =
         "The trash guards against a mistaken or hostile delete: only an administrator can empty "
         "it or delete past it."},
    {.id = "job_cancel",
     .examples = {"tarn job cancel 7 --dry-run"},
     .note = "A copying job whose pool is missing at a start, or fails, waits, with what it has done, "
             "and goes on at the next start at which the pool is there. Until then a split, break or "
             "replace cannot be cancelled: only its pool knows what was done already."},
    {.id = "job_wait", .examples = {"tarn job wait 7"}, .handler = cli_job_wait},
    {.id = "token_create",
     .positionals = "name",
     .examples = {"tarn token create nightly-backup --role backup-operator"},
     .note = "The token is shown once; the server keeps only a hash of it."},
    {.id = "audit_list",
     .examples = {"tarn audit list --limit 20", "tarn audit list --actor admin --verb disk_delete"},
     .note = "Every change has a record, and so has every refusal; refusals of one caller and verb "
             "are recorded once a minute, with their number. Secrets are not in it."},
    {.id = "audit_verify",
     .examples = {"tarn audit verify", "tarn audit verify --head 1042:9f86d081..."},
     .note =
         "Each record is bound to all before it (SHA-256), and the last one to the server's key "
         "file. Records that were edited, removed, added or cut off are named. Whoever has the "
         "key file, or puts back an old copy of the whole state directory, is found only by a "
         "head that was noted elsewhere: tarn audit verify prints it, and the log of each start "
         "has it."},
    {.id = "shadow_create",
     .positionals = "mounts...",
     .shown = "MOUNT=DISK...",
     .examples = {"tarn shadow create /srv/data=data /srv/wal=wal --name nightly",
                  "tarn shadow create /srv/data=data /srv/wal=wal --writer "
                  "'postgresql:host=/run/postgresql user=postgres'"},
     .note = "Writers prepare (a CHECKPOINT), file systems are written out and frozen, one request "
             "cuts all disks "
             "at one instant, and everything is thawed at once. The copy counts only if every thaw "
             "proves that the "
             "freeze held. Needs root. A file system on several disks is named once for each: "
             "/srv=a /srv=b.",
     .handler = cli_shadow_create},
    {.id = "shadow_delete", .examples = {"tarn shadow delete nightly"}},
};

static const struct {
    const char *id, *arg, *option;
    bool is_file;
} renamed[] = {
    {"snapshot_split", "new_name", "name", false},
    {"pool_create", "path", "file", false},
    {"host_create", "initiators", "initiator", false},
    {"host_create", "chap_secret", "chap-secret-file", true},
    {"host_create", "mutual_secret", "mutual-secret-file", true},
    {"host_redeem", "code", "code-file", true},
};

const struct cli_form *cli_form_of(const struct cli_row *verb)
{
    static const struct cli_form plain;
    for (size_t i = 0; i < countof(forms); i++) {
        if (strcmp(forms[i].id, verb->id) == 0) return &forms[i];
    }
    return &plain;
}

static const char *renamed_option(const struct cli_row *arg, bool *ret_is_file)
{
    for (size_t i = 0; i < countof(renamed); i++) {
        if (strcmp(renamed[i].id, arg->id) == 0 && strcmp(renamed[i].arg, arg->name) == 0) {
            *ret_is_file = renamed[i].is_file;
            return renamed[i].option;
        }
    }
    *ret_is_file = false;
    return NULL;
}

bool cli_option_is_file(const struct cli_row *arg)
{
    bool is_file;
    return renamed_option(arg, &is_file) && is_file;
}

/* The word at *at up to the next space; advances.  False at the end. */
static bool next_word(const char **at, char word[64])
{
    while (**at == ' ')
        (*at)++;
    if (!**at) return false;
    size_t length = strcspn(*at, " ");
    size_t kept = min_of(length, (size_t)63);
    memcpy(word, *at, kept);
    word[kept] = '\0';
    *at += length;
    return true;
}

/* Path parameters, when no form says otherwise. */
static bool path_parameter(const struct cli_row *verb, unsigned index, char name[64])
{
    const char *at = verb->path;
    for (unsigned i = 0;; i++) {
        const char *open = strchr(at, '{'), *close = open ? strchr(open, '}') : NULL;
        if (!open || !close) return false;
        if (i == index) {
            size_t length = min_of((size_t)(close - open - 1), (size_t)63);
            memcpy(name, open + 1, length);
            name[length] = '\0';
            return true;
        }
        at = close + 1;
    }
}

bool cli_positional(const struct cli_row *verb, unsigned index, char name[64], bool *ret_rest)
{
    const struct cli_form *form = cli_form_of(verb);
    *ret_rest = false;
    if (!form->positionals) return path_parameter(verb, index, name);
    const char *at = form->positionals;
    for (unsigned i = 0; next_word(&at, name); i++) {
        if (i < index) continue;
        char *dots = strstr(name, "...");
        if (dots) *dots = '\0';
        *ret_rest = dots != NULL;
        return true;
    }
    return false;
}

bool cli_is_positional(const struct cli_row *verb, const char *name)
{
    char word[64];
    bool rest;
    for (unsigned i = 0; cli_positional(verb, i, word, &rest); i++) {
        if (strcmp(word, name) == 0) return true;
    }
    return false;
}

const char *cli_option_name(const struct cli_row *arg, char buf[64])
{
    bool is_file;
    const char *other = renamed_option(arg, &is_file);
    size_t length = min_of(strlen(other ? other : arg->name), (size_t)63);
    memcpy(buf, other ? other : arg->name, length);
    buf[length] = '\0';
    for (char *at = buf; *at; at++) {
        if (*at == '_') *at = '-';
    }
    return buf;
}
