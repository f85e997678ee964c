/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all forms share, and the choice among them.
 *
 * `auto` first believes the content type, as far as it says something: a body
 * that is called JSON or protobuf and is none fails, so that it is seen.
 * text/plain and application/octet-stream say nothing, as client libraries set
 * them by themselves.  Then the body is tried, and what is nothing else is a
 * line.
 */
#include "proto/message.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/codec.h"
#include "codec/rune.h"
#include "proto/message_core.h"
#include "record/discover.h"
#include "record/severity.h"
#include "record/time.h"
#include "record/zone.h"

enum {
	MAX_LINE = 256 << 10,
	MAX_BODY = 16 << 20,
	KEEP_BYTES = 1 << 20,
};

static const int64_t second_ns = 1000000000;

const char *const message_forms[] = {
	[MESSAGE_AUTO] = "auto",
	[MESSAGE_TEXT] = "text",
	[MESSAGE_JSON] = "json",
	[MESSAGE_LOKI] = "loki",
	[MESSAGE_OTLP] = "otlp",
	[MESSAGE_PLAIN] = "plain",
	NULL,
};

static struct json_parser *parser_new(const struct message_decoder *d)
{
	return d->o.account ? json_parser_new_charged(d->o.account) : json_parser_new();
}

struct message_decoder *message_decoder_new(const struct message_options *o)
{
	struct message_decoder *d = xcalloc(1, sizeof *d);

	d->o = *o;
	if (d->o.max_line == 0)
		d->o.max_line = MAX_LINE;
	if (d->o.max_body == 0)
		d->o.max_body = MAX_BODY;
	d->meta.names_free = true;
	d->parser = parser_new(d);
	return d;
}

void message_decoder_free(struct message_decoder *d)
{
	if (!d)
		return;
	json_parser_free(d->parser);
	labels_builder_fini(&d->meta);
	buf_fini(&d->inflated);
	buf_fini(&d->meta_bytes);
	buf_fini(&d->name);
	buf_fini(&d->clean);
	buf_fini(&d->text);
	free(d);
}

/* ---- times ---- */

static int zone_at(struct message_decoder *d, int64_t ns)
{
	int64_t quarter = ns / (900 * second_ns) - (ns % (900 * second_ns) < 0);
	/* A day has 96: what to_utc asks for, a day before and after, is not in the same place. */
	struct message_zone *z = &d->zones[(uint64_t)(quarter + quarter / 96) % 16];

	if (!z->known || z->quarter != quarter) {
		z->quarter = quarter;
		z->seconds = d->o.zone ? zone_offset(d->o.zone, ns) : time_local_zone(ns);
		z->known = true;
	}
	return z->seconds;
}

static uint64_t distance(int64_t a, int64_t b)
{
	return a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a;
}

/* The instant of a clock on the wall, told as if it were UTC.  In the hour that is there twice a
 * year it is the one nearer to when the message was sent; in the one that is skipped the clock was
 * not yet set. */
static int64_t to_utc(struct message_decoder *d, int64_t wall)
{
	const int64_t day = 86400 * second_ns,
		      sent = d->m->sent_ns ? d->m->sent_ns : d->m->observed_ns;
	int64_t before, after;
	bool before_fits, after_fits;

	if (wall < INT64_MIN + 2 * day || wall > INT64_MAX - 2 * day)
		return wall;
	before = wall - zone_at(d, wall - day) * second_ns;
	after = wall - zone_at(d, wall + day) * second_ns;
	before_fits = wall - zone_at(d, before) * second_ns == before;
	after_fits = wall - zone_at(d, after) * second_ns == after;
	if (before_fits && after_fits)
		return distance(before, sent) <= distance(after, sent) ? before : after;
	return after_fits ? after : before;
}

size_t message_read_time(struct message_decoder *d, struct str s, int64_t *out)
{
	int64_t observed = d->m->observed_ns, east;
	size_t n = time_read(s, observed, 0, out);

	/* One that names its zone is the same wherever it is read. */
	if (n && time_read(s, observed, 1, &east) && east != *out)
		*out = to_utc(d, *out);
	return n;
}

bool message_detect_time(struct message_decoder *d, struct str line, int64_t *out)
{
	int64_t observed = d->m->observed_ns, east;

	if (!time_detect(line, observed, 0, out))
		return false;
	if (time_detect(line, observed, 1, &east) && east != *out)
		*out = to_utc(d, *out);
	return true;
}

