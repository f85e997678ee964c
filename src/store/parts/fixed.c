/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fixed columns.  Each is turned into numbers of which most are alike before
 * numbers.h packs them: times into differences, divided by what divides all of
 * them (a log with milliseconds has only multiples of 1,000,000 ns); sequences
 * into how far they are from following each other; severities into whether they
 * differ from the usual one of the line's template; positions into how far they
 * are from where the line before and its newline say that the line must end.
 */
#include "store/parts/fixed.h"

#include <assert.h>

/* Gathering */

enum {
	ROW_BYTES = 3 * 8 + 4 * 4 + 2, /* of all columns below */
};

static void *resize(void *p, uint32_t cap, size_t size)
{
	return xrealloc(p, (size_t)cap * size);
}

void fixed_grow(struct fixed *f)
{
	uint32_t old = f->cap;

	if (f->n < f->cap)
		return;
	f->cap = old > 0 ? old * 2 : 256;
	f->timestamp = resize(f->timestamp, f->cap, sizeof *f->timestamp);
	f->seq = resize(f->seq, f->cap, sizeof *f->seq);
	f->position = resize(f->position, f->cap, sizeof *f->position);
	f->stream = resize(f->stream, f->cap, sizeof *f->stream);
	f->source = resize(f->source, f->cap, sizeof *f->source);
	f->length = resize(f->length, f->cap, sizeof *f->length);
	f->meta = resize(f->meta, f->cap, sizeof *f->meta);
	f->severity = resize(f->severity, f->cap, sizeof *f->severity);
	f->flags = resize(f->flags, f->cap, sizeof *f->flags);
	account_force(f->account, (uint64_t)(f->cap - old) * ROW_BYTES);
}

static void begin_zone(struct fixed *f, uint32_t stream)
{
	if (f->n_zones == f->cap_zones) {
		uint32_t old = f->cap_zones;

		f->cap_zones = old > 0 ? old * 2 : 16;
		f->zones = resize(f->zones, f->cap_zones, sizeof *f->zones);
		account_force(f->account, (uint64_t)(f->cap_zones - old) * sizeof *f->zones);
	}
	f->zones[f->n_zones++] = (struct fixed_zone){.stream = stream};
}

void fixed_make_zones(struct fixed *f)
{
	f->n_zones = 0;
	f->mixed = false;
	for (uint32_t i = 1; i < f->n && !f->mixed; i++)
		f->mixed = f->stream[i] < f->stream[i - 1];
	for (uint32_t i = 0; i < f->n; i++) {
		if (i == 0 || f->timestamp[i] < f->timestamp[i - 1] ||
			(!f->mixed && f->stream[i] != f->stream[i - 1]))
			begin_zone(f, f->mixed ? 0 : f->stream[i]);
		f->zones[f->n_zones - 1].n++;
	}
}

void fixed_clear(struct fixed *f)
{
	f->n = 0;
	f->n_zones = 0;
}

void fixed_fini(struct fixed *f)
{
	account_release(f->account,
		(uint64_t)f->cap * ROW_BYTES + (uint64_t)f->cap_zones * sizeof *f->zones);
	free(f->timestamp);
	free(f->seq);
	free(f->position);
	free(f->stream);
	free(f->source);
	free(f->length);
	free(f->meta);
	free(f->severity);
	free(f->flags);
	free(f->zones);
	*f = (struct fixed){.account = f->account};
}

static void go_bad(struct reader *in)
{
	in->bad = true;
	in->at = STR_NONE;
}

static void expect_end(struct reader *in)
{
	if (in->at.n > 0)
		go_bad(in);
}

/* Zones */

enum { ZONES_MIXED }; /* in place of the number of zones, which is more */

static void put_mixed(const struct fixed *f, struct buf *out, int level)
{
	uint64_t *v = xmalloc((size_t)f->n * sizeof *v);

	varint_put(out, ZONES_MIXED);
	varint_put(out, f->n_zones);
	for (uint32_t i = 0; i < f->n_zones; i++)
		v[i] = f->zones[i].n - 1;
	numbers_put(out, v, f->n_zones, level);
	for (uint32_t i = 0; i < f->n; i++)
		v[i] = f->stream[i];
	numbers_put(out, v, f->n, level);
	free(v);
}

void fixed_put_zones(const struct fixed *f, struct buf *out, int level)
{
	uint64_t *v;
	uint32_t last = 0;

	if (f->mixed) {
		put_mixed(f, out, level);
		return;
	}
	v = xmalloc((size_t)f->n_zones * sizeof *v);
	varint_put(out, f->n_zones);
	for (uint32_t i = 0; i < f->n_zones; i++) {
		assert(f->zones[i].stream >= last && f->zones[i].n > 0);
		v[i] = f->zones[i].stream - last;
		last = f->zones[i].stream;
	}
	numbers_put(out, v, f->n_zones, level);
	for (uint32_t i = 0; i < f->n_zones; i++)
		v[i] = f->zones[i].n - 1;
	numbers_put(out, v, f->n_zones, level);
	free(v);
}

