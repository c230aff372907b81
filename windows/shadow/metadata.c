/*
 * The .cab files that carry a set from host to host:
 *
 *     BCDocument.xml   the backup components document of VSS, UTF-16 with its mark
 *     Aliases.txt      NAME=VALUE lines, UTF-8
 *
 * DiskShadow's own files have the document under the same name, so that import and resync work with
 * them; its aliases lie in a file whose form is not documented, and are not read.
 */
#include <stdlib.h>
#include <string.h>

#include "windows/shadow/shadow.h"

#define DOCUMENT "BCDocument.xml"
#define ALIASES "Aliases.txt"

struct err *shadow_metadata_try(const char *file)
{
    WCHAR *path = shadow_wide(file);
    if (!path) return err_new(STATUS_NO_MEMORY, "write %s", file);
    bool there = GetFileAttributesW(path) != INVALID_FILE_ATTRIBUTES;
    HANDLE handle = CreateFileW(path, GENERIC_WRITE, 0, NULL, OPEN_ALWAYS, 0, NULL);
    DWORD error = GetLastError();
    if (handle != INVALID_HANDLE_VALUE) CloseHandle(handle);
    if (handle != INVALID_HANDLE_VALUE && !there) DeleteFileW(path);
    free(path);
    if (handle != INVALID_HANDLE_VALUE) return NULL;
    return err_next(err_new(STATUS_OS_ERROR, "%s cannot be written (error %lu)", file, error),
                    "name another file with set metadata; nothing was created");
}

static char *alias_lines(const struct dsh_aliases *aliases)
{
    size_t size = 1, used = 0;
    for (unsigned i = 0; i < aliases->count; i++)
        size += strlen(aliases->list[i].name) + strlen(aliases->list[i].value) + 3;
    char *text = calloc(1, size);
    for (unsigned i = 0; text && i < aliases->count; i++)
        used += (size_t)snprintf(text + used, size - used, "%s=%s\r\n", aliases->list[i].name,
                                 aliases->list[i].value);
    return text;
}

struct err *shadow_metadata_save(struct shadow_session *s, const char *file, BSTR document,
                                 const struct dsh_aliases *aliases, bool verbose)
{
    size_t length = SysStringLen(document);
    WCHAR *marked = malloc((length + 1) * sizeof *marked);
    char *lines = alias_lines(aliases);
    struct err *e = err_new(STATUS_NO_MEMORY, "write %s", file);
    if (marked && lines) {
        marked[0] = 0xFEFF;
        memcpy(marked + 1, document, length * sizeof *marked);
        struct cabinet_file files[] = {{DOCUMENT, marked, (length + 1) * sizeof *marked},
                                       {ALIASES, lines, strlen(lines)}};
        err_free(e);
        e = cabinet_write(file, files, ARRAYSIZE(files));
        for (size_t i = 0; !e && verbose && i < ARRAYSIZE(files); i++)
            shadow_say(s, "Inserted file %s into .cab file %s", files[i].name, file);
    }
    free(marked);
    free(lines);
    return e;
}

/* A document is text of either kind. */
static BSTR document_of(const char *bytes, size_t size)
{
    if (size >= 2 && (unsigned char)bytes[0] == 0xFF && (unsigned char)bytes[1] == 0xFE) {
        BSTR text = SysAllocStringLen(NULL, (UINT)(size / 2 - 1));
        if (text) memcpy(text, bytes + 2, (size / 2 - 1) * sizeof *text);
        return text;
    }
    WCHAR *wide = shadow_wide(bytes);
    BSTR text = wide ? SysAllocString(wide) : NULL;
    free(wide);
    return text;
}

static struct err *read_aliases(char *lines, struct dsh_aliases *aliases)
{
    for (char *line = lines, *rest; line && *line; line = rest) {
        rest = strchr(line, '\n');
        if (rest) *rest++ = '\0';
        size_t length = strlen(line);
        if (length > 0 && line[length - 1] == '\r') line[length - 1] = '\0';
        char *value = strchr(line, '=');
        if (!value) continue;
        *value++ = '\0';
        TRY(dsh_aliases_set(aliases, line, value));
    }
    return NULL;
}

struct err *shadow_metadata_load(const char *file, BSTR *ret_document, struct dsh_aliases *aliases)
{
    char *bytes = NULL, *lines = NULL;
    size_t size = 0, lines_size;
    TRY(cabinet_read(file, DOCUMENT, &bytes, &size));
    if (!bytes) {
        return err_next(err_new(STATUS_BAD_REQUEST, "%s has no " DOCUMENT, file),
                        "name the .cab file that set metadata made");
    }
    BSTR document = document_of(bytes, size);
    free(bytes);
    if (!document) return err_new(STATUS_NO_MEMORY, "read %s", file);
    struct err *e = cabinet_read(file, ALIASES, &lines, &lines_size);
    if (!e && lines) e = read_aliases(lines, aliases);
    free(lines);
    if (e)
        SysFreeString(document);
    else
        *ret_document = document;
    return e;
}
