/*
 * control_lun.h - a host's view of the control rig's LUNs: one block at a time, through the device
 * server.
 *
 *     struct lun_host *host = lun_login(rig, "iqn.a");
 *     expect_eq(lun_put(host, 5, 0, 'x'), STATUS_OK); expect_eq(lun_get(host, 5, 0), 'x');
 *     lun_logout(host);
 */
#ifndef TARN_TESTS_CONTROL_LUN_H
#define TARN_TESTS_CONTROL_LUN_H

#include "scsi/scsi.h"
#include "tests/unit/control_rig.h"

struct lun_host;
struct lun_host *lun_login(struct rig *rig, const char *initiator);
void lun_logout(struct lun_host *host);
/* REPORT LUNS; how many LUNs are listed. */
unsigned lun_report(struct lun_host *host);
/* Pending unit attentions are taken first; the last of them as ASC << 8 | ASCQ, 0 = none. */
unsigned lun_attention(struct lun_host *host, unsigned lun);
/* One command that does nothing: the attention that it brings, 0 = none. */
unsigned lun_poll(struct lun_host *host, unsigned lun);
/* Fills one block with a byte; SCSI status, or ASC << 8 | ASCQ of a check condition. */
unsigned lun_put(struct lun_host *host, unsigned lun, uint64_t block, char byte);
/* The first byte of a block when all its bytes are alike; -1 when they are not, -2 when it cannot
 * be read. */
int lun_get(struct lun_host *host, unsigned lun, uint64_t block);
/* PERSISTENT RESERVE OUT, with the type write exclusive; status, or ASC and ASCQ. */
enum { LUN_PR_REGISTER, LUN_PR_RESERVE, LUN_PR_RELEASE };
unsigned lun_pr_out(struct lun_host *host, unsigned lun, unsigned action, uint64_t key,
                    uint64_t new_key, bool aptpl);
/* How many registrations READ KEYS shows; -1: it fails. */
int lun_pr_keys(struct lun_host *host, unsigned lun);
/* PTPL_C and PTPL_A of REPORT CAPABILITIES, as 10 and 1. */
unsigned lun_pr_capabilities(struct lun_host *host, unsigned lun);
/* PERSISTENT RESERVE OUT: REGISTER, then RESERVE (write exclusive); or with key 0 gone again. */
bool lun_reserve(struct lun_host *host, unsigned lun, bool reserve);

#endif