static void get_streams(struct reader *in, uint32_t n, uint32_t n_streams, uint32_t *streams)
{
	uint64_t *v = xmalloc((size_t)n * sizeof *v);
	uint8_t *seen = xcalloc((size_t)n_streams + 1, 1);
	uint32_t n_seen = 0;

	numbers_get(in, v, n);
	for (uint32_t i = 0; i < n && !in->bad; i++) {
		if (v[i] >= n_streams) {
			go_bad(in);
			break;
		}
		streams[i] = (uint32_t)v[i];
		n_seen += !seen[v[i]];
		seen[v[i]] = 1;
	}
	/* Every stream occurs. */
	if (n_seen != n_streams)
		go_bad(in);
	free(seen);
	free(v);
}

/* Rows and, unless they are mixed, streams of the zones. */
static void get_zones(struct reader *in, uint32_t n, uint32_t n_streams, bool mixed,
	struct fixed_zone *zones, uint32_t n_zones)
{
	uint64_t *v = xcalloc(2 * (size_t)n_zones, sizeof *v), *rows = v + n_zones;
	uint64_t stream = 0, left = n;

	if (!mixed)
		numbers_get(in, v, n_zones);
	numbers_get(in, rows, n_zones);
	for (uint32_t i = 0; i < n_zones && !in->bad; i++) {
		/* Every stream occurs. */
		if (v[i] > (i > 0) || rows[i] >= left) {
			go_bad(in);
			break;
		}
		stream += v[i];
		left -= rows[i] + 1;
		zones[i] = (struct fixed_zone){(uint32_t)stream, (uint32_t)rows[i] + 1};
	}
	if (left > 0 || (!mixed && stream + 1 != n_streams))
		go_bad(in);
	free(v);
}

uint32_t fixed_get_zones(struct reader *in, uint32_t n, uint32_t n_streams,
	struct fixed_zone **zones, uint32_t **streams)
{
	uint32_t n_zones = (uint32_t)reader_number(in, n);
	bool mixed = n_zones == ZONES_MIXED;

	if (mixed)
		n_zones = (uint32_t)reader_number(in, n);
	*zones = xcalloc((size_t)n_zones + 1, sizeof **zones);
	*streams = NULL;
	get_zones(in, n, n_streams, mixed, *zones, n_zones);
	if (mixed && !in->bad) {
		*streams = xmalloc((size_t)n * sizeof **streams);
		get_streams(in, n, n_streams, *streams);
	}
	expect_end(in);
	return in->bad ? 0 : n_zones;
}

/* Times */

