/* tarn-vss - the VSS hardware provider of Tarn: a COM local server run as a service, and commands
 * for the administrator of the host. */
#include <stdio.h>
#include <wchar.h>

#include <windows.h>

#include "windows/provider/com/enrol.h"
#include "windows/provider/com/service.h"
#include "windows/provider/ops/commands.h"

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
    fputs("usage: tarn-vss COMMAND\n"
          "  enrol CODE  make this host known to a Tarn server; the code comes from: tarn host "
          "enrol HOST\n"
          "  status      say which host this is, and whether its server answers\n"
          "  doctor      look at everything that shadow copies need: [--json] [--bundle FILE]\n"
          "  repair      put back what is missing of the registration\n"
          "  log         show what VSS asked of the provider: [--follow] [--normal] [--compare "
          "FILE]\n"
          "  idle        say whether a shadow copy set is being made: exit status 1 then\n"
          "  forget      undo enrol: remove this host's credential from this machine\n"
          "  register    make the service and its COM class, and register with VSS\n"
          "  unregister  undo that\n"
          "  service     what the service control manager runs\n"
          "  version     say which version this is\n",
          stderr);
    return 2;
}

static int enrol(const wchar_t *code)
{
    char text[2048];
    if (!WideCharToMultiByte(CP_UTF8, 0, code, -1, text, sizeof text, NULL, NULL)) return usage();
    return enrol_redeem(text);
}

int wmain(int argc, wchar_t **argv)
{
    if (argc == 3 && wcscmp(argv[1], L"enrol") == 0) return enrol(argv[2]);
    for (unsigned i = 0; argc >= 2 && ops_commands[i].name; i++)
        if (wcscmp(argv[1], ops_commands[i].name) == 0)
            return ops_commands[i].run(argc - 2, argv + 2);
    for (unsigned i = 0; argc == 2 && i < sizeof commands / sizeof *commands; i++)
        if (wcscmp(argv[1], commands[i].name) == 0) return commands[i].run();
    return usage();
}
