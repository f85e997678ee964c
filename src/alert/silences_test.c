/* SPDX-License-Identifier: Apache-2.0 */
#include "alert/silences.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "os/fake.h"
#include "record/labels.h"
#include "record/time.h"

#define T0 INT64_C(1784887200000000000) /* 2026-07-24T10:00:00Z */

struct rig {
	struct fs *fs;
	struct clock *clock;
	struct silences *s;
};

static void rig_open(struct rig *r)
{
	struct error e;

	if (silences_open(&r->s, r->fs, r->clock, "alerts/silences.json", &e) < 0)
		fail_msg("%s", e.text);
}

static int setup(void **state)
{
	static struct rig r;

	r.fs = fs_fake_new(1);
	r.clock = clock_fake_new(T0);
	fs_mkdir(r.fs, "alerts", NULL);
	rig_open(&r);
	*state = &r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	silences_close(r->s);
	fs_fake_free(r->fs);
	clock_fake_free(r->clock);
	return 0;
}

/* The id, which lives until the next call; NULL when it is refused with the word in its sentence.
 */
static const char *put(struct rig *r, const char *json, const char *word)
{
	static struct buf id;
	struct error e = {0};
	int code;

	buf_clear(&id);
	code = silences_put(r->s, STR("default"), str_c(json), &id, &e);
	if (!word) {
		if (code < 0)
			fail_msg("%s", e.text);
		assert_int_equal(id.n, 36);
		return buf_cstr(&id);
	}
	if (code >= 0 || !strstr(e.text, word))
		fail_msg("%s: \"%s\" has no \"%s\"", json, e.text, word);
	buf_fini(&id);
	return NULL;
}

static bool silent(struct rig *r, const char *labels)
{
	struct labels_builder b = {0};
	struct buf bytes = {0};
	bool found;

	assert_int_equal(labels_parse(&b, str_c(labels), NULL), 0);
	labels_builder_write(&b, &bytes);
	found = silences_match(r->s, STR("default"), buf_view(&bytes), clock_now_ns(r->clock));
	assert_false(silences_match(r->s, STR("other"), buf_view(&bytes), clock_now_ns(r->clock)));
	labels_builder_fini(&b);
	buf_fini(&bytes);
	return found;
}

static bool json_has(struct rig *r, const char *id, const char *word)
{
	struct buf out = {0};
	bool found;

	assert_int_equal(silences_json(r->s, STR("default"), str_c(id), &out, NULL), 0);
	found = strstr(buf_cstr(&out), word) != NULL;
	if (!found)
		print_message("%s\n", buf_cstr(&out));
	buf_fini(&out);
	return found;
}

static void test_times(void **state)
{
	struct rig *r = *state;

	put(r,
		"{\"matchers\":[{\"name\":\"app\",\"value\":\"shop\",\"isRegex\":false}],"
		"\"startsAt\":\"2026-07-24T10:10:00Z\",\"endsAt\":\"2026-07-24T11:00:00Z\","
		"\"createdBy\":\"me\",\"comment\":\"deploy\"}",
		NULL);
	assert_false(silent(r, "{app=\"shop\"}"));
	assert_true(json_has(r, "", "\"state\":\"pending\""));
	clock_fake_advance(r->clock, 600 * NS_PER_SEC);
	assert_true(silent(r, "{app=\"shop\"}"));
	assert_false(silent(r, "{app=\"shops\"}"));
	assert_true(json_has(r, "", "\"state\":\"active\""));
	clock_fake_advance(r->clock, 3000 * NS_PER_SEC);
	assert_false(silent(r, "{app=\"shop\"}"));
	assert_true(json_has(r, "", "\"state\":\"expired\""));
	/* An ended one is seen for a day. */
	clock_fake_advance(r->clock, 25 * 3600 * NS_PER_SEC);
	assert_true(json_has(r, "", "[]"));
}

static void test_matchers(void **state)
{
	struct rig *r = *state;

	put(r,
		"{\"matchers\":[{\"name\":\"app\",\"value\":\"sh.p|web\",\"isRegex\":true},"
		"{\"name\":\"env\",\"value\":\"prod\",\"isEqual\":false}],"
		"\"endsAt\":\"2026-07-24T11:00:00Z\"}",
		NULL);
	assert_true(silent(r, "{app=\"shop\"}"));
	assert_true(silent(r, "{app=\"web\", env=\"test\"}"));
	assert_false(silent(r, "{app=\"web\", env=\"prod\"}"));
	assert_false(silent(r, "{app=\"webs\"}"));
	assert_false(silent(r, "{alertname=\"x\"}"));
}

