/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Constructors that only carry data, by name.  Each looks at its arguments and
 * gives the value they spell, or NULL without an error when they are not what
 * the type's own pickles have: the call is an opaque object then, as is every
 * call of a name that is not in the table.
 *
 * What has no kind of its own is a text: `text` is what str() gives, `label`
 * what repr() does.
 * Source: docs.python.org/3/library of each type; the states as CPython's
 * pickle module writes them (seen with pickletools.dis).
 */
#include <arpa/inet.h>
#include <stdlib.h>

#include "codec/percent.h"
#include "codec/pickle_node.h"
#include "codec/rune.h"

typedef struct node *constructor(struct pickle *p, struct node *args, struct str name);

/* ---- helpers ---- */

static struct node *arg(const struct node *args, size_t i)
{
	return i < args->v.n ? node_item(args, i) : NULL;
}

static bool is(const struct node *n, enum pickle_kind kind)
{
	return n && n->v.kind == kind;
}

/* The bytes of a value that has some; Python 2's text may be bytes. */
static bool bytes_of(const struct node *n, struct str *out)
{
	if (!is(n, PICKLE_BYTES) && !is(n, PICKLE_TEXT))
		return false;
	*out = n->v.kind == PICKLE_TEXT && n->extra ? n->extra->v.text : n->v.text;
	return true;
}

/* A text with a spelling of its own, both copied. */
static struct node *spelled(struct pickle *p, struct str text, struct str repr)
{
	struct node *n = pickle_node(p, PICKLE_TEXT);

	if (!n || !(n->v.text = pickle_copy(p, text)).p || !(n->label = pickle_copy(p, repr)).p)
		return NULL;
	return n;
}

/* A text whose repr() is name('quoted'). */
static struct node *named_text(
	struct pickle *p, struct str name, struct str text, struct str quoted)
{
	struct buf repr = {0};
	struct node *n;

	if (text.n > p->most) {
		pickle_fail_memory(p);
		return NULL;
	}
	buf_str(&repr, pickle_last_name(name));
	buf_char(&repr, '(');
	pickle_repr_text(quoted, SIZE_MAX, &repr);
	buf_char(&repr, ')');
	n = spelled(p, text, buf_view(&repr));
	buf_fini(&repr);
	return n;
}

/* ---- bytes ---- */

static struct node *make_bytes(struct pickle *p, struct str s, bool array)
{
	struct node *n = pickle_node(p, PICKLE_BYTES);

	if (!n)
		return NULL;
	n->v.text = s.p ? s : STR("");
	if (array)
		n->label = STR("bytearray");
	return n;
}

/* Code points below 256 as bytes, copied; p NULL when there are others, or after an error. */
static struct str latin1(struct pickle *p, struct str text, bool *failed)
{
	struct str copy;
	char *to;
	size_t n = 0, used;

	*failed = false;
	copy = pickle_copy(p, text);
	*failed = !copy.p;
	if (*failed)
		return STR_NONE;
	to = (char *)copy.p;
	for (size_t i = 0; i < text.n; i += used) {
		uint32_t rune = (uint8_t)text.p[i];
		used = 1;
		if (rune >= 0x80)
			rune = rune_first(str_sub(text, i, text.n), &used);
		if (rune > 0xff)
			return STR_NONE;
		to[n++] = (char)rune;
	}
	return str_make(to, n);
}

/* _codecs.encode(text, 'latin1'): how protocols up to 2 write bytes. */
static struct node *call_encode(struct pickle *p, struct node *args, struct str name)
{
	struct node *text = arg(args, 0), *codec = arg(args, 1);
	struct str bytes;
	bool failed;

	if (!is(text, PICKLE_TEXT) || !is(codec, PICKLE_TEXT) ||
		(!str_eq(codec->v.text, STR("latin1")) && !str_eq(codec->v.text, STR("latin-1"))))
		return NULL;
	bytes = latin1(p, text->v.text, &failed);
	return bytes.p ? make_bytes(p, bytes, false) : NULL;
}

