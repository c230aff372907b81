/* tarn-vss - the VSS hardware provider of Tarn: a COM local server run as a service, and commands
 * for the administrator of the host. */
#include <stdio.h>
#include <wchar.h>

#include <windows.h>

#include "windows/provider/com/service.h"

int wmain(int argc, wchar_t **argv);

static int version(void)
{
    puts("tarn-vss " TARN_VERSION);
    return 0;
}

static const struct {
    const wchar_t *name;
    int (*run)(void);
} commands[] = {
    {L"version", version},
    {L"service", service_run},
    {L"register", service_register},
    {L"unregister", service_unregister},
};

static int usage(void)
{
    fputs("usage: tarn-vss version | register | unregister | service\n"
          "  register    make the service and its COM class\n"
          "  unregister  remove them\n"
          "  service     what the service control manager runs\n",
          stderr);
    return 2;
}

int wmain(int argc, wchar_t **argv)
{
    for (unsigned i = 0; argc == 2 && i < sizeof commands / sizeof *commands; i++)
        if (wcscmp(argv[1], commands[i].name) == 0) return commands[i].run();
    return usage();
}
