/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One entry for each (tenant, source), never two kinds for one source.
 *
 * What a group changes lies beside the committed state until the group is
 * durable: a mark, a token, a second set of numbers.  Aborting is throwing
 * that away, so a refused group leaves no trace and its records can be sent
 * again.
 *
 * A SET source asks for the old line of a number that comes again.  Hashes of
 * recent lines are remembered (4-way sets, oldest out), which makes the usual
 * resend free; older lines are looked up in the store, once per batch and
 * source.  A line that can no longer be found counts as different: keeping a
 * line twice is the smaller harm.
 *
 * A RANGES source keeps the ranges that were committed in the same set; one
 * that was kept by its mark m becomes the range [0, m) when ranges come.
 * Nothing is lost by that, so an aborted group need not undo it.  Few ranges
 * stay apart for long: beyond RANGES_MAX the lowest are forgotten, as here too
 * keeping a line twice is the smaller harm.
 */
#include "store/position.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/lock.h"
#include "base/map.h"
#include "store/interval.h"

enum {
	WAYS = 4,
	INTERVALS_PER_ENTRY = 4096, /* an entry stays far below the size of a chunk */
	SOURCE_KEY_MAX = 4096,
	RANGES_MAX = 1024,
};

struct source {
	enum position_kind kind;
	bool known;  /* committed at least once */
	bool staged; /* in positions.staged */
	uint64_t mark, staged_mark;
	struct buf token, staged_token;
	struct interval_set set, staged_set;
	size_t charged;
	struct str key; /* of the map: valid as long as the source */
};

struct remembered {
	uint64_t key, hash;
};

struct positions {
	/* Fixed. */
	struct account *account;
	/* Changed under lock by one thread, which reads without it. */
	struct lock lock;
	struct map sources; /* key: varint length, tenant, id */
	struct source **staged;
	size_t n_staged, cap_staged;
	/* The changing thread's. */
	struct remembered *hashes;
	size_t n_sets;
	size_t charged; /* for the map and the hashes */
};

static void source_key(struct buf *out, struct str tenant, struct str id)
{
	buf_clear(out);
	bytes_put_str(out, tenant);
	buf_str(out, id);
}

struct positions *positions_new(struct account *account, size_t n_hashes)
{
	struct positions *p = xcalloc(1, sizeof *p);

	lock_init(&p->lock);
	p->account = account;
	p->n_sets = 1;
	while (p->n_sets * WAYS * 2 <= n_hashes)
		p->n_sets *= 2;
	p->hashes = xcalloc(p->n_sets * WAYS, sizeof *p->hashes);
	p->charged = p->n_sets * WAYS * sizeof *p->hashes;
	account_force(account, p->charged);
	return p;
}

static void source_free(struct source *s)
{
	buf_fini(&s->token);
	buf_fini(&s->staged_token);
	interval_fini(&s->set);
	interval_fini(&s->staged_set);
	free(s);
}

void positions_free(struct positions *p)
{
	const struct map_slot *slot;
	size_t at = 0;

	if (!p)
		return;
	while ((slot = map_next(&p->sources, &at))) {
		struct source *s = slot->value.p;

		account_release(p->account, s->charged);
		source_free(s);
	}
	account_release(p->account, p->charged);
	map_fini(&p->sources);
	free(p->staged);
	free(p->hashes);
	lock_fini(&p->lock);
	free(p);
}

/* Bring the charge for one source in line with what it holds. */
static void charge(struct positions *p, struct source *s)
{
	size_t now = sizeof *s + s->token.cap + s->staged_token.cap +
		     (s->set.cap + s->staged_set.cap) * sizeof(struct interval);

	if (now > s->charged)
		account_force(p->account, now - s->charged);
	else
		account_release(p->account, s->charged - now);
	s->charged = now;
}

static struct source *lookup(const struct positions *p, struct str tenant, struct str id)
{
	struct buf key = {0};
	union map_value *v;

