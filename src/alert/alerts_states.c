/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of alerts on the disk, one file:
 *
 *   {"version": 1, "time": NS, "rules": [
 *      {"tenant": …, "space": …, "group": …, "rule": …, "rule_labels": [[name, value], …],
 *       "alerts": [{"state": "firing", "labels": {…}, "annotations": {…}, "active": NS,
 *                   "fired": NS, "resolved": NS, "seen": NS, "gone": NS, "value": "1.5"}, …]}, …]}
 *
 * A file that cannot be read is no reason not to start: it is put aside, and
 * the alerts begin anew.
 * The time in which nobody looked does not count for `for`: pending ones begin
 * that much later.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "alert/alerts_core.h"
#include "base/memory.h"
#include "codec/json.h"

/* Shorter breaks are those of a restart, or of an evaluation that is late. */
#define BREAK_NS (60 * NS_PER_SEC)

enum {
	ANNOTATED_BYTES = STATES_FILE_MAX / 2,
	FULL_BYTES =
		STATES_FILE_MAX / 4 * 3, /* what is larger with its last alert cannot be read */
};

/* --- writing --------------------------------------------------------------------------- */

static void put_text(struct buf *out, const char *key, struct str text)
{
	buf_printf(out, "\"%s\":", key);
	buf_json(out, text);
	buf_char(out, ',');
}

static void put_time(struct buf *out, const char *key, int64_t ns)
{
	buf_printf(out, "\"%s\":%" PRId64 ",", key, ns);
}

/* Annotations are made anew by the next evaluation, so they are the first to be left out where
 * there is no room. */
static void put_alert(struct buf *out, const struct alert *a)
{
	buf_printf(out, "{\"state\":\"%s\",\"labels\":", alert_states[a->state]);
	labels_json(out, a->labels);
	buf_c(out, ",\"annotations\":");
	labels_json(out, out->n < ANNOTATED_BYTES ? a->annotations : STR_NONE);
	buf_char(out, ',');
	put_time(out, "active", a->active_ns);
	put_time(out, "fired", a->fired_ns);
	put_time(out, "resolved", a->resolved_ns);
	put_time(out, "seen", a->seen_ns);
	put_time(out, "gone", a->gone_ns);
	buf_printf(out, "\"value\":\"%.17g\"}", a->value);
}

/* Returns how many of its alerts are left out. */
static size_t put_rule(struct buf *out, const struct watch *w, const struct watched *r)
{
	size_t n = 0;

	buf_char(out, '{');
	put_text(out, "tenant", w->tenant);
	put_text(out, "space", w->space);
	put_text(out, "group", w->group.name);
	put_text(out, "rule", r->rule->name);
	buf_c(out, "\"rule_labels\":[");
	for (size_t i = 0; i < r->rule->n_labels; i++) {
		buf_c(out, i ? ",[" : "[");
		buf_json(out, r->rule->labels[i].name);
		buf_char(out, ',');
		buf_json(out, r->rule->labels[i].value);
		buf_char(out, ']');
	}
	buf_c(out, "],\"alerts\":[");
	for (; n < r->set.n && out->n < FULL_BYTES; n++) {
		buf_c(out, n ? ",\n" : "\n");
		put_alert(out, &r->set.all[n]);
	}
	buf_c(out, "]}");
	return r->set.n - n;
}

size_t states_write(const struct book *b, int64_t now_ns, struct buf *out)
{
	bool first = true;
	size_t left_out = 0;

	buf_printf(out, "{\"version\":1,\"time\":%" PRId64 ",\"rules\":[", now_ns);
	for (size_t i = 0; i < b->n; i++)
		for (size_t k = 0; k < b->all[i]->group.n; k++) {
			const struct watched *r = &b->all[i]->rules[k];

			if (r->set.n == 0)
				continue;
			buf_c(out, first ? "\n" : ",\n");
			first = false;
			left_out += put_rule(out, b->all[i], r);
		}
	buf_c(out, "]}\n");
	return left_out;
}

/* --- reading --------------------------------------------------------------------------- */

/* Nothing was in the future. */
static int64_t get_time(const struct json *j, size_t at, const char *key, int64_t now_ns)
{
	size_t i = json_get(j, at, key);
	int64_t ns;

	if (!i || j->nodes[i].type != JSON_NUMBER || !str_i64(j->nodes[i].text, &ns) || ns < 0)
		return 0;
	return ns < now_ns ? ns : now_ns;
}

/* An object of texts as canonical bytes on the heap. */
static struct str get_labels(
	const struct json *j, size_t at, const char *key, bool names_free, bool *fine)
{
	struct labels_builder b = {.names_free = names_free};
	size_t in = json_get(j, at, key);
	struct buf out = {0};

	*fine = in && j->nodes[in].type == JSON_OBJECT;
	for (size_t i = in + 1; *fine && i < json_end(j, in);) {
		size_t value = json_next(j, i);

		*fine = j->nodes[value].type == JSON_STRING &&
			labels_builder_set(&b, j->nodes[i].text, j->nodes[value].text, NULL) == 0;
		i = json_next(j, value);
	}
	labels_builder_write(&b, &out);
	labels_builder_fini(&b);
	return buf_view(&out);
}

