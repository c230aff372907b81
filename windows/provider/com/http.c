#include "windows/provider/com/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wincrypt.h>

enum { CONNECT_MS = 2000, SEND_MS = 4000 };

HINTERNET http_session(void)
{
    HINTERNET session = WinHttpOpen(L"tarn-vss", WINHTTP_ACCESS_TYPE_NO_PROXY,
                                    WINHTTP_NO_PROXY_NAME, WINHTTP_NO_PROXY_BYPASS, 0);
    DWORD protocols =
        WINHTTP_FLAG_SECURE_PROTOCOL_TLS1_2 | 0x2000 /* TLS 1.3, where Windows has it */;
    if (!session) return NULL;
    if (!WinHttpSetOption(session, WINHTTP_OPTION_SECURE_PROTOCOLS, &protocols, sizeof protocols)) {
        protocols = WINHTTP_FLAG_SECURE_PROTOCOL_TLS1_2;
        WinHttpSetOption(session, WINHTTP_OPTION_SECURE_PROTOCOLS, &protocols, sizeof protocols);
    }
    return session;
}

/* "host:7260", "[::1]:7260" */
static bool split_address(const char *address, wchar_t host[ENROL_ADDRESS_SIZE],
                          INTERNET_PORT *ret_port)
{
    const char *colon = strrchr(address, ':');
    if (!colon) return false;
    long port = strtol(colon + 1, NULL, 10);
    if (port <= 0 || port > 65535) return false;
    int length = MultiByteToWideChar(CP_UTF8, 0, address, (int)(colon - address), host,
                                     ENROL_ADDRESS_SIZE - 1);
    if (length <= 0) return false;
    host[length] = L'\0';
    *ret_port = (INTERNET_PORT)port;
    return true;
}

/* SHA-256 of the DER form of the key in the server's certificate. */
static bool read_pin(HINTERNET request, char pin[SIGNED_HASH_SIZE])
{
    PCCERT_CONTEXT certificate = NULL;
    DWORD size = sizeof certificate;
    BYTE der[1024];
    DWORD der_size = sizeof der;
    if (!WinHttpQueryOption(request, WINHTTP_OPTION_SERVER_CERT_CONTEXT, &certificate, &size))
        return false;
    bool ok = CryptEncodeObject(X509_ASN_ENCODING, X509_PUBLIC_KEY_INFO,
                                &certificate->pCertInfo->SubjectPublicKeyInfo, der, &der_size) &&
              crypto_sha256(der, der_size, pin);
    CertFreeCertificateContext(certificate);
    return ok;
}

static bool is_pinned(const char *pin, const char *const *pins, unsigned pin_count)
{
    for (unsigned i = 0; i < pin_count; i++)
        if (strcmp(pins[i], pin) == 0) return true;
    return false;
}

/* The certificate is our own matter: its chain, names and dates say nothing, its key everything. */
static void set_options(HINTERNET request, unsigned timeout_ms)
{
    DWORD ignore = SECURITY_FLAG_IGNORE_UNKNOWN_CA | SECURITY_FLAG_IGNORE_CERT_CN_INVALID |
                   SECURITY_FLAG_IGNORE_CERT_DATE_INVALID | SECURITY_FLAG_IGNORE_CERT_WRONG_USAGE;
    DWORD disable =
        WINHTTP_DISABLE_COOKIES | WINHTTP_DISABLE_REDIRECTS | WINHTTP_DISABLE_AUTHENTICATION;
    WinHttpSetOption(request, WINHTTP_OPTION_SECURITY_FLAGS, &ignore, sizeof ignore);
    WinHttpSetOption(request, WINHTTP_OPTION_DISABLE_FEATURE, &disable, sizeof disable);
    WinHttpSetTimeouts(request, CONNECT_MS, CONNECT_MS, SEND_MS, (int)timeout_ms);
}

bool http_begin(HINTERNET session, const char *address, const char *const *pins, unsigned pin_count,
                bool is_post, const char *path, size_t body_size, unsigned timeout_ms,
                struct http_call *ret_call)
{
    wchar_t host[ENROL_ADDRESS_SIZE], wide_path[API_PATH_MAX];
    INTERNET_PORT port;
    struct http_call call = {0};
    *ret_call = call;
    if (!split_address(address, host, &port) ||
        !MultiByteToWideChar(CP_UTF8, 0, path, -1, wide_path, API_PATH_MAX))
        return false;
    call.connection = WinHttpConnect(session, host, port, 0);
    if (call.connection)
        call.request = WinHttpOpenRequest(call.connection, is_post ? L"POST" : L"GET", wide_path,
                                          L"HTTP/1.1", WINHTTP_NO_REFERER,
                                          WINHTTP_DEFAULT_ACCEPT_TYPES, WINHTTP_FLAG_SECURE);
    if (call.request) set_options(call.request, timeout_ms);
    bool ok = call.request &&
              WinHttpSendRequest(call.request,
                                 is_post ? L"Content-Type: application/octet-stream\r\n"
                                         : WINHTTP_NO_ADDITIONAL_HEADERS,
                                 (DWORD)-1L, WINHTTP_NO_REQUEST_DATA, 0, (DWORD)body_size, 0) &&
              read_pin(call.request, call.pin);
    if (ok && !is_pinned(call.pin, pins, pin_count)) {
        call.is_pin_wrong = true;
        ok = false;
    }
    if (!ok) http_end(&call);
    *ret_call = call;
    return ok;
}

bool http_send(struct http_call *call, const void *body, size_t size)
{
    DWORD written;
    return WinHttpWriteData(call->request, body, (DWORD)size, &written) && written == size;
}

unsigned http_receive(struct http_call *call)
{
    DWORD status = 0, size = sizeof status;
    if (!WinHttpReceiveResponse(call->request, NULL)) return 0;
    if (!WinHttpQueryHeaders(call->request, WINHTTP_QUERY_STATUS_CODE | WINHTTP_QUERY_FLAG_NUMBER,
                             WINHTTP_HEADER_NAME_BY_INDEX, &status, &size, WINHTTP_NO_HEADER_INDEX))
        return 0;
    return status;
}

static void read_nonce(HINTERNET request, char nonce[SIGNED_NONCE_SIZE])
{
    wchar_t wide[SIGNED_NONCE_SIZE];
    DWORD size = sizeof wide;
    nonce[0] = '\0';
    if (WinHttpQueryHeaders(request, WINHTTP_QUERY_CUSTOM, L"Tarn-Nonce", wide, &size,
                            WINHTTP_NO_HEADER_INDEX))
        WideCharToMultiByte(CP_UTF8, 0, wide, -1, nonce, SIGNED_NONCE_SIZE, NULL, NULL);
}

bool http_read(struct http_call *call, struct api_reply *reply, char nonce[SIGNED_NONCE_SIZE])
{
    if (nonce) read_nonce(call->request, nonce);
    for (;;) {
        DWORD ready = 0, got = 0;
        if (!WinHttpQueryDataAvailable(call->request, &ready)) return false;
        if (ready == 0) return true;
        if (reply->size + ready > API_REPLY_MAX_BYTES) return false;
        char *more = realloc(reply->body, reply->size + ready);
        if (!more) return false;
        reply->body = more;
        if (!WinHttpReadData(call->request, more + reply->size, ready, &got)) return false;
        reply->size += got;
    }
}

void http_end(struct http_call *call)
{
    if (call->request) WinHttpCloseHandle(call->request);
    if (call->connection) WinHttpCloseHandle(call->connection);
    call->request = call->connection = NULL;
}
