/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hex.h"
#include "codec/codec.h"
#include "proto/loggregator_core.h"
#include "record/severity.h"

/* Of loggregatorlib's logmessage/message_test.go: secret "secret". */
static const char golden[] =
	"0a096d795f6170705f69641240c8329be5c05154cf0649aa4d4500e4d2139e9ec4a7a4cabd7c36191ac8fa4140"
	"d5b7744c8e52db3d672762ab037b30a2e8d84526974b2428fda2010928dbe5371a2b0a0c48656c6c6f2074"
	"6865726521100118e097a9dea1d9f6b12622096d795f6170705f6964280132023432";

struct rig {
	struct loggregator x;
	struct arena scratch;
	struct buf bytes, line, meta, labels, text;
	struct loggregator_parts parts;
	struct loggregator_secret secret;
	struct record record;
	const char *reason;
	struct error e;
};

static int setup(void **state)
{
	struct rig *g = xcalloc(1, sizeof *g);

	arena_init(&g->scratch, NULL);
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	struct rig *g = *state;

	arena_fini(&g->scratch);
	buf_fini(&g->bytes);
	buf_fini(&g->line);
	buf_fini(&g->meta);
	buf_fini(&g->labels);
	buf_fini(&g->text);
	buf_fini(&g->parts.source_text);
	free(g);
	return 0;
}

static void unhex(struct buf *out, const char *s)
{
	for (; *s; s += 2)
		buf_char(out, (char)(hex_digit(s[0]) << 4 | hex_digit(s[1])));
}

#define assert_str(got, expected) assert_text(got, expected, __LINE__)
static void assert_text(struct str got, const char *expected, int line)
{
	if (!str_eq_c(got, expected))
		fail_msg("line %d: '%.*s' instead of '%s'", line, STR_ARG(got), expected);
}

static int decode(struct rig *g, int form)
{
	g->reason = "";
	arena_clear(&g->scratch);
	return loggregator_decode(
		&g->x, buf_view(&g->bytes), form, &g->secret, &g->scratch, &g->reason, &g->e);
}

/* Through the store and back: what a client is told of it. */
static void store(struct rig *g)
{
	const char *names[] = {"app", "event", "input", "source"};
	struct str values[4], sorted[4];
	struct loggregator back;

	loggregator_record(
		&g->x, &(struct loggregator_beside){0}, &g->parts, &g->line, &g->meta, &g->record);
	values[0] = g->parts.app;
	values[1] = g->parts.event;
	values[2] = STR("loggregator");
	values[3] = g->parts.source;
	for (int i = 0; i < 4; i++)
		sorted[i] = str_c(names[i]);
	buf_clear(&g->labels);
	labels_write(&g->labels, sorted, values, 4);
	if (g->meta.n)
		assert_int_equal(labels_check(buf_view(&g->meta), &g->e), 0);
	loggregator_of(&back, g->record.timestamp, buf_view(&g->labels), g->record.meta,
		g->record.body, 0);
	g->x = back;
}

static struct str meta_of(struct rig *g, const char *name)
{
	struct str value = STR("");

	labels_get(g->record.meta, str_c(name), &value);
	return value;
}

static struct str json_of(struct rig *g)
{
	buf_clear(&g->text);
	loggregator_put_json(&g->text, &g->x);
	return buf_view(&g->text);
}

/* 2013. */

static void test_golden_envelope(void **state)
{
	struct rig *g = *state;

	unhex(&g->bytes, golden);
	loggregator_secret_init(&g->secret, STR("secret"));
	assert_int_equal(g->bytes.n, 122);
	assert_int_equal(decode(g, LOGGREGATOR_AUTO), 0);
	assert_int_equal(decode(g, LOGGREGATOR_2013), 0);
	assert_str(g->x.payload, "Hello there!");
	assert_str(g->x.source_id, "my_app_id");
	assert_str(g->x.source_type, "API");
	assert_str(g->x.instance_id, "42");
	assert_false(g->x.err);
	assert_false(g->x.from_app);
	assert_true(g->x.timestamp == 1383147578860054000);
	assert_int_equal(loggregator_signature(buf_view(&g->bytes)).n, 64);
	/* Written again it is the LogMessage that it was, but for the name that is told too. */
	loggregator_put_message(&g->text, &g->x);
	assert_true(str_starts(str_make(g->bytes.p + 79, g->bytes.n - 79),
		str_sub(buf_view(&g->text), 0, g->text.n - 5)));
	store(g);
	assert_str(g->parts.app, "my_app_id");
	assert_str(g->parts.source, "API/42");
	assert_str(g->parts.event, "");
	assert_str(meta_of(g, "message_type"), "OUT");
	assert_str(meta_of(g, "source_type"), "API");
	assert_str(meta_of(g, "instance_id"), "42");
}

