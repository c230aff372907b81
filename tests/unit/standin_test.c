/* The stand-in for VSS over Tarn's own provider: both hosts, both ways of processes, everything
 * that is done with a shadow copy set; no rule is broken and nothing is left. */
#include <stdlib.h>

#include "base/check.h"
#include "tests/lib/tap.h"
#include "tests/unit/standin_world.h"

enum {
    BACKUP = 0,
    PERSISTENT = VSS_VOLSNAP_ATTR_PERSISTENT | VSS_VOLSNAP_ATTR_NO_AUTO_RELEASE,
    TRANSPORTABLE = PERSISTENT | VSS_VOLSNAP_ATTR_TRANSPORTABLE,
    DISK_BLOCKS = 256,
};

static struct world w;
static struct coordinator *a, *b;
static VSS_ID set; /* the newest */
static bool new_process_each_call;

static void begin(void)
{
    world_init(&w, 1);
    w.new_process_each_call = new_process_each_call;
    w.is_loud = getenv("LOUD") != NULL;
    a = b = NULL;
}

/* Host A, with a disk of so many volumes; which disk that is. */
static unsigned begin_with(unsigned volumes)
{
    begin();
    unsigned disk = world_add_disk(&w, HOST_A, DISK_BLOCKS, volumes);
    a = world_coordinator(&w, HOST_A, 0);
    return disk;
}

static void expect_no_rule(const struct coordinator *c)
{
    const char *what, *rule = c ? coordinator_broken_rule(c, &what) : NULL;
    if (!rule) return;
    printf("# broken rule %s: %s\n", rule, what);
    tap_failed = true;
}

static void end(void)
{
    expect_no_rule(a);
    expect_no_rule(b);
    coordinator_destroy(a);
    coordinator_destroy(b);
    expect_eq(world_live_count(), 0);
    expect_eq(world_wrong_free_count(), 0);
    world_fini(&w);
}

/* All volumes of a host in one set. */
static HRESULT create(struct coordinator *c, LONG context)
{
    static char names[128][SI_NAME_MAX];
    coordinator_set_context(c, context);
    HRESULT result = coordinator_start_set(c, &set);
    unsigned count = coordinator_volumes(c, names, 128);
    for (unsigned i = 0; i < count && result == S_OK; i++)
        result = coordinator_add_volume(c, names[i], NULL, NULL);
    return result == S_OK ? coordinator_do_set(c) : result;
}

static HRESULT hand_over(struct coordinator *from, struct coordinator *to)
{
    char *xml = coordinator_save_document(from);
    HRESULT result = xml ? coordinator_load_document(to, xml) : E_OUTOFMEMORY;
    free(xml);
    return result;
}

/* A transportable set of host A, imported by host B. */
static void create_and_take_over(void)
{
    b = world_coordinator(&w, HOST_B, 0);
    expect_eq(create(a, TRANSPORTABLE), S_OK);
    expect_eq(hand_over(a, b), S_OK);
    expect_eq(coordinator_import(b), S_OK);
}

/* Every shadow copy that this host has shows what was written before writes were held. */
static void expect_cut(struct coordinator *c, unsigned host, unsigned count, uint64_t number)
{
    static struct coordinator_snapshot list[128];
    unsigned found = coordinator_query(c, list, 128);
    expect_eq(found, count);
    for (unsigned i = 0; i < found; i++) {
        unsigned lun = world_lun_of_number(&w, host, list[i].lun);
        require(lun != UINT32_MAX);
        unsigned volume = (unsigned)(list[i].first_lba - WORLD_FIRST_LBA) / WORLD_VOLUME_BLOCKS;
        expect_eq(world_number_of(&w, lun, volume), number);
    }
}

/* ---- Making sets ----------------------------------------------------------------------------- */

static void a_volume_is_shadowed_and_imported(void)
{
    begin_with(1);
    expect_eq(create(a, PERSISTENT), S_OK);
    expect_cut(a, HOST_A, 1, w.number_at_hold);
    expect_eq(world_snapshot_count(&w), 1);
    end();
}

