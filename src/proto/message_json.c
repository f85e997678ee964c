/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An object becomes a record in two walks over its leaves, which are all values
 * but objects with something in them; a leaf's name is its path, with points.
 * The first walk finds which leaf is the time, the level, the message and the
 * service: of the usual names the best that fits.  The second makes metadata of
 * the others, under the names that LogQL's json stage would give them.
 *
 * What does not fit loses nothing: an object without a message, with more
 * leaves than metadata should have, or with two of the same name is its own
 * line, as it was written, and has no metadata but its severity.
 */
#include "proto/message_core.h"
#include "proto/meta_name.h"
#include "record/severity.h"
#include "record/time.h"

enum {
	LEAVES_MAX = 64, /* that become metadata: a broker adds its own */
	PATH_MAX_BYTES = LABEL_NAME_MAX,
	SEVERITY_MAX = 64,
	APP_MAX = 1024,
};

static const int64_t second_ns = 1000000000;

enum role { ROLE_TIME, ROLE_LEVEL, ROLE_MESSAGE, ROLE_APP, N_ROLES };

/* Best first; letter case does not matter. */
static const char *const role_names[N_ROLES][20] = {
	[ROLE_TIME] = {"timestamp", "@timestamp", "time", "ts", "@t", "datetime", "date", "asctime",
		"eventtime", "created"},
	[ROLE_LEVEL] = {"level", "severity", "lvl", "levelname", "log_level", "loglevel",
		"log.level", "severity_text", "severitytext", "level_name", "@l"},
	[ROLE_MESSAGE] = {"message", "msg", "@m", "short_message", "text", "log", "body", "line",
		"event"},
	[ROLE_APP] = {"service", "app", "application", "service_name", "service.name",
		"servicename", "app_name", "appname", "application_name", "logger", "logger_name",
		"loggername", "log.logger"},
};

struct object_record {
	struct message_decoder *d;
	size_t found[N_ROLES]; /* node, 0 for none */
	int rank[N_ROLES];
	int64_t ns;
	size_t n_leaves;
	bool fits;
};

typedef void leaf_visitor(struct object_record *o, struct str path, size_t at);

static const struct json_node *node(const struct message_decoder *d, size_t at)
{
	return &d->doc.nodes[at];
}

static bool is_scalar(const struct json_node *n)
{
	return n->type == JSON_STRING || n->type == JSON_NUMBER;
}

/* ---- writing ---- */

static void write_json(struct buf *out, const struct json *doc, size_t at)
{
	static const char *const words[] = {"null", "false", "true"};
	const struct json_node *n = &doc->nodes[at];
	bool first = true;

	if (n->type == JSON_STRING) {
		buf_json(out, n->text);
		return;
	}
	if (n->type != JSON_ARRAY && n->type != JSON_OBJECT) {
		buf_str(out, n->type == JSON_NUMBER ? n->text : str_c(words[n->type]));
		return;
	}
	buf_char(out, n->type == JSON_ARRAY ? '[' : '{');
	for (size_t i = json_first(doc, at); i < json_end(doc, at); i = json_next(doc, i)) {
		if (!first)
			buf_char(out, ',');
		first = false;
		if (n->type == JSON_OBJECT) {
			buf_json(out, doc->nodes[i++].text);
			buf_char(out, ':');
		}
		write_json(out, doc, i);
	}
	buf_char(out, n->type == JSON_ARRAY ? ']' : '}');
}

/* A value as metadata has it; valid until the next. */
static struct str value_text(struct message_decoder *d, size_t at)
{
	const struct json_node *n = node(d, at);

	if (is_scalar(n))
		return n->text;
	if (n->type == JSON_NULL ||
		((n->type == JSON_ARRAY || n->type == JSON_OBJECT) && n->inside == 0))
		return STR_NONE;
	buf_clear(&d->text);
	write_json(&d->text, &d->doc, at);
	return buf_view(&d->text);
}

/* ---- walking ---- */

/* As deep as the parser lets a text be. */
static void walk(struct object_record *o, size_t object, leaf_visitor *visit)
{
	struct message_decoder *d = o->d;
	size_t before = d->name.n;

	for (size_t i = json_first(&d->doc, object); i < json_end(&d->doc, object);
		i = json_next(&d->doc, i + 1)) {
		if (before)
			buf_char(&d->name, '.');
		if (node(d, i)->text.n > PATH_MAX_BYTES || d->name.n > PATH_MAX_BYTES)
			o->fits = false;
		else
			buf_str(&d->name, node(d, i)->text);
		if (!o->fits)
			;
		else if (node(d, i + 1)->type == JSON_OBJECT && node(d, i + 1)->inside)
			walk(o, i + 1, visit);
		else
			visit(o, buf_view(&d->name), i + 1);
		d->name.n = before;
	}
}

