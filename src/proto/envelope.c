/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  A recipe is one text, so that lines of one kind share it and it
 * compresses to nothing:
 *
 *   docker stdout                       the usual line: all else is in the record
 *   cri stdout part n=8192; n=100 t=23  two lines: what is not said is as in the one before
 *   utf-16le                            an encoding of iconv
 *
 * Lines are kept apart by "; ", words by blanks.  A word is a flag, or a name,
 * '=' and a value; literals tell their length ("h=3:abc"), so any bytes can
 * stand in them.
 *
 * The record's position is the end of its last line.  All lines are made first
 * and then placed from there backwards, so a record whose lines lie among
 * those of others needs no knowledge of them but the gaps.
 */
#include "proto/envelope.h"

#include <errno.h>
#include <iconv.h>
#include <stdlib.h>
#include <string.h>

#include "record/time.h"

enum {
	REBUILT_MAX = 64 << 20, /* bytes of a unit */
	NAME_MAX_BYTES = 64,
	LINES_MAX = 1 << 20,
};

static const char *const eol_text[] = {"\n", "\r\n", ""};

/* Rendering one line. */

static void put_time(const struct envelope_line *l, struct buf *out)
{
	size_t from = out->n;
	int64_t east = 0, ns;
	struct str zone = l->zone.p ? l->zone : STR("Z");

	if (zone.n == 6) {
		east = ((zone.p[1] - '0') * 10 + zone.p[2] - '0') * 3600 +
		       ((zone.p[4] - '0') * 10 + zone.p[5] - '0') * 60;
		if (zone.p[0] == '-')
			east = -east;
	}
	if (__builtin_add_overflow(l->time, east * 1000000000, &ns))
		ns = l->time;
	time_format(out, ns);
	out->n--; /* its Z */
	if (l->digits >= 0) {
		/* "2026-08-21T10:00:00" and then as many digits as are asked for. */
		size_t have = out->n - from > 20 ? out->n - from - 20 : 0;

		if (l->digits == 0) {
			out->n = from + 19;
		} else {
			if (have == 0)
				buf_char(out, '.');
			for (; have < (size_t)l->digits; have++)
				buf_char(out, '0');
			out->n = from + 20 + (size_t)l->digits;
		}
	}
	buf_str(out, zone);
}

static const char *stream_name(enum container_stream s)
{
	return s == STREAM_STDERR ? "stderr" : "stdout";
}

static void put_head(const struct envelope_line *l, struct buf *out)
{
	if (l->head.p) {
		buf_str(out, l->head);
	} else if (l->kind == ENVELOPE_DOCKER) {
		buf_c(out, "{\"log\":\"");
	} else if (l->kind == ENVELOPE_CRI) {
		put_time(l, out);
		buf_char(out, ' ');
		buf_c(out, stream_name(l->stream));
		buf_c(out, l->partial ? " P " : " F ");
	}
}

static void put_foot(const struct envelope_line *l, struct buf *out)
{
	if (l->foot.p) {
		buf_str(out, l->foot);
	} else if (l->kind == ENVELOPE_DOCKER) {
		buf_c(out, "\",\"stream\":\"");
		buf_c(out, stream_name(l->stream));
		buf_c(out, "\",");
		if (l->attrs.n) {
			buf_c(out, "\"attrs\":");
			buf_str(out, l->attrs);
			buf_char(out, ',');
		}
		buf_c(out, "\"time\":\"");
		put_time(l, out);
		buf_c(out, "\"}");
	}
}

/* The line without its newline; `text` is what stands in the body. */
static void put_line(const struct envelope_line *l, struct str text, bool last, struct buf *out)
{
	put_head(l, out);
	if (l->kind == ENVELOPE_DOCKER) {
		json_escape(text, l->manner, out);
		if (last && l->cr)
			buf_c(out, "\\r");
		if (last && !l->open)
			buf_c(out, "\\n");
	} else {
		buf_str(out, text);
		if (last && l->cr)
			buf_char(out, '\r');
	}
	put_foot(l, out);
}