static void test_refusals(void **state)
{
	static const struct {
		const char *json, *word;
	} bad[] = {{"", "JSON"}, {"[]", "object"}, {"{}", "matchers"},
		{"{\"matchers\":[]}", "matchers"}, {"{\"matchers\":[1]}", "number 1"},
		{"{\"matchers\":[{\"name\":\"a b\",\"value\":\"x\"}]}", "no name of a label"},
		{"{\"matchers\":[{\"name\":\"a\",\"value\":\"\"}]}", "empty value"},
		{"{\"matchers\":[{\"name\":\"a\",\"value\":\".*\",\"isRegex\":true}]}",
			"empty value"},
		{"{\"matchers\":[{\"name\":\"a\",\"value\":\"(\",\"isRegex\":true}]}", "regexp"},
		{"{\"matchers\":[{\"name\":\"a\",\"value\":\"x\",\"isRegex\":1}]}",
			"true or false"},
		{"{\"matchers\":[{\"name\":\"a\",\"value\":7}]}", "text"},
		{"{\"matchers\":[{\"name\":\"a\",\"value\":\"x\"}]}", "endsAt"},
		{"{\"matchers\":[{\"name\":\"a\",\"value\":\"x\"}],\"endsAt\":\"soon\"}", "endsAt"},
		{"{\"matchers\":[{\"name\":\"a\",\"value\":\"x\"}],\"endsAt\":"
		 "\"2026-07-24T09:00:00Z\"}",
			"past"},
		{"{\"matchers\":[{\"name\":\"a\",\"value\":\"x\"}],\"startsAt\":"
		 "\"2026-07-24T12:00:00Z\",\"endsAt\":\"2026-07-24T11:00:00Z\"}",
			"later"},
		{"{\"id\":\"00000000-0000-4000-8000-000000000000\",\"matchers\":[{\"name\":\"a\","
		 "\"value\":\"x\"}],\"endsAt\":\"2026-07-24T11:00:00Z\"}",
			"no silence"}};
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		put(r, bad[i].json, bad[i].word);
	assert_true(json_has(r, "", "[]"));
}

static void test_changes(void **state)
{
	struct rig *r = *state;
	char json[512], id[37];

	snprintf(id, sizeof id, "%s",
		put(r,
			"{\"matchers\":[{\"name\":\"a\",\"value\":\"x\"}],\"endsAt\":"
			"\"2026-07-24T11:00:00Z\"}",
			NULL));
	snprintf(json, sizeof json,
		"{\"id\":\"%s\",\"matchers\":[{\"name\":\"a\",\"value\":\"y\"}],\"endsAt\":"
		"\"2026-07-24T12:00:00Z\",\"comment\":\"longer\"}",
		id);
	assert_string_equal(put(r, json, NULL), id);
	assert_false(silent(r, "{a=\"x\"}"));
	assert_true(silent(r, "{a=\"y\"}"));
	assert_true(json_has(r, id, "\"comment\":\"longer\""));
	assert_int_equal(silences_expire(r->s, STR("other"), str_c(id), NULL), ERR_NOT_FOUND);
	assert_int_equal(silences_expire(r->s, STR("default"), str_c(id), NULL), 0);
	assert_int_equal(silences_expire(r->s, STR("default"), str_c(id), NULL), 0);
	assert_false(silent(r, "{a=\"y\"}"));
	/* One that has ended comes back as another. */
	assert_string_not_equal(put(r, json, NULL), id);
	assert_true(silent(r, "{a=\"y\"}"));
}

static void test_disk(void **state)
{
	static const char json[] =
		"{\"matchers\":[{\"name\":\"a\",\"value\":\"x.*\",\"isRegex\":true,"
		"\"isEqual\":true}],\"endsAt\":\"2026-07-24T11:00:00Z\","
		"\"createdBy\":\"\\u00fc \\\"me\\\"\"}";
	struct rig *r = *state;
	struct buf text = {0};
	char id[37];

	snprintf(id, sizeof id, "%s", put(r, json, NULL));
	silences_close(r->s);
	fake_crash(r->fs, false);
	rig_open(r);
	assert_true(silent(r, "{a=\"xyz\"}"));
	assert_true(json_has(r, id, "\\\"me\\\""));
	/* What is not on the disk is not in force. */
	fake_fail(r->fs, FAKE_WRITE, 1, ENOSPC, false);
	put(r, json, "silences.json");
	fake_fail(r->fs, FAKE_WRITE, 1, EIO, false);
	assert_int_equal(silences_expire(r->s, STR("default"), str_c(id), NULL), ERR_IO);
	assert_true(silent(r, "{a=\"xyz\"}"));
	/* A damaged file is put aside, and all goes on. */
	silences_close(r->s);
	assert_int_equal(
		fs_write_all(r->fs, "alerts/silences.json", STR("{\"silences\":[{}]}"), NULL), 0);
	rig_open(r);
	assert_false(silent(r, "{a=\"xyz\"}"));
	assert_int_equal(fs_read_all(r->fs, "alerts/silences.json.damaged", 1000, &text, NULL), 0);
	put(r, json, NULL);
	buf_fini(&text);
}

static void test_limit(void **state)
{
	struct rig *r = *state;
	struct buf many = {0};

	for (int i = 0; i < SILENCES_MAX; i++)
		put(r,
			"{\"matchers\":[{\"name\":\"a\",\"value\":\"x\"}],\"endsAt\":"
			"\"2026-07-24T11:00:00Z\"}",
			NULL);
	put(r,
		"{\"matchers\":[{\"name\":\"a\",\"value\":\"x\"}],\"endsAt\":"
		"\"2026-07-24T11:00:00Z\"}",
		"1000 silences");
	buf_c(&many, "{\"matchers\":[");
	for (int i = 0; i <= SILENCE_MATCHERS_MAX; i++)
		buf_printf(&many, "%s{\"name\":\"a\",\"value\":\"x\"}", i ? "," : "");
	buf_c(&many, "]}");
	put(r, buf_cstr(&many), "at most 20");
	buf_fini(&many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_times, setup, teardown),
		cmocka_unit_test_setup_teardown(test_matchers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
