#include "windows/provider/com/renew.h"

/* For tests only, in HKLM\SOFTWARE\Tarn\Host: a time in milliseconds that can be waited for. */
#define INTERVAL_KEY L"SOFTWARE\\Tarn\\Host"
#define INTERVAL_VALUE L"RenewMs"

enum { RENEW_MS = 5 * 60 * 1000 };

static struct {
    struct provider *provider;
    HANDLE stop;
} renewal;

static DWORD interval_ms(void)
{
    DWORD ms = 0, size = sizeof ms;
    LSTATUS status = RegGetValueW(HKEY_LOCAL_MACHINE, INTERVAL_KEY, INTERVAL_VALUE,
                                  RRF_RT_REG_DWORD, NULL, &ms, &size);
    return status == ERROR_SUCCESS && ms > 0 && ms < RENEW_MS ? ms : RENEW_MS;
}

static DWORD WINAPI renew(void *arg)
{
    DWORD ms = interval_ms();
    while (WaitForSingleObject(renewal.stop, ms) == WAIT_TIMEOUT)
        provider_renew(renewal.provider);
    return 0;
}

HANDLE renew_start(struct provider *provider, HANDLE stop)
{
    renewal.provider = provider;
    renewal.stop = stop;
    return CreateThread(NULL, 0, renew, NULL, 0, NULL);
}