static void test_golden_keys(void **state)
{
	static const uint8_t key[LOGGREGATOR_KEY] = {0x59, 0x94, 0x47, 0x1a, 0xbb, 0x01, 0x11, 0x2a,
		0xfc, 0xc1, 0x81, 0x59, 0xf6, 0xcc, 0x74, 0xb4};
	struct loggregator_secret s = {0};

	loggregator_secret_init(&s, STR("12345"));
	assert_memory_equal(s.key, key, sizeof key);
	assert_true(s.given && s.required);
	(void)state;
}

static void test_wrong_secret_and_changed_text(void **state)
{
	struct rig *g = *state;

	unhex(&g->bytes, golden);
	loggregator_secret_init(&g->secret, STR("Secret"));
	assert_int_equal(decode(g, LOGGREGATOR_AUTO), ERR_DENIED);
	assert_string_equal(g->reason, "signature");
	loggregator_secret_init(&g->secret, STR("secret"));
	g->bytes.p[82]++; /* of the text */
	assert_int_equal(decode(g, LOGGREGATOR_AUTO), ERR_DENIED);
	assert_string_equal(g->reason, "signature");
	g->bytes.p[82]--;
	g->bytes.p[20]++; /* of the signature */
	assert_int_equal(decode(g, LOGGREGATOR_2013), ERR_DENIED);
	assert_string_equal(g->reason, "signature");
	/* Not required does not make a wrong one right. */
	g->secret.required = false;
	assert_int_equal(decode(g, LOGGREGATOR_2013), ERR_DENIED);
	g->secret.given = false;
	assert_int_equal(decode(g, LOGGREGATOR_2013), 0);
}

static void put_bare(struct buf *out, const char *text, int source_type, const char *name)
{
	protobuf_put_bytes(out, LM_MESSAGE, str_c(text));
	protobuf_put_number(out, LM_TYPE, MESSAGE_ERR);
	protobuf_put_number(out, LM_TIMESTAMP, zigzag(-7));
	protobuf_put_bytes(out, LM_APP, STR("guid"));
	if (source_type)
		protobuf_put_number(out, LM_SOURCE_TYPE, (uint64_t)source_type);
	protobuf_put_bytes(out, LM_SOURCE_ID, STR("3"));
	if (name)
		protobuf_put_bytes(out, LM_SOURCE_NAME, str_c(name));
	protobuf_put_bytes(out, 99, STR("from the future"));
	protobuf_put_number(out, 98, 1);
}

static void test_bare_message(void **state)
{
	static const struct {
		int type;
		const char *name, *source;
		bool app;
	} cases[] = {{5, NULL, "App/3", true}, {5, "Other", "App/3", true},
		{0, "App", "App/3", true}, {2, NULL, "RTR/3", false}, {3, NULL, "UAA/3", false},
		{4, NULL, "DEA/3", false}, {6, "LGR", "LGR/3", false}, {7, "STG", "STG/3", false},
		{0, "STG", "STG/3", false}, {0, NULL, "", false}, {77, NULL, "", false}};
	struct rig *g = *state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		buf_clear(&g->bytes);
		put_bare(&g->bytes, "text", cases[i].type, cases[i].name);
		assert_int_equal(decode(g, i % 2 ? LOGGREGATOR_AUTO : LOGGREGATOR_2013), 0);
		assert_true(g->x.err);
		assert_true(g->x.timestamp == -7);
		assert_int_equal(g->x.from_app, cases[i].app);
		store(g);
		assert_str(g->parts.source, cases[i].source);
		assert_str(g->x.instance_id, "3");
		assert_true(g->x.err);
	}
	assert_int_equal(decode(g, LOGGREGATOR_DROPSONDE), ERR_CORRUPT);
	loggregator_secret_init(&g->secret, STR("s"));
	assert_int_equal(decode(g, LOGGREGATOR_AUTO), ERR_DENIED);
	assert_string_equal(g->reason, "unsigned");
	g->secret.required = false;
	assert_int_equal(decode(g, LOGGREGATOR_AUTO), 0);
}

