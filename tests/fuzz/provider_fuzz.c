/*
 * provider_fuzz.c - any record of a LUN and any answers of the server against all calls of the
 * Windows provider.
 *
 * Input: the LUN and then the answers, of which each request gets the next, and none when they are
 * used up. LUN      [flags] four strings, each [length] [bytes] (bits 0 to 3: NULL instead),
 * [count] identifiers, each [code set] [type] [length] [bytes].  Bit 4: vendor and product are
 * Tarn's; bit 5: and the rest is too. answer   [HTTP status / 4] [length, 2 bytes, big endian]
 * [body]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "tests/unit/provider_rig.h"
#include "windows/provider/core/resync.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fake_server server;
static struct buf_reader answers;

static char *take_string(struct buf_reader *in, bool is_null)
{
    size_t length = buf_take_u8(in);
    const uint8_t *bytes = buf_take(in, length);
    if (is_null || !bytes) return NULL;
    char *text = rig_memory.alloc(length + 1);
    memcpy(text, bytes, length);
    text[length] = '\0';
    return text;
}

static VDS_LUN_INFORMATION take_lun(struct buf_reader *in)
{
    uint8_t flags = buf_take_u8(in);
    if (flags & 0x20) return rig_disk_lun(flags & 7);
    VDS_LUN_INFORMATION lun = {.m_szVendorId = take_string(in, flags & 1),
                               .m_szProductId = take_string(in, flags & 2),
                               .m_szProductRevision = take_string(in, flags & 4),
                               .m_szSerialNumber = take_string(in, flags & 8)};
    if (flags & 0x10) {
        rig_memory.free(lun.m_szVendorId);
        rig_memory.free(lun.m_szProductId);
        lun.m_szVendorId = strcpy(rig_memory.alloc(9), "TARN    ");
        lun.m_szProductId = strcpy(rig_memory.alloc(13), "VIRTUAL DISK");
    }
    ULONG count = buf_take_u8(in) % 8;
    if (count)
        lun.m_deviceIdDescriptor.m_rgIdentifiers =
            rig_memory.alloc(count * sizeof(VDS_STORAGE_IDENTIFIER));
    lun.m_deviceIdDescriptor.m_cIdentifiers = count;
    for (ULONG i = 0; i < count; i++) {
        VDS_STORAGE_IDENTIFIER *id = &lun.m_deviceIdDescriptor.m_rgIdentifiers[i];
        uint8_t code_set = buf_take_u8(in), type = buf_take_u8(in), length = buf_take_u8(in);
        const uint8_t *bytes = buf_take(in, length);
        *id = (VDS_STORAGE_IDENTIFIER){(VDS_STORAGE_IDENTIFIER_CODE_SET)code_set,
                                       (VDS_STORAGE_IDENTIFIER_TYPE)type, bytes ? length : 0, NULL};
        if (bytes && length) id->m_rgbIdentifier = memcpy(rig_memory.alloc(length), bytes, length);
    }
    return lun;
}

static void answer(struct transport *t, const struct api_request *request,
                   struct api_reply *ret_reply)
{
    *ret_reply = (struct api_reply){.http = 4u * buf_take_u8(&answers)};
    size_t length = buf_take_be16(&answers);
    const uint8_t *body =
        buf_take(&answers, buf_left(&answers) < length ? buf_left(&answers) : length);
    if (!body) {
        ret_reply->http = 0;
        return;
    }
    ret_reply->size = buf_left(&answers) < length ? (size_t)(answers.at - body) : length;
    ret_reply->body = malloc(ret_reply->size ? ret_reply->size : 1);
    check(ret_reply->body != NULL);
    memcpy(ret_reply->body, body, ret_reply->size);
}

static unsigned commit(struct transport *t)
{
    return 4u * buf_take_u8(&answers);
}

static void check_result(HRESULT result)
{
    check(result == S_OK || result == E_OUTOFMEMORY || result == E_INVALIDARG ||
          result == VSS_E_PROVIDER_VETO || result == VSS_E_OBJECT_NOT_FOUND ||
          result == VSS_E_INSUFFICIENT_STORAGE || result == VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER);
}

static void call_all(struct provider *p, VDS_LUN_INFORMATION *lun)
{
    const VSS_ID set = {.Data1 = 1};
    VDS_LUN_INFORMATION target = {0};
    BOOL supported;
    check_result(provider_are_luns_supported(p, 1, 0, NULL, lun, &supported));
    check_result(provider_begin_prepare(p, set, set, 0, 1, NULL, lun));
    check_result(provider_end_prepare(p, set));
    check_result(provider_pre_commit(p, set));
    check_result(provider_commit(p, set));
    check_result(provider_post_commit(p, set, 1));
    HRESULT result = provider_get_target_luns(p, 1, NULL, lun, &target);
    check_result(result);
    check(rig_is_whole(&target) && (result == S_OK) == (target.m_szSerialNumber != NULL));
    rig_free_lun(&target);
    check_result(provider_locate_luns(p, 1, lun));
    check_result(provider_on_lun_state_change(p, lun, lun, 1, 0xF00));
    check_result(provider_fill_in_lun_info(p, NULL, lun, &supported));
    check(rig_is_whole(lun));
    struct resync *resync = NULL;
    result = resync_begin(p, lun, lun, 1, &resync);
    check_result(result);
    check((result == S_OK) == (resync != NULL));
    if (resync) resync_query(resync);
    resync_destroy(resync);
    check_result(provider_on_lun_empty(p, NULL, lun));
    check_result(provider_abort(p, set));
    provider_unload(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct provider provider;
    answers = buf_reader(data, size);
    VDS_LUN_INFORMATION lun = take_lun(&answers);
    fake_init(&server);
    server.transport.exchange = answer;
    server.transport.commit_send = commit;
    provider_init(&provider, &server.os, &server.transport, &server.config);
    call_all(&provider, &lun);
    rig_free_lun(&lun);
    check(rig_live_count() == 0 && rig_wrong_free_count() == 0);
    return 0;
}