static struct node *call_bytes(struct pickle *p, struct node *args, struct str name)
{
	struct node *from = arg(args, 0);
	bool array = str_eq(name, STR("builtins.bytearray")), failed;
	struct str bytes;

	if (!from)
		return make_bytes(p, STR(""), array);
	if (is(from, PICKLE_BYTES))
		return make_bytes(p, from->v.text, array);
	/* Python 2's bytearray: its bytes as text, and the name of the codec. */
	if (!is(from, PICKLE_TEXT) || args->v.n < 2)
		return NULL;
	bytes = latin1(p, from->v.text, &failed);
	return bytes.p ? make_bytes(p, bytes, array) : NULL;
}

/* ---- containers ---- */

/* A container over the items of another: a run is shared until either of them grows. */
static struct node *shared(struct pickle *p, enum pickle_kind kind, const struct node *from)
{
	struct node *n = pickle_node(p, kind);

	if (n && from) {
		n->v.items = from->v.items;
		n->v.n = from->v.n;
		n->cap = (uint32_t)from->v.n;
	}
	return n;
}

static bool is_sequence(const struct node *n)
{
	return is(n, PICKLE_LIST) || is(n, PICKLE_TUPLE) || is(n, PICKLE_SET);
}

static struct node *call_set(struct pickle *p, struct node *args, struct str name)
{
	struct node *from = arg(args, 0), *n;

	if (from && !is_sequence(from))
		return NULL;
	n = shared(p, PICKLE_SET, from);
	if (n && str_eq(name, STR("builtins.frozenset")))
		n->label = STR("frozenset");
	return n;
}

static struct node *call_list(struct pickle *p, struct node *args, struct str name)
{
	struct node *from = arg(args, 0), *n;
	bool tuple = str_eq(name, STR("builtins.tuple"));

	if (from && !is_sequence(from))
		return NULL;
	n = shared(p, tuple ? PICKLE_TUPLE : PICKLE_LIST, from);
	if (n && str_eq(name, STR("collections.deque")))
		n->label = STR("deque");
	return n;
}

/* dict, OrderedDict and Counter; Python 2's OrderedDict has a list of pairs. */
static struct node *call_dict(struct pickle *p, struct node *args, struct str name)
{
	struct node *from = arg(args, 0), *n;

	if (from && !is(from, PICKLE_DICT) && !is(from, PICKLE_LIST))
		return NULL;
	n = shared(p, PICKLE_DICT, is(from, PICKLE_DICT) ? from : NULL);
	if (n && is(from, PICKLE_LIST)) {
		for (size_t i = 0; i < from->v.n; i++) {
			struct node *pair = node_item(from, i);
			if (!is_sequence(pair) || pair->v.n != 2)
				return NULL;
			if (pickle_append(p, n, node_item(pair, 0)) < 0 ||
				pickle_append(p, n, node_item(pair, 1)) < 0)
				return NULL;
		}
	}
	if (n && !str_eq(name, STR("builtins.dict")))
		n->label = pickle_last_name(name);
	return n;
}

static struct node *call_defaultdict(struct pickle *p, struct node *args, struct str name)
{
	struct node *n = shared(p, PICKLE_DICT, NULL);

	if (n) {
		n->label = STR("defaultdict");
		n->extra = args->v.n ? arg(args, 0) : &pickle_none;
	}
	return n;
}

/* ---- times ---- */

enum {
	DAY_SECONDS = 86400,
	HOUR_SECONDS = 3600,
	DATE_BYTES = 4,
	TIME_BYTES = 6,
	FOLD = 0x80, /* a bit in the first byte that is smaller than that */
};

static unsigned byte(struct str s, size_t i)
{
	return (uint8_t)s.p[i];
}

/* "+02:00", with seconds where there are any. */
static void put_offset(struct buf *out, int64_t seconds)
{
	int64_t s = seconds < 0 ? -seconds : seconds;

	buf_printf(out, "%c%02d:%02d", seconds < 0 ? '-' : '+', (int)(s / HOUR_SECONDS),
		(int)(s / 60 % 60));
	if (s % 60)
		buf_printf(out, ":%02d", (int)(s % 60));
}

