/* SPDX-License-Identifier: Apache-2.0 */
/*
 * str() and repr() of values.  Values may hold each other in circles and share
 * what they hold, so that a small pickle spells out endlessly: the output is
 * bounded, every step of the walk appends to it, and the walk ends when it is
 * full.  The depth is bounded as well; what is walked right now is on a path,
 * where a circle is found.
 */
#include <stdio.h>
#include <stdlib.h>

#include "codec/percent.h"
#include "codec/pickle_node.h"
#include "codec/rune.h"

struct printer {
	struct buf *out;
	size_t start, most;
	bool full;
	const struct node *path[PICKLE_DEPTH_MAX];
	size_t depth;
};

static void spell(struct printer *pr, const struct node *n);

/* ---- output ---- */

static size_t room(const struct printer *pr)
{
	return pr->most - (pr->out->n - pr->start);
}

static void put(struct printer *pr, struct str s)
{
	struct str fits;

	if (pr->full)
		return;
	fits = rune_fit(s, room(pr));
	buf_str(pr->out, fits);
	if (fits.n == s.n)
		return;
	buf_c(pr->out, "\xe2\x80\xa6");
	pr->full = true;
}

static void put_c(struct printer *pr, const char *s)
{
	put(pr, str_c(s));
}

/* ---- text ---- */

/* Characters that repr() escapes: Unicode's controls, formats, separators other than the blank,
 * surrogates, private ones and noncharacters.  Those not assigned yet are taken for printable. */
static bool prints(uint32_t r)
{
	static const struct {
		uint32_t from, to;
	} hidden[] = {{0x7f, 0xa0}, {0xad, 0xad}, {0x600, 0x605}, {0x61c, 0x61c}, {0x6dd, 0x6dd},
		{0x70f, 0x70f}, {0x890, 0x891}, {0x8e2, 0x8e2}, {0x1680, 0x1680}, {0x180e, 0x180e},
		{0x2000, 0x200f}, {0x2028, 0x202f}, {0x205f, 0x2064}, {0x2066, 0x206f},
		{0x3000, 0x3000}, {0xd800, 0xf8ff}, {0xfdd0, 0xfdef}, {0xfeff, 0xfeff},
		{0xfff9, 0xfffb}, {0xfffe, 0xffff}, {0x110bd, 0x110bd}, {0x110cd, 0x110cd},
		{0x13430, 0x13438}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0x1fffe, 0x1ffff},
		{0x2fffe, 0x2ffff}, {0x3fffe, 0x3ffff}, {0x4fffe, 0x4ffff}, {0x5fffe, 0x5ffff},
		{0x6fffe, 0x6ffff}, {0x7fffe, 0x7ffff}, {0x8fffe, 0x8ffff}, {0x9fffe, 0x9ffff},
		{0xafffe, 0xaffff}, {0xbfffe, 0xbffff}, {0xcfffe, 0xcffff}, {0xdfffe, 0xdffff},
		{0xe0001, 0xe0001}, {0xe0020, 0xe007f}, {0xefffe, 0x10ffff}};

	if (r < 0x7f)
		return r >= ' ';
	for (size_t i = 0; i < sizeof hidden / sizeof *hidden && r >= hidden[i].from; i++)
		if (r <= hidden[i].to)
			return false;
	return true;
}

static void put_escape(struct printer *pr, uint32_t r)
{
	char text[12];

	if (r == '\n' || r == '\r' || r == '\t')
		snprintf(text, sizeof text, "\\%c", r == '\n' ? 'n' : r == '\r' ? 'r' : 't');
	else
		snprintf(text, sizeof text,
			r < 0x100     ? "\\x%02x"
			: r < 0x10000 ? "\\u%04x"
				      : "\\U%08x",
			r);
	put_c(pr, text);
}

static char quote_for(struct str s)
{
	return str_chr(s, '\'') >= 0 && str_chr(s, '"') < 0 ? '"' : '\'';
}

enum quoted { QUOTED_TEXT, QUOTED_BYTES, QUOTED_BYTEARRAY };

static void put_quoted(struct printer *pr, struct str s, enum quoted what)
{
	bool bytes = what != QUOTED_TEXT;
	char quote = quote_for(s);
	size_t plain = 0, n;

	put(pr, str_make(&quote, 1));
	for (size_t i = 0; i < s.n && !pr->full; i += n) {
		uint32_t r = (uint8_t)s.p[i];
		n = 1;
		if (r >= 0x80 && !bytes)
			r = rune_first(str_sub(s, i, s.n), &n);
		/* CPython escapes a bytearray's ' within " too. */
		bool escaped =
			r == '\\' || r == (uint8_t)quote || (what == QUOTED_BYTEARRAY && r == '\'');
		if (!escaped && (bytes ? r >= ' ' && r < 0x7f : prints(r)))
			continue;
		put(pr, str_sub(s, plain, i));
		plain = i + n;
		if (escaped)
			put(pr, str_make((char[]){'\\', (char)r}, 2));
		else
			put_escape(pr, r);
	}
	put(pr, str_sub(s, plain, s.n));
	put(pr, str_make(&quote, 1));
}