static void several_volumes_on_one_lun_are_one_snapshot(void)
{
    begin_with(4);
    expect_eq(create(a, PERSISTENT), S_OK);
    expect_cut(a, HOST_A, 4, w.number_at_hold);
    expect_eq(world_snapshot_count(&w), 1);
    end();
}

static void one_volume_over_several_luns_is_one_shadow_copy(void)
{
    begin();
    for (unsigned i = 0; i < 3; i++)
        world_add_span_disk(&w, HOST_A, DISK_BLOCKS, "span:big");
    a = world_coordinator(&w, HOST_A, 0);
    expect_eq(create(a, PERSISTENT), S_OK);
    expect_cut(a, HOST_A, 1, w.number_at_hold);
    expect_eq(world_snapshot_count(&w), 3);
    end();
}

static void sixty_four_volumes_are_one_set_and_no_more(void)
{
    static char names[128][SI_NAME_MAX];
    begin();
    for (unsigned i = 0; i < 65; i++)
        world_add_disk(&w, HOST_A, DISK_BLOCKS, 1);
    a = world_coordinator(&w, HOST_A, 0);
    coordinator_set_context(a, PERSISTENT);
    require(coordinator_start_set(a, &set) == S_OK);
    require(coordinator_volumes(a, names, 128) == 65);
    for (unsigned i = 0; i < 64; i++)
        expect_eq(coordinator_add_volume(a, names[i], NULL, NULL), S_OK);
    expect_eq(coordinator_add_volume(a, names[64], NULL, NULL),
              VSS_E_MAXIMUM_NUMBER_OF_VOLUMES_REACHED);
    expect_eq(coordinator_do_set(a), S_OK);
    expect_cut(a, HOST_A, 64, w.number_at_hold);
    end();
}

static void a_volatile_set_goes_with_its_session(void)
{
    begin_with(2);
    expect_eq(create(a, BACKUP), S_OK);
    expect_eq(world_snapshot_count(&w), 1);
    expect_no_rule(a);
    coordinator_destroy(a);
    a = NULL;
    expect_eq(world_snapshot_count(&w), 0);
    end();
}

static void a_persistent_set_stays(void)
{
    begin_with(2);
    expect_eq(create(a, PERSISTENT), S_OK);
    coordinator_destroy(a);
    a = world_coordinator(&w, HOST_A, 0);
    expect_cut(a, HOST_A, 2, w.number_at_hold);
    end();
}

static void a_second_set_of_the_same_volumes_is_another_one(void)
{
    begin_with(1);
    expect_eq(create(a, PERSISTENT), S_OK);
    VSS_ID first = set;
    expect_eq(create(a, PERSISTENT), S_OK);
    expect(!guid_same(&first, &set));
    expect_eq(world_snapshot_count(&w), 2);
    end();
}

static void another_provider_is_asked_too_and_called_for_nothing_else(void)
{
    static char names[4][SI_NAME_MAX];
    static const GUID unknown = {0xBAD, 0, 0, {0}}, other = {0x07E4, 1, 2, {3}};
    begin();
    w.has_other_provider = true;
    world_add_disk(&w, HOST_A, DISK_BLOCKS, 2);
    a = world_coordinator(&w, HOST_A, 0);
    b = world_coordinator(&w, HOST_B, 0);
    expect_eq(create(a, TRANSPORTABLE), S_OK);
    expect_eq(w.other_asked, 2);
    require(hand_over(a, b) == S_OK);
    expect_eq(coordinator_import(b), S_OK);
    expect_cut(b, HOST_B, 2, w.number_at_hold);
    require(coordinator_volumes(a, names, 4) == 2 && coordinator_start_set(a, &set) == S_OK);
    expect_eq(coordinator_add_volume(a, names[0], &other, NULL),
              VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER);
    expect_eq(coordinator_add_volume(a, names[0], &unknown, NULL), VSS_E_PROVIDER_NOT_REGISTERED);
    expect_eq(coordinator_add_volume(a, names[0], world_provider_id(), NULL), S_OK);
    expect_eq(coordinator_add_volume(a, names[0], NULL, NULL), VSS_E_OBJECT_ALREADY_EXISTS);
    expect_eq(coordinator_do_set(a), S_OK);
    end();
}