void message_set_time(const struct message_decoder *d, struct record *r, bool told, int64_t ns)
{
	if (told) {
		r->timestamp = ns;
	} else if (d->m->sent_ns) {
		r->timestamp = d->m->sent_ns;
	} else {
		r->timestamp = d->m->observed_ns;
		r->flags |= RECORD_TIME_OBSERVED;
	}
}

/* ---- telling ---- */

static void find_level(const struct message_decoder *d, struct record *r)
{
	const struct discover level = {.level = d->o.detect_level};

	if (r->severity == SEV_UNKNOWN)
		discover_level(&level, STR_NONE, r);
	else if (d->o.detect_level)
		r->flags |= RECORD_LEVEL_DETECTED;
}

int message_tell(struct message_decoder *d, struct message_record *r)
{
	char length[24];
	int code;

	if (r->record.body.n > d->o.max_line) {
		snprintf(length, sizeof length, "%zu", r->record.body.n);
		r->record.body = rune_fit(r->record.body, d->o.max_line);
		r->record.flags |= RECORD_CUT;
		labels_builder_set(&d->meta, STR("truncated_from"), str_c(length), NULL);
	}
	buf_clear(&d->meta_bytes);
	if (d->meta.n)
		labels_builder_write(&d->meta, &d->meta_bytes);
	r->record.meta = buf_view(&d->meta_bytes);
	find_level(d, &r->record);
	d->n_told++;
	code = d->each(d->arg, r);
	labels_builder_clear(&d->meta);
	return code;
}

int message_plain(struct message_decoder *d)
{
	struct message_record r = {0};
	int64_t ns = 0;
	bool told;

	r.record.body = d->body;
	if (str_ends(r.record.body, STR("\n")))
		r.record.body.n--;
	if (str_ends(r.record.body, STR("\r")))
		r.record.body.n--;
	told = message_detect_time(d, r.record.body, &ns);
	message_set_time(d, &r.record, told, ns);
	return message_tell(d, &r);
}

/* ---- the choice ---- */

static int refuse(struct error *e, const char *what)
{
	return error_set(e, ERR_ARG, "%s", what);
}

static int tell_json(struct message_decoder *d, struct error *e)
{
	enum message_shape shape;
	int r = message_json_read(d, &shape, e);

	if (r < 0)
		return r;
	if (shape == SHAPE_OTHER)
		return refuse(e, "expected an object, a list of objects, or an object a line");
	return message_json_tell(d);
}

/* What is called JSON, or looks like it.  An object that only looks like a push, as it has no
 * entries, is one like others: no message may be without a trace for its looks. */
static int tell_shape(struct message_decoder *d, enum message_shape shape, struct error *e)
{
	int r;

	if (shape == SHAPE_OTHER)
		return message_plain(d);
	if (shape == SHAPE_OBJECTS)
		return message_json_tell(d);
	r = shape == SHAPE_LOKI ? message_loki(d, e) : message_otlp(d, e);
	if (r < 0 || d->n_told || (r = message_json_read(d, &shape, e)) < 0)
		return r;
	return message_json_tell(d);
}

static int tell_called_json(struct message_decoder *d, struct error *e)
{
	enum message_shape shape;
	int r = message_json_read(d, &shape, e);

	return r < 0 ? r : tell_shape(d, shape, e);
}

/* An error of a form that the body only looks like is none; one of `each` is, and a wish to try
 * again later too. */
static bool not_it(int r)
{
	return r == ERR_ARG || r == ERR_LIMIT || r == ERR_CORRUPT;
}

static int tell_lookalike(struct message_decoder *d, struct error *e)
{
	struct str head = str_trim(str_sub(d->body, 0, 4096));
	enum message_shape shape;
	int r = ERR_ARG;

	if (d->body.n <= d->o.max_body) {
		if (message_looks_like_protobuf(d->body))
			r = message_protobuf(d, e);
		else if (head.n && (head.p[0] == '{' || head.p[0] == '[') &&
			 (r = message_json_read(d, &shape, e)) == 0)
			r = tell_shape(d, shape, e);
		if (r == 0 || d->n_told || !not_it(r))
			return r;
	}
	r = message_text(d, true, e);
	if (r == 0 || d->n_told || !not_it(r))
		return r;
	return message_plain(d);
}

static bool is_any(struct str s, const char *const names[])
{
	for (; *names; names++)
		if (str_eq_nocase(s, str_c(*names)))
			return true;
	return false;
}

