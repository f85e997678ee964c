/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a notifier knows of alerts, and what it was told of them.
 *
 *   put ──► entry (the newest state) ──► look: owed? silenced? ──► message, by group ──► told
 *
 * Nothing is queued: a message is made of the newest states when it may go, so
 * a target that was away gets one message about what holds now.  An episode of
 * an alert is known by when it fired; so one that was resolved and fires again
 * is told again, and one that is put again after it was told is not.
 *
 * Owed is
 *   - what fires, and was not told in this episode, or `repeat` ago;
 *   - what is resolved, and was told as firing, or was owed as such.
 * Silenced ones are owed nothing, but the end of what they were told.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "alert/notify_core.h"
#include "alert/silences.h"
#include "base/hex.h"
#include "base/memory.h"
#include "codec/json.h"
#include "record/labels.h"

enum { TEXT_MAX = 256 << 10 };

/* What is resolved is put again for a quarter of an hour: remembered longer than that. */
#define OVER_NS (3600 * NS_PER_SEC)
/* Nobody speaks of it any more, so it does not fire any more. */
#define STALE_NS (24 * 3600 * NS_PER_SEC)
/* How soon the end of a silence is seen. */
#define SILENCED_LOOK_NS (5 * NS_PER_SEC)

void notebook_init(struct notebook *b, const struct notifier_settings *s, bool by_group,
	struct account *account)
{
	*b = (struct notebook){.settings = s, .by_group = by_group, .account = account};
}

static void give_back(struct notebook *b, size_t size)
{
	account_release(b->account, size);
	b->bytes -= size;
}

static void entry_free(struct entry *en)
{
	buf_fini(&en->text);
	buf_fini(&en->group);
	free(en);
}

static void forget_all(struct notebook *b)
{
	const struct map_slot *slot;
	size_t at = 0;

	while ((slot = map_next(&b->entries, &at)))
		entry_free(slot->value.p);
	map_fini(&b->entries);
	give_back(b, b->bytes);
}

void notebook_fini(struct notebook *b)
{
	forget_all(b);
}

bool notebook_wants(const struct notebook *b, const struct alert_note *note)
{
	const struct string_map *match = &b->settings->match;

	for (size_t i = 0; i < match->n; i++) {
		struct str value = STR_NONE;

		labels_get(note->alert->labels, str_c(match->items[i].name), &value);
		if (!str_eq_c(value, match->items[i].value))
			return false;
	}
	return true;
}

static bool fires(const struct entry *en)
{
	return en->alert.state == ALERT_FIRING;
}

/* --- entries --------------------------------------------------------------------------- */

static void put_key(struct buf *out, const struct alert_note *note)
{
	buf_str(out, note->tenant);
	buf_char(out, 0);
	buf_str(out, note->space);
	buf_char(out, 0);
	buf_str(out, note->group);
	buf_char(out, 0);
	buf_str(out, note->alert->labels);
}

/* Tenants are never mixed in a message. */
static void put_group(const struct notebook *b, struct buf *out, const struct alert_note *note)
{
	const struct strings *by = &b->settings->group_by;

	buf_str(out, note->tenant);
	for (size_t i = 0; b->by_group && i < by->n; i++) {
		struct str value = STR_NONE;

		labels_get(note->alert->labels, str_c(by->items[i]), &value);
		buf_printf(out, "%c%zu:", 0, value.n);
		buf_str(out, value);
	}
}

/* The texts of a note one behind the other, and where they are then. */
static void set_texts(struct entry *en, const struct alert_note *note)
{
	const struct str from[] = {note->alert->labels, note->alert->annotations, note->tenant,
		note->space, note->group, note->rule, note->expr, note->url};
	struct str *const to[] = {&en->alert.labels, &en->alert.annotations, &en->note.tenant,
		&en->note.space, &en->note.group, &en->note.rule, &en->note.expr, &en->note.url};
	struct buf text = {0};
	size_t at = 0;

	for (size_t i = 0; i < 8; i++)
		buf_str(&text, from[i]);
	en->alert = *note->alert;
	en->note.alert = &en->alert;
	for (size_t i = 0; i < 8; at += from[i++].n)
		*to[i] = str_sub(buf_view(&text), at, at + from[i].n);
	buf_fini(&en->text);
	en->text = text;
}