static void what_contradicts_itself_is_not_supported(void)
{
    static char names[4][SI_NAME_MAX];
    BOOL supported = TRUE;
    begin_with(1);
    require(coordinator_volumes(a, names, 4) == 1);
    coordinator_set_context(a, VSS_VOLSNAP_ATTR_DIFFERENTIAL | VSS_VOLSNAP_ATTR_PLEX);
    expect_eq(coordinator_is_volume_supported(a, NULL, names[0], &supported), S_OK);
    expect_eq(supported, FALSE);
    coordinator_set_context(a, PERSISTENT);
    expect_eq(coordinator_is_volume_supported(a, world_provider_id(), names[0], &supported), S_OK);
    expect_eq(supported, TRUE);
    end();
}

static void the_marks_are_off_the_source_afterwards(void)
{
    static char names[4][SI_NAME_MAX];
    begin_with(3);
    expect_eq(create(a, PERSISTENT), S_OK);
    expect_eq(coordinator_volumes(a, names, 4), 3); /* the shadow copies' have the marks: hidden */
    end();
}

/* ---- What fails ------------------------------------------------------------------------------ */

static void a_set_that_is_aborted_anywhere_leaves_nothing(void)
{
    static const char *const steps[] = {
        "EndPrepareSnapshots", "mark",    "freeze", "PreCommitSnapshots",  "hold",
        "CommitSnapshots",     "release", "unmark", "PostCommitSnapshots", "thaw",
        "GetTargetLuns"};
    for (unsigned i = 0; i < 2 * sizeof steps / sizeof *steps; i++) {
        static char names[4][SI_NAME_MAX];
        begin_with(2);
        /* Before a step; or after it, but for the last: then the identities are out. */
        bool is_after = i % 2 == 1 && i / 2 < sizeof steps / sizeof *steps - 1;
        coordinator_set_fault(a, is_after ? COORDINATOR_ABORT_AFTER : COORDINATOR_ABORT_BEFORE,
                              steps[i / 2]);
        expect_eq(create(a, PERSISTENT), VSS_E_PROVIDER_VETO);
        expect_eq(world_snapshot_count(&w), 0);
        expect_eq(world_open_set_count(&w), 0);
        expect_eq(coordinator_volumes(a, names, 4), 2);
        coordinator_set_fault(a, COORDINATOR_ABORT_BEFORE, NULL);
        expect_eq(create(a, PERSISTENT), S_OK);
        expect_cut(a, HOST_A, 2, w.number_at_hold);
        end();
    }
}

static void an_abort_beside_a_call_leaves_nothing(void)
{
    static const char *const steps[] = {"EndPrepareSnapshots", "PreCommitSnapshots",
                                        "CommitSnapshots", "PostCommitSnapshots"};
    for (unsigned i = 0; i < sizeof steps / sizeof *steps; i++) {
        begin_with(2);
        coordinator_set_fault(a, COORDINATOR_ABORT_DURING, steps[i]);
        expect(create(a, PERSISTENT) != S_OK);
        expect_eq(world_snapshot_count(&w), 0);
        expect_eq(world_open_set_count(&w), 0);
        end();
    }
}

static void a_provider_that_dies_before_the_commit_fails_the_set_and_leaves_nothing(void)
{
    static const char *const steps[] = {"BeginPrepareSnapshot", "EndPrepareSnapshots",
                                        "PreCommitSnapshots", "CommitSnapshots"};
    for (unsigned i = 0; i < 2 * sizeof steps / sizeof *steps; i++) {
        begin_with(2);
        coordinator_set_fault(a, i % 2 ? COORDINATOR_KILL_AFTER : COORDINATOR_KILL_BEFORE,
                              steps[i / 2]);
        HRESULT result = create(a, PERSISTENT);
        /* A new process may still be told of the volumes, when the second one is added. */
        if (result != S_OK) expect_eq(world_snapshot_count(&w), 0);
        expect_eq(world_open_set_count(&w), 0);
        coordinator_set_fault(a, COORDINATOR_KILL_BEFORE, NULL);
        expect_eq(create(a, PERSISTENT), S_OK);
        end();
    }
}