static void test_drains(void **state)
{
	struct rig *g = *state;

	put_bare(&g->bytes, "text", SOURCE_WARDEN, NULL);
	assert_int_equal(decode(g, LOGGREGATOR_AUTO), 0);
	assert_true(g->x.drains_told);
	loggregator_drain_urls(&g->x, &g->text);
	assert_str(buf_view(&g->text), LOGGREGATOR_NO_DRAINS);
	protobuf_put_bytes(&g->bytes, LM_DRAINS, STR("syslog://a:1"));
	protobuf_put_bytes(&g->bytes, LM_DRAINS, STR("with blank"));
	protobuf_put_bytes(&g->bytes, LM_DRAINS, STR("https://b"));
	assert_int_equal(decode(g, LOGGREGATOR_AUTO), 0);
	assert_int_equal(g->x.n_drains, 3);
	buf_clear(&g->text);
	loggregator_drain_urls(&g->x, &g->text);
	assert_str(buf_view(&g->text), "syslog://a:1 https://b");
	loggregator_record(&g->x, &(struct loggregator_beside){.drain_urls = buf_view(&g->text)},
		&g->parts, &g->line, &g->meta, &g->record);
	assert_str(meta_of(g, LOGGREGATOR_DRAIN_URLS), "syslog://a:1 https://b");
	/* Nobody who reads logs is told the passwords in them. */
	loggregator_of(&g->x, 1, STR("\0"), g->record.meta, STR("x"), 0);
	assert_int_equal(g->x.n_tags, 0);
	for (int i = 0; i < LOGGREGATOR_DRAINS_MAX; i++)
		protobuf_put_bytes(&g->bytes, LM_DRAINS, STR("https://b"));
	assert_int_equal(decode(g, LOGGREGATOR_AUTO), 0);
	assert_int_equal(g->x.n_omitted, 3);
}

static void test_sign_and_verify(void **state)
{
	struct rig *g = *state;

	loggregator_secret_init(&g->secret, STR("a secret"));
	put_bare(&g->text, "signed", 5, NULL);
	loggregator_sign_2013(
		&g->bytes, STR("guid"), STR("signed"), buf_view(&g->text), &g->secret);
	assert_int_equal(decode(g, LOGGREGATOR_AUTO), 0);
	assert_str(g->x.payload, "signed");
	assert_int_equal(decode(g, LOGGREGATOR_DROPSONDE), ERR_CORRUPT);
}

/* Dropsonde. */

static void envelope_open(struct buf *out, uint64_t type)
{
	protobuf_put_bytes(out, EV_ORIGIN, STR("gorouter"));
	protobuf_put_number(out, EV_TYPE, type);
	protobuf_put_number(out, EV_TIMESTAMP, 1000);
	protobuf_put_bytes(out, EV_DEPLOYMENT, STR("cf"));
	protobuf_put_bytes(out, EV_TAGS, STR("\n\1k\x12\1v"));
}

static void put_event_log(struct buf *out, const char *text)
{
	size_t at;

	envelope_open(out, TYPE_LOG);
	at = protobuf_begin(out, EV_LOG);
	protobuf_put_bytes(out, 1, str_c(text));
	protobuf_put_number(out, 2, MESSAGE_ERR);
	protobuf_put_number(out, 3, 2000);
	protobuf_put_bytes(out, 4, STR("guid"));
	protobuf_put_bytes(out, 5, STR("App"));
	protobuf_put_bytes(out, 6, STR("1"));
	protobuf_end(out, at);
}

static void test_dropsonde_log(void **state)
{
	struct rig *g = *state;

	put_event_log(&g->bytes, "text");
	assert_int_equal(decode(g, LOGGREGATOR_AUTO), 0);
	assert_int_equal(decode(g, LOGGREGATOR_DROPSONDE), 0);
	store(g);
	assert_true(g->x.timestamp == 2000);
	assert_str(g->parts.source, "APP/1");
	assert_str(g->parts.app, "guid");
	assert_str(meta_of(g, "source_type"), "App");
	assert_str(meta_of(g, "origin"), "gorouter");
	assert_str(meta_of(g, "deployment"), "cf");
	assert_str(meta_of(g, "k"), "v");
	/* And out again as it came. */
	loggregator_put_envelope(&g->text, &g->x, 0);
	buf_clear(&g->bytes);
	buf_str(&g->bytes, buf_view(&g->text));
	assert_int_equal(decode(g, LOGGREGATOR_DROPSONDE), 0);
	assert_str(g->x.payload, "text");
	assert_str(g->x.source_type, "App");
	assert_int_equal(g->x.n_tags, 3);
	assert_int_equal(decode(g, LOGGREGATOR_2013), ERR_CORRUPT);
}

