/* SPDX-License-Identifier: Apache-2.0 */
/* What is owed to whom and when, by a clock that the tests turn themselves. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alert/notify_core.h"
#include "alert/silences.h"
#include "base/memory.h"
#include "os/fake.h"
#include "record/labels.h"

#define S  NS_PER_SEC
#define T0 (INT64_C(1784887200) * S) /* 2026-07-24T10:00:00Z */

static const char *by_name[] = {"alertname"};

static struct notifier_settings usual(void)
{
	return (struct notifier_settings){.group_by = {by_name, 1},
		.group_wait = 5 * S,
		.repeat = 3600 * S,
		.send_resolved = true};
}

/* Canonical bytes of {a="b"}, in the arena. */
static struct str labels_of(struct arena *a, const char *text)
{
	struct labels_builder b = {0};
	struct buf bytes = {0};
	struct str out;

	assert_int_equal(labels_parse(&b, str_c(text), NULL), 0);
	labels_builder_write(&b, &bytes);
	out = arena_str(a, buf_view(&bytes));
	labels_builder_fini(&b);
	buf_fini(&bytes);
	return out;
}

static struct silences *in_force;
static struct account room = {.name = "test", .limit = 8 << 20};

/* Put an alert with these labels that fired at `fired_ns`; resolved when `resolved_ns` is not 0. */
static void put_speaking(struct notebook *b, const char *labels, int64_t fired_ns,
	int64_t resolved_ns, int64_t now_ns, bool speak)
{
	struct arena a;
	int64_t ready;
	struct alert alert = {.state = resolved_ns ? ALERT_RESOLVED : ALERT_FIRING,
		.active_ns = fired_ns,
		.fired_ns = fired_ns,
		.resolved_ns = resolved_ns,
		.value = 12.5};
	struct alert_note note = {.alert = &alert,
		.tenant = STR("default"),
		.space = STR("rules.yaml"),
		.group = STR("g"),
		.rule = STR("Errors"),
		.expr = STR("vector(1)")};

	arena_init(&a, NULL);
	alert.labels = labels_of(&a, labels);
	alert.annotations = labels_of(&a, "{summary=\"too \\\"many\\\"\\n\"}");
	if (notebook_wants(b, &note))
		notebook_put(b, &note, speak, now_ns);
	arena_fini(&a);
	/* As the thread does at once, where there is little to look at. */
	if (b->entries.n < 100)
		notebook_look(b, in_force, now_ns, false, &ready);
}

static void put(struct notebook *b, const char *labels, int64_t fired_ns, int64_t resolved_ns,
	int64_t now_ns)
{
	put_speaking(b, labels, fired_ns, resolved_ns, now_ns, true);
}

/* The message that goes at that time, as "F{labels} R{labels} "; "" for none. */
static const char *message(struct notebook *b, int64_t now_ns, bool taken)
{
	static struct buf out;
	struct message m;
	int64_t ready;

	buf_clear(&out);
	notebook_look(b, in_force, now_ns, false, &ready);
	if (!notebook_message(b, now_ns, false, &m)) {
		assert_true(ready > now_ns);
		return "";
	}
	assert_true(ready <= now_ns);
	for (size_t i = 0; i < m.n; i++) {
		buf_char(&out, m.notes[i].alert->state == ALERT_FIRING ? 'F' : 'R');
		labels_text(&out, m.notes[i].alert->labels);
		buf_char(&out, ' ');
	}
	if (taken)
		notebook_told(b, &m, now_ns);
	else
		notebook_failed(b, &m, now_ns);
	message_fini(&m);
	return buf_cstr(&out);
}

#define A "{alertname=\"Errors\", app=\"a\"}"
#define B "{alertname=\"Errors\", app=\"b\"}"
#define C "{alertname=\"Slow\", app=\"a\"}"

static void test_episode(void **state)
{
	struct notifier_settings s = usual();
	struct notebook b;
	int64_t t = T0;

	notebook_init(&b, &s, false, &room);
	put(&b, A, T0, 0, t);
	assert_string_equal(message(&b, t, true), "");
	assert_string_equal(message(&b, t + 4 * S, true), "");
	assert_string_equal(message(&b, t += 5 * S, true), "F" A " ");
	/* Each evaluation tells it again; it is repeated after an hour alone. */
	put(&b, A, T0, 0, t += 15 * S);
	assert_string_equal(message(&b, t += 60 * S, true), "");
	put(&b, A, T0, 0, t = T0 + 3605 * S);
	assert_string_equal(message(&b, t, true), "");
	assert_string_equal(message(&b, t += 5 * S, true), "F" A " ");
	put(&b, A, T0, t, t);
	assert_string_equal(message(&b, t += 5 * S, true), "R" A " ");
	put(&b, A, T0, t - 5 * S, t);
	assert_string_equal(message(&b, t += 600 * S, true), "");
	/* It fires anew. */
	put(&b, A, t, 0, t);
	assert_string_equal(message(&b, t += 5 * S, true), "F" A " ");
	notebook_fini(&b);
}