	source_key(&key, tenant, id);
	v = map_get(&p->sources, buf_view(&key));
	buf_fini(&key);
	return v ? v->p : NULL;
}

static struct source *get_or_add(struct positions *p, struct str tenant, struct str id,
	enum position_kind kind) REQUIRES(p->lock)
{
	struct buf key = {0};
	size_t before = p->sources.bytes;
	union map_value *v;
	struct source *s;
	bool added;

	source_key(&key, tenant, id);
	v = map_put(&p->sources, buf_view(&key), &added);
	buf_fini(&key);
	if (!added)
		return v->p;
	v->p = s = xcalloc(1, sizeof *s);
	s->kind = kind;
	account_force(p->account, p->sources.bytes - before);
	p->charged += p->sources.bytes - before;
	charge(p, s);
	return s;
}

/* Remembered lines */

static uint64_t line_key(struct str tenant, struct str id, uint64_t position)
{
	struct buf key = {0};
	uint64_t hash;

	source_key(&key, tenant, id);
	buf_put(&key, &position, sizeof position);
	hash = hash_keyed(buf_view(&key));
	buf_fini(&key);
	return hash ? hash : 1;
}

static bool recall(const struct positions *p, uint64_t key, uint64_t *hash)
{
	const struct remembered *set = &p->hashes[(key & (p->n_sets - 1)) * WAYS];

	for (int i = 0; i < WAYS; i++) {
		if (set[i].key == key) {
			*hash = set[i].hash;
			return true;
		}
	}
	return false;
}

static void remember(struct positions *p, uint64_t key, uint64_t hash)
{
	struct remembered *set = &p->hashes[(key & (p->n_sets - 1)) * WAYS];
	int i = 0;

	while (i < WAYS - 1 && set[i].key != key)
		i++;
	memmove(set + 1, set, (size_t)i * sizeof *set);
	set[0] = (struct remembered){key, hash};
}

/* Checking */

static uint64_t current_mark(const struct source *s)
{
	return s->staged ? s->staged_mark : s->mark;
}

static bool has_number(const struct source *s, uint64_t v)
{
	return interval_has(&s->set, v) || interval_has(&s->staged_set, v);
}

static bool covers(const struct interval_set *set, uint64_t from, uint64_t to)
{
	/* No two intervals touch: it lies in one, or not in them. */
	for (size_t i = 0; i < set->n; i++)
		if (set->p[i].lo <= from && to - 1 <= set->p[i].hi)
			return true;
	return false;
}

/* The end of the highest range. */
static uint64_t ranges_end(const struct source *s)
{
	const struct interval_set *a = &s->set, *b = &s->staged_set;
	uint64_t x = a->n ? a->p[a->n - 1].hi + 1 : 0, y = b->n ? b->p[b->n - 1].hi + 1 : 0;

	return x > y ? x : y;
}

static void drop_record(struct position_check *out, const struct batch *b, size_t i)
{
	if (!out->drop)
		out->drop = xcalloc((batch_count(b) + 7) / 8, 1);
	out->drop[i / 8] |= (uint8_t)(1 << (i % 8));
	out->n_drop++;
}

/* A record of a SET source whose number is there, and whose old line is not remembered. */
struct question {
	uint64_t position;
	size_t record;
};

static int compare_questions(const void *a, const void *b)
{
	const struct question *x = a, *y = b;

	if (x->position != y->position)
		return x->position < y->position ? -1 : 1;
	return x->record < y->record ? -1 : x->record > y->record;
}

