/* The small things that everything else stands on. */
#include "base/buf.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/hist.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/prng.h"
#include "base/text.h"
#include "base/uuid.h"

#include "tests/lib/tap.h"

static void crc32c_matches_the_vectors_of_rfc_3720(void)
{
    uint8_t data[32];
    memset(data, 0, sizeof data);
    expect_eq(crc32c(0, data, 32), 0x8A9136AA);
    memset(data, 0xFF, sizeof data);
    expect_eq(crc32c(0, data, 32), 0x62A8AB43);
    for (unsigned i = 0; i < 32; i++) data[i] = (uint8_t)i;
    expect_eq(crc32c(0, data, 32), 0x46DD794E);
    expect_eq(crc32c(crc32c(0, data, 7), data + 7, 25), 0x46DD794E);
}

static void sizes_are_read_and_written_as_people_do(void)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"512", 512}, {"4K", 4096}, {"10G", 10 * GIB}, {"1TiB", TIB}, {"3MB", 3 * MIB}};
    for (unsigned i = 0; i < countof(good); i++) {
        uint64_t bytes = 0;
        expect(text_parse_size(good[i].text, &bytes));
        expect_eq(bytes, good[i].bytes);
    }
    static const char *const bad[] = {"", "G", "-1", "1X", "1GG", "99999999999999999999", "16777216T"};
    for (unsigned i = 0; i < countof(bad); i++) {
        uint64_t bytes = 77;
        expect(!text_parse_size(bad[i], &bytes));
        expect_eq(bytes, 77);
    }
    char text[TEXT_SIZE_MAX];
    expect_str(text_format_size(10 * GIB, text), "10G");
    expect_str(text_format_size(1536 * KIB, text), "1.5M");
    expect_str(text_format_size(100, text), "100");
}

static void times_and_periods_are_read_as_people_write_them(void)
{
    static const char *const bad[] = {"",
                                      "2026-13-01",
                                      "2026-02-29",
                                      "2026- 1- 1",
                                      "2026-01-01T24:00:00Z",
                                      "2026-01-01T00:00:00",
                                      "2026-01-01T00:00Z",
                                      "1969-12-31",
                                      "2026-1-1"};
    static const char *const bad_periods[] = {"", "d", "7x", "7dd", "-1d", "99999999999999w"};
    uint64_t ns = 0;
    char text[TEXT_TIME_MAX];
    expect(text_parse_time("2026-11-22T15:44:47Z", &ns) && ns == 1795362287000000000u);
    expect(text_parse_time("2026-11-22T15:44:47.250Z", &ns) && ns == 1795362287000000000u);
    expect(text_parse_time("1970-01-01", &ns) && ns == 0);
    /* Every month and leap day reads back as it is written. */
    for (uint64_t day = 0; day < 366 * 140; day += 27) {
        uint64_t back = 1;
        text_format_time(day * 86400 * 1000000000u, text);
        expect(text_parse_time(text, &back) && back == day * 86400 * 1000000000u);
    }
    expect(text_parse_time("2028-02-29", &ns) && text_parse_time("2000-02-29", &ns));
    expect(!text_parse_time("2100-02-29", &ns));
    for (size_t i = 0; i < countof(bad); i++)
        expect(!text_parse_time(bad[i], &ns));
    expect(text_parse_duration("90", &ns) && ns == 90 * (uint64_t)1000000000);
    expect(text_parse_duration("2h", &ns) && ns == 7200 * (uint64_t)1000000000);
    expect(text_parse_duration("1w", &ns) && ns == 604800 * (uint64_t)1000000000);
    for (size_t i = 0; i < countof(bad_periods); i++)
        expect(!text_parse_duration(bad_periods[i], &ns));
}

static void times_are_rfc_3339_utc(void)
{
    char text[TEXT_TIME_MAX];
    expect_str(text_format_time(1795362287000000000u, text), "2026-11-22T15:44:47Z");
    expect_str(text_format_time(1795362287250000000u, text), "2026-11-22T15:44:47.250Z");
}

static void names_are_valid_utf8_without_control_characters(void)
{
    char long_name[258];
    memset(long_name, 'a', sizeof long_name);
    long_name[255] = '\0';
    expect(text_is_valid_name(long_name));
    long_name[255] = 'a';
    long_name[256] = '\0';
    expect(!text_is_valid_name(long_name));
    expect(text_is_valid_name("Bücher 2026"));
    expect(!text_is_valid_name(""));
    expect(!text_is_valid_name("a\nb"));
    expect(!text_is_valid_name("\xC0\x80"));
    expect(!text_is_valid_name("\xED\xA0\x80"));
    expect(!text_is_valid_name("\xE2\x82"));
}