static void test_away(void **state)
{
	struct notifier_settings s = usual();
	struct notebook b;
	int64_t t = T0;

	notebook_init(&b, &s, false, &room);
	put(&b, A, T0, 0, t);
	assert_string_equal(message(&b, t += 5 * S, false), "F" A " ");
	/* It was resolved while the target was away: told once, as that. */
	put(&b, A, T0, t, t);
	assert_string_equal(message(&b, t += 5 * S, false), "R" A " ");
	assert_string_equal(message(&b, t += S, true), "R" A " ");
	assert_string_equal(message(&b, t += 3600 * S, true), "");
	/* Fired, resolved and fired again: told once, as firing. */
	put(&b, B, t, 0, t);
	assert_string_equal(message(&b, t += 5 * S, false), "F" B " ");
	put(&b, B, t - 5 * S, t, t);
	put(&b, B, t + S, 0, t + S);
	assert_string_equal(message(&b, t += 5 * S, true), "F" B " ");
	assert_string_equal(message(&b, t += 5 * S, true), "");
	/* What was told as firing is told as resolved, though it fired and ended once more. */
	put(&b, B, t, 0, t);
	put(&b, B, t, t + S, t + S);
	assert_string_equal(message(&b, t += 4 * S, true), "");
	assert_string_equal(message(&b, t += S, true), "R" B " ");
	/* Never put as firing: nobody waits for its end. */
	put(&b, C, t, t, t);
	assert_string_equal(message(&b, t += 60 * S, true), "");
	notebook_fini(&b);
}

/* The next two messages, in either order. */
static void both(struct notebook *b, int64_t now_ns, const char *one, const char *other)
{
	char first[256];

	snprintf(first, sizeof first, "%s", message(b, now_ns, true));
	if (strcmp(first, one) == 0) {
		assert_string_equal(message(b, now_ns, true), other);
	} else {
		assert_string_equal(first, other);
		assert_string_equal(message(b, now_ns, true), one);
	}
	assert_string_equal(message(b, now_ns, true), "");
}

static void test_groups(void **state)
{
	struct notifier_settings s = usual();
	struct notebook b;
	int64_t t = T0;

	s.group_interval = 60 * S;
	notebook_init(&b, &s, true, &room);
	notebook_look(&b, NULL, t, false, &t);
	assert_true(t == INT64_MAX);
	put(&b, B, T0, 0, t = T0);
	put(&b, C, T0, 0, t);
	assert_string_equal(message(&b, t, true), "");
	put(&b, A, T0 + S, 0, t += 3 * S);
	both(&b, t = T0 + 5 * S, "F" B " F" A " ", "F" C " ");
	/* The group says all of it: it is not over while one of it fires. */
	put(&b, B, T0, t, t);
	assert_string_equal(message(&b, t += 30 * S, true), "");
	assert_string_equal(message(&b, t += 30 * S, true), "F" A " R" B " ");
	put(&b, A, T0 + S, t, t);
	assert_string_equal(message(&b, t += 60 * S, true), "R" A " ");
	notebook_fini(&b);
	/* Kinds without groups get what is new. */
	s.group_interval = 0;
	notebook_init(&b, &s, false, &room);
	put(&b, A, T0, 0, T0);
	assert_string_equal(message(&b, T0, true), "");
	assert_string_equal(message(&b, T0 + 5 * S, true), "F" A " ");
	put(&b, C, T0 + S, 0, T0 + 5 * S);
	assert_string_equal(message(&b, T0 + 10 * S, true), "F" C " ");
	notebook_fini(&b);
}

/* A group whose message always fails lets the others pass. */
static void test_poison(void **state)
{
	struct notifier_settings s = usual();
	struct notebook b;

	s.group_wait = 0;
	notebook_init(&b, &s, true, &room);
	put(&b, A, T0, 0, T0);
	assert_string_equal(message(&b, T0, false), "F" A " ");
	put(&b, C, T0 + S, 0, T0 + S);
	assert_string_equal(message(&b, T0 + S, true), "F" C " ");
	assert_string_equal(message(&b, T0 + S, false), "F" A " ");
	notebook_fini(&b);
}

