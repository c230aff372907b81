/* IVssAsync: a deed on a thread of its own. */
#include <stdlib.h>

#include "windows/standin/vssapi/vssapi.h"

struct async {
    IVssAsync iface;
    LONG references;
    HRESULT (*deed)(void *context);
    void (*cancel)(void *context);
    void *context;
    IUnknown *owner;
    HANDLE done;
    volatile LONG is_cancelled;
    HRESULT result; /* once it is done */
};

static struct async *of(IVssAsync *iface)
{
    return (struct async *)iface;
}

static HRESULT STDMETHODCALLTYPE query(IVssAsync *iface, REFIID iid, void **ret)
{
    *ret = NULL;
    if (!IsEqualIID(iid, &IID_IUnknown) && !IsEqualIID(iid, &IID_IVssAsync)) return E_NOINTERFACE;
    IVssAsync_AddRef(iface);
    *ret = iface;
    return S_OK;
}

static ULONG STDMETHODCALLTYPE add_ref(IVssAsync *iface)
{
    return (ULONG)InterlockedIncrement(&of(iface)->references);
}

static ULONG STDMETHODCALLTYPE release(IVssAsync *iface)
{
    LONG left = InterlockedDecrement(&of(iface)->references);
    if (left == 0) {
        CloseHandle(of(iface)->done);
        free(iface);
        InterlockedDecrement(&standin_objects);
    }
    return (ULONG)left;
}

static bool is_done(const struct async *async)
{
    return WaitForSingleObject(async->done, 0) == WAIT_OBJECT_0;
}

static HRESULT STDMETHODCALLTYPE cancel(IVssAsync *iface)
{
    struct async *async = of(iface);
    if (is_done(async)) return VSS_S_ASYNC_FINISHED;
    if (InterlockedExchange(&async->is_cancelled, 1)) return VSS_S_ASYNC_CANCELLED;
    if (async->cancel) async->cancel(async->context);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE wait(IVssAsync *iface, DWORD timeout_ms)
{
    WaitForSingleObject(of(iface)->done, timeout_ms);
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE query_status(IVssAsync *iface, HRESULT *ret, INT *reserved)
{
    struct async *async = of(iface);
    if (!ret) return E_INVALIDARG;
    if (reserved) *reserved = 0;
    if (!is_done(async))
        *ret = VSS_S_ASYNC_PENDING;
    else if (async->result == S_OK)
        *ret = VSS_S_ASYNC_FINISHED;
    else
        *ret = async->is_cancelled ? VSS_S_ASYNC_CANCELLED : async->result;
    return S_OK;
}

static DWORD WINAPI work(LPVOID argument)
{
    struct async *async = argument;
    IUnknown *owner = async->owner;
    CoInitializeEx(NULL, COINIT_MULTITHREADED);
    async->result = async->deed(async->context);
    SetEvent(async->done);
    IUnknown_Release(owner);
    IVssAsync_Release(&async->iface);
    CoUninitialize();
    return 0;
}

HRESULT standin_async_create(HRESULT (*deed)(void *context), void (*cancel_deed)(void *context),
                             void *context, IUnknown *owner, IVssAsync **ret)
{
    static IVssAsyncVtbl methods = {query, add_ref, release, cancel, wait, query_status};
    struct async *async = calloc(1, sizeof *async);
    *ret = NULL;
    if (!async) return E_OUTOFMEMORY;
    *async = (struct async){.iface.lpVtbl = &methods,
                            .references = 2, /* the caller's and the thread's */
                            .deed = deed,
                            .cancel = cancel_deed,
                            .context = context,
                            .owner = owner,
                            .done = CreateEventW(NULL, TRUE, FALSE, NULL)};
    InterlockedIncrement(&standin_objects);
    IUnknown_AddRef(owner);
    HANDLE thread = async->done ? CreateThread(NULL, 0, work, async, 0, NULL) : NULL;
    if (!thread) {
        IUnknown_Release(owner);
        async->references = 1;
        release(&async->iface);
        return E_OUTOFMEMORY;
    }
    CloseHandle(thread);
    *ret = &async->iface;
    return S_OK;
}