static size_t text_size(const struct alert_note *n)
{
	return n->alert->labels.n + n->alert->annotations.n + n->tenant.n + n->space.n +
	       n->group.n + n->rule.n + n->expr.n + n->url.n;
}

/* The entry of a note; NULL when there is none, and none shall be or can be made. */
static struct entry *entry_for(struct notebook *b, const struct alert_note *note, bool make)
{
	struct buf key = {0};
	union map_value *v;
	struct entry *en = NULL;

	put_key(&key, note);
	if ((v = map_get(&b->entries, buf_view(&key)))) {
		en = v->p;
	} else if (make && b->entries.n >= NOTIFIED_ALERTS_MAX) {
		b->n_too_many++;
	} else if (make) {
		en = xcalloc(1, sizeof *en);
		map_put(&b->entries, buf_view(&key), NULL)->p = en;
		put_group(b, &en->group, note);
	}
	buf_fini(&key);
	return en;
}

static void remember_told(struct entry *en, bool firing, int64_t fired_ns, int64_t now_ns)
{
	en->told = firing ? TOLD_FIRING : TOLD_RESOLVED;
	en->told_fired_ns = fired_ns;
	en->told_ns = now_ns;
	en->owed_ns = en->tried_ns = 0;
}

static bool was_told(const struct entry *en, bool firing, int64_t fired_ns)
{
	return en->told == (firing ? TOLD_FIRING : TOLD_RESOLVED) && en->told_fired_ns == fired_ns;
}

/* Room for texts of `size` bytes instead of `old`. */
static bool take_room(struct notebook *b, size_t old, size_t size)
{
	if (size > TEXT_MAX || b->bytes - old + size > BOOK_BYTES_MAX)
		return false;
	if (size > old && b->account && account_charge(b->account, size - old) < 0)
		return false;
	if (size < old)
		account_release(b->account, old - size);
	b->bytes += size - old;
	return true;
}

void notebook_put(struct notebook *b, const struct alert_note *note, bool speak, int64_t now_ns)
{
	const struct alert *a = note->alert;
	bool firing = a->state == ALERT_FIRING;
	size_t size = text_size(note);
	struct entry *en;

	if (a->state == ALERT_PENDING || a->fired_ns == 0)
		return;
	en = entry_for(b, note, false);
	if (!en && !firing)
		return;
	if (!take_room(b, en ? en->text.n : 0, size)) {
		b->n_too_many++;
		return;
	}
	if (!en && !(en = entry_for(b, note, true))) {
		give_back(b, size);
		return;
	}
	b->dirty |=
		en->put_ns == 0 || en->alert.state != a->state || en->alert.fired_ns != a->fired_ns;
	set_texts(en, note);
	en->put_ns = now_ns;
	if (!speak) {
		b->dirty |= !was_told(en, firing, a->fired_ns);
		remember_told(en, firing, a->fired_ns, now_ns);
	}
}

/* --- looking --------------------------------------------------------------------------- */

/* A clock that was set back must not hold anything up. */
static int64_t not_ahead(int64_t ns, int64_t now_ns)
{
	return ns > now_ns ? now_ns : ns;
}

static bool is_owed(const struct notebook *b, const struct entry *en, int64_t now_ns)
{
	if (was_told(en, fires(en), en->alert.fired_ns))
		return fires(en) && b->settings->repeat > 0 &&
		       now_ns - en->told_ns >= b->settings->repeat;
	if (fires(en))
		return true;
	return b->settings->send_resolved && (en->told == TOLD_FIRING || en->owed_ns != 0);
}

