/* SPDX-License-Identifier: Apache-2.0 */
/* The set of notifiers with its threads, and the kinds that need no server. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alert/notify.h"
#include "alert/notify_json.h"
#include "alert/silences.h"
#include "base/lock.h"
#include "base/memory.h"
#include "record/labels.h"
#include "record/severity.h"

#define T0 (INT64_C(1784887200) * NS_PER_SEC) /* 2026-07-24T10:00:00Z */

/* --- a sink that keeps what comes ------------------------------------------------------- */

struct kept {
	struct sink sink;
	struct lock lock;
	struct buf text;
	int fail; /* the code of the next submits; 0: taken */
	int n;
};

static int keep(struct sink *s, struct batch *b, sink_done *done, void *arg, struct error *e)
{
	struct kept *k = (struct kept *)s;
	struct sink_result result = {0};

	lock_take(&k->lock);
	k->n++;
	if (k->fail) {
		int code = error_set(e, k->fail, "told to fail");

		lock_drop(&k->lock);
		return code;
	}
	for (size_t i = 0; i < batch_count(b); i++) {
		struct record r = batch_record(b, i);

		labels_text(&k->text, batch_stream(b, r.stream));
		buf_printf(&k->text, " %d %.*s ", r.severity, STR_ARG(r.body));
		labels_text(&k->text, r.meta);
		buf_char(&k->text, '\n');
	}
	lock_drop(&k->lock);
	done(arg, &result);
	batch_unref(b);
	return 0;
}

/* --- a kind that does as it is told ----------------------------------------------------- */

struct told_settings {
	struct notifier_settings common;
	const char *word;
};

static struct {
	struct lock lock;
	int code;        /* of sends */
	struct buf text; /* what was taken */
	int n_sends, n_open;
} target = {LOCK_INIT, 0, {0}, 0, 0};

static int target_open(
	void **out, const void *settings, const struct notifier_env *env, struct error *e)
{
	lock_take(&target.lock);
	target.n_open++;
	lock_drop(&target.lock);
	*out = (void *)settings;
	return 0;
}

static int target_send(void *notifier, const struct alert_note *notes, size_t n, struct error *e)
{
	const struct told_settings *s = notifier;
	int r;

	lock_take(&target.lock);
	target.n_sends++;
	r = target.code;
	for (size_t i = 0; i < n && r == 0; i++) {
		struct str app = STR_NONE;

		labels_get(notes[i].alert->labels, STR("app"), &app);
		buf_printf(&target.text, "%s %s %.*s\n", s->word,
			alert_states[notes[i].alert->state], STR_ARG(app));
	}
	lock_drop(&target.lock);
	return r < 0 ? error_set(e, r, "the target is away") : 0;
}

static void target_close(void *notifier) {}

static const struct option target_options[] = {
	OPTION(struct told_settings, word, .kind = OPT_STRING, .help = "A word."),
	NOTIFIER_OPTIONS(struct told_settings, "4h"),
	OPTION_END,
};

static const struct notifier_type target_type = {
	.name = "target",
	.size = sizeof(struct told_settings),
	.options = target_options,
	.open = target_open,
	.send = target_send,
	.close = target_close,
};

/* --- the rig ---------------------------------------------------------------------------- */

struct rig {
	char dir[64];
	struct kept kept;
	struct silences *silences;
	struct notify *notify;
};

static void rig_open(struct rig *r)
{
	struct notify_env env = {.fs = fs_real(),
		.clock = clock_real(),
		.sink = &r->kept.sink,
		.silences = r->silences,
		.dir = r->dir,
		.host = "h1"};

	r->notify = notify_new(&env);
}