static void test_dropsonde_hmac(void **state)
{
	struct rig *g = *state;

	put_event_log(&g->text, "text");
	loggregator_secret_init(&g->secret, STR("secret"));
	loggregator_sign_dropsonde(&g->bytes, buf_view(&g->text), &g->secret);
	assert_int_equal(g->bytes.n, g->text.n + 32);
	assert_int_equal(decode(g, LOGGREGATOR_AUTO), 0);
	assert_str(g->x.payload, "text");
	/* All bytes are covered. */
	for (size_t i = 0; i < g->bytes.n; i++) {
		g->bytes.p[i] ^= 1;
		assert_int_not_equal(decode(g, LOGGREGATOR_AUTO), 0);
		g->bytes.p[i] ^= 1;
	}
	loggregator_secret_init(&g->secret, STR("other"));
	assert_int_equal(decode(g, LOGGREGATOR_DROPSONDE), ERR_DENIED);
	assert_string_equal(g->reason, "signature");
	g->secret.given = false;
	assert_int_equal(decode(g, LOGGREGATOR_DROPSONDE), 0);
	buf_clear(&g->bytes);
	buf_str(&g->bytes, buf_view(&g->text));
	loggregator_secret_init(&g->secret, STR("secret"));
	assert_int_equal(decode(g, LOGGREGATOR_DROPSONDE), ERR_DENIED);
	assert_string_equal(g->reason, "unsigned");
}

/* Bytes in front that look like fields: still the signed envelope, as it is verified first. */
static void test_hmac_that_looks_like_fields(void **state)
{
	struct rig *g = *state;

	put_event_log(&g->text, "text");
	loggregator_secret_init(&g->secret, STR("secret"));
	for (int i = 0; i < 20000; i++) {
		/* An unknown field makes another signature. */
		buf_clear(&g->bytes);
		protobuf_put_number(&g->text, 1000, (uint64_t)i);
		loggregator_sign_dropsonde(&g->bytes, buf_view(&g->text), &g->secret);
		g->text.n -= i < 128 ? 3 : i < 16384 ? 4 : 5;
		assert_int_equal(decode(g, LOGGREGATOR_AUTO), 0);
		assert_str(g->x.payload, "text");
	}
}

static void test_dropsonde_metrics(void **state)
{
	struct rig *g = *state;
	size_t at;

	envelope_open(&g->bytes, TYPE_VALUE);
	at = protobuf_begin(&g->bytes, EV_VALUE);
	protobuf_put_bytes(&g->bytes, 1, STR("latency"));
	protobuf_put_double(&g->bytes, 2, 0.1);
	protobuf_put_bytes(&g->bytes, 3, STR("ms"));
	protobuf_end(&g->bytes, at);
	assert_int_equal(decode(g, LOGGREGATOR_AUTO), 0);
	store(g);
	assert_str(g->parts.event, "gauge");
	assert_str(g->parts.app, "gorouter");
	assert_str(g->parts.source, "");
	assert_str(g->record.body, "latency=0.1");
	assert_str(meta_of(g, "metric_latency"), "0.1");
	assert_str(meta_of(g, "unit_latency"), "ms");
	assert_int_equal(g->x.n_metrics, 1);
	assert_true(g->x.metrics[0].value == 0.1);
	assert_int_equal(loggregator_n_envelopes(&g->x), 1);

	buf_clear(&g->bytes);
	envelope_open(&g->bytes, TYPE_COUNTER);
	protobuf_put_bytes(&g->bytes, EV_COUNTER,
		STR("\n\1c\x10\2\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"));
	assert_int_equal(decode(g, LOGGREGATOR_AUTO), 0);
	store(g);
	assert_str(g->record.body, "name=c delta=2 total=18446744073709551615");
	assert_true(g->x.total == UINT64_MAX && g->x.delta == 2);
	assert_str(g->x.name, "c");

	buf_clear(&g->bytes);
	envelope_open(&g->bytes, TYPE_ERROR);
	protobuf_put_bytes(&g->bytes, EV_ERROR,
		STR("\n\1s\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\x1a\4oops"));
	assert_int_equal(decode(g, LOGGREGATOR_AUTO), 0);
	store(g);
	assert_str(g->parts.event, "error");
	assert_str(g->record.body, "oops");
	assert_int_equal(g->x.code, -1);
	assert_true(g->x.err);
}