static bool called_json(struct str type)
{
	static const char *const names[] = {"application/json", "text/json", "application/x-ndjson",
		"application/ndjson", "application/jsonl", "application/json-lines",
		"application/x-jsonlines", NULL};

	return is_any(type, names) ||
	       (type.n > 5 && str_eq_nocase(str_sub(type, type.n - 5, type.n), STR("+json")));
}

static bool called_protobuf(struct str type)
{
	static const char *const names[] = {"application/x-protobuf", "application/protobuf",
		"application/vnd.google.protobuf", NULL};

	return is_any(type, names);
}

static int tell_auto(struct message_decoder *d, struct error *e)
{
	struct str rest = d->m->content_type, type = str_trim(str_cut(&rest, ';'));
	int r;

	if (called_json(type) || called_protobuf(type)) {
		if (d->body.n > d->o.max_body)
			return error_set(e, ERR_LIMIT, "the body has %zu bytes: at most %llu",
				d->body.n, (unsigned long long)d->o.max_body);
		r = called_json(type) ? tell_called_json(d, e) : message_protobuf(d, e);
		return r < 0 ? error_wrap(e, r, "it is called %.*s", STR_ARG(str_sub(type, 0, 100)))
			     : r;
	}
	return tell_lookalike(d, e);
}

static int tell_form(struct message_decoder *d, struct error *e)
{
	switch ((enum message_form)d->o.form) {
	case MESSAGE_PLAIN: return message_plain(d);
	case MESSAGE_TEXT: return message_text(d, false, e);
	case MESSAGE_AUTO: return tell_auto(d, e);
	case MESSAGE_JSON:
	case MESSAGE_LOKI:
	case MESSAGE_OTLP: break;
	}
	if (d->body.n > d->o.max_body)
		return error_set(e, ERR_LIMIT, "the body has %zu bytes: at most %llu", d->body.n,
			(unsigned long long)d->o.max_body);
	if (d->o.form == MESSAGE_OTLP)
		return message_otlp(d, e);
	return d->o.form == MESSAGE_JSON ? tell_json(d, e) : message_loki(d, e);
}

/* ---- the way in ---- */

/* An encoding that is none of these is the name of a charset. */
static int decompress(struct message_decoder *d, struct error *e)
{
	static const char *const gzips[] = {"gzip", "x-gzip", "deflate", NULL};
	static const char *const others[] = {"br", "bzip2", "compress", "lz4", "lzma", "lzo", "xz",
		"x-bzip2", "x-lz4", "x-lzma", "x-xz", "x-compress", NULL};
	struct str name = str_trim(d->m->content_encoding);
	int r;

	buf_clear(&d->inflated);
	if (is_any(name, gzips))
		r = gzip_unpack(&d->inflated, d->body, d->o.max_body, e);
	else if (str_eq_nocase(name, STR("zstd")))
		r = zstd_unpack(&d->inflated, d->body, d->o.max_body, e);
	else if (str_eq_nocase(name, STR("snappy")))
		r = snappy_unpack(&d->inflated, d->body, d->o.max_body, e);
	else if (is_any(name, others))
		return error_set(e, ERR_ARG,
			"content encoding %.*s is not understood: gzip, deflate, zstd and snappy "
			"are",
			STR_ARG(name));
	else
		return 0;
	if (r < 0)
		return error_wrap(e, r, "content encoding %.*s", STR_ARG(name));
	d->body = buf_view(&d->inflated);
	return 0;
}

/* A large message is rare: what it took is not kept for small ones. */
static void drop_memory(struct message_decoder *d)
{
	if (d->body.n <= KEEP_BYTES && d->inflated.cap <= KEEP_BYTES)
		return;
	buf_fini(&d->inflated);
	buf_fini(&d->text);
	buf_fini(&d->meta_bytes);
	json_parser_free(d->parser);
	d->parser = parser_new(d);
}

int message_decode(struct message_decoder *d, const struct message *m,
	int (*each)(void *arg, const struct message_record *r), void *arg, struct error *e)
{
	int r;

	assert(d->o.form >= MESSAGE_AUTO && d->o.form <= MESSAGE_PLAIN);
	d->m = m;
	d->body = m->body;
	d->each = each;
	d->arg = arg;
	d->n_told = 0;
	labels_builder_clear(&d->meta);
	if ((r = decompress(d, e)) == 0)
		r = tell_form(d, e);
	drop_memory(d);
	return r;
}