static int setup(void **state)
{
	struct rig *r = xcalloc(1, sizeof *r);
	struct buf path = {0};
	struct error e;

	strcpy(r->dir, "/tmp/notify_test.XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	r->kept.sink.submit = keep;
	lock_init(&r->kept.lock);
	buf_printf(&path, "%s/silences.json", r->dir);
	if (silences_open(&r->silences, fs_real(), clock_real(), buf_cstr(&path), &e) < 0)
		fail_msg("%s", e.text);
	buf_fini(&path);
	rig_open(r);
	lock_take(&target.lock);
	target.code = target.n_sends = target.n_open = 0;
	buf_clear(&target.text);
	lock_drop(&target.lock);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;
	char command[128];

	notify_free(r->notify, 0);
	silences_close(r->silences);
	snprintf(command, sizeof command, "rm -rf %s", r->dir);
	assert_int_equal(system(command), 0);
	buf_fini(&r->kept.text);
	buf_fini(&target.text);
	lock_fini(&r->kept.lock);
	free(r);
	return 0;
}

static void apply_target(struct rig *r, const char *word)
{
	struct told_settings s = {
		{.name = "one", .repeat = 4 * 3600 * NS_PER_SEC, .send_resolved = true}, word};
	struct kind_entry entry = {.kind = "target", .type = &target_type, .settings = &s};
	struct kinds kinds = {&entry, 1};

	assert_int_equal(notify_apply(r->notify, &kinds, NULL, NULL), 0);
	memset(&s, 0xaa, sizeof s);
}

/* Canonical bytes; the caller frees. */
static struct buf labels_of(const char *text)
{
	struct labels_builder b = {.names_free = true};
	struct buf bytes = {0};

	assert_int_equal(labels_parse(&b, str_c(text), NULL), 0);
	labels_builder_write(&b, &bytes);
	labels_builder_fini(&b);
	return bytes;
}

static void put(struct rig *r, const char *app, bool firing)
{
	struct buf text = {0}, labels, annotations = labels_of("{summary=\"s\"}");
	struct alert a = {.state = firing ? ALERT_FIRING : ALERT_RESOLVED,
		.active_ns = T0,
		.fired_ns = T0,
		.resolved_ns = firing ? 0 : T0 + 1,
		.value = 12};
	struct alert_note note = {.alert = &a,
		.tenant = STR("default"),
		.space = STR("f.yaml"),
		.group = STR("g"),
		.rule = STR("Errors"),
		.expr = STR("vector(1)")};

	buf_printf(&text, "{alertname=\"Errors\", app=\"%s\"}", app);
	labels = labels_of(buf_cstr(&text));
	a.labels = buf_view(&labels);
	a.annotations = buf_view(&annotations);
	notify_put(r->notify, &note, true);
	buf_fini(&text);
	buf_fini(&labels);
	buf_fini(&annotations);
}

static bool took(const char *want)
{
	bool same;

	lock_take(&target.lock);
	same = strcmp(buf_cstr(&target.text), want) == 0;
	lock_drop(&target.lock);
	return same;
}

/* Of the only notifier; the error lives until the next call. */
static void copy_status(void *arg, const struct notifier_status *s)
{
	static char error[512];

	*(struct notifier_status *)arg = *s;
	((struct notifier_status *)arg)->error = str_copy(str_c(s->error), error, sizeof error);
}

static struct notifier_status status(struct rig *r)
{
	struct notifier_status s = {0};

	notify_each(r->notify, copy_status, &s);
	return s;
}

static void set_code(int code)
{
	lock_take(&target.lock);
	target.code = code;
	lock_drop(&target.lock);
}

#define wait_until(condition)                                                                      \
	do {                                                                                       \
		int64_t until_ = clock_mono_ns(clock_real()) + 30 * NS_PER_SEC;                    \
                                                                                                   \
		while (!(condition) && clock_mono_ns(clock_real()) < until_)                       \
			usleep(2000);                                                              \
		assert_true(condition);                                                            \
	} while (0)

/* --- the set ---------------------------------------------------------------------------- */

static void test_told_once(void **state)
{
	struct rig *r = *state;

	apply_target(r, "x");
	put(r, "a", true);
	wait_until(took("x firing a\n"));
	put(r, "a", true);
	/* What stays the same runs on; what changes goes on where it was. */
	apply_target(r, "x");
	apply_target(r, "y");
	put(r, "a", true);
	put(r, "a", false);
	wait_until(took("x firing a\ny resolved a\n"));
	assert_int_equal(target.n_open, 2);
	/* A restart tells nothing again. */
	notify_free(r->notify, 0);
	rig_open(r);
	apply_target(r, "z");
	put(r, "a", false);
	put(r, "b", true);
	wait_until(took("x firing a\ny resolved a\nz firing b\n"));
}

static void test_retry(void **state)
{
	struct rig *r = *state;

	set_code(ERR_NET);
	apply_target(r, "x");
	put(r, "a", true);
	wait_until(status(r).failed > 0);
	assert_int_equal(status(r).waiting, 1);
	assert_true(status(r).retry_ns <= NS_PER_SEC);
	put(r, "a", false);
	put(r, "b", true);
	/* What is owed survives. */
	notify_free(r->notify, 0);
	rig_open(r);
	set_code(0);
	apply_target(r, "x");
	wait_until(took("x firing b\nx resolved a\n"));
	wait_until(status(r).waiting == 0);
	/* Refused for good: passed by. */
	set_code(ERR_ARG);
	put(r, "c", true);
	wait_until(status(r).skipped == 1);
	assert_int_equal(status(r).waiting, 0);
	set_code(0);
	put(r, "c", false);
	wait_until(took("x firing b\nx resolved a\nx resolved c\n"));
}

/* The end of the process: what is owed goes out at once, but is waited for no longer than said. */
static void test_end(void **state)
{
	struct rig *r = *state;
	struct told_settings s = {{.name = "one", .group_wait = 3600 * NS_PER_SEC}, "x"};
	struct kind_entry entry = {.kind = "target", .type = &target_type, .settings = &s};
	struct kinds kinds = {&entry, 1};
	int64_t began;

	assert_int_equal(notify_apply(r->notify, &kinds, NULL, NULL), 0);
	put(r, "a", true);
	notify_free(r->notify, 30000);
	assert_true(took("x firing a\n"));
	rig_open(r);
	set_code(ERR_NET);
	assert_int_equal(notify_apply(r->notify, &kinds, NULL, NULL), 0);
	put(r, "b", true);
	began = clock_mono_ns(clock_real());
	notify_free(r->notify, 30000);
	assert_true(clock_mono_ns(clock_real()) - began < 20 * NS_PER_SEC);
	rig_open(r);
}

static void test_names(void **state)
{
	struct told_settings one = {{.name = "x"}, NULL}, other = {{.name = NULL}, NULL};
	struct kind_entry entries[] = {
		{"target", &target_type, &one, 3}, {"x", &target_type, &other, 5}};
	struct kinds kinds = {entries, 2};
	struct error e;

	assert_int_equal(notify_check(&kinds, &e), ERR_ARG);
	assert_non_null(strstr(e.text, "lines 3 and 5"));
	assert_int_equal(notifier_check_name(STR("a/b"), &e), ERR_ARG);
	assert_int_equal(notifier_check_name(STR("page-1.x_y"), &e), 0);
}

/* --- kinds ------------------------------------------------------------------------------ */

struct whole {
	struct kinds notify;
};

static const struct option table[] = {
	OPTION(struct whole, notify, .kind = OPT_KINDS, .kinds = &notifier_kinds, .help = "All."),
	OPTION_END,
};

static void apply_yaml(struct rig *r, const char *yaml)
{
	struct conf_source src = {.file = "/c.yaml", .text = str_c(yaml)};
	struct conf_errors errors = {0};
	struct whole w = {0};
	struct arena a;
	struct error e;

	arena_init(&a, NULL);
	if (conf_load(&w, table, &src, &a, &errors) < 0)
		fail_msg("%s", buf_cstr(&errors.text));
	if (notify_apply(r->notify, &w.notify, "http://logs.example.com/", &e) < 0)
		fail_msg("%s", e.text);
	arena_fini(&a);
}

static void refused(const char *yaml, const char *word)
{
	struct conf_source src = {.file = "/c.yaml", .text = str_c(yaml)};
	struct conf_errors errors = {0};
	struct whole w = {0};
	struct arena a;

	arena_init(&a, NULL);
	assert_int_equal(conf_load(&w, table, &src, &a, &errors), ERR_ARG);
	if (!strstr(buf_cstr(&errors.text), word))
		fail_msg("%s: \"%s\" has no \"%s\"", yaml, buf_cstr(&errors.text), word);
	buf_fini(&errors.text);
	arena_fini(&a);
}

static void test_settings(void **state)
{
	refused("notify: [webhok: x]", "did you mean \"webhook\"");
	refused("notify: [webhook: {}]", "url: is required");
	refused("notify: [webhook: 'ftp://x/']", "must be the URL");
	refused("notify: [webhook: 'https://']", "no URL");
	refused("notify: [webhook: 'https://x/#a']", "no #");
	refused("notify: [webhook: {url: 'http://x', user: a}]", "password_file is missing");
	refused("notify: [webhook: {url: 'http://x', token_file: t, user: a, password_file: p}]",
		"not both");
	refused("notify: [webhook: {url: 'http://x', headers: {'a b': c}}]", "RFC 9110");
	refused("notify: [webhook: {url: 'http://x', headers: {a: \"b\\r\\nc: d\"}}]", "line end");
	refused("notify: [alertmanager: {url: 'http://x', repeat: 0s}]", "at least 1s");
	refused("notify: [alertmanager: 'http://x/?a']", "without ?");
	refused("notify: [email: a@b.c]", "smtp: is required");
	refused("notify: [email: {to: \"a@b.c\\r\\nBcc: x@y.z\", smtp: 'smtp://h', from: a@b.c}]",
		"to");
	refused("notify: [command: []]", "name a program");
	refused("notify: [command: {command: x, env: {'A=B': c}}]", "no name of a variable");
}

/* Neither this machine nor what lies behind it, whatever a name leads to. */
static void test_private(void **state)
{
	static const char *const urls[] = {"http://127.0.0.1:9", "http://localhost:9",
		"http://[::1]:9", "http://127.1:9", "http://2130706433:9", "http://0:9",
		"http://10.0.0.1:9", "http://169.254.169.254/latest", "http://[::ffff:127.0.0.1]:9",
		"http://[::ffff:10.0.0.1]:9", "http://[fe80::1]:9",
		"http://user:pw@127.0.0.1:9/secret"};
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
		struct buf yaml = {0};
		char app[8];

		buf_printf(&yaml, "notify: [webhook: {url: '%s', group_wait: 0s, name: n%zu}]",
			urls[i], i);
		apply_yaml(r, buf_cstr(&yaml));
		snprintf(app, sizeof app, "%zu", i);
		put(r, app, true);
		wait_until(status(r).failed > 0);
		if (!strstr(status(r).error, "allow_private") ||
			strstr(status(r).error, "secret") || strstr(status(r).error, "pw"))
			fail_msg("%s: %s", urls[i], status(r).error);
		buf_fini(&yaml);
	}
}

