/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record comes as attributes, out of a pickled dictionary, out of the state
 * of a pickled object or out of a form.  They are sorted into those that
 * logging itself sets (enum field, in the order in which CPython writes them:
 * the next one is mostly the one behind the last) and those an application
 * added; then each has its place in the record.
 *
 * Metadata is set in the order of its names, in which the builder is quickest.
 * What an application added comes last: it gets what is left of
 * PYLOG_META_MAX, so no `extra` can push out where a record came from.
 */
#include "proto/pylog.h"

#include <math.h>
#include <stdlib.h>

#include "base/hex.h"
#include "base/memory.h"
#include "codec/pickle.h"
#include "codec/rune.h"
#include "proto/pylog_message.h"
#include "record/severity.h"

enum {
	PICKLE_BYTES_MAX = 32 << 20, /* of memory for one pickle */
	EXTRAS_MAX = LABELS_MAX,     /* more are counted alone */
	LABELS_SPARE = 4,            /* that the caller may add */
	LINE_SPARE = 256 << 10,      /* that a line may be longer than twice its pickle */
	META_SPARE = 64,             /* for attributes_cut */
	KEPT_BYTES = 1 << 20,        /* of memory kept for the next record, each */
	NS_PER_US = 1000,
	NS_PER_MS = 1000000,
	NS_PER_SECOND = 1000000000,
	SECONDS_MAX = 9000000000, /* ns of more do not fit */
};

enum field {
	F_NAME,
	F_MSG,
	F_ARGS,
	F_LEVELNAME,
	F_LEVELNO,
	F_PATHNAME,
	F_FILENAME,
	F_MODULE,
	F_EXC_INFO,
	F_EXC_TEXT,
	F_STACK_INFO,
	F_LINENO,
	F_FUNC_NAME,
	F_CREATED,
	F_MSECS,
	F_RELATIVE_CREATED,
	F_THREAD,
	F_THREAD_NAME,
	F_PROCESS_NAME,
	F_PROCESS,
	F_TASK_NAME,
	F_MESSAGE,
	N_FIELDS,
};

static const struct str field_names[N_FIELDS] = {
	[F_NAME] = STR_INIT("name"),
	[F_MSG] = STR_INIT("msg"),
	[F_ARGS] = STR_INIT("args"),
	[F_LEVELNAME] = STR_INIT("levelname"),
	[F_LEVELNO] = STR_INIT("levelno"),
	[F_PATHNAME] = STR_INIT("pathname"),
	[F_FILENAME] = STR_INIT("filename"),
	[F_MODULE] = STR_INIT("module"),
	[F_EXC_INFO] = STR_INIT("exc_info"),
	[F_EXC_TEXT] = STR_INIT("exc_text"),
	[F_STACK_INFO] = STR_INIT("stack_info"),
	[F_LINENO] = STR_INIT("lineno"),
	[F_FUNC_NAME] = STR_INIT("funcName"),
	[F_CREATED] = STR_INIT("created"),
	[F_MSECS] = STR_INIT("msecs"),
	[F_RELATIVE_CREATED] = STR_INIT("relativeCreated"),
	[F_THREAD] = STR_INIT("thread"),
	[F_THREAD_NAME] = STR_INIT("threadName"),
	[F_PROCESS_NAME] = STR_INIT("processName"),
	[F_PROCESS] = STR_INIT("process"),
	[F_TASK_NAME] = STR_INIT("taskName"),
	[F_MESSAGE] = STR_INIT("message"),
};

struct extra {
	const struct pickle_value *name, *value;
};

struct pylog {
	struct pickle *pickle;
	struct labels_builder labels;
	struct buf body, meta, scratch, logger, process_name;
	struct buf decoded; /* of a form */
	struct pickle_value *values;
	size_t values_cap;

	/* Of the record at hand. */
	const struct pickle_value *fields[N_FIELDS];
	struct extra extras[EXTRAS_MAX];
	size_t n_extras, n_cut;
	size_t meta_left;
	enum field last; /* found */
	bool is_form;
	size_t line_most; /* bytes that a value in the line may be spelled with */
	struct error format_error;
};

struct pylog *pylog_new(void)
{
	struct pylog *p = xcalloc(1, sizeof *p);

	p->pickle = pickle_new(PICKLE_BYTES_MAX);
	p->labels.names_free = true;
	return p;
}