static double get_value(const struct json *j, size_t at)
{
	struct str text = json_get_text(j, at, "value");
	double v;

	if (str_eq(text, STR("inf")))
		return INFINITY;
	if (str_eq(text, STR("-inf")))
		return -INFINITY;
	return str_double(text, &v) ? v : NAN;
}

/* Pending ones begin later by what was not watched. */
static void wait_longer(struct alert *a, int64_t saved_ns, int64_t now_ns)
{
	int64_t unwatched = now_ns - saved_ns;

	if (a->state == ALERT_PENDING && unwatched > BREAK_NS)
		a->active_ns = a->active_ns < saved_ns ? a->active_ns + unwatched : now_ns;
}

static bool read_alert(const struct json *j, size_t at, int64_t now_ns, struct alert *a)
{
	struct str state = json_get_text(j, at, "state");
	bool named, noted, known = false;

	*a = (struct alert){.active_ns = get_time(j, at, "active", now_ns),
		.fired_ns = get_time(j, at, "fired", now_ns),
		.resolved_ns = get_time(j, at, "resolved", now_ns),
		.seen_ns = get_time(j, at, "seen", now_ns),
		.gone_ns = get_time(j, at, "gone", now_ns),
		.value = get_value(j, at)};
	for (int i = ALERT_PENDING; i <= ALERT_RESOLVED && !known; i++) {
		a->state = (enum alert_state)i;
		known = str_eq_c(state, alert_states[i]);
	}
	a->labels = get_labels(j, at, "labels", false, &named);
	a->annotations = get_labels(j, at, "annotations", true, &noted);
	if (known && named && noted)
		return true;
	free((char *)a->labels.p);
	free((char *)a->annotations.p);
	return false;
}

/* [[name, value], …] */
static bool read_rule_labels(const struct json *j, size_t at, struct arena *a, struct rule *r)
{
	size_t in = json_get(j, at, "rule_labels");

	if (!in || j->nodes[in].type != JSON_ARRAY)
		return false;
	r->labels = ARENA_ARRAY(a, struct rule_pair, RULE_PAIRS_MAX);
	for (size_t i = json_first(j, in); i < json_end(j, in); i = json_next(j, i)) {
		size_t name = i + 1, value = i + 2;

		if (j->nodes[i].type != JSON_ARRAY || j->nodes[i].inside != 2 ||
			j->nodes[name].type != JSON_STRING || j->nodes[value].type != JSON_STRING ||
			r->n_labels == RULE_PAIRS_MAX)
			return false;
		r->labels[r->n_labels++] = (struct rule_pair){
			arena_str(a, j->nodes[name].text), arena_str(a, j->nodes[value].text)};
	}
	return true;
}

static bool read_alerts(
	const struct json *j, size_t at, struct alert_set *set, int64_t saved_ns, int64_t now_ns)
{
	size_t in = json_get(j, at, "alerts");

	if (!in || j->nodes[in].type != JSON_ARRAY)
		return false;
	for (size_t i = json_first(j, in); i < json_end(j, in); i = json_next(j, i)) {
		if (set->n == ALERTS_MAX)
			return false;
		if (set->n == set->cap) {
			set->cap = set->cap ? 2 * set->cap : 8;
			set->all = xrealloc(set->all, set->cap * sizeof *set->all);
		}
		if (!read_alert(j, i, now_ns, &set->all[set->n]))
			return false;
		wait_longer(&set->all[set->n++], saved_ns, now_ns);
	}
	return true;
}

/* A group of this one rule. */
static bool read_rule(
	const struct json *j, size_t at, struct book *out, int64_t saved_ns, int64_t now_ns)
{
	struct watch *w = xcalloc(1, sizeof *w);
	struct rule *r;

	w->refs = 1;
	arena_init(&w->arena, NULL);
	w->tenant = arena_str(&w->arena, json_get_text(j, at, "tenant"));
	w->space = arena_str(&w->arena, json_get_text(j, at, "space"));
	w->group.name = arena_str(&w->arena, json_get_text(j, at, "group"));
	w->group.n = 1;
	w->group.rules = r = ARENA_NEW(&w->arena, struct rule);
	r->alerts = true;
	r->name = arena_str(&w->arena, json_get_text(j, at, "rule"));
	w->rules = xcalloc(1, sizeof *w->rules);
	w->rules[0].rule = r;
	book_add(out, w);
	return r->name.n > 0 && w->group.name.n > 0 && read_rule_labels(j, at, &w->arena, r) &&
	       read_alerts(j, at, &w->rules[0].set, saved_ns, now_ns);
}

int states_read(struct book *out, struct str json, int64_t now_ns, struct error *e)
{
	struct json_parser *parser = json_parser_new();
	struct json j;
	size_t rules = 0;
	bool fine = json_parse(parser, json, &j, e) == 0;

	*out = (struct book){0};
	if (fine) {
		fine = get_time(&j, 0, "version", INT64_MAX) == 1 &&
		       (rules = json_get(&j, 0, "rules")) > 0 && j.nodes[rules].type == JSON_ARRAY;
		for (size_t i = rules + 1; fine && i < json_end(&j, rules); i = json_next(&j, i))
			fine = read_rule(&j, i, out, get_time(&j, 0, "time", now_ns), now_ns);
		if (!fine)
			error_set(e, ERR_CORRUPT, "it is not as it was written");
	}
	json_parser_free(parser);
	if (!fine)
		book_fini(out);
	return fine ? 0 : ERR_CORRUPT;
}