static void ask(const struct batch *b, struct str source, struct question *q, size_t n,
	position_find *find, void *ctx, struct position_check *out)
{
	struct position_old *old = xcalloc(n, sizeof *old);
	size_t n_old = 0, k = 0;

	qsort(q, n, sizeof *q, compare_questions);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || q[i].position != q[i - 1].position)
			old[n_old++].position = q[i].position;
	find(ctx, batch_tenant(b), source, old, n_old);
	for (size_t i = 0; i < n; i++) {
		while (old[k].position != q[i].position)
			k++;
		/* Of several in one batch the first decides what the next one meets. */
		if (old[k].seq != 0 &&
			old[k].hash == hash_stable(batch_record(b, q[i].record).body)) {
			drop_record(out, b, q[i].record);
		} else {
			old[k].seq = UINT64_MAX;
			old[k].hash = hash_stable(batch_record(b, q[i].record).body);
		}
	}
	free(old);
}

/* Numbers seen earlier in the same batch, with the hash of the line that came last. */
struct seen {
	struct map lines;
};

static bool seen_same(struct seen *seen, uint64_t position, uint64_t hash, bool *first)
{
	bool same;
	union map_value *v = map_put(&seen->lines, str_make(&position, sizeof position), first);

	same = !*first && v->u == hash;
	v->u = hash;
	return same;
}

static void check_set(struct positions *p, const struct batch *b, uint16_t index,
	const struct source *s, position_find *find, void *ctx, struct position_check *out)
{
	struct str id = batch_source(b, index - 1).id, tenant = batch_tenant(b);
	struct question *q = NULL;
	size_t n = 0, cap = 0;
	struct seen seen = {0};

	for (size_t i = 0; i < batch_count(b); i++) {
		struct record r = batch_record(b, i);
		uint64_t hash, old;
		bool first;

		if (r.source != index)
			continue;
		hash = hash_stable(r.body);
		if (seen_same(&seen, r.position, hash, &first))
			drop_record(out, b, i);
		if (!first || !s || !has_number(s, r.position))
			continue;
		if (recall(p, line_key(tenant, id, r.position), &old)) {
			if (old == hash)
				drop_record(out, b, i);
			continue;
		}
		/* The store does not know yet what this group staged, and the line before
		 * is no longer the newest. */
		if (interval_has(&s->staged_set, r.position))
			continue;
		if (n == cap) {
			cap = cap ? cap * 2 : 64;
			q = xrealloc(q, cap * sizeof *q);
		}
		q[n++] = (struct question){r.position, i};
	}
	if (n > 0)
		ask(b, id, q, n, find, ctx, out);
	map_fini(&seen.lines);
	free(q);
}

/* A batch of offsets, for a source that is kept by its ranges or is to be. */
static int check_ranges(const struct batch *b, uint16_t index, const struct batch_source *bs,
	const struct source *s, struct position_check *out, struct error *e)
{
	bool by_mark = s && s->kind == POSITION_MARK;

	if (s && !by_mark && bs->kind == POSITION_MARK && bs->from > ranges_end(s) &&
		!batch_jumps(b)) {
		out->mark = ranges_end(s);
		return error_set(e, ERR_GAP,
			"source %.*s: the batch starts at %llu, committed is %llu: send again from "
			"there",
			STR_ARG(bs->id), (unsigned long long)bs->from,
			(unsigned long long)out->mark);
	}
	if (bs->to > bs->from &&
		!(s && (by_mark ? bs->to <= current_mark(s)
				: covers(&s->set, bs->from, bs->to) ||
					       covers(&s->staged_set, bs->from, bs->to))))
		out->moves = true;
	for (size_t i = 0; s && i < batch_count(b); i++) {
		struct record r = batch_record(b, i);

		if (r.source == index && r.position > 0 &&
			(by_mark ? r.position <= current_mark(s) : has_number(s, r.position - 1)))
			drop_record(out, b, i);
	}
	return 0;
}

static int check_mark(const struct batch *b, uint16_t index, const struct batch_source *bs,
	const struct source *s, struct position_check *out, struct error *e)
{
	uint64_t mark;

	if (!s) {
		out->moves = true;
		return 0;
	}
	mark = current_mark(s);
	if (bs->from > mark && !batch_jumps(b)) {
		out->mark = mark;
		return error_set(e, ERR_GAP,
			"source %.*s: the batch starts at %llu, committed is %llu: send again from "
			"there",
			STR_ARG(bs->id), (unsigned long long)bs->from, (unsigned long long)mark);
	}
	if (bs->to > mark)
		out->moves = true;
	for (size_t i = 0; i < batch_count(b); i++) {
		struct record r = batch_record(b, i);

		if (r.source == index && r.position <= mark)
			drop_record(out, b, i);
	}
	return 0;
}