/* " hour:minute:second.fraction" for str(), ", hour, minute[, second[, fraction]]" for repr(). */
static void put_time(struct buf *text, struct buf *repr, struct str s)
{
	unsigned us = byte(s, 3) << 16 | byte(s, 4) << 8 | byte(s, 5);
	unsigned hour = byte(s, 0) & ~(unsigned)FOLD;

	buf_printf(text, "%02u:%02u:%02u", hour, byte(s, 1), byte(s, 2));
	buf_printf(repr, "%u, %u", hour, byte(s, 1));
	if (us)
		buf_printf(text, ".%06u", us);
	if (us || byte(s, 2))
		buf_printf(repr, ", %u", byte(s, 2));
	if (us)
		buf_printf(repr, ", %u", us);
}

/* The zone behind a time, and the end of repr(). */
static void put_zone(struct buf *text, struct buf *repr, const struct node *zone, bool fold)
{
	if (fold)
		buf_c(repr, ", fold=1");
	if (zone) {
		buf_c(repr, ", tzinfo=");
		pickle_repr(&zone->v, 200, repr);
		/* What a zone by name is east of UTC its pickle does not say. */
		if (zone->special == NODE_TIMEZONE)
			put_offset(text, zone->v.i);
	}
	buf_char(repr, ')');
}

static void put_date(struct buf *text, struct buf *repr, struct str s, const char *type)
{
	unsigned year = byte(s, 0) << 8 | byte(s, 1), month = byte(s, 2) & ~(unsigned)FOLD;

	buf_printf(text, "%04u-%02u-%02u", year, month, byte(s, 3));
	buf_printf(repr, "datetime.%s(%u, %u, %u", type, year, month, byte(s, 3));
}

/* datetime, date and time: the bytes of their state, and maybe a zone. */
static struct node *call_time(struct pickle *p, struct node *args, struct str name)
{
	struct buf text = {0}, repr = {0};
	bool date = !str_eq(name, STR("datetime.time"));
	bool time = !str_eq(name, STR("datetime.date"));
	struct node *zone = time ? arg(args, 1) : NULL, *n;
	struct str s;

	if (!bytes_of(arg(args, 0), &s) ||
		s.n != (size_t)(date ? DATE_BYTES : 0) + (size_t)(time ? TIME_BYTES : 0) ||
		args->v.n > (time ? 2 : 1))
		return NULL;
	if (is(zone, PICKLE_NONE))
		zone = NULL;
	if (date)
		put_date(&text, &repr, s, time ? "datetime" : "date");
	else
		buf_c(&repr, "datetime.time(");
	if (time) {
		struct str clock = str_sub(s, date ? DATE_BYTES : 0, s.n);
		buf_c(&text, date ? " " : "");
		buf_c(&repr, date ? ", " : "");
		put_time(&text, &repr, clock);
		put_zone(&text, &repr, zone, byte(date ? str_sub(s, 2, s.n) : clock, 0) & FOLD);
	} else {
		buf_char(&repr, ')');
	}
	n = spelled(p, buf_view(&text), buf_view(&repr));
	buf_fini(&text);
	buf_fini(&repr);
	return n;
}

static struct node *call_timedelta(struct pickle *p, struct node *args, struct str name)
{
	struct buf text = {0}, repr = {0};
	int64_t part[3] = {0};
	static const char *const parts[] = {"days", "seconds", "microseconds"};
	struct node *n;

