/* proxy.h - what the generated proxy (vssps.idl) includes: mingw's headers instead of a generated
 * one, and what they lack in C. */
#ifndef TARN_WINDOWS_STANDIN_PROXY_H
#define TARN_WINDOWS_STANDIN_PROXY_H

#include <windows.h>

#include <ole2.h>
#include <rpcproxy.h>
#include <vdslun.h>
#include <vsprov.h>
#include <vss.h>

HRESULT STDMETHODCALLTYPE IUnknown_QueryInterface_Proxy(IUnknown *This, REFIID riid,
                                                        void **ppvObject);
ULONG STDMETHODCALLTYPE IUnknown_AddRef_Proxy(IUnknown *This);
ULONG STDMETHODCALLTYPE IUnknown_Release_Proxy(IUnknown *This);

#endif