/* ---- containers ---- */

static bool enter(struct printer *pr, const struct node *n, const char *circle)
{
	for (size_t i = 0; i < pr->depth; i++) {
		if (pr->path[i] == n) {
			put_c(pr, circle);
			return false;
		}
	}
	if (pr->depth == PICKLE_DEPTH_MAX) {
		put_c(pr, "\xe2\x80\xa6");
		return false;
	}
	pr->path[pr->depth++] = n;
	return true;
}

static void spell_items(struct printer *pr, const struct node *n, size_t from)
{
	for (size_t i = from; i < n->v.n && !pr->full; i++) {
		if (i > from)
			put_c(pr, ", ");
		spell(pr, node_item(n, i));
	}
}

static void spell_pairs(struct printer *pr, const struct node *n)
{
	for (size_t i = 0; i + 1 < n->v.n && !pr->full; i += 2) {
		if (i)
			put_c(pr, ", ");
		spell(pr, node_item(n, i));
		put_c(pr, ": ");
		spell(pr, node_item(n, i + 1));
	}
}

static void spell_container(struct printer *pr, const struct node *n)
{
	static const struct {
		const char *open, *close, *circle;
	} marks[] = {
		[PICKLE_LIST] = {"[", "]", "[...]"},
		[PICKLE_TUPLE] = {"(", ")", "(...)"},
		[PICKLE_SET] = {"{", "}", "{...}"},
		[PICKLE_DICT] = {"{", "}", "{...}"},
	};
	enum pickle_kind kind = n->v.kind;

	if (!enter(pr, n, marks[kind].circle))
		return;
	if (kind == PICKLE_SET && n->v.n == 0) {
		put(pr, n->label.n ? n->label : STR("set"));
		put_c(pr, "()");
	} else {
		put(pr, n->label);
		if (n->label.n)
			put_c(pr, "(");
		if (n->label.n && n->extra) {
			spell(pr, n->extra);
			put_c(pr, ", ");
		}
		put_c(pr, marks[kind].open);
		if (kind == PICKLE_DICT)
			spell_pairs(pr, n);
		else
			spell_items(pr, n, 0);
		if (kind == PICKLE_TUPLE && n->v.n == 1)
			put_c(pr, ",");
		put_c(pr, marks[kind].close);
		if (n->label.n)
			put_c(pr, ")");
	}
	pr->depth--;
}

/* ---- objects ---- */

/* By its name: their classes are not known here, and nearly all are called so. */
static bool is_exception(const struct node *n)
{
	return n->special != NODE_CLASS &&
	       (str_ends(n->v.text, STR("Error")) || str_ends(n->v.text, STR("Exception")) ||
		       str_ends(n->v.text, STR("Warning")) ||
		       str_eq(n->v.text, STR("builtins.SystemExit")) ||
		       str_eq(n->v.text, STR("builtins.StopIteration")) ||
		       str_eq(n->v.text, STR("builtins.KeyboardInterrupt")));
}