static const char *kind_name(enum position_kind kind)
{
	switch (kind) {
	case POSITION_MARK: return "a mark";
	case POSITION_SET: return "a set of numbers";
	case POSITION_TOKEN: return "a token";
	case POSITION_RANGES: return "ranges";
	}
	return "?";
}

static bool is_offsets(enum position_kind kind)
{
	return kind == POSITION_MARK || kind == POSITION_RANGES;
}

int positions_check(struct positions *p, const struct batch *b, position_find *find, void *ctx,
	struct position_check *out, struct error *e)
{
	int r = 0;

	*out = (struct position_check){0};
	for (size_t i = 0; i < batch_n_sources(b) && r == 0; i++) {
		struct batch_source bs = batch_source(b, i);
		const struct source *s = lookup(p, batch_tenant(b), bs.id);

		if (s && s->kind != bs.kind && !(is_offsets(s->kind) && is_offsets(bs.kind)))
			r = error_set(e, ERR_ARG,
				"source %.*s: its position is kept as %s, the batch brings %s",
				STR_ARG(bs.id), kind_name(s->kind), kind_name(bs.kind));
		else if (bs.kind == POSITION_RANGES || (s && s->kind == POSITION_RANGES))
			r = check_ranges(b, (uint16_t)(i + 1), &bs, s, out, e);
		else if (bs.kind == POSITION_MARK)
			r = check_mark(b, (uint16_t)(i + 1), &bs, s, out, e);
		else if (bs.kind == POSITION_SET)
			check_set(p, b, (uint16_t)(i + 1), s, find, ctx, out);
		else
			out->moves = true;
	}
	if (r < 0) {
		free(out->drop);
		out->drop = NULL;
		out->n_drop = 0;
	}
	return r;
}

/* Groups */

static void stage_source(struct positions *p, struct source *s) REQUIRES(p->lock)
{
	if (s->staged)
		return;
	s->staged = true;
	s->staged_mark = s->mark;
	if (p->n_staged == p->cap_staged) {
		p->cap_staged = p->cap_staged ? p->cap_staged * 2 : 16;
		p->staged = xrealloc(p->staged, p->cap_staged * sizeof *p->staged);
	}
	p->staged[p->n_staged++] = s;
}

/* Keep by its ranges what was kept by its mark. */
static void become_ranges(struct source *s)
{
	s->kind = POSITION_RANGES;
	if (s->mark)
		interval_add(&s->set, 0, s->mark - 1);
	if (s->staged && s->staged_mark)
		interval_add(&s->staged_set, 0, s->staged_mark - 1);
}

static void stage_numbers(struct positions *p, const struct batch *b, struct source **by_index)
{
	for (size_t i = 0; i < batch_count(b); i++) {
		struct record r = batch_record(b, i);
		struct source *s = r.source > 0 ? by_index[r.source - 1] : NULL;

		if (!s)
			continue;
		interval_add(&s->staged_set, r.position, r.position);
		remember(p, line_key(batch_tenant(b), batch_source(b, r.source - 1).id, r.position),
			hash_stable(r.body));
	}
}