/* Writing. */

static bool zone_plain(struct str z)
{
	static const char form[] = "s00:00";

	if (str_eq(z, STR("Z")))
		return true;
	if (z.n != 6 || (z.p[0] != '+' && z.p[0] != '-'))
		return false;
	for (size_t i = 1; i < 6; i++) {
		if (form[i] == ':' ? z.p[i] != ':' : z.p[i] < '0' || z.p[i] > '9')
			return false;
	}
	return true;
}

void envelope_line_of(const struct container_line *c, bool docker, struct envelope_line *out)
{
	struct str fraction = c->time_text;
	size_t n = 0;

	*out = (struct envelope_line){.kind = docker ? ENVELOPE_DOCKER : ENVELOPE_CRI,
		.stream = c->stream,
		.partial = !docker && c->partial,
		.digits = DIGITS_TRIMMED,
		.attrs = c->attrs,
		.time = c->time,
		.zone = STR_INIT("Z")};
	if (fraction.n < 20)
		return;
	fraction = str_sub(fraction, 19, fraction.n);
	if (fraction.p[0] == '.') {
		for (n = 1; n < fraction.n && fraction.p[n] >= '0' && fraction.p[n] <= '9';)
			n++;
		/* Runtimes trim zeros, or write nine digits: others may be either. */
		if (n - 1 == 9 ? !docker : fraction.p[n - 1] == '0')
			out->digits = (int)n - 1;
	}
	if (zone_plain(str_sub(fraction, n, fraction.n)))
		out->zone = str_sub(fraction, n, fraction.n);
}

static bool makes(const struct envelope_line *l, struct str text, struct str line, struct buf *tmp)
{
	buf_clear(tmp);
	put_line(l, text, false, tmp);
	return str_eq(buf_view(tmp), line);
}

bool envelope_usual(const struct container_line *c, bool docker, struct str text, struct str line,
	struct buf *tmp, struct str *body, struct str *recipe)
{
	static const struct str recipes[2][2] = {{STR_INIT("cri stdout"), STR_INIT("cri stderr")},
		{STR_INIT("docker stdout"), STR_INIT("docker stderr")}};
	struct envelope_line l;

	if (c->time_text.n == 0 || c->stream == STREAM_NONE || c->partial || c->attrs.n)
		return false;
	envelope_line_of(c, docker, &l);
	if (!str_eq(l.zone, STR("Z")))
		return false;
	/* What a recipe without d= says. */
	if (!docker)
		l.digits = 9;
	else if (l.digits != DIGITS_TRIMMED)
		return false;
	/* Docker's newline is in the line; a carriage return would have to be told. */
	text.n -= docker;
	if (text.n > 0 && text.p[text.n - 1] == '\r')
		return false;
	buf_clear(tmp);
	if (docker) {
		put_line(&l, text, true, tmp);
		if (!str_eq(buf_view(tmp), line))
			return false;
	} else {
		/* Behind the head the text is a view of the line. */
		put_head(&l, tmp);
		if (!str_eq(buf_view(tmp), str_sub(line, 0, c->head)))
			return false;
	}
	*body = text;
	*recipe = recipes[docker][c->stream == STREAM_STDERR];
	return true;
}

void envelope_line_exact(
	struct envelope_line *l, struct str text, struct str line, const struct container_line *c)
{
	static const unsigned manners[] = {0, JSON_REPLACED, JSON_SHORT, JSON_SHORT | JSON_PLAIN,
		JSON_SHORT | JSON_REPLACED, JSON_PLAIN};
	struct envelope_line literal = *l;
	struct buf tmp = {0};
	bool docker = l->kind == ENVELOPE_DOCKER;