void pylog_free(struct pylog *p)
{
	if (!p)
		return;
	pickle_free(p->pickle);
	labels_builder_fini(&p->labels);
	buf_fini(&p->body);
	buf_fini(&p->meta);
	buf_fini(&p->scratch);
	buf_fini(&p->logger);
	buf_fini(&p->process_name);
	buf_fini(&p->decoded);
	free(p->values);
	free(p);
}

/* One large record does not hold its memory for ever. */
static void shrink(struct pylog *p)
{
	struct buf *const bufs[] = {&p->body, &p->meta, &p->scratch, &p->decoded};

	for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
		if (bufs[i]->cap > KEPT_BYTES)
			buf_fini(bufs[i]);
	if (p->values_cap > KEPT_BYTES / sizeof *p->values) {
		free(p->values);
		p->values = NULL;
		p->values_cap = 0;
	}
}

/* ---- attributes ---- */

static void start(struct pylog *p, bool is_form)
{
	memset(p->fields, 0, sizeof p->fields);
	p->n_extras = p->n_cut = 0;
	p->last = N_FIELDS - 1;
	p->is_form = is_form;
	p->format_error.code = 0;
}

/* The attribute of logging's own that has this name, or N_FIELDS. */
static enum field find(struct pylog *p, struct str name)
{
	unsigned at = p->last;

	for (unsigned i = 0; i < N_FIELDS; i++) {
		at = at + 1 < N_FIELDS ? at + 1 : 0;
		if (str_eq(name, field_names[at]))
			return p->last = at;
	}
	return N_FIELDS;
}

static void add_attribute(
	struct pylog *p, const struct pickle_value *name, const struct pickle_value *value)
{
	enum field f = name->kind == PICKLE_TEXT ? find(p, name->text) : N_FIELDS;

	if (f < N_FIELDS)
		p->fields[f] = value;
	else if (p->n_extras < EXTRAS_MAX)
		p->extras[p->n_extras++] = (struct extra){name, value};
	else
		p->n_cut++;
}

/* NULL when it is absent or None; in a form all is text. */
static const struct pickle_value *field(const struct pylog *p, enum field f)
{
	const struct pickle_value *v = p->fields[f];

	if (!v || v->kind == PICKLE_NONE)
		return NULL;
	if (p->is_form && f != F_MSG && f != F_NAME && str_eq(v->text, STR("None")))
		return NULL;
	return v;
}

/* str(value), at most `most` bytes; a view of a text, else in `to`. */
static struct str text_of(const struct pickle_value *v, size_t most, struct buf *to)
{
	if (!v)
		return STR_NONE;
	if (v->kind == PICKLE_TEXT && v->text.n <= most)
		return v->text;
	buf_clear(to);
	pickle_str(v, most, to);
	return buf_view(to);
}

static bool number_of(const struct pickle_value *v, double *out)
{
	if (!v)
		return false;
	return v->kind == PICKLE_TEXT ? str_double(v->text, out) : pickle_number(v, out);
}

/* ---- time and level ---- */

/* `created` is a float, which keeps about 0.2 us.  From 3.13 on CPython counts ns and derives both
 * created and msecs from them, so that msecs may be one more than what created says. */
static bool read_time(const struct pylog *p, int64_t *out)
{
	double created, seconds, ms;
	int64_t ns, from_ms;

	if (!number_of(field(p, F_CREATED), &created) || !isfinite(created) ||
		fabs(created) > (double)SECONDS_MAX)
		return false;
	seconds = floor(created);
	ns = (int64_t)seconds * NS_PER_SECOND + llround((created - seconds) * NS_PER_SECOND);
	if (number_of(field(p, F_MSECS), &ms) && ms >= 0 && ms < 1000 && ms == floor(ms)) {
		from_ms = (int64_t)seconds * NS_PER_SECOND + (int64_t)ms * NS_PER_MS;
		if (from_ms > ns && from_ms - ns < NS_PER_US)
			ns = from_ms;
	}
	*out = ns;
	return true;
}

uint8_t pylog_severity(int64_t levelno)
{
	/* Python's levels and their severities; CRITICAL is what the word means elsewhere too. */
	static const struct {
		int64_t level;
		uint8_t severity;
	} known[] = {{0, SEV_TRACE}, {10, SEV_DEBUG}, {20, SEV_INFO}, {30, SEV_WARN},
		{40, SEV_ERROR}, {50, SEV_FATAL + 2}, {60, SEV_FATAL + 3}};
	const size_t n = sizeof known / sizeof *known;

	if (levelno <= 0)
		return SEV_UNKNOWN;
	for (size_t i = 1; i < n; i++) {
		int64_t step = known[i].level - known[i - 1].level;
		if (levelno < known[i].level)
			return (uint8_t)(known[i - 1].severity +
					 (levelno - known[i - 1].level) *
						 (known[i].severity - known[i - 1].severity) /
						 step);
	}
	return known[n - 1].severity;
}