static void test_container_metric(void **state)
{
	struct rig *g = *state;
	size_t at;

	envelope_open(&g->bytes, TYPE_CONTAINER);
	at = protobuf_begin(&g->bytes, EV_CONTAINER);
	protobuf_put_bytes(&g->bytes, 1, STR("guid"));
	protobuf_put_number(&g->bytes, 2, 4);
	protobuf_put_double(&g->bytes, 3, 12.5);
	for (uint32_t i = 4; i < 8; i++)
		protobuf_put_number(&g->bytes, i, 1000 * i);
	protobuf_end(&g->bytes, at);
	assert_int_equal(decode(g, LOGGREGATOR_AUTO), 0);
	store(g);
	assert_str(
		g->record.body, "cpu=12.5 memory=4000 disk=5000 memory_quota=6000 disk_quota=7000");
	assert_str(g->parts.app, "guid");
	assert_str(g->x.instance_id, "4");
	assert_int_equal(loggregator_n_envelopes(&g->x), 1);
	loggregator_add_metric(&g->x, STR("more"), STR("u"), 1);
	assert_int_equal(loggregator_n_envelopes(&g->x), 2);
	buf_clear(&g->bytes);
	loggregator_put_envelope(&g->bytes, &g->x, 0);
	buf_clear(&g->text);
	loggregator_put_envelope(&g->text, &g->x, 1);
	assert_int_equal(decode(g, LOGGREGATOR_AUTO), 0);
	assert_int_equal(g->x.n_metrics, 5);
	assert_str(g->x.instance_id, "4");
	buf_clear(&g->bytes);
	buf_str(&g->bytes, buf_view(&g->text));
	assert_int_equal(decode(g, LOGGREGATOR_AUTO), 0);
	assert_str(g->x.metrics[0].name, "more");
}

static void test_http(void **state)
{
	struct rig *g = *state;
	struct str value;
	size_t at, id;

	envelope_open(&g->bytes, TYPE_HTTP);
	at = protobuf_begin(&g->bytes, EV_HTTP);
	protobuf_put_number(&g->bytes, HTTP_START, 1000000);
	protobuf_put_number(&g->bytes, HTTP_STOP, 3500000);
	id = protobuf_begin(&g->bytes, HTTP_REQUEST_ID);
	protobuf_put_number(&g->bytes, 1, 0xefcdab8967452301);
	protobuf_put_number(&g->bytes, 2, 0xefcdab8967452301);
	protobuf_end(&g->bytes, id);
	protobuf_put_number(&g->bytes, HTTP_PEER_TYPE, 2);
	protobuf_put_number(&g->bytes, HTTP_METHOD, 44);
	protobuf_put_bytes(&g->bytes, HTTP_URI, STR("/a b"));
	protobuf_put_number(&g->bytes, HTTP_STATUS, 204);
	protobuf_put_bytes(&g->bytes, HTTP_FORWARDED, STR("one"));
	protobuf_put_bytes(&g->bytes, HTTP_FORWARDED, STR("two"));
	id = protobuf_begin(&g->bytes, HTTP_APP);
	protobuf_put_number(&g->bytes, 1, 1);
	protobuf_end(&g->bytes, id);
	protobuf_put_number(&g->bytes, HTTP_INSTANCE, 6);
	protobuf_end(&g->bytes, at);
	assert_int_equal(decode(g, LOGGREGATOR_AUTO), 0);
	store(g);
	assert_str(g->parts.app, "01000000-0000-0000-0000-000000000000");
	assert_str(g->record.body,
		"name=http duration=2.5ms method=VERSION-CONTROL uri=\"/a b\" status_code=204");
	assert_str(meta_of(g, "request_id"), "01234567-89ab-cdef-0123-456789abcdef");
	assert_str(meta_of(g, "forwarded"), "one\ntwo");
	assert_str(g->x.instance_id, "6");
	buf_clear(&g->bytes);
	loggregator_put_envelope(&g->bytes, &g->x, 0);
	assert_int_equal(decode(g, LOGGREGATOR_AUTO), 0);
	assert_true(g->x.start_ns == 1000000 && g->x.stop_ns == 3500000);
	assert_str(g->x.source_id, "01000000-0000-0000-0000-000000000000");
	assert_true(loggregator_tag(&g->x, STR("request_id"), &value));
	assert_str(value, "01234567-89ab-cdef-0123-456789abcdef");
	assert_true(loggregator_tag(&g->x, STR("forwarded"), &value));
	assert_str(value, "one\ntwo");
	assert_true(loggregator_tag(&g->x, STR("peer_type"), &value));
	assert_str(value, "Server");
}

/* v2. */

static void tag(struct buf *out, const char *name, const char *value)
{
	size_t at = protobuf_begin(out, V2_TAGS);

	protobuf_put_bytes(out, 1, str_c(name));
	protobuf_put_bytes(out, 2, str_c(value));
	protobuf_end(out, at);
}