static uint64_t gcd(uint64_t a, uint64_t b)
{
	while (b > 0) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

static int64_t min_time(const struct fixed *f)
{
	int64_t min = INT64_MAX;

	for (uint32_t i = 0; i < f->n; i++)
		min = f->timestamp[i] < min ? f->timestamp[i] : min;
	return min;
}

/* Differences to the row before of the zone, of its first row to the smallest time. */
static void time_differences(const struct fixed *f, int64_t min, uint64_t *v)
{
	for (uint32_t z = 0, i = 0; z < f->n_zones; z++) {
		int64_t last = min;

		for (uint32_t k = 0; k < f->zones[z].n; k++, i++) {
			assert(f->timestamp[i] >= last);
			v[i] = (uint64_t)f->timestamp[i] - (uint64_t)last;
			last = f->timestamp[i];
		}
	}
}

void fixed_put_times(const struct fixed *f, struct buf *out, int level)
{
	uint64_t *v = xmalloc((size_t)f->n * sizeof *v), unit = 0;
	int64_t min = min_time(f);

	time_differences(f, min, v);
	for (uint32_t i = 0; i < f->n && unit != 1; i++)
		unit = gcd(v[i], unit);
	if (unit == 0)
		unit = 1;
	for (uint32_t i = 0; i < f->n && unit > 1; i++)
		v[i] /= unit;
	varint_put(out, zigzag(min));
	varint_put(out, unit);
	numbers_put(out, v, f->n, level);
	free(v);
}

void fixed_get_times(struct reader *in, const struct fixed_zone *zones, uint32_t n_zones,
	uint32_t n, int64_t *out)
{
	uint64_t min = (uint64_t)reader_signed(in), unit = reader_varint(in);
	uint64_t *v = (uint64_t *)out;

	numbers_get(in, v, n);
	expect_end(in);
	for (uint32_t z = 0, i = 0; z < n_zones; z++) {
		uint64_t last = min;

		for (uint32_t k = 0; k < zones[z].n; k++, i++) {
			last += v[i] * unit;
			v[i] = last;
		}
	}
}

/* Sequences */

void fixed_put_seqs(const struct fixed *f, struct buf *out, int level)
{
	uint64_t *v = xmalloc((size_t)f->n * sizeof *v), min = UINT64_MAX;

	for (uint32_t i = 0; i < f->n; i++)
		min = f->seq[i] < min ? f->seq[i] : min;
	for (uint32_t z = 0, i = 0; z < f->n_zones; z++) {
		uint64_t next = min;

		for (uint32_t k = 0; k < f->zones[z].n; k++, i++) {
			v[i] = zigzag((int64_t)(f->seq[i] - next));
			next = f->seq[i] + 1;
		}
	}
	varint_put(out, min);
	numbers_put(out, v, f->n, level);
	free(v);
}

void fixed_get_seqs(struct reader *in, const struct fixed_zone *zones, uint32_t n_zones, uint32_t n,
	uint64_t *out)
{
	uint64_t min = reader_varint(in);

	numbers_get(in, out, n);
	expect_end(in);
	for (uint32_t z = 0, i = 0; z < n_zones; z++) {
		uint64_t next = min;

		for (uint32_t k = 0; k < zones[z].n; k++, i++) {
			out[i] = next + (uint64_t)unzigzag(out[i]);
			next = out[i] + 1;
		}
	}
}

/* Severities and flags */

enum bytes_form { BYTES_GIVEN, BYTES_BY_TEMPLATE };

/* By majority vote (Boyer and Moore): what more than half of a template's rows have is found. */
static void usual_bytes(const uint8_t *v, uint32_t n, const uint32_t *template_of, uint64_t *usual,
	size_t n_templates)
{
	uint32_t *votes = xcalloc(n_templates + 1, sizeof *votes);

	memset(usual, 0, (n_templates + 1) * sizeof *usual);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t t = template_of[i];

		if (votes[t] == 0)
			usual[t] = v[i];
		if (usual[t] == v[i])
			votes[t]++;
		else
			votes[t]--;
	}
	free(votes);
}

void fixed_put_bytes(const uint8_t *v, uint32_t n, const uint32_t *template_of, size_t n_templates,
	struct buf *out, int level)
{
	uint64_t *wide = xmalloc(((size_t)n + n_templates + 1) * sizeof *wide), *usual = wide + n;
	struct buf given = {0}, by_template = {0};

	for (uint32_t i = 0; i < n; i++)
		wide[i] = v[i];
	buf_char(&given, BYTES_GIVEN);
	numbers_put(&given, wide, n, level);
	if (given.n > 8) {
		usual_bytes(v, n, template_of, usual, n_templates);
		for (uint32_t i = 0; i < n; i++)
			wide[i] = v[i] ^ usual[template_of[i]];
		buf_char(&by_template, BYTES_BY_TEMPLATE);
		numbers_put(&by_template, usual, n_templates + 1, level);
		numbers_put(&by_template, wide, n, level);
	}
	buf_str(out,
		buf_view(by_template.n > 0 && by_template.n < given.n ? &by_template : &given));
	buf_fini(&given);
	buf_fini(&by_template);
	free(wide);
}

int fixed_get_bytes(struct reader *in, uint32_t n, size_t n_templates, fixed_templates *templates,
	void *ctx, uint8_t *out, struct error *e)
{
	bool by_template = reader_number(in, BYTES_BY_TEMPLATE) == BYTES_BY_TEMPLATE;
	uint64_t *usual = NULL, *v = xmalloc((size_t)n * sizeof *v);
	const uint16_t *of = NULL;
	int r = 0;

	if (by_template && (r = templates(ctx, &of, e)) == 0) {
		usual = xmalloc((n_templates + 1) * sizeof *usual);
		numbers_get(in, usual, n_templates + 1);
	}
	if (r == 0) {
		numbers_get(in, v, n);
		expect_end(in);
		for (uint32_t i = 0; i < n; i++)
			out[i] = (uint8_t)(v[i] ^ (usual ? usual[of[i]] : 0));
	}
	free(usual);
	free(v);
	return r;
}

/* Sources and positions */

/* The position of the row before, by source, of one zone at a time. */
struct chains {
	uint64_t *last;
	uint32_t *zone; /* 1 + the zone of `last`; 0 before the first */
};

static struct chains chains_new(uint32_t n_sources)
{
	return (struct chains){
		.last = xcalloc((size_t)n_sources + 1, sizeof(uint64_t)),
		.zone = xcalloc((size_t)n_sources + 1, sizeof(uint32_t)),
	};
}

static void chains_free(struct chains *c)
{
	free(c->last);
	free(c->zone);
}

static uint64_t foretold(
	struct chains *c, uint32_t zone, enum fixed_foretold form, uint32_t source, uint32_t length)
{
	uint64_t last = c->zone[source] == zone + 1 ? c->last[source] : 0;