/* ---- the first walk ---- */

static bool all_digits(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return true;
}

/* An epoch in seconds, ms, us or ns: what its size says it is, from 2001 to 2099. */
static bool read_epoch(struct str s, int64_t *out)
{
	struct str fraction = s, whole = str_cut(&fraction, '.');
	double seconds;
	int64_t v;

	if (!str_i64(whole, &v) || !all_digits(fraction)) {
		/* 1.7e9 */
		if (!str_double(s, &seconds) || seconds < 1e9 || seconds >= 4.1e9)
			return false;
		*out = (int64_t)(seconds * 1e6) * 1000;
		return true;
	}
	for (int64_t unit = second_ns; unit > 0; unit /= 1000) {
		int64_t scale = unit;
		if (v < second_ns * (second_ns / unit) || v / 41 >= 100000000 * (second_ns / unit))
			continue;
		*out = v * unit;
		for (size_t i = 0; i < fraction.n && (scale /= 10) > 0; i++)
			*out += (fraction.p[i] - '0') * scale;
		return true;
	}
	return false;
}

static bool read_time(struct message_decoder *d, const struct json_node *n, int64_t *out)
{
	struct str s = str_trim(n->text);

	if (n->type == JSON_NUMBER)
		return read_epoch(s, out);
	return time_parse_rfc3339(s, out) || (s.n && message_read_time(d, s, out) == s.n) ||
	       read_epoch(s, out);
}

static bool fits_role(struct object_record *o, enum role role, const struct json_node *n)
{
	int64_t ns;

	switch (role) {
	case ROLE_TIME:
		if (!is_scalar(n) || !read_time(o->d, n, &ns))
			return false;
		o->ns = ns;
		return true;
	case ROLE_LEVEL: return is_scalar(n) && n->text.n > 0 && n->text.n <= SEVERITY_MAX;
	case ROLE_APP: return n->type == JSON_STRING && n->text.n > 0 && n->text.n <= APP_MAX;
	case ROLE_MESSAGE: return n->type == JSON_STRING;
	case N_ROLES: break;
	}
	return false;
}

static void find_role(struct object_record *o, struct str path, size_t at)
{
	o->n_leaves++;
	for (int role = 0; role < N_ROLES; role++)
		for (int rank = 0; rank < 20 && role_names[role][rank]; rank++) {
			if (o->found[role] && o->rank[role] < rank)
				break;
			if (!str_eq_nocase(path, str_c(role_names[role][rank])) ||
				!fits_role(o, (enum role)role, node(o->d, at)))
				continue;
			o->found[role] = at;
			o->rank[role] = rank;
		}
}

/* ---- the second ---- */

static bool is_ours(struct str name)
{
	return str_eq(name, STR("severity")) || str_eq(name, STR("truncated_from"));
}

static void keep_leaf(struct object_record *o, struct str path, size_t at)
{
	struct message_decoder *d = o->d;
	struct str value, there;

	for (int role = 0; role < N_ROLES; role++)
		if (o->found[role] == at)
			return;
	if ((value = value_text(d, at)).n == 0)
		return;
	buf_clear(&d->clean);
	meta_name_put(&d->clean, path);
	if (is_ours(buf_view(&d->clean))) {
		buf_clear(&d->clean);
		buf_c(&d->clean, "extra_");
		meta_name_put(&d->clean, path);
	}
	if (labels_builder_get(&d->meta, buf_view(&d->clean), &there) ||
		labels_builder_set(&d->meta, buf_view(&d->clean), value, NULL) < 0)
		o->fits = false;
}

/* ---- a record ---- */

/* Numbers are syslog's, as in GELF, or bunyan's and pino's. */
static uint8_t severity_of(const struct json_node *n)
{
	uint64_t v;

	if (n->type == JSON_NUMBER && str_u64(n->text, &v)) {
		if (v <= 7)
			return severity_from_syslog((unsigned)v);
		if (v >= 10 && v <= 60 && v % 10 == 0)
			return (uint8_t)(SEV_TRACE + 4 * (v / 10 - 1));
	}
	return severity_from_word(n->text);
}

static void set_severity(struct object_record *o, struct record *r)
{
	const struct json_node *n;

	if (!o->found[ROLE_LEVEL])
		return;
	n = node(o->d, o->found[ROLE_LEVEL]);
	r->severity = severity_of(n);
	labels_builder_set(&o->d->meta, STR("severity"), n->text, NULL);
}