	if (args->v.n > 3)
		return NULL;
	for (size_t i = 0; i < args->v.n; i++) {
		if (!is(arg(args, i), PICKLE_INT))
			return NULL;
		part[i] = arg(args, i)->v.i;
	}
	/* As the type itself keeps them. */
	if (part[0] < -999999999 || part[0] > 999999999 || part[1] < 0 || part[1] >= DAY_SECONDS ||
		part[2] < 0 || part[2] > 999999)
		return NULL;
	if (part[0])
		buf_printf(&text, "%d day%s, ", (int)part[0],
			part[0] == 1 || part[0] == -1 ? "" : "s");
	buf_printf(&text, "%d:%02d:%02d", (int)(part[1] / HOUR_SECONDS), (int)(part[1] / 60 % 60),
		(int)(part[1] % 60));
	if (part[2])
		buf_printf(&text, ".%06d", (int)part[2]);
	for (int i = 0; i < 3; i++)
		if (part[i])
			buf_printf(&repr, "%s%s=%d", repr.n ? ", " : "datetime.timedelta(",
				parts[i], (int)part[i]);
	buf_c(&repr, repr.n ? ")" : "datetime.timedelta(0)");
	n = spelled(p, buf_view(&text), buf_view(&repr));
	if (n) {
		n->special = NODE_TIMEDELTA;
		n->v.i = part[0] * DAY_SECONDS + part[1];
	}
	buf_fini(&text);
	buf_fini(&repr);
	return n;
}

static struct node *call_timezone(struct pickle *p, struct node *args, struct str name)
{
	struct node *delta = arg(args, 0), *title = arg(args, 1), *n;
	struct buf text = {0}, repr = {0};
	int64_t seconds;

	if (!delta || delta->special != NODE_TIMEDELTA || (title && !is(title, PICKLE_TEXT)))
		return NULL;
	seconds = delta->v.i;
	if (seconds <= -DAY_SECONDS || seconds >= DAY_SECONDS)
		return NULL;
	buf_c(&text, "UTC");
	if (seconds)
		put_offset(&text, seconds);
	if (seconds || title) {
		buf_c(&repr, "datetime.timezone(");
		buf_str(&repr, delta->label);
		if (title) {
			buf_c(&repr, ", ");
			pickle_repr(&title->v, 200, &repr);
		}
		buf_char(&repr, ')');
	} else {
		buf_c(&repr, "datetime.timezone.utc");
	}
	n = spelled(p, title ? title->v.text : buf_view(&text), buf_view(&repr));
	if (n) {
		n->special = NODE_TIMEZONE;
		n->v.i = seconds;
	}
	buf_fini(&text);
	buf_fini(&repr);
	return n;
}

/* ---- texts ---- */

/* Decimal, networks: made of the text that str() gives. */
static struct node *call_text(struct pickle *p, struct node *args, struct str name)
{
	struct node *n;

	if (args->v.n != 1 || !is(arg(args, 0), PICKLE_TEXT))
		return NULL;
	n = named_text(p, name, arg(args, 0)->v.text, arg(args, 0)->v.text);
	if (n && str_eq(name, STR("decimal.Decimal")))
		n->special = NODE_DECIMAL;
	return n;
}

/* An integer from 0 to 2^128 - 1 as 32 hexadecimal digits; false when it is none. */
static bool hex_128(const struct pickle_value *v, char out[32])
{
	static const struct percent_spec spec = {
		.zero = true, .width = 32, .precision = -1, .type = 'x'};
	struct buf digits = {0};
	int r = ERR_ARG;

	if (v && v->kind == PICKLE_INT && v->i >= 0)
		r = percent_int(&digits, &spec, v->i, NULL);
	else if (v && v->kind == PICKLE_BIG)
		r = percent_decimal(&digits, &spec, v->text, NULL);
	if (r == 0 && digits.n == 32)
		memcpy(out, digits.p, 32);
	else
		r = ERR_ARG;
	buf_fini(&digits);
	return r == 0;
}

/* An IP address is pickled as its number. */
static struct node *call_address(struct pickle *p, struct node *args, struct str name)
{
	bool v6 = str_ends(name, STR("IPv6Address"));
	char digits[33] = "", text[INET6_ADDRSTRLEN];
	uint8_t bytes[16];

	if (args->v.n != 1 || !hex_128(&arg(args, 0)->v, digits))
		return NULL;
	for (size_t i = 0; i < sizeof bytes; i++) {
		char pair[3] = {digits[2 * i], digits[2 * i + 1], 0};
		bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	if (!v6 && memcmp(bytes, (uint8_t[12]){0}, 12) != 0)
		return NULL;
	inet_ntop(v6 ? AF_INET6 : AF_INET, v6 ? bytes : bytes + 12, text, sizeof text);
	return named_text(p, name, str_c(text), str_c(text));
}

/* Fraction of two integers, or of its text. */
static struct node *call_fraction(struct pickle *p, struct node *args, struct str name)
{
	struct buf text = {0}, repr = {0};
	struct str up, down;
	struct node *n;