static void test_choice(void **state)
{
	struct notifier_settings s = usual();
	struct notebook b;
	int64_t ready;

	s.send_resolved = false;
	s.repeat = 0;
	s.match.n = 1;
	s.match.items = xcalloc(1, sizeof *s.match.items);
	s.match.items[0].name = "app";
	s.match.items[0].value = "a";
	notebook_init(&b, &s, true, &room);
	put(&b, A, T0, 0, T0);
	put(&b, B, T0, 0, T0);
	assert_string_equal(message(&b, T0, true), "");
	assert_string_equal(message(&b, T0 + 5 * S, true), "F" A " ");
	assert_true(notebook_look(&b, NULL, T0 + 6 * S, false, &ready) == INT64_MAX);
	assert_string_equal(message(&b, T0 + 80000 * S, true), "");
	put(&b, A, T0, T0 + 80000 * S, T0 + 80000 * S);
	assert_string_equal(message(&b, T0 + 80010 * S, true), "");
	put(&b, A, T0 + 80011 * S, 0, T0 + 80011 * S);
	assert_string_equal(message(&b, T0 + 80011 * S, true), "");
	assert_string_equal(message(&b, T0 + 80016 * S, true), "F" A " ");
	notebook_fini(&b);
	free(s.match.items);
}

static void test_silences(void **state)
{
	static const char json[] = "{\"matchers\":[{\"name\":\"app\",\"value\":\"a\"}],"
				   "\"endsAt\":\"2026-07-24T11:00:00Z\"}";
	struct notifier_settings s = usual();
	struct clock *clock = clock_fake_new(T0);
	struct fs *fs = fs_fake_new(1);
	struct silences *silences;
	struct notebook b;
	struct buf id = {0};
	uint64_t waiting, silenced;
	int64_t ready;

	assert_int_equal(silences_open(&silences, fs, clock, "s.json", NULL), 0);
	assert_int_equal(silences_put(silences, STR("default"), str_c(json), &id, NULL), 0);
	in_force = silences;
	notebook_init(&b, &s, true, &room);
	put(&b, A, T0, 0, T0);
	put(&b, B, T0, 0, T0);
	assert_string_equal(message(&b, T0, true), "");
	assert_string_equal(message(&b, T0 + 5 * S, true), "F" B " ");
	notebook_count(&b, &waiting, &silenced);
	assert_true(waiting == 0 && silenced == 1);
	/* Fired and ended in silence: nothing was ever owed. */
	put(&b, C, T0 + 6 * S, 0, T0 + 6 * S);
	assert_true(notebook_look(&b, silences, T0 + 6 * S, false, &ready) == T0 + 11 * S);
	put(&b, C, T0 + 6 * S, T0 + 7 * S, T0 + 7 * S);
	/* What still fires is told when the silence ends. */
	assert_string_equal(message(&b, T0 + 3599 * S, true), "");
	notebook_look(&b, silences, T0 + 3600 * S, false, &ready);
	assert_string_equal(message(&b, T0 + 3605 * S, true), "F" A " F" B " ");
	assert_string_equal(message(&b, T0 + 3610 * S, true), "");
	notebook_fini(&b);
	in_force = NULL;
	silences_close(silences);
	buf_fini(&id);
	fs_fake_free(fs);
	clock_fake_free(clock);
}

static void reread(struct notebook *b, const struct notifier_settings *s, int64_t now_ns)
{
	struct buf text = {0};
	struct error e;

	notebook_write(b, &text);
	notebook_fini(b);
	notebook_init(b, s, true, &room);
	if (notebook_read(b, buf_view(&text), now_ns, &e) < 0)
		fail_msg("%s", e.text);
	buf_fini(&text);
}

static void test_restart(void **state)
{
	struct notifier_settings s = usual();
	struct notebook b;
	int64_t t = T0;

	notebook_init(&b, &s, true, &room);
	put(&b, A, T0, 0, t);
	put(&b, C, T0, 0, t);
	assert_true(b.dirty);
	assert_string_equal(message(&b, t, true), "");
	/* Owed, and told by the one that starts next. */
	reread(&b, &s, t += 60 * S);
	both(&b, t, "F" A " ", "F" C " ");
	reread(&b, &s, t += 60 * S);
	assert_string_equal(message(&b, t, true), "");
	put(&b, A, T0, 0, t);
	assert_string_equal(message(&b, t += 60 * S, true), "");
	put(&b, A, T0, t, t);
	assert_string_equal(message(&b, t, false), "");
	reread(&b, &s, t += 60 * S);
	assert_string_equal(message(&b, t, true), "R" A " ");
	/* Nobody speaks of C any more. */
	t += 24 * 3600 * S;
	assert_string_equal(message(&b, t, true), "");
	assert_string_equal(message(&b, t += 5 * S, true), "R" C " ");
	message(&b, t += 3600 * S, true);
	assert_int_equal(b.entries.n, 0);
	assert_int_equal(b.bytes, 0);
	notebook_fini(&b);
}