static bool is_os_error(struct str name)
{
	static const char *const names[] = {"OSError", "IOError", "EnvironmentError",
		"BlockingIOError", "ChildProcessError", "ConnectionError", "BrokenPipeError",
		"ConnectionAbortedError", "ConnectionRefusedError", "ConnectionResetError",
		"FileExistsError", "FileNotFoundError", "InterruptedError", "IsADirectoryError",
		"NotADirectoryError", "PermissionError", "ProcessLookupError", "TimeoutError"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (str_eq_c(pickle_last_name(name), names[i]) &&
			str_starts(name, STR("builtins.")))
			return true;
	return false;
}

/* The arguments of an exception are its items but for the state. */
static void spell_exception(struct printer *pr, const struct node *n, bool repr)
{
	struct node args = *n;

	args.v.n -= n->special == NODE_BUILT;
	if (!enter(pr, n, "..."))
		return;
	if (repr) {
		put(pr, pickle_last_name(n->v.text));
		put_c(pr, "(");
		spell_items(pr, &args, 0);
		put_c(pr, ")");
	} else if (args.v.n == 1 && node_item(&args, 0)->v.kind == PICKLE_TEXT &&
		   !str_eq(n->v.text, STR("builtins.KeyError"))) {
		put(pr, args.v.items[0]->text);
	} else if (args.v.n == 1) {
		spell(pr, node_item(&args, 0));
	} else if ((args.v.n == 2 || args.v.n == 3) && is_os_error(n->v.text)) {
		put_c(pr, "[Errno ");
		spell(pr, node_item(&args, 0));
		put_c(pr, "] ");
		if (args.v.items[1]->kind == PICKLE_TEXT)
			put(pr, args.v.items[1]->text);
		else
			spell(pr, node_item(&args, 1));
		if (args.v.n == 3) {
			put_c(pr, ": ");
			spell(pr, node_item(&args, 2));
		}
	} else if (args.v.n > 1) {
		put_c(pr, "(");
		spell_items(pr, &args, 0);
		put_c(pr, ")");
	}
	pr->depth--;
}

static void spell_object(struct printer *pr, const struct node *n, bool repr)
{
	struct str name = n->v.text;

	if (is_exception(n)) {
		spell_exception(pr, n, repr);
	} else if (n->special == NODE_CLASS) {
		put_c(pr, "<class '");
		put(pr, str_starts(name, STR("builtins.")) ? pickle_last_name(name) : name);
		put_c(pr, "'>");
	} else {
		put_c(pr, "<");
		put(pr, name);
		put_c(pr, " object>");
	}
}

/* ---- values ---- */

static void spell_number(struct printer *pr, const struct node *n)
{
	char text[64] = "";
	struct buf b = {0};

	if (n->v.kind == PICKLE_INT) {
		snprintf(text, sizeof text, "%jd", (intmax_t)n->v.i);
		put_c(pr, text);
		return;
	}
	percent_repr(&b, n->v.f);
	put(pr, buf_view(&b));
	buf_fini(&b);
}

static void spell_bytes(struct printer *pr, const struct node *n)
{
	put(pr, n->label);
	put_c(pr, n->label.n ? "(b" : "b");
	put_quoted(pr, n->v.text, n->label.n ? QUOTED_BYTEARRAY : QUOTED_BYTES);
	if (n->label.n)
		put_c(pr, ")");
}

static void spell(struct printer *pr, const struct node *n)
{
	if (pr->full)
		return;
	switch (n->v.kind) {
	case PICKLE_NONE: put_c(pr, "None"); break;
	case PICKLE_BOOL: put_c(pr, n->v.b ? "True" : "False"); break;
	case PICKLE_INT:
	case PICKLE_FLOAT: spell_number(pr, n); break;
	case PICKLE_BIG: put(pr, n->v.text); break;
	case PICKLE_TEXT:
		if (n->label.p)
			put(pr, n->label);
		else
			put_quoted(pr, n->v.text, QUOTED_TEXT);
		break;
	case PICKLE_BYTES: spell_bytes(pr, n); break;
	case PICKLE_LIST:
	case PICKLE_TUPLE:
	case PICKLE_SET:
	case PICKLE_DICT: spell_container(pr, n); break;
	case PICKLE_OBJECT: spell_object(pr, n, true); break;
	}
}

/* Not initialised as a whole: the path is long. */
static void printer_start(struct printer *pr, size_t most, struct buf *out)
{
	pr->out = out;
	pr->start = out->n;
	pr->most = most;
	pr->full = false;
	pr->depth = 0;
}

void pickle_repr(const struct pickle_value *v, size_t most, struct buf *out)
{
	struct printer pr;

	printer_start(&pr, most, out);
	spell(&pr, node_of(v));
}

void pickle_repr_text(struct str text, size_t most, struct buf *out)
{
	struct printer pr;

	printer_start(&pr, most, out);
	put_quoted(&pr, text, QUOTED_TEXT);
}

void pickle_str(const struct pickle_value *v, size_t most, struct buf *out)
{
	struct printer pr;

	printer_start(&pr, most, out);
	if (v->kind == PICKLE_TEXT)
		put(&pr, v->text);
	else if (v->kind == PICKLE_OBJECT)
		spell_object(&pr, node_of(v), false);
	else
		spell(&pr, node_of(v));
}

bool pickle_number(const struct pickle_value *v, double *out)
{
	char text[512];

	switch (v->kind) {
	case PICKLE_BOOL: *out = v->b; return true;
	case PICKLE_INT: *out = (double)v->i; return true;
	case PICKLE_FLOAT: *out = v->f; return true;
	case PICKLE_BIG:
	case PICKLE_TEXT:
		if (v->kind == PICKLE_TEXT && node_of(v)->special != NODE_DECIMAL)
			return false;
		if (v->text.n >= sizeof text)
			return false;
		*out = strtod(str_copy(v->text, text, sizeof text), NULL);
		return true;
	default: return false;
	}
}

struct str pickle_type(const struct pickle_value *v)
{
	static const struct str names[] = {
		[PICKLE_NONE] = STR_INIT("NoneType"),
		[PICKLE_BOOL] = STR_INIT("bool"),
		[PICKLE_INT] = STR_INIT("int"),
		[PICKLE_BIG] = STR_INIT("int"),
		[PICKLE_FLOAT] = STR_INIT("float"),
		[PICKLE_TEXT] = STR_INIT("str"),
		[PICKLE_BYTES] = STR_INIT("bytes"),
		[PICKLE_LIST] = STR_INIT("list"),
		[PICKLE_TUPLE] = STR_INIT("tuple"),
		[PICKLE_SET] = STR_INIT("set"),
		[PICKLE_DICT] = STR_INIT("dict"),
	};
	const struct node *n = node_of(v);

	if (v->kind == PICKLE_OBJECT)
		return n->special == NODE_CLASS ? STR("type") : pickle_last_name(v->text);
	if (v->kind != PICKLE_TEXT && n->label.n)
		return n->label;
	return names[v->kind];
}