static void a_provider_that_dies_after_the_set_was_made_is_not_missed(void)
{
    static const char *const steps[] = {"GetTargetLuns", "LocateLuns", "FillInLunInfo",
                                        "PreFinalCommitSnapshots", "PostFinalCommitSnapshots"};
    for (unsigned i = 0; i < 2 * sizeof steps / sizeof *steps; i++) {
        begin_with(2);
        coordinator_set_fault(a, i % 2 ? COORDINATOR_KILL_AFTER : COORDINATOR_KILL_BEFORE,
                              steps[i / 2]);
        expect_eq(create(a, PERSISTENT), S_OK);
        expect_cut(a, HOST_A, 2, w.number_at_hold);
        end();
    }
}

/* No answer of a dead process is no FALSE. */
static void a_provider_that_stays_dead_after_locate_luns_breaks_no_rule(void)
{
    begin();
    world_add_disk(&w, HOST_A, DISK_BLOCKS, 2);
    w.new_process_each_call = false; /* their ends would be deaths */
    w.hosts[HOST_A].does_death_last = true;
    a = world_coordinator(&w, HOST_A, 0);
    coordinator_set_fault(a, COORDINATOR_KILL_AFTER, "LocateLuns");
    expect(FAILED(create(a, PERSISTENT)));
    w.hosts[HOST_A].is_dead = false;
    coordinator_set_fault(a, COORDINATOR_KILL_BEFORE, NULL);
    expect_eq(create(a, PERSISTENT), S_OK);
    end();
}

/* The lease of tarnd ends it; here that the next set does. */
static void the_next_set_ends_one_that_vss_never_spoke_of_again(void)
{
    unsigned disk = begin_with(1);
    coordinator_set_fault(a, COORDINATOR_VANISH_AFTER, "CommitSnapshots");
    expect(create(a, PERSISTENT) != S_OK);
    expect_eq(world_open_set_count(&w), 1);
    expect_eq(coordinator_do_set(a), VSS_E_BAD_STATE);
    coordinator_destroy(a);
    a = world_coordinator(&w, HOST_A, 0);
    expect_eq(create(a, PERSISTENT), S_OK);
    expect_eq(world_number_of(&w, disk, 0), w.number);
    end();
}

static void a_commit_of_more_than_ten_seconds_fails_the_set(void)
{
    const char *what;
    begin_with(1);
    w.commit_ms = 10001;
    expect_eq(create(a, PERSISTENT), VSS_E_HOLD_WRITES_TIMEOUT);
    expect_eq(world_snapshot_count(&w), 0);
    require(coordinator_broken_rule(a, &what) != NULL);
    expect_str(coordinator_broken_rule(a, &what), "hold_over_ten_seconds");
    coordinator_destroy(a);
    a = NULL;
    end();
}

static void writers_that_veto_fail_the_set(void)
{
    begin_with(1);
    w.hosts[HOST_A].are_writers_stubborn = true;
    expect_eq(create(a, PERSISTENT), VSS_E_WRITERERROR_NONRETRYABLE);
    expect_eq(world_snapshot_count(&w), 0);
    end();
}

static void a_server_that_refuses_anything_fails_the_set_and_leaves_nothing(void)
{
    static const char *const requests[] = {"/arm", "/commit", "/confirm"};
    for (unsigned i = 0; i < sizeof requests / sizeof *requests; i++) {
        begin_with(1);
        w.fail = requests[i];
        expect_eq(create(a, PERSISTENT), VSS_E_PROVIDER_VETO);
        expect_eq(world_snapshot_count(&w), 0);
        expect_eq(w.hosts[HOST_A].events, 1);
        w.fail = NULL;
        end();
    }
}