static void v2_open(struct buf *out)
{
	protobuf_put_number(out, V2_TIMESTAMP, 5);
	protobuf_put_bytes(out, V2_SOURCE_ID, STR("guid"));
	protobuf_put_bytes(out, V2_INSTANCE_ID, STR("0"));
}

static int decode_v2(struct rig *g)
{
	arena_clear(&g->scratch);
	return loggregator_decode_v2(&g->x, buf_view(&g->bytes), &g->scratch, &g->e);
}

static void test_v2_log(void **state)
{
	struct rig *g = *state;
	struct loggregator before;

	v2_open(&g->bytes);
	protobuf_put_bytes(&g->bytes, V2_LOG, STR("\n\2hi\x10\1"));
	tag(&g->bytes, "source_type", "App/Proc/Web");
	tag(&g->bytes, "app", "a tag that would hide the label");
	tag(&g->bytes, "instance_id", "0");
	tag(&g->bytes, "tag_app", "another");
	tag(&g->bytes, "nothing", "");
	protobuf_put_bytes(&g->bytes, V2_DEPRECATED_TAGS, STR("\n\1n\x12\2\x10\x07"));
	protobuf_put_bytes(
		&g->bytes, V2_DEPRECATED_TAGS, STR("\n\1d\x12\t\x19\0\0\0\0\0\0\xf8\x3f"));
	assert_int_equal(decode_v2(g), 0);
	before = g->x;
	store(g);
	assert_str(g->parts.source, "APP/PROC/WEB/0");
	assert_str(meta_of(g, "tag_app"), "a tag that would hide the label");
	assert_str(meta_of(g, "tag_tag_app"), "another");
	assert_str(meta_of(g, "tag_instance_id"), "0");
	assert_str(meta_of(g, "message_type"), "ERR");
	assert_str(meta_of(g, "n"), "7");
	assert_str(meta_of(g, "d"), "1.5");
	assert_int_equal(g->x.n_tags, before.n_tags - 1); /* the empty one */
	for (size_t i = 0; i < before.n_tags; i++) {
		struct str value = STR("");
		assert_true(loggregator_tag(&g->x, before.tags[i].name, &value) ||
			    before.tags[i].value.n == 0);
		assert_true(str_eq(value, before.tags[i].value));
	}
	assert_str(json_of(g),
		"{\"timestamp\":\"5\",\"source_id\":\"guid\",\"instance_id\":\"0\",\"deprecated_tags\":{},"
		"\"tags\":{\"source_type\":\"App/Proc/Web\",\"d\":\"1.5\",\"n\":\"7\",\"app\":"
		"\"a tag that would hide the label\",\"instance_id\":\"0\",\"tag_app\":\"another\"},"
		"\"log\":{\"payload\":\"aGk=\",\"type\":\"ERR\"}}");
	buf_clear(&g->bytes);
	loggregator_put_v2(&g->bytes, &g->x);
	assert_int_equal(decode_v2(g), 0);
	assert_str(g->x.payload, "hi");
	assert_str(g->x.source_type, "App/Proc/Web");
	assert_true(g->x.err);
}

static void test_v2_events(void **state)
{
	struct rig *g = *state;
	size_t at, inner;

	v2_open(&g->bytes);
	at = protobuf_begin(&g->bytes, V2_GAUGE);
	inner = protobuf_begin(&g->bytes, 1);
	protobuf_put_bytes(&g->bytes, 1, STR("x y"));
	protobuf_put_bytes(&g->bytes, 2, STR("\n\1u"));
	protobuf_end(&g->bytes, inner);
	inner = protobuf_begin(&g->bytes, 1);
	protobuf_put_bytes(&g->bytes, 1, STR("nan"));
	protobuf_put_bytes(&g->bytes, 2, STR("\x11\0\0\0\0\0\0\xf8\x7f"));
	protobuf_end(&g->bytes, inner);
	protobuf_end(&g->bytes, at);
	tag(&g->bytes, "metric_like", "no");
	assert_int_equal(decode_v2(g), 0);
	store(g);
	assert_str(meta_of(g, "tag_metric_like"), "no");
	assert_int_equal(g->x.n_metrics, 2);
	assert_str(json_of(g),
		"{\"timestamp\":\"5\",\"source_id\":\"guid\",\"instance_id\":\"0\",\"deprecated_tags\":{},"
		"\"tags\":{\"metric_like\":\"no\"},\"gauge\":{\"metrics\":{\"nan\":{\"unit\":\"\","
		"\"value\":\"NaN\"},\"x y\":{\"unit\":\"u\",\"value\":0}}}}");

	buf_clear(&g->bytes);
	v2_open(&g->bytes);
	protobuf_put_bytes(&g->bytes, V2_TIMER, STR("\n\4http\x10\1\x18\3"));
	tag(&g->bytes, "name", "a tag");
	assert_int_equal(decode_v2(g), 0);
	store(g);
	assert_str(g->record.body, "name=http duration=2e-06ms");
	assert_str(json_of(g),
		"{\"timestamp\":\"5\",\"source_id\":\"guid\",\"instance_id\":\"0\",\"deprecated_tags\":{},"
		"\"tags\":{\"name\":\"a tag\"},\"timer\":{\"name\":\"http\",\"start\":\"1\",\"stop\":\"3\"}}");

	buf_clear(&g->bytes);
	v2_open(&g->bytes);
	protobuf_put_bytes(&g->bytes, V2_EVENT, STR("\n\5title\x12\4body"));
	assert_int_equal(decode_v2(g), 0);
	store(g);
	assert_str(g->record.body, "title: body");
	assert_str(g->x.name, "title");
	assert_str(g->x.payload, "body");
	buf_clear(&g->text);
	loggregator_put_message(&g->text, &g->x);
	assert_true(str_starts(buf_view(&g->text), STR("\n\x0btitle: body\x10\1")));
}