	literal.head = str_sub(line, 0, c->head);
	literal.foot = docker ? str_sub(line, line.n - c->foot, line.n) : STR_NONE;
	for (size_t i = 0; i < (docker ? sizeof(manners) / sizeof(*manners) : 1); i++) {
		l->manner = literal.manner = manners[i];
		if (makes(l, text, line, &tmp))
			goto done;
		if (makes(&literal, text, line, &tmp)) {
			*l = literal;
			goto done;
		}
	}
	*l = (struct envelope_line){.kind = l->kind,
		.literal = true,
		.head = line,
		.stream = l->stream,
		.time = l->time,
		.zone = l->zone,
		.attrs = l->attrs,
		.digits = l->digits};
done:
	buf_fini(&tmp);
}

static void put_literal(char name, struct str s, struct buf *out)
{
	buf_printf(out, " %c=%zu:", name, s.n);
	buf_str(out, s);
}

static void put_number(const char *name, uint64_t n, struct buf *out)
{
	buf_c(out, name);
	buf_u64(out, n);
}

/* What the next line takes over from this one. */
static void put_changes(
	const struct envelope_line *l, const struct envelope_line *before, struct buf *out)
{
	if (l->kind != ENVELOPE_RAW && (!before || l->stream != before->stream)) {
		buf_char(out, ' ');
		buf_c(out, stream_name(l->stream));
	}
	if (l->kind == ENVELOPE_RAW)
		return;
	if (l->digits != (before ? before->digits : l->kind == ENVELOPE_CRI ? 9 : DIGITS_TRIMMED)) {
		if (l->digits == DIGITS_TRIMMED)
			buf_c(out, " d=trim");
		else
			buf_printf(out, " d=%d", l->digits);
	}
	if (!str_eq(l->zone, before ? before->zone : STR("Z")))
		buf_printf(out, " z=%.*s", STR_ARG(l->zone));
	if (l->kind == ENVELOPE_DOCKER && l->manner != (before ? before->manner : 0))
		buf_printf(out, " x=%u", l->manner);
	if (l->kind == ENVELOPE_DOCKER && !str_eq(l->attrs, before ? before->attrs : STR_NONE))
		put_literal('a', l->attrs, out);
}

void envelope_write(const struct envelope_line *lines, size_t n, int64_t timestamp, struct buf *out)
{
	static const char *const kinds[] = {" raw", " docker", " cri"};
	int64_t time = timestamp, delta;

	for (size_t i = 0; i < n && out->n <= ENVELOPE_MAX; i++) {
		const struct envelope_line *l = &lines[i], *before = i > 0 ? &lines[i - 1] : NULL;
		size_t from;

		if (before && before->kind != l->kind)
			before = NULL;
		if (i > 0)
			buf_c(out, ";");
		from = out->n;
		if (!before)
			buf_c(out, kinds[l->kind] + (i == 0));
		put_changes(l, before, out);
		if (l->partial)
			buf_c(out, " part");
		if (l->open)
			buf_c(out, " open");
		if (l->cr)
			buf_c(out, " cr");
		if (l->eol != EOL_LF)
			buf_printf(out, " e=%s", l->eol == EOL_CRLF ? "crlf" : "none");
		if (l->literal)
			put_literal('l', l->head, out);
		else if (l->head.p)
			put_literal('h', l->head, out);
		if (!l->literal && l->foot.p)
			put_literal('f', l->foot, out);
		if (i + 1 < n || l->literal)
			put_number(" n=", l->n, out);
		delta = (int64_t)((uint64_t)l->time - (uint64_t)time);
		if (delta)
			put_number(delta < 0 ? " t=-" : " t=",
				delta < 0 ? -(uint64_t)delta : (uint64_t)delta, out);
		time = l->time;
		if (l->gap)
			put_number(" g=", l->gap, out);
		if (from == out->n)
			buf_char(out, ' '); /* as the one before it */
	}
}

void envelope_write_encoding(const char *name, bool marked, struct buf *out)
{
	buf_printf(out, "%s%s", name, marked ? " bom" : "");
}

bool envelope_encoding_valid(struct str name)
{
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];

		bool letter = (c | 32) >= 'a' && (c | 32) <= 'z', digit = c >= '0' && c <= '9';

		if (!letter && !digit && (c == 0 || !strchr("-_.:+", c)))
			return false;
	}
	return name.n > 0 && name.n < NAME_MAX_BYTES;
}