static void a_server_that_is_away_leaves_volumes_to_others(void)
{
    begin_with(1);
    w.hosts[HOST_A].is_away = true;
    expect_eq(create(a, PERSISTENT), VSS_E_VOLUME_NOT_SUPPORTED);
    end();
}

/* ---- Two hosts ------------------------------------------------------------------------------- */

static void a_transportable_set_is_imported_elsewhere(void)
{
    begin_with(2);
    world_add_disk(&w, HOST_A, DISK_BLOCKS, 1);
    world_add_disk(&w, HOST_B, DISK_BLOCKS, 1);
    b = world_coordinator(&w, HOST_B, 0);
    expect_eq(create(a, TRANSPORTABLE), S_OK);
    uint64_t number = w.number_at_hold;
    expect_cut(a, HOST_A, 0, 0); /* nothing is surfaced where it was made */
    expect_eq(hand_over(a, b), S_OK);
    expect_eq(coordinator_import(b), S_OK);
    expect_cut(b, HOST_B, 3, number);
    expect_eq(coordinator_import(b), VSS_E_NO_SNAPSHOTS_IMPORTED); /* once */
    /* The first host does not get it too. */
    expect_eq(hand_over(a, a), S_OK);
    expect_eq(coordinator_import(a), VSS_E_PROVIDER_VETO);
    end();
}

static void a_masked_set_can_be_imported_again_and_by_the_other_host(void)
{
    begin_with(2);
    b = world_coordinator(&w, HOST_B, 0);
    expect_eq(create(a, TRANSPORTABLE), S_OK);
    uint64_t number = w.number_at_hold;
    require(hand_over(a, b) == S_OK && hand_over(a, a) == S_OK);
    expect_eq(coordinator_import(b), S_OK);
    expect_eq(coordinator_break(b, &set, false, VSS_BREAKEX_FLAG_MASK_LUNS), S_OK);
    expect_cut(b, HOST_B, 0, 0);
    expect_eq(coordinator_import(b), S_OK);
    expect_cut(b, HOST_B, 2, number);
    expect_eq(coordinator_break(b, &set, false, VSS_BREAKEX_FLAG_MASK_LUNS), S_OK);
    expect_eq(coordinator_import(a), S_OK);
    expect_cut(a, HOST_A, 2, number);
    end();
}

static void a_document_that_was_not_made_for_transport_is_not_imported(void)
{
    begin_with(1);
    b = world_coordinator(&w, HOST_B, 0);
    expect_eq(create(a, PERSISTENT), S_OK);
    expect_eq(hand_over(a, b), S_OK);
    expect_eq(coordinator_import(b), VSS_E_NONTRANSPORTABLE_BCD);
    end();
}

/* ---- Deletion -------------------------------------------------------------------------------- */

static void a_lun_goes_with_its_last_shadow_copy(void)
{
    static struct coordinator_snapshot list[8];
    VSS_ID not_deleted;
    LONG deleted;
    begin_with(2);
    world_add_disk(&w, HOST_A, DISK_BLOCKS, 1);
    expect_eq(create(a, PERSISTENT), S_OK);
    require(coordinator_query(a, list, 8) == 3);
    expect_eq(coordinator_delete(a, &list[0].id, false, &deleted, &not_deleted), S_OK);
    expect_eq(deleted, 1);
    expect_eq(world_snapshot_count(&w), 2); /* another volume of that LUN is still shadowed */
    expect_eq(coordinator_delete(a, &list[1].id, false, &deleted, &not_deleted), S_OK);
    expect_eq(world_snapshot_count(&w), 1);
    expect_eq(coordinator_delete(a, &list[1].id, false, &deleted, &not_deleted),
              VSS_E_OBJECT_NOT_FOUND);
    expect_cut(a, HOST_A, 1, w.number_at_hold);
    expect_eq(coordinator_delete(a, &set, true, &deleted, &not_deleted), S_OK);
    expect_eq(deleted, 1);
    expect_eq(world_snapshot_count(&w), 0);
    end();
}