	if (args->v.n == 2) {
		if (!is(arg(args, 0), PICKLE_INT) || !is(arg(args, 1), PICKLE_INT))
			return NULL;
		buf_printf(&text, "%jd", (intmax_t)arg(args, 0)->v.i);
		if (arg(args, 1)->v.i != 1)
			buf_printf(&text, "/%jd", (intmax_t)arg(args, 1)->v.i);
	} else if (args->v.n == 1 && is(arg(args, 0), PICKLE_TEXT)) {
		buf_str(&text, arg(args, 0)->v.text);
	} else {
		return NULL;
	}
	down = buf_view(&text);
	up = str_cut(&down, '/');
	buf_c(&repr, "Fraction(");
	buf_str(&repr, up);
	buf_c(&repr, ", ");
	buf_str(&repr, down.p ? down : STR("1"));
	buf_char(&repr, ')');
	n = spelled(p, buf_view(&text), buf_view(&repr));
	buf_fini(&text);
	buf_fini(&repr);
	return n;
}

/* The parts of a path: its root, when it has one, is the first. */
static struct node *call_path(struct pickle *p, struct node *args, struct str name)
{
	bool windows = str_find(name, STR("Windows")) >= 0;
	struct buf text = {0}, slashes = {0};
	struct node *n;

	for (size_t i = 0; i < args->v.n; i++) {
		struct node *part = arg(args, i);
		if (!is(part, PICKLE_TEXT) || text.n + part->v.text.n > p->most) {
			buf_fini(&text);
			return NULL;
		}
		if (text.n && text.p[text.n - 1] != '/' && text.p[text.n - 1] != '\\')
			buf_char(&text, windows ? '\\' : '/');
		buf_str(&text, part->v.text);
	}
	if (text.n == 0)
		buf_char(&text, '.');
	/* repr() has slashes for Windows as well. */
	buf_str(&slashes, buf_view(&text));
	for (size_t i = 0; windows && i < slashes.n; i++)
		if (slashes.p[i] == '\\')
			slashes.p[i] = '/';
	n = named_text(p, name, buf_view(&text), buf_view(&slashes));
	buf_fini(&text);
	buf_fini(&slashes);
	return n;
}

/* ---- objects ---- */

static struct node *object(struct pickle *p, struct str name)
{
	struct node *n = pickle_node(p, PICKLE_OBJECT);

	if (n)
		n->v.text = name;
	return n;
}

/* copyreg._reconstructor(class, base, state of base): protocols 0 and 1 make objects so. */
static struct node *call_reconstructor(struct pickle *p, struct node *args, struct str name)
{
	struct node *class = arg(args, 0), *state = arg(args, 2), *n;

	if (!is(class, PICKLE_OBJECT))
		return NULL;
	n = object(p, class->v.text);
	if (n && state && !is(state, PICKLE_NONE) && pickle_append(p, n, state) < 0)
		return NULL;
	return n;
}

/* getattr(class, 'RED'): how Python 3.11 writes the member of an enum, whose str() is Class.RED. */
static struct node *call_getattr(struct pickle *p, struct node *args, struct str name)
{
	struct node *class = arg(args, 0), *member = arg(args, 1), *n;
	struct buf text = {0};