/* Look at one; false when it is to be forgotten.  *again_ns: see notebook_look. */
static bool look_at(struct notebook *b, struct entry *en, struct silences *silences, int64_t now_ns,
	int64_t *again_ns)
{
	bool owed, over;

	en->told_ns = not_ahead(en->told_ns, now_ns);
	en->put_ns = not_ahead(en->put_ns, now_ns);
	if (fires(en) && now_ns - en->put_ns >= STALE_NS) {
		en->alert.state = ALERT_RESOLVED;
		en->alert.resolved_ns = en->put_ns = now_ns;
		b->dirty = true;
	}
	owed = is_owed(b, en, now_ns);
	en->silenced = (owed || fires(en)) && silences &&
		       silences_match(silences, en->note.tenant, en->alert.labels, now_ns);
	if (en->silenced || !owed)
		en->owed_ns = 0;
	else
		en->owed_ns = en->owed_ns ? not_ahead(en->owed_ns, now_ns) : now_ns;
	over = !fires(en) && !owed && now_ns - en->put_ns >= OVER_NS;
	if (owed && en->silenced && now_ns + SILENCED_LOOK_NS < *again_ns)
		*again_ns = now_ns + SILENCED_LOOK_NS;
	if (!owed && fires(en) && b->settings->repeat > 0 &&
		en->told_ns + b->settings->repeat < *again_ns)
		*again_ns = en->told_ns + b->settings->repeat;
	return !over;
}

/* What is known of a group of messages. */
struct group {
	int64_t owed_ns, told_ns, tried_ns; /* oldest owed; newest told and tried; 0: none */
};

/* Groups with something owed: name -> struct group. */
static void find_groups(const struct notebook *b, struct map *groups)
{
	const struct map_slot *slot;
	size_t at = 0;

	while ((slot = map_next(&b->entries, &at))) {
		const struct entry *en = slot->value.p;
		union map_value *v;
		struct group *g;

		if (!en->owed_ns)
			continue;
		v = map_put(groups, buf_view(&en->group), NULL);
		if (!v->p)
			v->p = xcalloc(1, sizeof *g);
		g = v->p;
		if (!g->owed_ns || en->owed_ns < g->owed_ns)
			g->owed_ns = en->owed_ns;
		if (en->tried_ns > g->tried_ns)
			g->tried_ns = en->tried_ns;
	}
	for (at = 0; b->settings->group_interval > 0 && (slot = map_next(&b->entries, &at));) {
		const struct entry *en = slot->value.p;
		union map_value *v = map_get(groups, buf_view(&en->group));
		struct group *g = v ? v->p : NULL;

		if (g && en->told_ns > g->told_ns)
			g->told_ns = en->told_ns;
	}
}

static void free_groups(struct map *groups)
{
	const struct map_slot *slot;
	size_t at = 0;

	while ((slot = map_next(groups, &at)))
		free(slot->value.p);
	map_fini(groups);
}

/* When its message may go. */
static int64_t group_ready(const struct notebook *b, const struct group *g, bool hurry)
{
	int64_t ready = g->owed_ns + b->settings->group_wait;

	if (hurry)
		return g->owed_ns;
	if (g->told_ns && g->told_ns + b->settings->group_interval > ready)
		ready = g->told_ns + b->settings->group_interval;
	return ready;
}

int64_t notebook_look(struct notebook *b, struct silences *silences, int64_t now_ns, bool hurry,
	int64_t *ready_ns)
{
	int64_t again = INT64_MAX;
	struct map gone = {0}, groups = {0};
	const struct map_slot *slot;
	size_t at = 0;

	while ((slot = map_next(&b->entries, &at)))
		if (!look_at(b, slot->value.p, silences, now_ns, &again))
			map_put(&gone, slot->key, NULL);
	for (at = 0; (slot = map_next(&gone, &at));) {
		struct entry *en = map_get(&b->entries, slot->key)->p;

		give_back(b, en->text.n);
		entry_free(en);
		map_remove(&b->entries, slot->key);
		b->dirty = true;
	}
	map_fini(&gone);
	*ready_ns = INT64_MAX;
	find_groups(b, &groups);
	for (at = 0; (slot = map_next(&groups, &at));) {
		int64_t ready = group_ready(b, slot->value.p, hurry);

		if (ready < *ready_ns)
			*ready_ns = ready;
	}
	free_groups(&groups);
	return again;
}

