/* tarn-vss - the VSS hardware provider of Tarn: a COM local server, and commands for the
 * administrator of the host. */
#include <stdio.h>
#include <wchar.h>

#include <windows.h>

int wmain(int argc, wchar_t **argv);

static int usage(void)
{
    fputs("usage: tarn-vss version\n", stderr);
    return 2;
}

int wmain(int argc, wchar_t **argv)
{
    if (argc != 2 || wcscmp(argv[1], L"version") != 0) return usage();
    puts("tarn-vss " TARN_VERSION);
    return 0;
}