static int count(void *arg, const struct loggregator *x)
{
	assert_str(x->source_id, "guid");
	return ++*(int *)arg == 3 ? 77 : 0;
}

static void test_v2_batch(void **state)
{
	struct rig *g = *state;
	int n = 0;

	v2_open(&g->bytes);
	protobuf_put_bytes(&g->bytes, V2_LOG, STR("\n\2hi"));
	for (int i = 0; i < 2; i++)
		protobuf_put_bytes(&g->text, 1, buf_view(&g->bytes));
	assert_int_equal(
		loggregator_decode_batch(buf_view(&g->text), &g->scratch, count, &n, &g->e), 0);
	assert_int_equal(n, 2);
	assert_int_equal(
		loggregator_decode_batch(buf_view(&g->text), &g->scratch, count, &n, &g->e), 77);
	/* All or nothing. */
	n = 0;
	protobuf_put_bytes(&g->text, 1, STR("\n\5cut"));
	assert_int_equal(
		loggregator_decode_batch(buf_view(&g->text), &g->scratch, count, &n, &g->e),
		ERR_CORRUPT);
	assert_int_equal(n, 0);
}

static void test_limits(void **state)
{
	struct rig *g = *state;
	char name[16];

	v2_open(&g->bytes);
	protobuf_put_bytes(&g->bytes, V2_LOG, STR("\n\2hi"));
	for (int i = 0; i < LOGGREGATOR_TAGS_MAX + 10; i++) {
		snprintf(name, sizeof name, "t%d", i);
		tag(&g->bytes, name, "v");
	}
	assert_int_equal(decode_v2(g), 0);
	store(g);
	assert_int_equal(g->x.n_tags, LOGGREGATOR_TAGS_MAX);
	assert_str(meta_of(g, "omitted"), "10");
	/* Metadata has room for fewer pairs than a gauge with tags may have. */
	loggregator_clear(&g->x);
	g->x.kind = LOGGREGATOR_GAUGE;
	g->x.source_id = STR("guid");
	for (int i = 0; i < LOGGREGATOR_METRICS_MAX + 1; i++)
		loggregator_add_metric(
			&g->x, str_c(arena_printf(&g->scratch, "m%d", i)), STR("u"), i);
	for (int i = 0; i < 100; i++)
		loggregator_add_tag(&g->x, str_c(arena_printf(&g->scratch, "t%d", i)), STR("v"));
	store(g);
	assert_int_equal(labels_count(g->record.meta), LABELS_MAX);
	assert_str(meta_of(g, "omitted"), "130");
	buf_reserve(&g->bytes, LOGGREGATOR_DATAGRAM_MAX + 1);
	memset(g->bytes.p, 0, LOGGREGATOR_DATAGRAM_MAX + 1);
	g->bytes.n = LOGGREGATOR_DATAGRAM_MAX + 1;
	assert_int_equal(decode(g, LOGGREGATOR_AUTO), ERR_LIMIT);
	assert_string_equal(g->reason, "too_long");
}