static void test_other_leads(void **state)
{
	struct notifier_settings s = usual();
	struct notebook b;

	notebook_init(&b, &s, true, &room);
	put_speaking(&b, A, T0, 0, T0, false);
	assert_string_equal(message(&b, T0 + 5 * S, true), "");
	/* Now it is us: it was told, and its end is ours to tell. */
	put(&b, A, T0, 0, T0 + 60 * S);
	assert_string_equal(message(&b, T0 + 65 * S, true), "");
	put(&b, A, T0, T0 + 70 * S, T0 + 70 * S);
	assert_string_equal(message(&b, T0 + 70 * S, true), "");
	assert_string_equal(message(&b, T0 + 75 * S, true), "R" A " ");
	notebook_fini(&b);
}

static void test_clock_set_back(void **state)
{
	struct notifier_settings s = usual();
	struct notebook b;

	notebook_init(&b, &s, true, &room);
	put(&b, A, T0, 0, T0);
	assert_string_equal(message(&b, T0, true), "");
	assert_string_equal(message(&b, T0 - 86400 * S, true), "");
	assert_string_equal(message(&b, T0 - 86395 * S, true), "F" A " ");
	notebook_fini(&b);
}

static void test_limits(void **state)
{
	struct notifier_settings s = usual();
	struct notebook b;
	struct message m;
	int64_t ready;
	char labels[64];

	s.group_wait = 0;
	notebook_init(&b, &s, true, &room);
	for (int i = 0; i < NOTIFIED_ALERTS_MAX + 3; i++) {
		snprintf(labels, sizeof labels, "{alertname=\"Errors\", n=\"%d\"}", i);
		put(&b, labels, T0, 0, T0);
	}
	assert_int_equal(b.entries.n, NOTIFIED_ALERTS_MAX);
	assert_int_equal(b.n_too_many, 3);
	for (int i = 0; i < NOTIFIED_ALERTS_MAX / NOTES_MAX; i++) {
		notebook_look(&b, NULL, T0 + i, false, &ready);
		assert_true(notebook_message(&b, T0 + i, false, &m));
		assert_int_equal(m.n, NOTES_MAX);
		assert_int_equal(m.n_owed, NOTES_MAX);
		notebook_told(&b, &m, T0 + i);
		message_fini(&m);
	}
	notebook_look(&b, NULL, T0 + 100, false, &ready);
	assert_false(notebook_message(&b, T0 + 100, false, &m));
	notebook_fini(&b);
}

/* More than fit in a message: what is owed is in the next ones, and none says that all is over. */
static void test_large_group(void **state)
{
	struct notifier_settings s = usual();
	struct notebook b;
	struct message m;
	int64_t ready, t = T0 + 60 * S;
	int n = NOTES_MAX + 500, resolved = 0;
	char labels[64];

	notebook_init(&b, &s, true, &room);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < n; i++) {
			snprintf(labels, sizeof labels, "{alertname=\"Errors\", n=\"%d\"}", i);
			put(&b, labels, T0, round && i < n - 3 ? t : 0, t);
		}
		notebook_look(&b, NULL, t, false, &ready);
		for (t += 60 * S; notebook_look(&b, NULL, t, false, &ready), ready <= t; t += S) {
			assert_true(notebook_message(&b, t, false, &m));
			assert_true(m.n <= NOTES_MAX && m.n_owed > 0);
			assert_int_equal(m.notes[0].alert->state, ALERT_FIRING);
			for (size_t i = 0; i < m.n; i++)
				resolved += m.notes[i].alert->state == ALERT_RESOLVED;
			notebook_told(&b, &m, t);
			message_fini(&m);
		}
	}
	assert_int_equal(resolved, n - 3);
	notebook_fini(&b);
}

static void test_no_room(void **state)
{
	struct notifier_settings s = usual();
	struct account none = {.name = "none", .limit = 10};
	struct notebook b;

	notebook_init(&b, &s, true, &none);
	put(&b, A, T0, 0, T0);
	assert_int_equal(b.n_too_many, 1);
	assert_int_equal(b.entries.n, 0);
	notebook_fini(&b);
}

static void test_damage(void **state)
{
	static const char *const bad[] = {"", "{", "{}", "{\"alerts\":{}}",
		"{\"alerts\":[{\"labels\":\"zz\"}]}", "{\"alerts\":[{\"labels\":\"05\"}]}",
		"{\"alerts\":[7]}"};
	struct notifier_settings s = usual();
	struct notebook b;
	struct error e;

	notebook_init(&b, &s, true, &room);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_true(notebook_read(&b, str_c(bad[i]), T0, &e) < 0);
		assert_int_equal(b.entries.n, 0);
	}
	notebook_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_episode),
		cmocka_unit_test(test_away),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_poison),
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_silences),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_other_leads),
		cmocka_unit_test(test_clock_set_back),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_large_group),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_damage),
	};

	int r = cmocka_run_group_tests(tests, NULL, NULL);

	return r ? r : account_held(&room) != 0;
}