static uint8_t read_severity(const struct pylog *p)
{
	const struct pickle_value *name = field(p, F_LEVELNAME);
	double level;

	if (number_of(field(p, F_LEVELNO), &level) && !isnan(level))
		return pylog_severity(level > 1000 ? 1000 : level < 0 ? 0 : (int64_t)level);
	return name && name->kind == PICKLE_TEXT ? severity_from_word(name->text) : SEV_UNKNOWN;
}

/* ---- the line ---- */

/* The message with its arguments merged into it: in p->body, or a view when there are none. */
static struct str make_message(struct pylog *p)
{
	const struct pickle_value *msg = p->fields[F_MSG], *args = field(p, F_ARGS);
	struct str text = text_of(msg ? msg : p->fields[F_MESSAGE], p->line_most, &p->scratch);
	struct str spelled = STR_NONE;
	int r = 0;

	buf_clear(&p->body);
	if (p->is_form && args) {
		spelled = args->text;
		r = pickle_literal(p->pickle, spelled, &args, &p->format_error);
	}
	if (r == 0 && !message_has_args(args)) {
		if (text.p != p->scratch.p)
			return text;
		buf_str(&p->body, text);
		return buf_view(&p->body);
	}
	if (r == 0)
		r = message_merge(&p->body, text, args, p->line_most, &p->format_error);
	if (r < 0) {
		p->format_error.code = r;
		buf_clear(&p->body);
		buf_str(&p->body, text);
		buf_char(&p->body, ' ');
		if (spelled.p)
			buf_str(&p->body, spelled);
		else
			pickle_repr(args, MESSAGE_VALUE_MAX, &p->body);
	}
	return buf_view(&p->body);
}

/* Put a text behind the line, on a line of its own; its offset, or 0 when there is none. */
static size_t add_below(struct pylog *p, struct str *line, enum field f)
{
	struct str text = text_of(field(p, f), p->line_most, &p->scratch);

	if (text.n == 0)
		return 0;
	if (line->p != p->body.p) {
		buf_clear(&p->body);
		buf_str(&p->body, *line);
	}
	if (p->body.n == 0 || p->body.p[p->body.n - 1] != '\n')
		buf_char(&p->body, '\n');
	*line = buf_view(&p->body);
	buf_str(&p->body, text);
	line->p = p->body.p;
	line->n = p->body.n;
	return p->body.n - text.n;
}

/* ---- metadata ---- */

static void set(struct pylog *p, struct str name, struct str value)
{
	struct str kept;

	if (value.n == 0 || name.n == 0)
		return;
	name = rune_fit(name, LABEL_NAME_MAX);
	kept = rune_fit(value, p->meta_left > name.n ? p->meta_left - name.n : 0);
	kept = rune_fit(kept, LABEL_VALUE_MAX);
	if (kept.n < value.n)
		p->n_cut++;
	if (kept.n == 0)
		return;
	if (p->labels.n >= LABELS_MAX - LABELS_SPARE - 1 ||
		labels_builder_set(&p->labels, name, kept, NULL) < 0)
		p->n_cut++;
	else
		p->meta_left -= name.n + kept.n;
}

enum { DIGITS_MAX = 20 };

static struct str decimal(char text[DIGITS_MAX], uint64_t v)
{
	size_t n = DIGITS_MAX;

	do
		text[--n] = (char)('0' + v % 10);
	while (v /= 10);
	return str_make(text + n, DIGITS_MAX - n);
}

static void set_number(struct pylog *p, struct str name, uint64_t v)
{
	char text[DIGITS_MAX];

	set(p, name, decimal(text, v));
}

static void set_field_as(struct pylog *p, enum field f, struct str name)
{
	const struct pickle_value *v = field(p, f);

	if (!v)
		return;
	if (v->kind == PICKLE_INT && v->i >= 0)
		set_number(p, name, (uint64_t)v->i);
	else
		set(p, name, text_of(v, p->meta_left, &p->scratch));
}

static void set_field(struct pylog *p, enum field f)
{
	set_field_as(p, f, field_names[f]);
}