/* A script in the folder, its text in the shell's language: it is the test's, not ours. */
static void write_script(const struct rig *r, const char *text)
{
	struct buf path = {0}, whole = {0};

	buf_printf(&path, "%s/script", r->dir);
	buf_printf(&whole, "#!/bin/sh\n%s\n", text);
	assert_int_equal(fs_write_all(fs_real(), buf_cstr(&path), buf_view(&whole), NULL), 0);
	assert_int_equal(chmod(buf_cstr(&path), 0700), 0);
	buf_fini(&path);
	buf_fini(&whole);
}

static void apply_script(struct rig *r, const char *more)
{
	struct buf yaml = {0};

	buf_printf(&yaml,
		"notify: [command: {command: [./script, 'a b', '$$(touch x)'], cwd: %s, group_wait: 0s"
		"%s}]",
		r->dir, more);
	apply_yaml(r, buf_cstr(&yaml));
	buf_fini(&yaml);
}

static bool file_has(const struct rig *r, const char *name, const char *word)
{
	struct buf path = {0}, text = {0};
	bool found;

	buf_printf(&path, "%s/%s", r->dir, name);
	found = fs_read_all(fs_real(), buf_cstr(&path), 1 << 20, &text, NULL) == 0 &&
		strstr(buf_cstr(&text), word);
	buf_fini(&path);
	buf_fini(&text);
	return found;
}

