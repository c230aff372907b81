/* tarn.conf: what is understood, and what is refused with its line. */
#include "tarnd/config.h"

#include "base/limits.h"
#include "tests/lib/tap.h"

static void all_settings_are_understood(void)
{
    struct config config;
    config_defaults(&config);
    struct err *e = config_parse(
        "t",
        "; comment\n[server]\nstate_dir = /x/y\nname = lake\n[api]\nlisten = [::1]:0\n"
        "[iscsi]\nlisten = 127.0.0.1:3260, [::]:3261\nadvertise = 10.0.0.1:3260 10.0.0.2:3261\n"
        "target_name = iqn.2026-11.org.example:x\n[log]\nlevel = debug\n"
        "[engine]\ncache = 64M\nbuffers = 32M\n",
        &config);
    expect(!e);
    err_free(e);
    expect_str(config.state_dir, "/x/y");
    expect_str(config.name, "lake");
    expect_str(config.api_listen, "[::1]:0");
    expect_eq(config.portal_count, 2);
    expect_str(config.portals[1], "[::]:3261");
    expect_str(config.advertise[1], "10.0.0.2:3261");
    expect_str(config.target_name, "iqn.2026-11.org.example:x");
    expect_eq(config.log_level, LOG_LEVEL_DEBUG);
    expect_eq(config.cache_bytes, 64 * MIB);
    expect_eq(config.buffer_bytes, 32 * MIB);
}

static void an_empty_file_means_the_defaults(void)
{
    struct config config;
    config_defaults(&config);
    struct err *e = config_parse("t", "", &config);
    expect(!e);
    err_free(e);
    expect_str(config.state_dir, "/var/lib/tarn");
    expect_str(config.api_listen, "0.0.0.0:7260");
    expect_str(config.portals[0], "0.0.0.0:3260");
    expect(config.name[0] != '\0');
}

static void mistakes_are_told_with_their_line(void)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"[server]\nstate_dir = relative\n",
         "t line 2: [server] state_dir: must be an absolute path"},
        {"[server]\ncolour = red\n", "t line 2: [server] colour is not a setting"},
        {"[serve]\nname = x\n", "line 2: [serve] name is not a setting"},
        {"[api]\nlisten = 7260\n", "is not ADDRESS:PORT"},
        {"[api]\nlisten = 1.2.3.4:99999\n", "is not ADDRESS:PORT"},
        {"[iscsi]\nlisten = ,\n", "names no address"},
        {"[iscsi]\nlisten = 1.2.3.4:1, 1.2.3.4:2\nadvertise = 1.2.3.4:1\n",
         "advertise has 1 addresses, listen has 2"},
        {"[iscsi]\ntarget_name = disk\n", "must be an iSCSI name"},
        {"[log]\nlevel = loud\n", "must be error, warn, info or debug"},
        {"[engine]\ncache = 1K\n", "must be a size of at least 1M"},
        {"nonsense\n", "line 1"},
        {"[server\nname = x\n", "line 1"},
    };
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct config config;
        config_defaults(&config);
        struct err *e = config_parse("t", bad[i].text, &config);
        char text[400] = "";
        if (e) err_text(e, text, sizeof text);
        if (!strstr(text, bad[i].says)) printf("# %s\n", text);
        expect(e && strstr(text, bad[i].says));
        expect(!e || err_status(e) == STATUS_BAD_CONFIG);
        err_free(e);
    }
}

int main(void)
{
    run(all_settings_are_understood);
    run(an_empty_file_means_the_defaults);
    run(mistakes_are_told_with_their_line);
    return tap_done();
}
