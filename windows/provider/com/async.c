#include "windows/provider/com/async.h"

#include <stdlib.h>

enum { POLL_MS = 500 };

struct async {
    IVssAsync iface; /* first: its identity */
    LONG references;
    CRITICAL_SECTION section; /* one question at a time */
    struct resync *resync;
};

static struct async *async_of(IVssAsync *this)
{
    return (struct async *)(void *)this;
}

static HRESULT STDMETHODCALLTYPE query_interface(IVssAsync *this, REFIID iid, void **ret_interface)
{
    if (!ret_interface) return E_POINTER;
    *ret_interface = NULL;
    if (!IsEqualIID(iid, &IID_IUnknown) && !IsEqualIID(iid, &IID_IVssAsync)) return E_NOINTERFACE;
    InterlockedIncrement(&async_of(this)->references);
    *ret_interface = this;
    return S_OK;
}

static ULONG STDMETHODCALLTYPE add_reference(IVssAsync *this)
{
    return (ULONG)InterlockedIncrement(&async_of(this)->references);
}

static ULONG STDMETHODCALLTYPE release(IVssAsync *this)
{
    struct async *async = async_of(this);
    LONG left = InterlockedDecrement(&async->references);
    if (left == 0) {
        resync_destroy(async->resync);
        DeleteCriticalSection(&async->section);
        free(async);
    }
    return (ULONG)left;
}

static HRESULT query(struct async *async)
{
    EnterCriticalSection(&async->section);
    HRESULT result = resync_query(async->resync);
    LeaveCriticalSection(&async->section);
    return result;
}

/* Asked to, the server ends what it copies; what is complete stays so. */
static HRESULT STDMETHODCALLTYPE cancel(IVssAsync *this)
{
    struct async *async = async_of(this);
    HRESULT result = query(async);
    if (result != VSS_S_ASYNC_PENDING) return result;
    EnterCriticalSection(&async->section);
    resync_cancel(async->resync);
    LeaveCriticalSection(&async->section);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE wait_for_end(IVssAsync *this, DWORD limit_ms)
{
    uint64_t start_ms = GetTickCount64();
    while (query(async_of(this)) == VSS_S_ASYNC_PENDING) {
        uint64_t passed_ms = GetTickCount64() - start_ms;
        if (limit_ms != INFINITE && passed_ms >= limit_ms) break;
        uint64_t left_ms = limit_ms == INFINITE ? POLL_MS : limit_ms - passed_ms;
        Sleep((DWORD)(left_ms < POLL_MS ? left_ms : POLL_MS));
    }
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE query_status(IVssAsync *this, HRESULT *ret_result, INT *reserved)
{
    if (!ret_result) return E_INVALIDARG;
    if (reserved) *reserved = 0;
    *ret_result = query(async_of(this));
    return S_OK;
}

static const IVssAsyncVtbl methods = {query_interface, add_reference, release,
                                      cancel,          wait_for_end,  query_status};

IVssAsync *async_create(struct resync *resync)
{
    struct async *async = calloc(1, sizeof *async);
    if (!async) {
        resync_destroy(resync);
        return NULL;
    }
    async->iface.lpVtbl = (IVssAsyncVtbl *)(uintptr_t)&methods;
    async->references = 1;
    async->resync = resync;
    InitializeCriticalSection(&async->section);
    return &async->iface;
}