static void test_command(void **state)
{
	struct rig *r = *state;

	setenv("AWS_SECRET", "hidden", 1);
	write_script(r, "cat > input; env > environment; printf '%s|' \"$@\" > arguments; "
			"ls -l /proc/$$/fd > files");
	apply_script(r, ", env: {TOKEN: t, HOME: /nowhere}");
	put(r, "`touch x`;$(touch x)", true);
	wait_until(status(r).sent == 1);
	assert_true(file_has(r, "input", "\"receiver\":\"command\",\"status\":\"firing\""));
	assert_true(file_has(r, "input", "\"app\":\"`touch x`;$(touch x)\""));
	assert_true(file_has(r, "arguments", "a b|$(touch x)|"));
	assert_true(file_has(r, "environment", "TOKEN=t\n"));
	assert_true(file_has(r, "environment", "HOME=/nowhere\n"));
	assert_true(file_has(r, "environment", "SAWLOG_NOTIFIER=command\n"));
	assert_false(file_has(r, "environment", "hidden"));
	assert_false(file_has(r, "environment", "touch"));
	assert_false(file_has(r, "x", ""));
}

static void test_exit_codes(void **state)
{
	struct rig *r = *state;

	write_script(r, "echo out; echo 'no \033[1m way' >&2; exit 3");
	apply_script(r, "");
	put(r, "a", true);
	wait_until(status(r).failed > 0);
	assert_non_null(strstr(status(r).error, "exit code 3: out"));
	assert_null(strchr(status(r).error, 27));
	write_script(r, "exit 65");
	wait_until(status(r).skipped == 1);
	assert_int_equal(status(r).sent, 0);
	write_script(r, "kill -9 $$");
	put(r, "b", true);
	wait_until(strstr(status(r).error, "signal 9"));
	/* It reads nothing, and prints without an end. */
	write_script(r, "yes | head -c 10000000; exit 0");
	wait_until(status(r).sent == 1);
}

