/* SPDX-License-Identifier: Apache-2.0 */
#include "alert/notify_json.h"

#include <inttypes.h>

#include "record/labels.h"
#include "record/time.h"

/* FNV-1a, 64 bits. */
#define FNV_BASIS UINT64_C(14695981039346656037)
#define FNV_PRIME UINT64_C(1099511628211)

size_t notes_firing(const struct alert_note *notes, size_t n)
{
	size_t i = 0;

	while (i < n && notes[i].alert->state == ALERT_FIRING)
		i++;
	return i;
}

/* --- labels ---------------------------------------------------------------------------- */

/* The alert's labels; of other tenants than `default` with the tenant, as alerts of two of them may
 * be alike else. */
static void read_labels(const struct alert_note *note, struct labels_builder *b)
{
	struct str at = note->alert->labels, other;
	struct label l;

	labels_builder_clear(b);
	labels_start(&at);
	while (labels_next(&at, &l))
		labels_builder_set(b, l.name, l.value, NULL);
	if (!str_eq(note->tenant, STR("default")) && !labels_builder_get(b, STR("tenant"), &other))
		labels_builder_set(b, STR("tenant"), note->tenant, NULL);
}

static void put_pairs(struct buf *out, const struct labels_builder *b)
{
	buf_char(out, '{');
	for (size_t i = 0; i < b->n; i++) {
		if (i)
			buf_char(out, ',');
		buf_json(out, b->pairs[i].name);
		buf_char(out, ':');
		buf_json(out, b->pairs[i].value);
	}
	buf_char(out, '}');
}

static void put_labels(struct buf *out, const struct alert_note *note)
{
	struct labels_builder b = {0};

	read_labels(note, &b);
	put_pairs(out, &b);
	labels_builder_fini(&b);
}

static uint64_t fnv(uint64_t h, struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * FNV_PRIME;
	return (h ^ 0xff) * FNV_PRIME;
}

/* As Prometheus computes it, so that receivers know an alert by the same name from both. */
static uint64_t fingerprint(const struct alert_note *note)
{
	struct labels_builder b = {0};
	uint64_t h = FNV_BASIS;

	read_labels(note, &b);
	for (size_t i = 0; i < b.n; i++)
		h = fnv(fnv(h, b.pairs[i].name), b.pairs[i].value);
	labels_builder_fini(&b);
	return h;
}

/* Those that all have with the same value. */
static void put_common(struct buf *out, const struct alert_note *notes, size_t n, bool annotations)
{
	struct str at = annotations ? notes[0].alert->annotations : notes[0].alert->labels, value;
	struct labels_builder b = {.names_free = annotations};
	struct label l;

	labels_start(&at);
	while (labels_next(&at, &l)) {
		bool common = true;

		for (size_t i = 1; i < n && common; i++)
			common = labels_get(annotations ? notes[i].alert->annotations
							: notes[i].alert->labels,
					 l.name, &value) &&
				 str_eq(value, l.value);
		if (common)
			labels_builder_set(&b, l.name, l.value, NULL);
	}
	put_pairs(out, &b);
	labels_builder_fini(&b);
}

static void read_group(
	const struct alert_note *note, const struct notifier_settings *s, struct labels_builder *b)
{
	for (size_t i = 0; i < s->group_by.n; i++) {
		struct str value;

		if (labels_get(note->alert->labels, str_c(s->group_by.items[i]), &value))
			labels_builder_set(b, str_c(s->group_by.items[i]), value, NULL);
	}
}

void notify_group_text(
	struct buf *out, const struct alert_note *note, const struct notifier_settings *s)
{
	struct labels_builder b = {0};
	struct buf bytes = {0};

	read_group(note, s, &b);
	labels_builder_write(&b, &bytes);
	labels_text(out, buf_view(&bytes));
	labels_builder_fini(&b);
	buf_fini(&bytes);
}

/* --- alerts ---------------------------------------------------------------------------- */