/* Reading. */

/* "3:abc" */
static bool read_literal(struct str *at, struct str *out)
{
	struct str rest = *at, number = str_cut(&rest, ':');
	uint64_t n;

	if (!rest.p || !str_u64(number, &n) || n > rest.n)
		return false;
	*out = str_make(rest.p, (size_t)n);
	*at = str_sub(rest, (size_t)n, rest.n);
	return true;
}

static bool read_flag(struct str word, struct envelope_line *l)
{
	if (str_eq(word, STR("stdout")) || str_eq(word, STR("stderr")))
		l->stream = word.p[3] == 'o' ? STREAM_STDOUT : STREAM_STDERR;
	else if (str_eq(word, STR("part")))
		l->partial = true;
	else if (str_eq(word, STR("open")))
		l->open = true;
	else if (str_eq(word, STR("cr")))
		l->cr = true;
	else
		return false;
	return true;
}

static bool read_value(char name, struct str value, struct envelope_line *l, bool *has_n)
{
	uint64_t u = 0;
	int64_t delta;

	switch (name) {
	case 'n': *has_n = true; return str_u64(value, &l->n) && l->n <= REBUILT_MAX;
	case 'g': return str_u64(value, &l->gap);
	case 't':
		if (!str_i64(value, &delta))
			return false;
		l->time = (int64_t)((uint64_t)l->time + (uint64_t)delta);
		return true;
	case 'd':
		l->digits = DIGITS_TRIMMED;
		if (str_eq(value, STR("trim")))
			return true;
		if (!str_u64(value, &u) || u > 9)
			return false;
		l->digits = (int)u;
		return true;
	case 'z': l->zone = value; return zone_plain(value);
	case 'x':
		if (!str_u64(value, &u) || u > 7)
			return false;
		l->manner = (unsigned)u;
		return true;
	case 'e':
		l->eol = str_eq(value, STR("crlf")) ? EOL_CRLF : EOL_NONE;
		return l->eol == EOL_CRLF || str_eq(value, STR("none"));
	default: return false;
	}
}

static bool read_kind(struct str word, int64_t time, struct envelope_line *l)
{
	enum envelope_kind kind;

	if (str_eq(word, STR("docker")))
		kind = ENVELOPE_DOCKER;
	else if (str_eq(word, STR("cri")))
		kind = ENVELOPE_CRI;
	else if (str_eq(word, STR("raw")))
		kind = ENVELOPE_RAW;
	else
		return false;
	*l = (struct envelope_line){.kind = kind,
		.time = time,
		.zone = STR_INIT("Z"),
		.digits = kind == ENVELOPE_CRI ? 9 : DIGITS_TRIMMED};
	return true;
}

/* Read the words of one line up to ";" or the end.  `l` holds the line before. */
static bool read_line(struct str *at, struct envelope_line *l, bool first, bool *has_n)
{
	bool may_be_kind = true;

	*has_n = false;
	l->partial = l->open = l->cr = l->literal = false;
	l->eol = EOL_LF;
	l->head = l->foot = STR_NONE;
	l->n = l->gap = 0;
	for (;;) {
		size_t n = 0;
		struct str word;

		while (at->n && at->p[0] == ' ')
			*at = str_sub(*at, 1, at->n);
		if (at->n == 0)
			return true;
		if (at->p[0] == ';') {
			*at = str_sub(*at, 1, at->n);
			return true;
		}
		if (at->n > 2 && at->p[1] == '=' && strchr("ahfl", at->p[0])) {
			char name = at->p[0];
			struct str *to = name == 'a'   ? &l->attrs
					 : name == 'f' ? &l->foot
						       : &l->head;

			*at = str_sub(*at, 2, at->n);
			l->literal |= name == 'l';
			if (!read_literal(at, to))
				return false;
			continue;
		}
		while (n < at->n && at->p[n] != ' ' && at->p[n] != ';')
			n++;
		word = str_sub(*at, 0, n);
		*at = str_sub(*at, n, at->n);
		if (may_be_kind && read_kind(word, l->time, l)) {
			may_be_kind = false;
			continue;
		}
		if (first && may_be_kind)
			return false;
		may_be_kind = false;
		if (word.n > 2 && word.p[1] == '='
				? !read_value(word.p[0], str_sub(word, 2, word.n), l, has_n)
				: !read_flag(word, l))
			return false;
	}
}