/* Killed, and whoever inherited it has not looked yet. */
static bool is_zombie(int64_t pid)
{
	struct buf path = {0}, text = {0};
	bool zombie;

	buf_printf(&path, "/proc/%lld/stat", (long long)pid);
	zombie = fs_read_all(fs_real(), buf_cstr(&path), 4096, &text, NULL) < 0 ||
		 strstr(buf_cstr(&text), ") Z ");
	buf_fini(&path);
	buf_fini(&text);
	return zombie;
}

/* What runs too long is killed, and so is what it leaves behind. */
static void test_timeout(void **state)
{
	struct rig *r = *state;
	struct buf path = {0}, text = {0};
	int64_t pid;

	write_script(r, "trap '' TERM HUP\nsleep 300 & echo $! > pid\nwait");
	apply_script(r, ", timeout: 1s");
	put(r, "a", true);
	wait_until(status(r).failed > 0);
	assert_non_null(strstr(status(r).error, "timeout"));
	wait_until(file_has(r, "pid", "\n"));
	buf_printf(&path, "%s/pid", r->dir);
	assert_int_equal(fs_read_all(fs_real(), buf_cstr(&path), 100, &text, NULL), 0);
	assert_true(str_i64(str_trim(buf_view(&text)), &pid));
	wait_until(kill((pid_t)pid, 0) < 0 || is_zombie(pid));
	/* One that runs when the process ends is not waited for. */
	write_script(r, "sleep 300");
	apply_script(r, ", timeout: 300s");
	put(r, "a", true);
	buf_fini(&path);
	buf_fini(&text);
}

static bool stored(struct rig *r, const char *word)
{
	bool found;

	lock_take(&r->kept.lock);
	found = strstr(buf_cstr(&r->kept.text), word);
	lock_drop(&r->kept.lock);
	return found;
}

static void test_stream(void **state)
{
	struct rig *r = *state;

	apply_yaml(r, "notify: [stream: {group_wait: 0s}]");
	put(r, "a b", true);
	wait_until(status(r).sent == 1);
	put(r, "a b", false);
	wait_until(status(r).sent == 2);
	if (!stored(r, "{app=\"alerts\", host=\"h1\", input=\"alert\"} 13 firing alertname=Errors "
		       "value=12 summary=s labels=\"{alertname=\\\"Errors\\\", app=\\\"a b\\\"}\" "
		       "{alertname=\"Errors\", label_alertname=\"Errors\", label_app=\"a b\", "
		       "rule_group=\"g\", rule_namespace=\"f.yaml\", state=\"firing\", "
		       "value=\"12\"}\n"))
		fail_msg("%s", buf_cstr(&r->kept.text));
	assert_true(stored(r, " 9 resolved alertname=Errors"));
	lock_take(&r->kept.lock);
	r->kept.fail = ERR_BUSY;
	lock_drop(&r->kept.lock);
	put(r, "c", true);
	wait_until(status(r).failed > 0);
	lock_take(&r->kept.lock);
	r->kept.fail = 0;
	lock_drop(&r->kept.lock);
	wait_until(stored(r, "label_app=\"c\""));
}