/* `written`: the object as it stands in the body; empty when it is one of a list. */
static int tell_object(struct message_decoder *d, size_t at, struct str written)
{
	struct object_record o = {.d = d, .fits = true};
	struct message_record r = {0};

	buf_clear(&d->name);
	walk(&o, at, find_role);
	message_set_time(d, &r.record, o.found[ROLE_TIME] > 0, o.ns);
	if (o.found[ROLE_APP])
		r.app = node(d, o.found[ROLE_APP])->text;
	set_severity(&o, &r.record);
	if (!o.found[ROLE_MESSAGE] || o.n_leaves > LEAVES_MAX)
		o.fits = false;
	if (o.fits)
		walk(&o, at, keep_leaf);
	if (o.fits) {
		r.record.body = node(d, o.found[ROLE_MESSAGE])->text;
		return message_tell(d, &r);
	}
	labels_builder_clear(&d->meta);
	set_severity(&o, &r.record);
	if (written.n == 0) {
		buf_clear(&d->text);
		write_json(&d->text, &d->doc, at);
		written = buf_view(&d->text);
	}
	r.record.body = written;
	return message_tell(d, &r);
}

/* ---- a body ---- */

static bool has_list(const struct message_decoder *d, const char *key)
{
	size_t at = json_get(&d->doc, 0, key);

	return at && node(d, at)->type == JSON_ARRAY;
}

/* *n: of objects in a list, which is zeroed before. */
static enum message_shape shape_of(const struct message_decoder *d, size_t *n)
{
	const struct json *doc = &d->doc;

	if (doc->nodes[0].type == JSON_OBJECT) {
		if (has_list(d, "streams"))
			return SHAPE_LOKI;
		return has_list(d, "resourceLogs") ? SHAPE_OTLP : SHAPE_OBJECTS;
	}
	if (doc->nodes[0].type != JSON_ARRAY || doc->nodes[0].inside == 0)
		return SHAPE_OTHER;
	for (size_t i = json_first(doc, 0); i < json_end(doc, 0); i = json_next(doc, i), (*n)++)
		if (doc->nodes[i].type != JSON_OBJECT)
			return SHAPE_OTHER;
	return SHAPE_OBJECTS;
}

static int too_many(struct error *e)
{
	return error_set(e, ERR_LIMIT, "more than %d objects in one message: send fewer at once",
		MESSAGE_OBJECTS_MAX);
}

static bool next_line(struct str *rest, struct str *line)
{
	while (rest->n) {
		*line = str_trim(str_cut(rest, '\n'));
		if (line->n)
			return true;
	}
	return false;
}

/* Is each line an object?  Said of the first that is not. */
static int read_lines(struct message_decoder *d, struct error *e)
{
	struct str rest = d->body, line;
	size_t n = 0;
	int r;

	while (next_line(&rest, &line)) {
		if (++n > MESSAGE_OBJECTS_MAX)
			return too_many(e);
		if ((r = json_parse(d->parser, line, &d->doc, e)) < 0)
			return error_wrap(e, r, "object %zu of one a line", n);
		if (d->doc.nodes[0].type != JSON_OBJECT)
			return error_set(e, ERR_ARG, "line %zu is no object", n);
	}
	return 0;
}

int message_json_read(struct message_decoder *d, enum message_shape *shape, struct error *e)
{
	int r = json_parse(d->parser, d->body, &d->doc, e);
	size_t n = 0;

	d->lines = false;
	if (r == 0) {
		*shape = shape_of(d, &n);
		return n > MESSAGE_OBJECTS_MAX ? too_many(e) : 0;
	}
	if (r != ERR_ARG || !str_starts(str_trim(d->body), STR("{")) ||
		str_chr(str_trim(d->body), '\n') < 0)
		return r;
	if ((r = read_lines(d, e)) < 0)
		return r;
	d->lines = true;
	*shape = SHAPE_OBJECTS;
	return 0;
}

static int tell_unread(struct message_decoder *d, struct str line)
{
	struct message_record r = {.record.body = line};

	message_set_time(d, &r.record, false, 0);
	return message_tell(d, &r);
}

/* Lines were checked, and are parsed again, as what a parser read is gone with the next text.  It
 * may find no memory this time: then the line goes as it is. */
static int tell_lines(struct message_decoder *d)
{
	struct str rest = d->body, line;
	int r = 0;

	while (r == 0 && next_line(&rest, &line))
		r = json_parse(d->parser, line, &d->doc, NULL) < 0 ? tell_unread(d, line)
								   : tell_object(d, 0, line);
	return r;
}

int message_json_tell(struct message_decoder *d)
{
	const struct json *doc = &d->doc;
	int r = 0;

	if (d->lines)
		return tell_lines(d);
	if (doc->nodes[0].type == JSON_OBJECT)
		return tell_object(d, 0, str_trim(d->body));
	for (size_t i = json_first(doc, 0); i < json_end(doc, 0) && r == 0; i = json_next(doc, i))
		r = tell_object(d, i, STR_NONE);
	return r;
}