/* Rebuilding. */

struct rebuilt {
	struct buf bytes;
	struct {
		size_t n;     /* bytes of a line */
		uint64_t gap; /* behind it */
	} * lines;
	size_t n, cap;
};

static void rebuilt_fini(struct rebuilt *b)
{
	buf_fini(&b->bytes);
	free(b->lines);
}

static int not_fitting(struct error *e)
{
	return error_set(e, ERR_CORRUPT, "a record does not fit its envelope");
}

/* One line of the unit: its part of `body` is cut off. */
static bool rebuild_line(
	struct rebuilt *b, const struct envelope_line *l, bool has_n, bool last, struct str *body)
{
	struct str text = str_sub(*body, 0, has_n ? (size_t)l->n : body->n);
	size_t from = b->bytes.n;

	if (has_n ? l->n > body->n : !last)
		return false;
	*body = str_sub(*body, text.n, body->n);
	if (l->literal)
		buf_str(&b->bytes, l->head);
	else
		put_line(l, text, last, &b->bytes);
	if (!l->literal && l->kind == ENVELOPE_CRI && !l->partial && !last) {
		if (body->n == 0 || body->p[0] != '\n')
			return false;
		*body = str_sub(*body, 1, body->n);
	}
	buf_c(&b->bytes, eol_text[l->eol]);
	if (b->n == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 4;
		b->lines = xrealloc(b->lines, b->cap * sizeof(*b->lines));
	}
	b->lines[b->n].n = b->bytes.n - from;
	b->lines[b->n++].gap = l->gap;
	return b->n < LINES_MAX && b->bytes.n <= REBUILT_MAX;
}

static int give_lines(const struct rebuilt *b, const struct record *r, envelope_piece *piece,
	void *arg, struct error *e)
{
	uint64_t total = b->bytes.n, offset;
	size_t at = 0;
	int code;

	for (size_t i = 0; i + 1 < b->n; i++) {
		if (__builtin_add_overflow(total, b->lines[i].gap, &total))
			return not_fitting(e);
	}
	if (total > r->position)
		return not_fitting(e);
	offset = r->position - total;
	for (size_t i = 0; i < b->n; i++) {
		code = piece(arg, offset, str_make(b->bytes.p + at, b->lines[i].n), e);
		if (code != 0)
			return code;
		at += b->lines[i].n;
		offset += b->lines[i].n + b->lines[i].gap;
	}
	return 0;
}

static int rebuild_lines(const struct record *r, struct str recipe, envelope_piece *piece,
	void *arg, struct error *e)
{
	struct envelope_line l = {.time = r->timestamp};
	struct str at = recipe, body = r->body;
	struct rebuilt b = {0};
	bool has_n, fits = true;
	int code;

	while (fits && (at.n || b.n == 0))
		fits = read_line(&at, &l, b.n == 0, &has_n) &&
		       rebuild_line(&b, &l, has_n, at.n == 0, &body);
	if (fits && body.n == 0)
		code = give_lines(&b, r, piece, arg, e);
	else
		code = not_fitting(e);
	rebuilt_fini(&b);
	return code;
}

int envelope_encode(const char *name, struct str text, struct buf *out, struct error *e)
{
	iconv_t cd = iconv_open(name, "UTF-8");
	char *in = (char *)text.p;
	size_t left = text.n;

	if (cd == (iconv_t)-1)
		return error_set(
			e, ERR_UNSUPPORTED, "\"%s\" is no encoding that iconv knows", name);
	while (left > 0) {
		char *to = buf_reserve(out, left * 4 + 16);
		size_t room = out->cap - out->n;

		if (iconv(cd, &in, &left, &to, &room) == (size_t)-1 && errno != E2BIG) {
			iconv_close(cd);
			return error_set(e, ERR_CORRUPT, "a body cannot be written as %s", name);
		}
		out->n = (size_t)(to - out->p);
	}
	iconv_close(cd);
	return 0;
}

