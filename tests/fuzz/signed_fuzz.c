/* The line of a signed request and an enrolment code, as anybody on the network or at a keyboard
 * may send them: what is accepted is written back the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/signed_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_line(const uint8_t *data, size_t size)
{
    struct signed_request request;
    size_t body = 0;
    char line[SIGNED_LINE_MAX], text[SIGNED_TEXT_MAX];
    if (!signed_request_read(data, size, &request, &body)) return;
    check(body <= size && body > 0 && data[body - 1] == '\n');
    check(signed_request_write(&request, line));
    check(strlen(line) == body && memcmp(line, data, body) == 0);
    check(signed_request_text(&request, request.signature, request.signature, text));
}

static void try_code(const uint8_t *data, size_t size)
{
    struct enrol_code code, again;
    char written[ENROL_CODE_MAX];
    char *text = malloc(size + 1);
    check(text != NULL);
    if (size) memcpy(text, data, size);
    text[size] = '\0';
    if (enrol_code_read(text, &code)) {
        check(enrol_code_write(&code, written));
        check(enrol_code_read(written, &again));
        check(memcmp(&code, &again, sizeof code) == 0);
        check(strstr(text, written) != NULL);
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_line(data, size);
    try_code(data, size);
    return 0;
}