/* --- messages -------------------------------------------------------------------------- */

/* The group whose turn it is: those that failed come behind the others, then the oldest. */
static bool choose(const struct notebook *b, int64_t now_ns, bool hurry, struct buf *name)
{
	struct map groups = {0};
	const struct map_slot *slot;
	const struct group *best = NULL;
	size_t at = 0;

	find_groups(b, &groups);
	while ((slot = map_next(&groups, &at))) {
		const struct group *g = slot->value.p;

		if (group_ready(b, g, hurry) > now_ns)
			continue;
		if (best && (g->tried_ns > best->tried_ns ||
				    (g->tried_ns == best->tried_ns && g->owed_ns >= best->owed_ns)))
			continue;
		best = g;
		buf_clear(name);
		buf_str(name, slot->key);
	}
	free_groups(&groups);
	return best != NULL;
}

static int owed_first(const void *a, const void *b)
{
	const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;

	return (x->owed_ns == 0) - (y->owed_ns == 0);
}

/* Firing before resolved, then by time and labels. */
static int firing_first(const void *a, const void *b)
{
	const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;

	if (fires(x) != fires(y))
		return fires(x) ? -1 : 1;
	if (x->alert.fired_ns != y->alert.fired_ns)
		return x->alert.fired_ns < y->alert.fired_ns ? -1 : 1;
	return str_cmp(x->alert.labels, y->alert.labels);
}

static struct alert_note copy_note(const struct entry *en, struct arena *a)
{
	struct alert *alert = ARENA_NEW(a, struct alert);
	struct alert_note note = en->note;

	*alert = en->alert;
	alert->labels = arena_str(a, alert->labels);
	alert->annotations = arena_str(a, alert->annotations);
	note.alert = alert;
	note.tenant = arena_str(a, note.tenant);
	note.space = arena_str(a, note.space);
	note.group = arena_str(a, note.group);
	note.rule = arena_str(a, note.rule);
	note.expr = arena_str(a, note.expr);
	note.url = arena_str(a, note.url);
	return note;
}

/* What of a group goes in a message, in its order: how many.  Those that are owed above all, and
 * one that fires if there is one: else the group would be said to be over. */
static size_t choose_notes(const struct notebook *b, struct str group, struct entry **out)
{
	const struct map_slot *slot;
	size_t n = 0, at = 0, i = 0;

	while ((slot = map_next(&b->entries, &at))) {
		struct entry *en = slot->value.p;

		if (str_eq(buf_view(&en->group), group) &&
			(en->owed_ns || (b->by_group && fires(en) && !en->silenced)))
			out[n++] = en;
	}
	if (n > NOTES_MAX) {
		qsort(out, n, sizeof *out, owed_first);
		while (i < n && !fires(out[i]))
			i++;
		if (i >= NOTES_MAX && i < n)
			out[NOTES_MAX - 1] = out[i];
		n = NOTES_MAX;
	}
	qsort(out, n, sizeof *out, firing_first);
	return n;
}

bool notebook_message(struct notebook *b, int64_t now_ns, bool hurry, struct message *out)
{
	struct entry **chosen;
	struct buf group = {0}, key = {0};

	*out = (struct message){0};
	if (!choose(b, now_ns, hurry, &group)) {
		buf_fini(&group);
		return false;
	}
	chosen = xcalloc(b->entries.n, sizeof *chosen);
	arena_init(&out->arena, NULL);
	out->n = choose_notes(b, buf_view(&group), chosen);
	out->notes = ARENA_ARRAY(&out->arena, struct alert_note, out->n);
	out->keys = ARENA_ARRAY(&out->arena, struct str, out->n);
	for (size_t i = 0; i < out->n; i++) {
		out->n_owed += chosen[i]->owed_ns != 0;
		out->notes[i] = copy_note(chosen[i], &out->arena);
		buf_clear(&key);
		put_key(&key, &out->notes[i]);
		out->keys[i] = arena_str(&out->arena, buf_view(&key));
	}
	free(chosen);
	buf_fini(&group);
	buf_fini(&key);
	return true;
}