/* The last part of a path, of either system. */
static struct str base_name(struct str path)
{
	for (size_t i = path.n; i-- > 0;)
		if (path.p[i] == '/' || path.p[i] == '\\')
			return str_sub(path, i + 1, path.n);
	return path;
}

static struct str stem(struct str name)
{
	for (size_t i = name.n; i-- > 1;)
		if (name.p[i] == '.')
			return str_sub(name, 0, i);
	return name;
}

/* Left out where the path says the same. */
static void set_derived(struct pylog *p, enum field f, struct str derived)
{
	const struct pickle_value *v = field(p, f);

	if (v && (v->kind != PICKLE_TEXT || !str_eq(v->text, derived)))
		set_field(p, f);
}

/* A name that is ours already gets "extra_" in front. */
static bool is_reserved(struct str name)
{
	static const struct str names[] = {STR_INIT("app"), STR_INIT("attributes_cut"),
		STR_INIT("detected_level"), STR_INIT("file"), STR_INIT("format_error"),
		STR_INIT("host"), STR_INIT("input"), STR_INIT("logger"), STR_INIT("peer"),
		STR_INIT("service_name"), STR_INIT("severity"), STR_INIT("source"),
		STR_INIT("stack_at"), STR_INIT("traceback_at"), STR_INIT("zone")};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (str_eq(name, names[i]))
			return true;
	for (unsigned f = 0; f < N_FIELDS; f++)
		if (str_eq(name, field_names[f]))
			return true;
	return false;
}

static void set_extra(struct pylog *p, const struct extra *x)
{
	struct str name = rune_fit(text_of(x->name, LABEL_NAME_MAX, &p->logger), LABEL_NAME_MAX);
	char prefixed[64];

	if (is_reserved(name)) {
		memcpy(prefixed, "extra_", 6);
		memcpy(prefixed + 6, name.p, name.n);
		name = str_make(prefixed, name.n + 6);
	}
	set(p, name, text_of(x->value, p->meta_left, &p->scratch));
}

static struct str make_meta(struct pylog *p, size_t traceback_at, size_t stack_at)
{
	struct str path = text_of(field(p, F_PATHNAME), LABEL_VALUE_MAX, &p->logger);
	struct str file = base_name(path);
	char digits[DIGITS_MAX];

	labels_builder_clear(&p->labels);
	p->meta_left = PYLOG_META_MAX - META_SPARE;
	set_derived(p, F_FILENAME, file);
	if (p->format_error.code)
		set(p, STR("format_error"), str_c(p->format_error.text));
	set_field(p, F_FUNC_NAME);
	set_field(p, F_LEVELNO);
	set_field(p, F_LINENO);
	set_derived(p, F_MODULE, stem(file));
	set_field(p, F_PATHNAME);
	set_field(p, F_PROCESS);
	set_field(p, F_PROCESS_NAME);
	set_field_as(p, F_LEVELNAME, STR("severity"));
	if (stack_at)
		set_number(p, STR("stack_at"), stack_at);
	set_field(p, F_TASK_NAME);
	set_field(p, F_THREAD);
	set_field(p, F_THREAD_NAME);
	if (traceback_at)
		set_number(p, STR("traceback_at"), traceback_at);
	for (size_t i = 0; i < p->n_extras; i++)
		set_extra(p, &p->extras[i]);
	/* Room for it was kept, in pairs and in bytes. */
	if (p->n_cut)
		labels_builder_set(
			&p->labels, STR("attributes_cut"), decimal(digits, p->n_cut), NULL);
	buf_clear(&p->meta);
	if (p->labels.n)
		labels_builder_write(&p->labels, &p->meta);
	return buf_view(&p->meta);
}

/* ---- records ---- */

static int make_record(struct pylog *p, size_t n_sent, int64_t observed_ns,
	struct pylog_record *out, struct error *e)
{
	size_t traceback_at, stack_at;
	struct record *r = &out->record;
	struct str line;