void positions_stage(struct positions *p, const struct batch *b)
{
	size_t n = batch_n_sources(b);
	struct source **by_index = n > 0 ? xcalloc(n, sizeof *by_index) : NULL;
	bool numbers = false;

	lock_take(&p->lock);
	for (size_t i = 0; i < n; i++) {
		struct batch_source bs = batch_source(b, i);
		struct source *s = get_or_add(p, batch_tenant(b), bs.id, bs.kind);

		if (s->kind == POSITION_MARK && bs.kind == POSITION_RANGES)
			become_ranges(s);
		if (s->kind != bs.kind && !(is_offsets(s->kind) && is_offsets(bs.kind)))
			continue; /* positions_check refuses it; damaged journals may ask */
		stage_source(p, s);
		if (s->kind == POSITION_RANGES && bs.to > bs.from)
			interval_add(&s->staged_set, bs.from, bs.to - 1);
		if (s->kind == POSITION_MARK && bs.to > s->staged_mark)
			s->staged_mark = bs.to;
		if (bs.kind == POSITION_TOKEN) {
			buf_clear(&s->staged_token);
			buf_str(&s->staged_token, bs.token);
		}
		if (bs.kind == POSITION_SET) {
			by_index[i] = s;
			numbers = true;
		}
	}
	if (numbers)
		stage_numbers(p, b, by_index);
	lock_drop(&p->lock);
	free(by_index);
}

static void forget_lowest(struct interval_set *set)
{
	size_t n = set->n > RANGES_MAX ? set->n - RANGES_MAX : 0;

	if (n == 0)
		return;
	memmove(set->p, set->p + n, (set->n - n) * sizeof *set->p);
	set->n -= n;
}

void positions_commit(struct positions *p)
{
	lock_take(&p->lock);
	for (size_t i = 0; i < p->n_staged; i++) {
		struct source *s = p->staged[i];

		s->known = true;
		s->staged = false;
		s->mark = s->staged_mark;
		if (s->kind == POSITION_TOKEN) {
			struct buf old = s->token;

			s->token = s->staged_token;
			s->staged_token = old;
		}
		interval_union(&s->set, &s->staged_set);
		interval_clear(&s->staged_set);
		if (s->kind == POSITION_RANGES)
			forget_lowest(&s->set);
		charge(p, s);
	}
	p->n_staged = 0;
	lock_drop(&p->lock);
}

/* A source that only the aborted group knew must be unknown again. */
static void forget_unknown(struct positions *p) REQUIRES(p->lock)
{
	const struct map_slot *slot;
	bool found;

	do {
		size_t at = 0;

		found = false;
		while (!found && (slot = map_next(&p->sources, &at))) {
			struct source *s = slot->value.p;

			if (s->known || s->staged)
				continue;
			found = true;
			account_release(p->account, s->charged);
			map_remove(&p->sources, slot->key);
			source_free(s);
		}
	} while (found);
}

void positions_abort(struct positions *p)
{
	bool unknown = false;

	lock_take(&p->lock);
	for (size_t i = 0; i < p->n_staged; i++) {
		struct source *s = p->staged[i];

		s->staged = false;
		interval_clear(&s->staged_set);
		unknown = unknown || !s->known;
	}
	p->n_staged = 0;
	if (unknown)
		forget_unknown(p);
	lock_drop(&p->lock);
	/* They may tell of lines that were never committed. */
	memset(p->hashes, 0, p->n_sets * WAYS * sizeof *p->hashes);
}

int positions_get(struct positions *p, struct str tenant, struct str source, struct buf *token,
	uint64_t *mark)
{
	const struct source *s;
	int r = ERR_NOT_FOUND;

	lock_take(&p->lock);
	s = lookup(p, tenant, source);
	if (s && s->known) {
		r = 0;
		if (token)
			buf_str(token, buf_view(&s->token));
		if (mark && s->kind == POSITION_SET)
			*mark = s->set.n > 0 ? s->set.p[s->set.n - 1].hi : 0;
		else if (mark && s->kind == POSITION_RANGES)
			*mark = s->set.n > 0 ? s->set.p[s->set.n - 1].hi + 1 : 0;
		else if (mark)
			*mark = s->mark;
	}
	lock_drop(&p->lock);
	return r;
}

size_t positions_count(struct positions *p)
{
	size_t n;

	lock_take(&p->lock);
	n = p->sources.n;
	lock_drop(&p->lock);
	return n;
}