static void an_importing_host_deletes_what_another_made(void)
{
    VSS_ID not_deleted;
    LONG deleted;
    begin_with(2);
    create_and_take_over();
    expect_eq(coordinator_delete(b, &set, true, &deleted, &not_deleted), S_OK);
    expect_eq(deleted, 2);
    expect_eq(world_snapshot_count(&w), 0);
    end();
}

static void a_deletion_that_fails_says_which(void)
{
    VSS_ID not_deleted;
    LONG deleted;
    begin_with(1);
    expect_eq(create(a, PERSISTENT), S_OK);
    w.fail = "/v1/snapshots/";
    expect_eq(coordinator_delete(a, &set, true, &deleted, &not_deleted), VSS_E_PROVIDER_VETO);
    expect_eq(deleted, 0);
    expect(!guid_is_null(&not_deleted));
    w.fail = NULL;
    expect_cut(a, HOST_A, 1, w.number_at_hold);
    end();
}

/* ---- Break ----------------------------------------------------------------------------------- */

static void a_broken_set_is_disks(bool is_plain, DWORD flags)
{
    static char names[16][SI_NAME_MAX];
    begin_with(2);
    create_and_take_over();
    expect_eq(coordinator_break(b, &set, is_plain, flags), S_OK);
    expect_cut(b, HOST_B, 0, 0);
    expect_eq(coordinator_volumes(b, names, 16), 2);
    expect_eq(world_snapshot_count(&w), 1);
    expect_eq(coordinator_break(b, &set, is_plain, flags), VSS_E_OBJECT_NOT_FOUND);
    end();
}

static void a_plain_break_calls_nobody_and_loses_nothing(void)
{
    a_broken_set_is_disks(true, 0);
}

static void a_writable_break_loses_nothing(void)
{
    a_broken_set_is_disks(false, VSS_BREAKEX_FLAG_MAKE_READ_WRITE);
}

static void a_break_may_take_the_ids_of_originals_that_are_elsewhere(void)
{
    a_broken_set_is_disks(false,
                          VSS_BREAKEX_FLAG_MAKE_READ_WRITE | VSS_BREAKEX_FLAG_REVERT_IDENTITY_ALL);
}

static void a_break_cannot_take_the_ids_of_originals_that_are_visible(void)
{
    begin_with(1);
    expect_eq(create(a, PERSISTENT), S_OK);
    expect_eq(coordinator_break(a, &set, false, VSS_BREAKEX_FLAG_REVERT_IDENTITY_ALL),
              VSS_E_BREAK_REVERT_ID_FAILED);
    expect_eq(coordinator_break(a, &set, false,
                                VSS_BREAKEX_FLAG_REVERT_IDENTITY_ALL |
                                    VSS_BREAKEX_FLAG_REVERT_IDENTITY_NONE),
              E_INVALIDARG);
    expect_cut(a, HOST_A, 1, w.number_at_hold);
    end();
}

/* ---- Resynchronisation ----------------------------------------------------------------------- */

static HRESULT resync_all(struct coordinator *c, const char *volume, DWORD flags,
                          const VSS_ID *snapshots, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        HRESULT result = coordinator_add_to_recovery_set(c, &snapshots[i], volume);
        if (result != S_OK) return result;
    }
    return coordinator_recover_set(c, flags);
}

/* Host A with a transportable set of one disk with `volumes`; its document is loaded. */
static void begin_for_resync(unsigned volumes, VSS_ID *ret_snapshots)
{
    static char names[8][SI_NAME_MAX];
    begin_with(volumes);
    coordinator_set_context(a, TRANSPORTABLE);
    HRESULT result = coordinator_start_set(a, &set);
    unsigned count = coordinator_volumes(a, names, 8);
    for (unsigned i = 0; i < count && result == S_OK; i++)
        result = coordinator_add_volume(a, names[i], NULL, &ret_snapshots[i]);
    if (result == S_OK) result = coordinator_do_set(a);
    if (result == S_OK) result = hand_over(a, a);
    check(result == S_OK);
}