static void test_malformed(void **state)
{
	static const struct str bad[] = {STR_INIT(""), STR_INIT("\n"), STR_INIT("\n\5text"),
		STR_INIT("GET / HTTP/1.1\r\n\r\n"), STR_INIT("\n\1x\x10\1"), /* no app */
		STR_INIT("\n\1x\x10\7\"\1a"),                                /* no such type */
		STR_INIT("\x10\1\"\1a"),                                     /* no text */
		STR_INIT("\n\1x\x10\5"),                                     /* no event */
		STR_INIT("\x10\5\x42\0")};                                   /* no origin */
	struct rig *g = *state;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		buf_clear(&g->bytes);
		buf_str(&g->bytes, bad[i]);
		for (int form = LOGGREGATOR_AUTO; form <= LOGGREGATOR_DROPSONDE; form++) {
			assert_int_equal(decode(g, form), ERR_CORRUPT);
			assert_string_equal(g->reason, "malformed");
		}
	}
}

/* Every cut of each form is refused, never read beyond. */
static void test_cuts(void **state)
{
	struct rig *g = *state;
	size_t whole;

	unhex(&g->text, golden);
	loggregator_secret_init(&g->secret, STR("secret"));
	whole = g->text.n;
	for (size_t n = 0; n < whole; n++) {
		char *copy = xmalloc(n + 1);
		memcpy(copy, g->text.p, n);
		copy = xrealloc(copy, n ? n : 1);
		assert_int_not_equal(loggregator_decode(&g->x, str_make(copy, n), LOGGREGATOR_AUTO,
					     &g->secret, &g->scratch, &g->reason, &g->e),
			0);
		free(copy);
	}
}

/* Records of other inputs. */
static void test_of_other_inputs(void **state)
{
	struct labels_builder b = {0};
	struct rig *g = *state;

	labels_parse(&b,
		STR("{app=\"web\", host=\"h\", input=\"syslog\", event=\"counter\", source=\"APP/PROC/WEB/12\"}"),
		&g->e);
	labels_builder_write(&b, &g->labels);
	labels_builder_clear(&b);
	b.names_free = true;
	labels_builder_set(&b, STR("name"), STR("n"), NULL);
	labels_builder_write(&b, &g->meta);
	loggregator_of(&g->x, 9, buf_view(&g->labels), buf_view(&g->meta), STR("line"), SEV_ERROR);
	assert_int_equal(g->x.kind, LOGGREGATOR_LOG);
	assert_str(g->x.payload, "line");
	assert_str(g->x.source_id, "web");
	assert_str(g->x.source_type, "APP/PROC/WEB");
	assert_str(g->x.instance_id, "12");
	assert_true(g->x.err);
	assert_int_equal(g->x.n_tags, 2);
	buf_clear(&g->text);
	loggregator_put_message(&g->text, &g->x);
	buf_clear(&g->bytes);
	buf_str(&g->bytes, buf_view(&g->text));
	assert_int_equal(decode(g, LOGGREGATOR_2013), 0);
	assert_true(g->x.from_app);
	loggregator_of(&g->x, 9, STR(""), STR(""), STR(""), 0);
	assert_false(g->x.err);
	loggregator_put_envelope(&g->text, &g->x, 0);
	labels_builder_fini(&b);
}

static void test_multipart(void **state)
{
	struct rig *g = *state;
	struct str one = STR("one");

	loggregator_put_part(&g->text, "xyz", &one);
	loggregator_put_part(&g->text, "xyz", NULL);
	assert_str(buf_view(&g->text), "--xyz\r\n\r\none\r\n--xyz--\r\n");
}

static void test_doubles(void **state)
{
	static const struct {
		double v;
		const char *text;
	} cases[] = {{0, "0"}, {0.1, "0.1"}, {1e21, "1e+21"}, {-2.5, "-2.5"},
		{1.0 / 3, "0.3333333333333333"}, {INFINITY, "Infinity"}, {-INFINITY, "-Infinity"}};
	struct rig *g = *state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		buf_clear(&g->text);
		loggregator_put_double(&g->text, cases[i].v);
		assert_str(buf_view(&g->text), cases[i].text);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_golden_envelope),
		TEST(test_golden_keys),
		TEST(test_wrong_secret_and_changed_text),
		TEST(test_bare_message),
		TEST(test_drains),
		TEST(test_sign_and_verify),
		TEST(test_dropsonde_log),
		TEST(test_dropsonde_hmac),
		TEST(test_hmac_that_looks_like_fields),
		TEST(test_dropsonde_metrics),
		TEST(test_container_metric),
		TEST(test_http),
		TEST(test_v2_log),
		TEST(test_v2_events),
		TEST(test_v2_batch),
		TEST(test_limits),
		TEST(test_malformed),
		TEST(test_cuts),
		TEST(test_of_other_inputs),
		TEST(test_multipart),
		TEST(test_doubles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