	(void)name;
	if (args->v.n != 2 || !is(class, PICKLE_OBJECT) || class->special != NODE_CLASS ||
		!is(member, PICKLE_TEXT) || member->v.text.n > p->most)
		return NULL;
	buf_str(&text, pickle_last_name(class->v.text));
	buf_char(&text, '.');
	buf_str(&text, member->v.text);
	n = spelled(p, buf_view(&text), buf_view(&text));
	buf_fini(&text);
	return n;
}

static const struct {
	struct str name;
	constructor *call;
} constructors[] = {
	{STR_INIT("_codecs.encode"), call_encode},
	{STR_INIT("builtins.bytes"), call_bytes},
	{STR_INIT("builtins.bytearray"), call_bytes},
	{STR_INIT("builtins.set"), call_set},
	{STR_INIT("builtins.frozenset"), call_set},
	{STR_INIT("builtins.getattr"), call_getattr},
	{STR_INIT("builtins.list"), call_list},
	{STR_INIT("builtins.tuple"), call_list},
	{STR_INIT("builtins.dict"), call_dict},
	{STR_INIT("collections.deque"), call_list},
	{STR_INIT("collections.OrderedDict"), call_dict},
	{STR_INIT("collections.Counter"), call_dict},
	{STR_INIT("collections.defaultdict"), call_defaultdict},
	{STR_INIT("copyreg._reconstructor"), call_reconstructor},
	{STR_INIT("datetime.datetime"), call_time},
	{STR_INIT("datetime.date"), call_time},
	{STR_INIT("datetime.time"), call_time},
	{STR_INIT("datetime.timedelta"), call_timedelta},
	{STR_INIT("datetime.timezone"), call_timezone},
	{STR_INIT("decimal.Decimal"), call_text},
	{STR_INIT("fractions.Fraction"), call_fraction},
	{STR_INIT("ipaddress.IPv4Address"), call_address},
	{STR_INIT("ipaddress.IPv6Address"), call_address},
	{STR_INIT("ipaddress.IPv4Network"), call_text},
	{STR_INIT("ipaddress.IPv6Network"), call_text},
	{STR_INIT("pathlib.PosixPath"), call_path},
	{STR_INIT("pathlib.PurePosixPath"), call_path},
	{STR_INIT("pathlib.WindowsPath"), call_path},
	{STR_INIT("pathlib.PureWindowsPath"), call_path},
	{STR_INIT("pathlib._local.PosixPath"), call_path},
	{STR_INIT("pathlib._local.WindowsPath"), call_path},
};

struct node *pickle_call(struct pickle *p, struct node *callable, struct node *args)
{
	struct str name = is(callable, PICKLE_OBJECT) ? callable->v.text : STR("object");
	struct node *n;

	if (is(callable, PICKLE_OBJECT) && callable->special == NODE_CLASS) {
		for (size_t i = 0; i < sizeof constructors / sizeof *constructors; i++) {
			if (!str_eq(name, constructors[i].name))
				continue;
			p->e->code = 0;
			n = constructors[i].call(p, args, name);
			if (n || p->e->code < 0)
				return n;
		}
	}
	if ((n = object(p, name))) {
		n->v.items = args->v.items;
		n->v.n = args->v.n;
		n->cap = (uint32_t)args->v.n;
	}
	return n;
}

/* uuid.UUID has no arguments and its number in the state. */
static bool build_uuid(struct pickle *p, struct node *n, const struct node *state)
{
	struct node *made;
	char digits[32], text[36];
	size_t used = 0;

	if (!hex_128(pickle_get(&state->v, STR("int")), digits))
		return false;
	for (size_t i = 0; i < sizeof digits; i++) {
		if (i == 8 || i == 12 || i == 16 || i == 20)
			text[used++] = '-';
		text[used++] = digits[i];
	}
	made = named_text(p, STR("UUID"), str_make(text, used), str_make(text, used));
	if (made)
		*n = *made;
	return made;
}

int pickle_build(struct pickle *p, struct node *n, struct node *state)
{
	int r;

	/* Data that has attributes as well is shown without them. */
	if (n->v.kind != PICKLE_OBJECT || n->special == NODE_CLASS)
		return 0;
	if (str_eq(n->v.text, STR("uuid.UUID"))) {
		p->e->code = 0;
		if (build_uuid(p, n, state))
			return 0;
		if (p->e->code < 0)
			return p->e->code;
	}
	if ((r = pickle_append(p, n, state)) < 0)
		return r;
	n->special = NODE_BUILT;
	return 0;
}