static void the_original_takes_the_content_of_its_shadow_copy(void)
{
    static char before[4][SI_NAME_MAX], after[4][SI_NAME_MAX];
    VSS_ID snapshots[2];
    begin_for_resync(2, snapshots);
    coordinator_volumes(a, before, 4);
    uint64_t number = w.number_at_hold;
    expect_eq(resync_all(a, NULL, 0, snapshots, 2), S_OK);
    expect_eq(world_number_of(&w, 0, 0), number);
    expect_eq(world_number_of(&w, 0, 1), number);
    expect_eq(coordinator_volumes(a, after, 4), 2); /* without marks, and by the same names */
    expect_str(after[0], before[0]);
    expect_str(after[1], before[1]);
    /* And once more: the shadow copy is as it was. */
    world_write_number(&w);
    expect_eq(resync_all(a, NULL, 0, snapshots, 2), S_OK);
    expect_eq(world_number_of(&w, 0, 0), number);
    end();
}

static void a_volume_that_was_not_selected_is_not_overwritten(void)
{
    VSS_ID snapshots[2];
    begin_for_resync(2, snapshots);
    uint64_t number = w.number;
    expect_eq(resync_all(a, NULL, 0, snapshots, 1), VSS_E_UNSELECTED_VOLUME);
    expect_eq(world_number_of(&w, 0, 0), number);
    expect_eq(resync_all(a, NULL, VSS_RECOVERY_NO_VOLUME_CHECK, snapshots, 1), S_OK);
    expect_eq(world_number_of(&w, 0, 1), w.number_at_hold);
    end();
}

static void another_disk_takes_the_content(uint64_t blocks, DWORD flags)
{
    static char names[4][SI_NAME_MAX];
    VSS_ID snapshot;
    begin_for_resync(1, &snapshot);
    unsigned other = world_add_disk(&w, HOST_A, blocks, 1);
    require(coordinator_volumes(a, names, 4) == 2);
    expect_eq(resync_all(a, names[1], flags, &snapshot, 1), S_OK);
    expect_eq(world_number_of(&w, other, 0), w.number_at_hold);
    expect_eq(w.luns[other].block_count, DISK_BLOCKS);
    expect_eq(coordinator_volumes(a, names, 4), 2);
    end();
}

static void a_disk_of_the_same_size_takes_the_content(void)
{
    another_disk_takes_the_content(DISK_BLOCKS, 0);
}

static void a_larger_disk_takes_the_content_and_the_size(void)
{
    another_disk_takes_the_content(2 * DISK_BLOCKS, 0);
}

static void a_smaller_disk_takes_the_content_and_the_size(void)
{
    another_disk_takes_the_content(DISK_BLOCKS / 2, 0);
}

static void an_id_that_is_in_use_cannot_be_taken(void)
{
    static char names[4][SI_NAME_MAX];
    VSS_ID snapshot;
    begin_for_resync(1, &snapshot);
    world_add_disk(&w, HOST_A, DISK_BLOCKS, 1);
    require(coordinator_volumes(a, names, 4) == 2);
    expect_eq(resync_all(a, names[1], VSS_RECOVERY_REVERT_IDENTITY_ALL, &snapshot, 1),
              VSS_E_CANNOT_REVERT_DISKID);
    end();
}

static void an_imported_shadow_copy_is_compared_byte_for_byte(void)
{
    VSS_ID snapshot;
    begin_for_resync(1, &snapshot);
    uint64_t number = w.number_at_hold;
    require(coordinator_import(a) == S_OK);
    expect_eq(resync_all(a, NULL, 0, &snapshot, 1), S_OK);
    expect_eq(world_number_of(&w, 0, 0), number);
    expect_cut(a, HOST_A, 1, number);
    end();
}