static void uuids_survive_a_round_trip(void)
{
    struct prng prng;
    prng_init(&prng, 1);
    uint8_t random[16];
    prng_fill(&prng, random, sizeof random);
    struct uuid a = uuid_from_random(random), b;
    char text[UUID_TEXT_SIZE];
    expect(uuid_parse(uuid_format(&a, text), &b));
    expect(uuid_equal(&a, &b));
    expect_eq(text[14], '4');
    expect(uuid_parse("{B5946137-7B9F-4925-AF80-51ABD60B20D5}", &b));
    expect(!uuid_parse("b5946137-7b9f-4925-af80-51abd60b20d", &b));
    expect(!uuid_parse("b5946137-7b9f-4925-af80-51abd60b20d5x", &b));
}

static void errors_read_from_the_outside_in(void)
{
    struct err *e = err_new(STATUS_NO_SPACE, "pwrite %d@%d", 4096, 17);
    e = err_wrap(e, "write journal");
    e = err_wrap(e, "create snapshot \"%s\"", "s1");
    err_next(e, "grow the pool");
    char text[200];
    expect_str(err_text(e, text, sizeof text), "create snapshot \"s1\": write journal: pwrite 4096@17");
    expect_eq(err_status(e), STATUS_NO_SPACE);
    expect_str(err_next_text(e), "grow the pool");
    expect_str(err_text(e, text, 10), "create sn");
    struct err *copy = err_copy(e);
    err_free(e);
    expect_str(err_frame(copy, 2), "pwrite 4096@17");
    err_free(copy);
}

static void bounded_readers_stop_at_the_end(void)
{
    uint8_t data[6] = {1, 0, 2, 0, 0, 0};
    struct buf_reader r = buf_reader(data, sizeof data);
    expect_eq(buf_take_le16(&r), 1);
    expect_eq(buf_take_le32(&r), 2);
    expect(!r.failed);
    expect_eq(buf_take_u8(&r), 0);
    expect(r.failed);
    struct buf_writer w = buf_writer(data, 3);
    buf_put_be16(&w, 0x0102);
    buf_put_be16(&w, 0x0304);
    expect(w.failed);
    expect_eq(buf_used(&w), 2);
}

static void lists_keep_order_and_know_membership(void)
{
    struct item {
        int value;
        struct list_node link;
    } items[3] = {{.value = 0}, {.value = 1}, {.value = 2}};
    struct list list, other;
    list_init(&list);
    list_init(&other);
    for (int i = 0; i < 3; i++) list_push_back(&list, &items[i].link);
    list_remove(&items[1].link);
    expect(!list_is_linked(&items[1].link));
    list_push_back(&other, &items[1].link);
    list_splice_back(&other, &list);
    expect(list_is_empty(&list));
    int seen[3], n = 0;
    list_for_each_safe(node, &other)
    {
        seen[n++] = list_entry(node, struct item, link)->value;
        list_remove(node);
    }
    expect(n == 3 && seen[0] == 1 && seen[1] == 0 && seen[2] == 2);
}

static void histogram_quantiles_are_within_an_eighth(void)
{
    struct hist hist;
    memset(&hist, 0, sizeof hist);
    for (uint64_t v = 1; v <= 1000; v++) hist_add(&hist, v * 1000);
    uint64_t median = hist_quantile(&hist, 500);
    expect(median >= 500000 && median <= 562500);
    expect_eq(hist_quantile(&hist, 1000), 1000000);
}

static void every_status_has_a_row(void)
{
    for (unsigned i = 0; i < STATUS_COUNT; i++) {
        const struct status_info *info = status_info((enum status)i);
        expect(info->name && info->text && info->http >= 200);
        expect_eq(status_from_name(info->name), i);
        expect((info->exit_code == 0) == (i == STATUS_OK));
    }
}

int main(void)
{
    run(crc32c_matches_the_vectors_of_rfc_3720);
    run(sizes_are_read_and_written_as_people_do);
    run(times_are_rfc_3339_utc);
    run(times_and_periods_are_read_as_people_write_them);
    run(names_are_valid_utf8_without_control_characters);
    run(uuids_survive_a_round_trip);
    run(errors_read_from_the_outside_in);
    run(bounded_readers_stop_at_the_end);
    run(lists_keep_order_and_know_membership);
    run(histogram_quantiles_are_within_an_eighth);
    run(every_status_has_a_row);
    return tap_done();
}