void message_fini(struct message *m)
{
	arena_fini(&m->arena);
	*m = (struct message){0};
}

void notebook_told(struct notebook *b, const struct message *m, int64_t now_ns)
{
	for (size_t i = 0; i < m->n; i++) {
		const struct alert *a = m->notes[i].alert;
		union map_value *v = map_get(&b->entries, m->keys[i]);

		if (v)
			remember_told(v->p, a->state == ALERT_FIRING, a->fired_ns, now_ns);
	}
	b->dirty = true;
}

void notebook_failed(struct notebook *b, const struct message *m, int64_t now_ns)
{
	for (size_t i = 0; i < m->n; i++) {
		union map_value *v = map_get(&b->entries, m->keys[i]);

		if (v && ((struct entry *)v->p)->owed_ns)
			((struct entry *)v->p)->tried_ns = now_ns;
	}
}

void notebook_count(const struct notebook *b, uint64_t *waiting, uint64_t *silenced)
{
	const struct map_slot *slot;
	size_t at = 0;

	*waiting = *silenced = 0;
	while ((slot = map_next(&b->entries, &at))) {
		const struct entry *en = slot->value.p;

		*waiting += en->owed_ns != 0;
		*silenced += en->silenced;
	}
}

/* --- the disk -------------------------------------------------------------------------- */

static const char *const told_words[] = {"nothing", "firing", "resolved"};

/* Canonical labels hold any bytes, which JSON does not. */
static void put_hex(struct buf *out, const char *key, struct str bytes)
{
	buf_printf(out, ",\"%s\":\"", key);
	for (size_t i = 0; i < bytes.n; i++)
		buf_printf(out, "%02x", (unsigned char)bytes.p[i]);
	buf_char(out, '"');
}

static void put_text(struct buf *out, const char *key, struct str text)
{
	buf_printf(out, ",\"%s\":", key);
	buf_json(out, text);
}

static void put_number(struct buf *out, const char *key, int64_t n)
{
	buf_printf(out, ",\"%s\":%" PRId64, key, n);
}

static void put_entry(struct buf *out, const struct entry *en)
{
	int64_t bits;

	memcpy(&bits, &en->alert.value, sizeof bits);
	buf_c(out, "\n{\"tenant\":");
	buf_json(out, en->note.tenant);
	put_text(out, "namespace", en->note.space);
	put_text(out, "group", en->note.group);
	put_text(out, "rule", en->note.rule);
	put_text(out, "query", en->note.expr);
	put_text(out, "url", en->note.url);
	put_hex(out, "labels", en->alert.labels);
	put_hex(out, "annotations", en->alert.annotations);
	buf_printf(out, ",\"firing\":%s", fires(en) ? "true" : "false");
	put_number(out, "active", en->alert.active_ns);
	put_number(out, "fired", en->alert.fired_ns);
	put_number(out, "resolved", en->alert.resolved_ns);
	put_number(out, "seen", en->alert.seen_ns);
	put_number(out, "value", bits);
	put_number(out, "owed", en->owed_ns);
	put_text(out, "told", str_c(told_words[en->told]));
	put_number(out, "told_at", en->told_ns);
	put_number(out, "told_fired", en->told_fired_ns);
	buf_char(out, '}');
}

void notebook_write(const struct notebook *b, struct buf *out)
{
	const struct map_slot *slot;
	size_t at = 0, n = 0;

	buf_c(out, "{\"version\":1,\"alerts\":[");
	while ((slot = map_next(&b->entries, &at))) {
		if (n++)
			buf_char(out, ',');
		put_entry(out, slot->value.p);
	}
	buf_c(out, "\n]}\n");
}