static void a_resync_that_fails_says_so(void)
{
    static char names[4][SI_NAME_MAX];
    VSS_ID snapshot;
    begin_for_resync(1, &snapshot);
    unsigned other = world_add_disk(&w, HOST_A, DISK_BLOCKS, 1);
    world_write_number(&w);
    w.is_job_failing = true;
    require(coordinator_volumes(a, names, 4) == 2);
    expect_eq(resync_all(a, names[1], 0, &snapshot, 1), VSS_E_PROVIDER_VETO);
    expect_eq(world_number_of(&w, other, 0), w.number);
    end();
}

/* ---- The document ---------------------------------------------------------------------------- */

static void a_document_that_is_damaged_is_refused(void)
{
    begin_with(2);
    expect_eq(create(a, TRANSPORTABLE), S_OK);
    char *xml = coordinator_save_document(a);
    require(xml != NULL);
    size_t size = strlen(xml);
    while (xml[size - 1] == '\n')
        xml[--size] = '\0';
    expect_eq(coordinator_load_document(a, xml), S_OK);
    for (size_t cut = size; cut-- > 0;) {
        xml[cut] = '\0';
        if (coordinator_load_document(a, xml) == VSS_E_INVALID_XML_DOCUMENT) continue;
        printf("# taken with %zu of %zu bytes\n", cut, size);
        tap_failed = true;
    }
    free(xml);
    end();
}

static void run_all(void)
{
    run(a_volume_is_shadowed_and_imported);
    run(several_volumes_on_one_lun_are_one_snapshot);
    run(one_volume_over_several_luns_is_one_shadow_copy);
    run(sixty_four_volumes_are_one_set_and_no_more);
    run(a_volatile_set_goes_with_its_session);
    run(a_persistent_set_stays);
    run(a_second_set_of_the_same_volumes_is_another_one);
    run(another_provider_is_asked_too_and_called_for_nothing_else);
    run(what_contradicts_itself_is_not_supported);
    run(the_marks_are_off_the_source_afterwards);
    run(a_set_that_is_aborted_anywhere_leaves_nothing);
    run(an_abort_beside_a_call_leaves_nothing);
    run(a_provider_that_dies_before_the_commit_fails_the_set_and_leaves_nothing);
    run(a_provider_that_dies_after_the_set_was_made_is_not_missed);
    run(a_provider_that_stays_dead_after_locate_luns_breaks_no_rule);
    run(the_next_set_ends_one_that_vss_never_spoke_of_again);
    run(a_commit_of_more_than_ten_seconds_fails_the_set);
    run(writers_that_veto_fail_the_set);
    run(a_server_that_refuses_anything_fails_the_set_and_leaves_nothing);
    run(a_server_that_is_away_leaves_volumes_to_others);
    run(a_transportable_set_is_imported_elsewhere);
    run(a_masked_set_can_be_imported_again_and_by_the_other_host);
    run(a_document_that_was_not_made_for_transport_is_not_imported);
    run(a_lun_goes_with_its_last_shadow_copy);
    run(an_importing_host_deletes_what_another_made);
    run(a_deletion_that_fails_says_which);
    run(a_plain_break_calls_nobody_and_loses_nothing);
    run(a_writable_break_loses_nothing);
    run(a_break_may_take_the_ids_of_originals_that_are_elsewhere);
    run(a_break_cannot_take_the_ids_of_originals_that_are_visible);
    run(the_original_takes_the_content_of_its_shadow_copy);
    run(a_volume_that_was_not_selected_is_not_overwritten);
    run(a_disk_of_the_same_size_takes_the_content);
    run(a_larger_disk_takes_the_content_and_the_size);
    run(a_smaller_disk_takes_the_content_and_the_size);
    run(an_id_that_is_in_use_cannot_be_taken);
    run(an_imported_shadow_copy_is_compared_byte_for_byte);
    run(a_resync_that_fails_says_so);
    run(a_document_that_is_damaged_is_refused);
}

int main(void)
{
    run_all();
    new_process_each_call = true; /* a new process for every call outside Begin to PostCommit */
    run_all();
    return tap_done();
}
