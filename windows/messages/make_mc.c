/* make_mc.c - writes the message file that windmc reads, from the table of events. */
#include <stdio.h>

#include "windows/provider/core/event.h"

static void write_event(FILE *file, const struct event_kind *kind)
{
    static const char *const severities[] = {
        [EVENT_INFO] = "Informational", [EVENT_WARNING] = "Warning", [EVENT_ERROR] = "Error"};
    fprintf(file,
            "MessageId=%d\nSeverity=%s\nFacility=Tarn\nSymbolicName=TARN_%s\nLanguage=English\n",
            (int)kind->id, severities[kind->severity], kind->name);
    fprintf(file, "%s%s%s\n.\n\n", kind->cause, kind->remedy[0] ? ". What to do: " : "",
            kind->remedy);
}

int main(int argc, char **argv)
{
    unsigned count;
    const struct event_kind *kinds = event_kinds(&count);
    FILE *file = argc == 2 ? fopen(argv[1], "w") : NULL;
    if (!file) return 1;
    fputs("MessageIdTypedef=DWORD\n"
          "SeverityNames=(Success=0x0 Informational=0x1 Warning=0x2 Error=0x3)\n"
          "FacilityNames=(Tarn=0x0)\n"
          "LanguageNames=(English=0x409:MSG00409)\n\n",
          file);
    for (unsigned i = 0; i < count; i++)
        write_event(file, &kinds[i]);
    return fclose(file) == 0 ? 0 : 1;
}