static void put_alert(struct buf *out, const struct alert_note *note)
{
	const struct alert *a = note->alert;
	bool firing = a->state == ALERT_FIRING;

	buf_printf(out, "{\"status\":\"%s\",\"labels\":", firing ? "firing" : "resolved");
	put_labels(out, note);
	buf_c(out, ",\"annotations\":");
	labels_json(out, a->annotations);
	time_json(out, "startsAt", a->fired_ns);
	if (firing)
		buf_c(out, ",\"endsAt\":\"0001-01-01T00:00:00Z\"");
	else
		time_json(out, "endsAt", a->resolved_ns);
	buf_c(out, ",\"generatorURL\":");
	buf_json(out, note->url);
	buf_printf(out, ",\"fingerprint\":\"%016" PRIx64 "\"}", fingerprint(note));
}

void notify_json_message(struct buf *out, const struct alert_note *notes, size_t n,
	const struct notifier_settings *s, const struct notifier_env *env)
{
	struct labels_builder group = {0};
	struct buf key = {0};

	buf_c(out, "{\"receiver\":");
	buf_json(out, str_c(env->name));
	buf_printf(out, ",\"status\":\"%s\",\"alerts\":[",
		notes_firing(notes, n) > 0 ? "firing" : "resolved");
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_char(out, ',');
		put_alert(out, &notes[i]);
	}
	buf_c(out, "],\"groupLabels\":");
	read_group(&notes[0], s, &group);
	put_pairs(out, &group);
	buf_c(out, ",\"commonLabels\":");
	put_common(out, notes, n, false);
	buf_c(out, ",\"commonAnnotations\":");
	put_common(out, notes, n, true);
	buf_c(out, ",\"externalURL\":");
	buf_json(out, str_c(env->external_url ? env->external_url : ""));
	buf_printf(&key, "%.*s/{}:", STR_ARG(notes[0].tenant));
	notify_group_text(&key, &notes[0], s);
	/* Alertmanager's route without a matcher; of other tenants with their name before it. */
	buf_c(out, ",\"version\":\"4\",\"groupKey\":");
	buf_json(out, str_eq(notes[0].tenant, STR("default"))
			      ? str_sub(buf_view(&key), notes[0].tenant.n + 1, key.n)
			      : buf_view(&key));
	buf_c(out, ",\"truncatedAlerts\":0}");
	labels_builder_fini(&group);
	buf_fini(&key);
}

/* --- for an Alertmanager --------------------------------------------------------------- */

/* One annotation with a name that it does not take would make it refuse the alert. */
static void put_annotations(struct buf *out, struct str annotations)
{
	struct labels_builder b = {.names_free = true};
	struct buf name = {0};
	struct label l;

	labels_start(&annotations);
	while (labels_next(&annotations, &l)) {
		buf_clear(&name);
		for (size_t i = 0; i < l.name.n; i++) {
			char c = l.name.p[i];
			bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';

			buf_char(&name, letter || (i > 0 && c >= '0' && c <= '9') ? c : '_');
		}
		labels_builder_set(&b, buf_view(&name), l.value, NULL);
	}
	put_pairs(out, &b);
	labels_builder_fini(&b);
	buf_fini(&name);
}

void notify_json_list(struct buf *out, const struct alert_note *notes, size_t n, int64_t until_ns)
{
	buf_char(out, '[');
	for (size_t i = 0; i < n; i++) {
		const struct alert *a = notes[i].alert;

		buf_c(out, i ? ",{\"labels\":" : "{\"labels\":");
		put_labels(out, &notes[i]);
		buf_c(out, ",\"annotations\":");
		put_annotations(out, a->annotations);
		time_json(out, "startsAt", a->fired_ns);
		time_json(out, "endsAt", a->state == ALERT_FIRING ? until_ns : a->resolved_ns);
		if (notes[i].url.n > 0) {
			buf_c(out, ",\"generatorURL\":");
			buf_json(out, notes[i].url);
		}
		buf_char(out, '}');
	}
	buf_char(out, ']');
}