static int64_t get_number(const struct json *j, size_t at, const char *key)
{
	size_t i = json_get(j, at, key);
	int64_t n = 0;

	if (i && j->nodes[i].type == JSON_NUMBER)
		str_i64(j->nodes[i].text, &n);
	return n;
}

static int get_labels(
	const struct json *j, size_t at, const char *key, struct buf *out, struct error *e)
{
	struct str hex = json_get_text(j, at, key);
	int r;

	for (size_t i = 0; i + 1 < hex.n; i += 2) {
		int high = hex_digit(hex.p[i]), low = hex_digit(hex.p[i + 1]);

		if (high < 0 || low < 0)
			return error_set(e, ERR_CORRUPT, "%s: is no hexadecimal text", key);
		buf_char(out, (char)(high * 16 + low));
	}
	if ((r = labels_check(buf_view(out), e)) < 0)
		return error_wrap(e, r, "%s", key);
	return 0;
}

static void read_told(struct entry *en, const struct json *j, size_t at)
{
	struct str word = json_get_text(j, at, "told");

	for (int i = 0; i <= TOLD_RESOLVED; i++)
		if (str_eq_c(word, told_words[i]))
			en->told = i;
	en->told_ns = get_number(j, at, "told_at");
	en->told_fired_ns = get_number(j, at, "told_fired");
	en->owed_ns = get_number(j, at, "owed");
}

static int read_entry(
	struct notebook *b, const struct json *j, size_t at, int64_t now_ns, struct error *e)
{
	struct buf labels = {0}, annotations = {0};
	size_t firing = json_get(j, at, "firing");
	int64_t bits = get_number(j, at, "value");
	struct alert a = {
		.state = firing && j->nodes[firing].type == JSON_TRUE ? ALERT_FIRING
								      : ALERT_RESOLVED,
		.active_ns = get_number(j, at, "active"),
		.fired_ns = get_number(j, at, "fired"),
		.resolved_ns = get_number(j, at, "resolved"),
		.seen_ns = get_number(j, at, "seen"),
	};
	struct alert_note note = {.alert = &a,
		.tenant = json_get_text(j, at, "tenant"),
		.space = json_get_text(j, at, "namespace"),
		.group = json_get_text(j, at, "group"),
		.rule = json_get_text(j, at, "rule"),
		.expr = json_get_text(j, at, "query"),
		.url = json_get_text(j, at, "url")};
	struct entry *en;
	int r = get_labels(j, at, "labels", &labels, e);

	if (r == 0)
		r = get_labels(j, at, "annotations", &annotations, e);
	memcpy(&a.value, &bits, sizeof bits);
	a.labels = buf_view(&labels);
	a.annotations = buf_view(&annotations);
	if (r == 0 && notebook_wants(b, &note) && !entry_for(b, &note, false) &&
		(en = entry_for(b, &note, true))) {
		/* What was remembered before is remembered again, whatever room there is. */
		if (b->account)
			account_force(b->account, text_size(&note));
		b->bytes += text_size(&note);
		set_texts(en, &note);
		/* It could not be put while we were not there. */
		en->put_ns = now_ns;
		read_told(en, j, at);
	}
	buf_fini(&labels);
	buf_fini(&annotations);
	return r;
}

int notebook_read(struct notebook *b, struct str text, int64_t now_ns, struct error *e)
{
	struct json_parser *p = json_parser_new();
	struct json j;
	size_t list;
	int r = json_parse(p, text, &j, e);

	if (r == 0) {
		list = json_get(&j, 0, "alerts");
		if (list == 0 || j.nodes[list].type != JSON_ARRAY)
			r = error_set(e, ERR_CORRUPT, "it holds no list of alerts");
		for (size_t i = r < 0 ? 0 : json_first(&j, list); r == 0 && i < json_end(&j, list);
			i = json_next(&j, i))
			r = read_entry(b, &j, i, now_ns, e);
	}
	if (r < 0)
		forget_all(b);
	json_parser_free(p);
	return r;
}