	switch (form) {
	case FORETOLD_NEXT: return last + 1;
	case FORETOLD_OFFSET: return last + length + 1;
	default: return 0;
	}
}

static void chain(struct chains *c, uint32_t zone, uint32_t source, uint64_t position)
{
	c->last[source] = position;
	c->zone[source] = zone + 1;
}

/* The residues of a zone's rows, which begin at `from`; returns how often they change. */
static uint32_t residues(const struct fixed *f, struct chains *c, uint32_t zone, uint32_t from,
	enum fixed_foretold form, uint64_t *v)
{
	uint32_t changes = 0;

	for (uint32_t i = from; i < from + f->zones[zone].n; i++) {
		uint64_t told = foretold(c, zone, form, f->source[i], f->length[i]);

		v[i] = zigzag((int64_t)(f->position[i] - told));
		changes += i > from && v[i] != v[i - 1];
		chain(c, zone, f->source[i], f->position[i]);
	}
	/* The next try begins anew. */
	for (uint32_t i = from; i < from + f->zones[zone].n; i++)
		c->zone[f->source[i]] = 0;
	return changes;
}

static enum fixed_foretold choose_form(
	const struct fixed *f, struct chains *c, uint32_t zone, uint32_t from, uint64_t *v)
{
	uint32_t least = UINT32_MAX;
	enum fixed_foretold best = FORETOLD_NOT;

	for (int form = 0; form < N_FORETOLD; form++) {
		uint32_t changes = residues(f, c, zone, from, form, v);

		if (changes < least) {
			least = changes;
			best = form;
		}
	}
	return best;
}

static bool has_sources(const struct fixed *f)
{
	for (uint32_t i = 0; i < f->n; i++)
		if (f->source[i] > 0 || f->position[i] > 0)
			return true;
	return false;
}

void fixed_put_sources(const struct fixed *f, uint32_t n_sources, struct buf *out, int level)
{
	struct chains c;
	uint64_t *v, *forms;

	if (!has_sources(f))
		return;
	c = chains_new(n_sources);
	v = xmalloc(((size_t)f->n + f->n_zones) * sizeof *v);
	forms = v + f->n;
	for (uint32_t i = 0; i < f->n; i++)
		v[i] = f->source[i];
	numbers_put(out, v, f->n, level);
	for (uint32_t z = 0, from = 0; z < f->n_zones; from += f->zones[z].n, z++) {
		forms[z] = choose_form(f, &c, z, from, v);
		residues(f, &c, z, from, forms[z], v);
	}
	numbers_put(out, forms, f->n_zones, level);
	numbers_put(out, v, f->n, level);
	chains_free(&c);
	free(v);
}

/* Turn the residues in `position` into positions. */
static void chain_up(const struct fixed_zone *zones, uint32_t n_zones, const uint64_t *forms,
	const uint32_t *length, const uint32_t *source, uint32_t n_sources, uint64_t *position)
{
	struct chains c = chains_new(n_sources);

	for (uint32_t z = 0, i = 0; z < n_zones; z++) {
		for (uint32_t k = 0; k < zones[z].n; k++, i++) {
			uint64_t told = foretold(&c, z, (enum fixed_foretold)forms[z], source[i],
				length ? length[i] : 0);

			position[i] = told + (uint64_t)unzigzag(position[i]);
			chain(&c, z, source[i], position[i]);
		}
	}
	chains_free(&c);
}

int fixed_get_sources(struct reader *in, const struct fixed_zone *zones, uint32_t n_zones,
	uint32_t n, uint32_t n_sources, fixed_lengths *lengths, void *ctx, uint32_t *source,
	uint64_t *position, struct error *e)
{
	const uint32_t *length = NULL;
	uint64_t *forms;
	bool need = false;
	int r = 0;

	memset(source, 0, (size_t)n * sizeof *source);
	memset(position, 0, (size_t)n * sizeof *position);
	if (in->at.n == 0)
		return 0;
	forms = xmalloc((size_t)n_zones * sizeof *forms);
	numbers_get(in, position, n);
	for (uint32_t i = 0; i < n; i++) {
		if (position[i] > n_sources)
			go_bad(in);
		else
			source[i] = (uint32_t)position[i];
	}
	numbers_get(in, forms, n_zones);
	for (uint32_t z = 0; z < n_zones; z++) {
		if (forms[z] >= N_FORETOLD)
			go_bad(in);
		need = need || forms[z] == FORETOLD_OFFSET;
	}
	numbers_get(in, position, n);
	expect_end(in);
	if (!in->bad && need)
		r = lengths(ctx, &length, e);
	if (!in->bad && r == 0)
		chain_up(zones, n_zones, forms, length, source, n_sources, position);
	free(forms);
	return r;
}