/* Snapshots */

static void encode_head(struct chunks *out, struct str key, const struct source *s)
{
	buf_char(&out->text, 'P');
	bytes_put_str(&out->text, key);
	buf_char(&out->text, (char)s->kind);
}

static void encode_source(struct chunks *out, struct str key, const struct source *s)
{
	uint64_t last = 0;

	if (s->kind != POSITION_SET && s->kind != POSITION_RANGES) {
		encode_head(out, key, s);
		if (s->kind == POSITION_MARK)
			varint_put(&out->text, s->mark);
		else
			bytes_put_str(&out->text, buf_view(&s->token));
		chunks_cut(out, false);
		return;
	}
	for (size_t i = 0; i < s->set.n || i == 0; i += INTERVALS_PER_ENTRY) {
		size_t end =
			s->set.n - i < INTERVALS_PER_ENTRY ? s->set.n : i + INTERVALS_PER_ENTRY;

		encode_head(out, key, s);
		varint_put(&out->text, end - i);
		last = 0;
		for (size_t k = i; k < end; k++) {
			varint_put(&out->text, s->set.p[k].lo - last);
			varint_put(&out->text, s->set.p[k].hi - s->set.p[k].lo);
			last = s->set.p[k].hi;
		}
		chunks_cut(out, false);
	}
}

void positions_encode(struct positions *p, struct chunks *out)
{
	const struct map_slot *slot;
	size_t at = 0;

	while ((slot = map_next(&p->sources, &at))) {
		const struct source *s = slot->value.p;

		if (s->known)
			encode_source(out, slot->key, s);
	}
}

/* The key of an entry must be one that source_key makes. */
static bool parse_key(struct str key, struct str *tenant, struct str *id)
{
	struct reader in = {.at = key};

	*tenant = reader_str(&in, TENANT_MAX);
	*id = in.at;
	return !in.bad && id->n > 0;
}

static void decode_set(struct source *s, struct reader *in)
{
	uint64_t n = reader_number(in, INTERVALS_PER_ENTRY), last = 0;

	for (uint64_t i = 0; i < n && !in->bad; i++) {
		uint64_t gap = reader_varint(in), length = reader_varint(in);

		if (gap > UINT64_MAX - last || length > UINT64_MAX - last - gap) {
			in->bad = true;
			break;
		}
		if (!in->bad)
			interval_add(&s->set, last + gap, last + gap + length);
		last += gap + length;
	}
}

void positions_decode(struct positions *p, struct reader *in)
{
	struct str key = reader_str(in, SOURCE_KEY_MAX), kind = reader_bytes(in, 1), tenant, id;
	struct source *s;

	if (in->bad || !parse_key(key, &tenant, &id) || kind.p[0] < POSITION_MARK ||
		kind.p[0] > POSITION_RANGES) {
		in->bad = true;
		return;
	}
	lock_take(&p->lock);
	s = get_or_add(p, tenant, id, (enum position_kind)kind.p[0]);
	s->known = true;
	if (s->kind == POSITION_MARK && kind.p[0] == POSITION_RANGES)
		become_ranges(s);
	if (s->kind == POSITION_RANGES && kind.p[0] == POSITION_MARK) {
		/* An older one of it, from before ranges came. */
		uint64_t mark = reader_varint(in);

		if (mark)
			interval_add(&s->set, 0, mark - 1);
	} else if (s->kind != (enum position_kind)kind.p[0]) {
		in->bad = true;
	} else if (s->kind == POSITION_MARK) {
		uint64_t mark = reader_varint(in);

		s->mark = mark > s->mark ? mark : s->mark;
	} else if (s->kind == POSITION_TOKEN) {
		struct str token = reader_str(in, in->at.n);

		buf_clear(&s->token);
		buf_str(&s->token, token);
	} else {
		decode_set(s, in);
	}
	charge(p, s);
	lock_drop(&p->lock);
}
