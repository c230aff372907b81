/* A pool that fills up: hosts are told before writes fail, and again when it happens again (E28).
 */
#include "tests/unit/control_lun.h"

#include "base/attr.h"
#include "base/check.h"
#include "base/limits.h"

enum { THRESHOLD = 0x3807, FULL = 0x2707, FILLER_BLOCKS = 4096 };

/* Disk big, beyond the pool, as LUN 5, and filler as LUN 6, for two hosts. */
static struct rig *furnished(void)
{
    struct rig *rig = rig_create(RIG_REAL);
    rig_furnish(rig);
    check(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "h", "initiators", "iqn.a"));
    check(rig_do(rig, "host_create", "{s:s, s:[s]}", "name", "k", "initiators", "iqn.b"));
    check(rig_do(rig, "disk_create", "{s:s, s:s}", "name", "big", "size", "256M"));
    check(rig_do(rig, "disk_create", "{s:s, s:s}", "name", "filler", "size", "16M"));
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "big", "lun", 5));
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "h", "disk", "filler", "lun", 6));
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i}", "host", "k", "disk", "big", "lun", 5));
    check(rig_do(rig, "map_add", "{s:s, s:s, s:i, s:b}", "host", "k", "disk", "filler", "lun", 6,
                 "read_only", 1));
    return rig;
}

/* Writes new blocks until `other` is told (result THRESHOLD) or a write fails; *block goes on. */
static unsigned write_until_told(struct lun_host *host, struct lun_host *other, uint64_t *block)
{
    for (unsigned result = 0; result == 0; ++*block) {
        result = lun_put(host, 5, *block, 'x');
        if (lun_attention(other, 5) == THRESHOLD) return THRESHOLD;
        if (result) return result;
    }
    return 0;
}

static unsigned write_until_it_fails(struct lun_host *host, uint64_t *block)
{
    unsigned result = 0;
    while (result == 0)
        result = lun_put(host, 5, (*block)++, 'x');
    return result;
}

static void hosts_are_told_once_before_writes_fail_and_again_when_it_was_over(void)
{
    struct rig *rig = furnished();
    uint64_t block = 0, told;
    struct lun_host *h = lun_login(rig, "iqn.a"), *k = lun_login(rig, "iqn.b");
    for (unsigned i = 0; i < FILLER_BLOCKS; i++)
        require(lun_put(h, 6, i, 'f') == 0);
    (void)lun_attention(k, 5);
    (void)lun_attention(k, 6);
    expect_eq(write_until_told(h, k, &block), THRESHOLD);
    told = block;
    expect_eq(lun_attention(k, 5), 0); /* once for each nexus */
    expect_eq(lun_attention(k, 6), 0); /* it cannot write there */
    expect_eq(lun_attention(h, 6), THRESHOLD);
    expect_eq(write_until_it_fails(h, &block), FULL);
    expect(block > told + 256); /* there was time to do something about it */
    expect_eq(lun_attention(k, 5), 0);
    expect_eq(lun_get(h, 5, 0), 'x');

    expect(rig_do(rig, "map_remove", "{s:s, s:s}", "host", "h", "lun", "6"));
    expect(rig_do(rig, "map_remove", "{s:s, s:s}", "host", "k", "lun", "6"));
    expect(rig_do(rig, "disk_delete", "{s:s, s:b}", "name", "filler", "now", 1));
    sim_run_for(rig->sim, 60 * RT_SECOND); /* its blocks come back */
    expect_eq(lun_put(h, 5, block, 'y'), 0);
    (void)lun_attention(k, 5);
    expect_eq(write_until_told(h, k, &block), THRESHOLD);
    lun_logout(h);
    lun_logout(k);
    rig_destroy(rig);
}

int main(void)
{
    run(hosts_are_told_once_before_writes_fail_and_again_when_it_was_over);
    return tap_done();
}