	if (!p->fields[F_MSG] && !p->fields[F_MESSAGE])
		return error_set(e, ERR_ARG, "no log record: it has no msg");
	*out = (struct pylog_record){0};
	if (!read_time(p, &r->timestamp)) {
		r->timestamp = observed_ns;
		r->flags |= RECORD_TIME_OBSERVED;
	}
	r->severity = read_severity(p);
	if (r->severity)
		r->flags |= RECORD_LEVEL_DETECTED;
	/* A text takes at most twice the bytes it came with; what is spelled could take any number.
	 */
	p->line_most = 2 * n_sent + LINE_SPARE;
	line = make_message(p);
	traceback_at = add_below(p, &line, F_EXC_TEXT);
	stack_at = add_below(p, &line, F_STACK_INFO);
	r->body = line;
	r->meta = make_meta(p, traceback_at, stack_at);
	out->logger = text_of(field(p, F_NAME), LABEL_VALUE_MAX, &p->logger);
	if (out->logger.n == 0)
		out->logger = STR("root");
	out->process_name = text_of(field(p, F_PROCESS_NAME), LABEL_VALUE_MAX, &p->process_name);
	return 0;
}

static bool is_end(struct str word)
{
	static const struct str words[] = {STR_INIT("TERM"), STR_INIT("STOP"), STR_INIT("FINISH"),
		STR_INIT("EXIT"), STR_INIT("QUIT")};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (str_eq(word, words[i]))
			return true;
	return false;
}

int pylog_pickle(struct pylog *p, struct str pickle, int64_t observed_ns, struct pylog_record *out,
	struct error *e)
{
	const struct pickle_value *v, *dict;
	size_t used;
	int r;

	shrink(p);
	r = pickle_read(p->pickle, pickle, &v, &used, e);
	if (r < 0)
		return r;
	if (v->kind == PICKLE_TEXT && is_end(v->text)) {
		*out = (struct pylog_record){.end = true, .record.body = v->text};
		return 0;
	}
	dict = v->kind == PICKLE_OBJECT ? pickle_state(v) : v;
	/* The state of an object with slots is a pair of the dictionary and them. */
	if (dict && dict->kind == PICKLE_TUPLE && dict->n == 2)
		dict = dict->items[0];
	if (!dict || dict->kind != PICKLE_DICT)
		return error_set(e, ERR_ARG, "no log record, but a pickled %.*s",
			STR_ARG(str_sub(pickle_type(v), 0, 100)));
	start(p, false);
	for (size_t i = 0; i + 1 < dict->n; i += 2)
		add_attribute(p, dict->items[i], dict->items[i + 1]);
	return make_record(p, used, observed_ns, out, e);
}

/* ---- forms ---- */

/* Decoded into p->decoded, which has room for all of the form. */
static struct str decode(struct pylog *p, struct str s)
{
	char *start_at = p->decoded.p + p->decoded.n, *to = start_at;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (c == '%' && i + 2 < s.n && hex_digit(s.p[i + 1]) >= 0 &&
			hex_digit(s.p[i + 2]) >= 0) {
			c = (char)(hex_digit(s.p[i + 1]) << 4 | hex_digit(s.p[i + 2]));
			i += 2;
		} else if (c == '+') {
			c = ' ';
		}
		*to++ = c;
	}
	p->decoded.n += (size_t)(to - start_at);
	return str_make(start_at, (size_t)(to - start_at));
}

int pylog_form(struct pylog *p, struct str form, int64_t observed_ns, struct pylog_record *out,
	struct error *e)
{
	struct str rest = form;
	size_t n = 2;

	shrink(p);
	if (form.n > PYLOG_FRAME_MAX)
		return error_set(
			e, ERR_LIMIT, "a form of %zu bytes: at most %d", form.n, PYLOG_FRAME_MAX);
	for (size_t i = 0; i < form.n; i++)
		n += form.p[i] == '&' ? 2 : 0;
	if (n > 2 * PICKLE_VALUES_MAX)
		return error_set(e, ERR_LIMIT, "a form of more than %d values", PICKLE_VALUES_MAX);
	if (n > p->values_cap) {
		p->values = xrealloc(p->values, n * sizeof *p->values);
		p->values_cap = n;
	}
	buf_clear(&p->decoded);
	buf_reserve(&p->decoded, form.n);
	start(p, true);
	n = 0;
	while (rest.n) {
		struct str value = str_cut(&rest, '&'), name = str_cut(&value, '=');
		if (name.n == 0)
			continue;
		p->values[n] = (struct pickle_value){.kind = PICKLE_TEXT, .text = decode(p, name)};
		p->values[n + 1] =
			(struct pickle_value){.kind = PICKLE_TEXT, .text = decode(p, value)};
		add_attribute(p, &p->values[n], &p->values[n + 1]);
		n += 2;
	}
	return make_record(p, form.n, observed_ns, out, e);
}