/* --- JSON ------------------------------------------------------------------------------- */

static void test_json(void **state)
{
	static const char *by[] = {"alertname", "none"};
	struct notifier_settings s = {.group_by = {by, 2}};
	struct notifier_env env = {.name = "hook", .external_url = "http://x/"};
	struct buf l1 = labels_of("{alertname=\"Errors\", app=\"a\", env=\"p\"}"),
		   l2 = labels_of("{alertname=\"Errors\", app=\"</script>\\n\", env=\"p\"}"),
		   notes_text = labels_of("{summary=\"s\"}"), out = {0};
	struct alert a = {.labels = buf_view(&l1),
			     .annotations = buf_view(&notes_text),
			     .state = ALERT_FIRING,
			     .fired_ns = T0},
		     b = a;
	struct alert_note notes[] = {
		{.alert = &a, .tenant = STR("default"), .url = STR("http://q")},
		{.alert = &b, .tenant = STR("default")}};

	b.labels = buf_view(&l2);
	b.state = ALERT_RESOLVED;
	b.resolved_ns = T0 + NS_PER_SEC;
	notify_json_message(&out, notes, 2, &s, &env);
	assert_string_equal(buf_cstr(&out),
		"{\"receiver\":\"hook\",\"status\":\"firing\",\"alerts\":["
		"{\"status\":\"firing\",\"labels\":{\"alertname\":\"Errors\",\"app\":\"a\","
		"\"env\":\"p\"},\"annotations\":{\"summary\":\"s\"},"
		"\"startsAt\":\"2026-07-24T10:00:00Z\",\"endsAt\":\"0001-01-01T00:00:00Z\","
		"\"generatorURL\":\"http://q\",\"fingerprint\":\"d7a188df3c5ec9e0\"},"
		"{\"status\":\"resolved\",\"labels\":{\"alertname\":\"Errors\","
		"\"app\":\"</script>\\n\",\"env\":\"p\"},\"annotations\":{\"summary\":\"s\"},"
		"\"startsAt\":\"2026-07-24T10:00:00Z\",\"endsAt\":\"2026-07-24T10:00:01Z\","
		"\"generatorURL\":\"\",\"fingerprint\":\"28b6f03cd0814789\"}],"
		"\"groupLabels\":{\"alertname\":\"Errors\"},"
		"\"commonLabels\":{\"alertname\":\"Errors\",\"env\":\"p\"},"
		"\"commonAnnotations\":{\"summary\":\"s\"},\"externalURL\":\"http://x/\","
		"\"version\":\"4\",\"groupKey\":\"{}:{alertname=\\\"Errors\\\"}\","
		"\"truncatedAlerts\":0}");
	buf_clear(&out);
	notes[0].tenant = notes[1].tenant = STR("acme");
	notify_json_list(&out, notes, 2, T0 + 60 * NS_PER_SEC);
	assert_string_equal(buf_cstr(&out),
		"[{\"labels\":{\"alertname\":\"Errors\",\"app\":\"a\",\"env\":\"p\","
		"\"tenant\":\"acme\"},\"annotations\":{\"summary\":\"s\"},"
		"\"startsAt\":\"2026-07-24T10:00:00Z\",\"endsAt\":\"2026-07-24T10:01:00Z\","
		"\"generatorURL\":\"http://q\"},"
		"{\"labels\":{\"alertname\":\"Errors\",\"app\":\"</script>\\n\",\"env\":\"p\","
		"\"tenant\":\"acme\"},\"annotations\":{\"summary\":\"s\"},"
		"\"startsAt\":\"2026-07-24T10:00:00Z\",\"endsAt\":\"2026-07-24T10:00:01Z\"}]");
	buf_fini(&l1);
	buf_fini(&l2);
	buf_fini(&notes_text);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_told_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_retry, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end, setup, teardown),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_settings),
		cmocka_unit_test_setup_teardown(test_private, setup, teardown),
		cmocka_unit_test_setup_teardown(test_command, setup, teardown),
		cmocka_unit_test_setup_teardown(test_exit_codes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_timeout, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stream, setup, teardown),
		cmocka_unit_test(test_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