/* The newline that the distance leaves room for is put behind `bytes`. */
static int put_newline(struct str cr, struct str lf, uint64_t room, struct buf *bytes)
{
	if (room == cr.n + lf.n)
		buf_str(bytes, cr);
	else if (room != 0 && room != lf.n)
		return ERR_CORRUPT;
	if (room > 0)
		buf_str(bytes, lf);
	return 0;
}

static int rebuild_plain(const struct record *r, uint64_t begin, struct buf *bytes)
{
	uint64_t room = r->position - begin - r->body.n;

	if (begin == 0 && room >= 3) {
		buf_c(bytes, "\xef\xbb\xbf");
		room -= 3;
	}
	buf_str(bytes, r->body);
	return put_newline(STR("\r"), STR("\n"), room, bytes);
}

static int rebuild_encoded(const struct record *r, struct str recipe, uint64_t begin,
	struct buf *bytes, struct error *e)
{
	struct str rest = recipe, word = str_cut(&rest, ' ');
	char name[NAME_MAX_BYTES];
	struct buf cr = {0}, lf = {0};
	uint64_t length = r->position - begin;
	int code;

	if (!envelope_encoding_valid(word) || (rest.n && !str_eq(rest, STR("bom"))))
		return ERR_CORRUPT;
	str_copy(word, name, sizeof(name));
	code = rest.n ? envelope_encode(name, STR("\xef\xbb\xbf"), bytes, e) : 0;
	if (code < 0 || (code = envelope_encode(name, r->body, bytes, e)) < 0 ||
		(code = envelope_encode(name, STR("\r"), &cr, e)) < 0 ||
		(code = envelope_encode(name, STR("\n"), &lf, e)) < 0)
		goto done;
	code = length < bytes->n
		       ? ERR_CORRUPT
		       : put_newline(buf_view(&cr), buf_view(&lf), length - bytes->n, bytes);
done:
	buf_fini(&cr);
	buf_fini(&lf);
	return code;
}

static bool is_lines(struct str recipe)
{
	struct envelope_line l;
	size_t n = 0;

	while (n < recipe.n && recipe.p[n] != ' ' && recipe.p[n] != ';')
		n++;
	return read_kind(str_sub(recipe, 0, n), 0, &l);
}

int envelope_rebuild(
	const struct record *r, uint64_t before, envelope_piece *piece, void *arg, struct error *e)
{
	struct str recipe = STR_NONE, text;
	struct buf bytes = {0};
	uint64_t skipped = 0, n, begin;
	int code;

	if (r->meta.n) {
		labels_get(r->meta, STR(ENVELOPE_META), &recipe);
		if (labels_get(r->meta, STR(ENVELOPE_SKIPPED_META), &text) &&
			!str_u64(text, &skipped))
			return not_fitting(e);
		if (labels_get(r->meta, STR(ENVELOPE_REDACTED_META), &text)) {
			if (!str_u64(text, &n) || n > r->position)
				return not_fitting(e);
			code = piece(arg, r->position - n, r->body, e);
			return code != 0 ? code : ENVELOPE_REDACTED;
		}
	}
	if (recipe.n && is_lines(recipe))
		return rebuild_lines(r, recipe, piece, arg, e);
	if (__builtin_add_overflow(before, skipped, &begin) || begin > r->position ||
		(!recipe.n && r->position - begin < r->body.n) || r->body.n > REBUILT_MAX)
		return not_fitting(e);
	code = recipe.n ? rebuild_encoded(r, recipe, begin, &bytes, e)
			: rebuild_plain(r, begin, &bytes);
	if (code == ERR_CORRUPT)
		code = not_fitting(e);
	else if (code == 0)
		code = piece(arg, begin, buf_view(&bytes), e);
	buf_fini(&bytes);
	return code;
}
