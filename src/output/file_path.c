/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  The slashes of a path are those of its text; a value cannot bring one in, nor be "." or
 * "..", for it is escaped before it is put between them.  So every path has as many parts as its
 * template, and the way down is walked part by part: openat with O_NOFOLLOW from a descriptor of
 * the root, and what is done in the last folder is done through its descriptor.  A link that
 * somebody plants on the way is an error, whenever it comes.  (openat2 with RESOLVE_BENEATH would
 * save some calls when a file is opened, needs a newer kernel, and still could not make the
 * folders.)
 */
#include "output/file_path.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "output/line_format.h"
#include "record/labels.h"

enum {
	VALUE_MIN = 32,     /* bytes that each value of a name has room for */
	HASH_TAIL = 1 + 16, /* "~" and the digits */
	EXPRESSION_MAX = 4096,
};

struct piece {
	enum { PIECE_TEXT, PIECE_SLASH, PIECE_FIELD, PIECE_PIPE } kind;
	char *text;               /* of TEXT; the name of FIELD; the action of PIPE */
	struct line_format *pipe; /* PIPE */
	bool key;                 /* FIELD: the hierarchy's label */
	size_t max;               /* bytes that the value may take */
};

struct path_template {
	char *root, *hierarchy;
	struct piece pieces[PATH_PIECES_MAX];
	size_t n;
	struct line_format *fields; /* for line_format_field */
	struct labels_builder labels;
	struct buf value, replaced;
};

/* --- values --------------------------------------------------------------- */

static bool plain_byte(unsigned char c, bool first, bool utf8)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
		return true;
	if (c == '.' || c == '-')
		return !first;
	return (c >= 0x80 && utf8) || (c && strchr("_+@=,:", c));
}

void path_value_put(struct buf *out, struct str value, size_t max)
{
	bool utf8 = str_utf8_valid(value) == value.n;
	size_t from = out->n, fits = out->n; /* fits: where a cut leaves room for the hash */

	assert(max >= VALUE_MIN);
	if (value.n == 0)
		buf_c(out, "~none");
	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i];
		/* C1 controls are text beyond ASCII, and as harmful as the others. */
		bool control = c == 0xc2 && i + 1 < value.n && (unsigned char)value.p[i + 1] < 0xa0;
		/* No cut within a character. */
		if ((c & 0xc0) != 0x80 && out->n - from <= max - HASH_TAIL)
			fits = out->n;
		if (control) {
			buf_printf(out, "%%C2%%%02X", (unsigned char)value.p[++i]);
		} else if (plain_byte(c, i == 0, utf8)) {
			buf_char(out, (char)c);
		} else {
			buf_printf(out, "%%%02X", c);
		}
		if (out->n - from > max) {
			out->n = fits;
			buf_printf(out, "~%016llx", (unsigned long long)hash_stable(value));
			return;
		}
	}
}

/* --- compiling ------------------------------------------------------------ */

static int add_piece(struct path_template *t, int kind, struct str text, struct error *e)
{
	if (t->n == PATH_PIECES_MAX)
		return error_set(e, ERR_LIMIT, "path: has more than %d parts", PATH_PIECES_MAX);
	t->pieces[t->n++] =
		(struct piece){.kind = kind, .text = kind == PIECE_SLASH ? NULL : str_dup(text)};
	return 0;
}

/* Literal text, whose slashes part the names. */
static int add_text(struct path_template *t, struct str text, struct error *e)
{
	int r = 0;

	while (r == 0 && text.n) {
		size_t n = 0;
		if (text.p[0] == '/') {
			/* "a//b" is "a/b". */
			if (t->n && t->pieces[t->n - 1].kind != PIECE_SLASH)
				r = add_piece(t, PIECE_SLASH, STR_NONE, e);
			text = str_sub(text, 1, text.n);
			continue;
		}
		while (n < text.n && text.p[n] != '/') {
			if ((unsigned char)text.p[n] < ' ' || text.p[n] == 0x7f)
				return error_set(e, ERR_ARG, "path: has a control character");
			n++;
		}
		r = add_piece(t, PIECE_TEXT, str_sub(text, 0, n), e);
		text = str_sub(text, n, text.n);
	}
	return r;
}

static bool same_field(const char *a, const char *b)
{
	/* The names that Python has for the label. */
	static const char *const loggers[] = {"logger", "name", "logger_name"};
	bool a_is = false, b_is = false;

	for (size_t i = 0; i < sizeof loggers / sizeof *loggers; i++) {
		a_is = a_is || strcmp(a, loggers[i]) == 0;
		b_is = b_is || strcmp(b, loggers[i]) == 0;
	}
	return strcmp(a, b) == 0 || (a_is && b_is);
}

static int add_field(struct path_template *t, struct str name, struct error *e)
{
	int r = name.n ? add_piece(t, PIECE_FIELD, name, e)
		       : error_set(e, ERR_ARG, "path: a field has no name");

	if (r == 0 && t->hierarchy)
		t->pieces[t->n - 1].key = same_field(t->pieces[t->n - 1].text, t->hierarchy);
	return r;
}

/* {{.name}} is a field; any other action is a template of its own. */
static int add_action(struct path_template *t, struct str whole, struct error *e)
{
	struct str inner = str_trim(str_sub(whole, 2, whole.n - 2));
	struct line_settings settings = {.style = LINE_TEMPLATE, .breaks = LINE_RAW};
	struct piece *p;
	int r;

	if (inner.n > 1 && inner.p[0] == '.' && label_name_valid(str_sub(inner, 1, inner.n)))
		return add_field(t, str_sub(inner, 1, inner.n), e);
	if ((r = add_piece(t, PIECE_PIPE, whole, e)) < 0)
		return r;
	p = &t->pieces[t->n - 1];
	settings.format = p->text;
	if ((r = line_format_new(&p->pipe, &settings, e)) < 0)
		return error_wrap(e, r,
			"path: \"%s\" must be a value by itself, not a part of a block", p->text);
	return 0;
}

/* Where the next field begins, and its end; false when there is none. */
static int next_field(struct str text, size_t *from, size_t *to, struct error *e)
{
	ptrdiff_t percent = str_find(text, STR("%(")), brace = str_find(text, STR("{{")), end;

	if (percent < 0 && brace < 0)
		return 0;
	if (brace < 0 || (percent >= 0 && percent < brace)) {
		*from = (size_t)percent;
		end = str_find(str_sub(text, *from, text.n), STR(")s"));
		if (end < 0)
			return error_set(e, ERR_ARG,
				"path: a field is written %%(name)s: \"%.*s\" has no \")s\"",
				STR_ARG(str_sub(text, *from, text.n)));
	} else {
		*from = (size_t)brace;
		end = str_find(str_sub(text, *from, text.n), STR("}}"));
		if (end < 0)
			return error_set(e, ERR_ARG, "path: \"%.*s\" has no \"}}\"",
				STR_ARG(str_sub(text, *from, text.n)));
	}
	*to = *from + (size_t)end + 2;
	return 1;
}

static int compile(struct path_template *t, struct str text, struct error *e)
{
	size_t from = 0, to = 0;
	int r;

	while ((r = next_field(text, &from, &to, e)) > 0) {
		struct str field = str_sub(text, from, to);
		if (field.n > EXPRESSION_MAX)
			return error_set(e, ERR_LIMIT, "path: a field is longer than %d bytes",
				EXPRESSION_MAX);
		if ((r = add_text(t, str_sub(text, 0, from), e)) < 0)
			return r;
		r = field.p[0] == '%' ? add_field(t, str_sub(field, 2, field.n - 2), e)
				      : add_action(t, field, e);
		if (r < 0)
			return r;
		text = str_sub(text, to, text.n);
	}
	return r < 0 ? r : add_text(t, text, e);
}

static bool is_field(const struct piece *p)
{
	return p->kind == PIECE_FIELD || p->kind == PIECE_PIPE;
}

/* Give the values of the name made of pieces [from, to) their room. */
static int check_component(struct path_template *t, size_t from, size_t to, struct error *e)
{
	size_t literal = 0, n_fields = 0, max;
	const char *only = NULL;

	for (size_t i = from; i < to; i++) {
		n_fields += is_field(&t->pieces[i]);
		if (!is_field(&t->pieces[i])) {
			literal += strlen(t->pieces[i].text);
			only = t->pieces[i].text;
		}
	}
	if (to == from)
		return error_set(e, ERR_ARG, "path: must end in the name of a file");
	if (only && to == from + 1 && (strcmp(only, ".") == 0 || strcmp(only, "..") == 0))
		return error_set(e, ERR_ARG, "path: \"%s\" below the root is not allowed", only);
	max = literal < PATH_COMPONENT_MAX ? PATH_COMPONENT_MAX - literal : 0;
	if (n_fields)
		max /= n_fields;
	if (literal > PATH_COMPONENT_MAX || (n_fields && max < VALUE_MIN))
		return error_set(e, ERR_LIMIT,
			"path: a name of it may have %d bytes, with at least %d for each of its fields",
			PATH_COMPONENT_MAX, VALUE_MIN);
	for (size_t i = from; i < to; i++)
		t->pieces[i].max = max;
	return 0;
}

/* "{{.app}}" rotates to "a.1", which is what the value "a.1" is written to: the end of a name with
 * fields must be text that no rotated name ends in. */
static int check_end(const struct path_template *t, size_t from, struct error *e)
{
	const struct piece *last = &t->pieces[t->n - 1];
	struct str end = last->kind == PIECE_TEXT ? str_c(last->text) : STR_NONE;
	bool varies = false;

	for (size_t i = from; i < t->n; i++)
		varies = varies || is_field(&t->pieces[i]);
	if (!varies)
		return 0;
	if (end.n && !(end.p[end.n - 1] >= '0' && end.p[end.n - 1] <= '9') &&
		!str_ends(end, STR(".gz")) && !str_ends(end, STR(".zst")) &&
		!str_ends(end, STR(".tmp")))
		return 0;
	return error_set(e, ERR_ARG,
		"path: with rotation, a name with fields must end in text like \".log\", or the rotated "
		"file of one value would be the file of another");
}

static int check_pieces(struct path_template *t, bool rotates, struct error *e)
{
	size_t from = 0, depth = 1;
	int r;

	for (size_t i = 0; i <= t->n; i++) {
		if (i < t->n && t->pieces[i].kind != PIECE_SLASH)
			continue;
		if ((r = check_component(t, from, i, e)) < 0)
			return r;
		if (i == t->n)
			break;
		from = i + 1;
		depth++;
	}
	if (strlen(t->root) + depth * (PATH_COMPONENT_MAX + 1) + NAME_MAX > PATH_MAX)
		return error_set(e, ERR_LIMIT, "path: has %zu levels below \"%s\": too many", depth,
			t->root);
	return rotates ? check_end(t, from, e) : 0;
}

/* Without slashes at its end, and without "//"; "/" becomes "". */
static char *normal_folder(struct str s)
{
	struct buf b = {0};
	char *made;

	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] != '/' || (i + 1 < s.n && s.p[i + 1] != '/'))
			buf_char(&b, s.p[i]);
	made = str_dup(buf_view(&b));
	buf_fini(&b);
	return made;
}

/* Part the text into the root and what is below it. */
static int find_root(
	struct path_template *t, const struct path_settings *s, struct str *below, struct error *e)
{
	struct str path = str_c(s->path);
	size_t n = path.n, to = 0;
	char *whole;
	int r;

	if ((r = next_field(path, &n, &to, e)) < 0)
		return r;
	if (path.n == 0 || path.p[0] != '/')
		return error_set(e, ERR_ARG, "path: must not begin with a field");
	if (s->root) {
		t->root = normal_folder(str_c(s->root));
		/* Compared in the normal form, as text: "/a/../b" must be written "/b". */
		whole = normal_folder(str_sub(path, 0, n));
		if (!str_starts(str_c(whole), str_c(t->root)) ||
			(whole[strlen(t->root)] != '/' && whole[strlen(t->root)] != '\0')) {
			r = error_set(e, ERR_ARG, "path: \"%s\" is not below the root \"%s\"",
				s->path, s->root);
			free(whole);
			return r;
		}
		free(whole);
		/* Skip as many names as the root has. */
		n = 0;
		for (const char *c = t->root; *c; c++)
			if (*c == '/') {
				while (n < path.n && path.p[n] == '/')
					n++;
				while (n < path.n && path.p[n] != '/')
					n++;
			}
	} else {
		while (n && path.p[n - 1] != '/')
			n--;
		t->root = normal_folder(str_sub(path, 0, n));
	}
	*below = str_sub(path, n, path.n);
	return 0;
}

int path_template_new(struct path_template **out, const struct path_settings *s, struct error *e)
{
	struct path_template *t = xcalloc(1, sizeof *t);
	struct line_settings settings = {.style = LINE_PERCENT, .breaks = LINE_RAW};
	struct str below = STR_NONE;
	int r;

	t->hierarchy = xstrdup(s->hierarchy);
	t->labels.names_free = true;
	if ((r = find_root(t, s, &below, e)) == 0 && (r = compile(t, below, e)) == 0 &&
		(r = check_pieces(t, s->rotates, e)) == 0)
		r = line_format_new(&t->fields, &settings, e);
	if (r < 0)
		path_template_free(t);
	else
		*out = t;
	return r;
}

void path_template_free(struct path_template *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++) {
		free(t->pieces[i].text);
		line_format_free(t->pieces[i].pipe);
	}
	line_format_free(t->fields);
	labels_builder_fini(&t->labels);
	buf_fini(&t->value);
	buf_fini(&t->replaced);
	free(t->root);
	free(t->hierarchy);
	free(t);
}

const char *path_template_root(const struct path_template *t)
{
	return *t->root ? t->root : "/";
}

bool path_template_fixed(const struct path_template *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (is_field(&t->pieces[i]))
			return false;
	return true;
}

/* A folder by its only name: what of it exists without links, then the rest without "." and
 * "..". */
static void put_resolved(struct buf *out, const char *folder)
{
	char *there = str_dup(str_c(folder)), *real = NULL;
	size_t n = strlen(folder), from = out->n;
	struct str rest;

	while (n > 0 && !(real = realpath(there, NULL))) {
		while (there[--n] != '/')
			;
		there[n] = '\0';
	}
	if (real && strcmp(real, "/") != 0)
		buf_c(out, real);
	rest = str_c(folder + n);
	while (rest.n) {
		struct str part = str_cut(&rest, '/');
		if (part.n == 0 || str_eq_c(part, "."))
			continue;
		if (!str_eq_c(part, "..")) {
			buf_char(out, '/');
			buf_str(out, part);
			continue;
		}
		while (out->n > from && out->p[--out->n] != '/')
			;
	}
	free(real);
	free(there);
}

void path_template_text(const struct path_template *t, struct buf *out)
{
	put_resolved(out, t->root);
	buf_char(out, '/');
	for (size_t i = 0; i < t->n; i++) {
		const struct piece *p = &t->pieces[i];
		if (p->kind == PIECE_FIELD)
			buf_printf(out, "{{.%s}}", p->text);
		else
			buf_c(out, p->kind == PIECE_SLASH ? "/" : p->text);
	}
}

/* --- running -------------------------------------------------------------- */

/* The record with the hierarchy's label replaced, for actions. */
static struct output_record with_key(
	struct path_template *t, const struct output_record *r, struct str key)
{
	struct output_record copy = *r;
	struct str at = r->labels;
	struct label l;

	labels_builder_clear(&t->labels);
	labels_start(&at);
	while (labels_next(&at, &l))
		labels_builder_set(&t->labels, l.name, l.value, NULL);
	/* One that a set has no room for: then the record's own stays. */
	labels_builder_set(&t->labels, str_c(t->hierarchy), key, NULL);
	buf_clear(&t->replaced);
	labels_builder_write(&t->labels, &t->replaced);
	copy.labels = buf_view(&t->replaced);
	return copy;
}

void path_template_put(struct path_template *t, const struct output_record *r,
	const struct str *key, struct buf *out)
{
	for (size_t i = 0; i < t->n; i++) {
		struct piece *p = &t->pieces[i];
		struct output_record copy;
		if (!is_field(p)) {
			buf_c(out, p->kind == PIECE_SLASH ? "/" : p->text);
			continue;
		}
		buf_clear(&t->value);
		if (p->kind == PIECE_PIPE) {
			copy = key ? with_key(t, r, *key) : *r;
			line_format_put(p->pipe, &copy, &t->value);
		} else if (key && p->key) {
			buf_str(&t->value, *key);
		} else {
			line_format_field(t->fields, r, str_c(p->text), &t->value);
		}
		path_value_put(out, buf_view(&t->value), p->max);
	}
}

void path_template_value(
	struct path_template *t, const struct output_record *r, struct str name, struct buf *out)
{
	line_format_field(t->fields, r, name, out);
}

/* --- folders -------------------------------------------------------------- */

static int say(struct error *e, int number, const char *root, struct str path, const char *what)
{
	int r = error_errno(e, number, "%s/%.*s: cannot %s", root, STR_ARG(path), what);

	/* ELOOP by O_NOFOLLOW, ENOTDIR by O_DIRECTORY on a link. */
	if (number == ELOOP || number == ENOTDIR)
		return error_set(e, ERR_DENIED,
			"%s/%.*s: is a symbolic link or no folder, and is not followed below root",
			root, STR_ARG(path));
	return r;
}

static int open_below(int at, const char *name)
{
	int fd;

	do
		fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	while (fd < 0 && errno == EINTR);
	return fd;
}

/* Make and open a folder; umask has no say in its mode. */
static int make_below(int at, const char *name, const struct folder_modes *make)
{
	bool made = mkdirat(at, name, make->dir_mode) == 0;
	int fd;

	if (!made && errno != EEXIST)
		return -1;
	fd = open_below(at, name);
	if (fd >= 0 && made) {
		fchmod(fd, make->dir_mode);
		if (make->durable)
			fsync(at);
	}
	return fd;
}

/* The root is the administrator's: links in it are followed. */
static int open_root(const char *root, const struct folder_modes *make, struct error *e)
{
	struct str rest = str_c(root + 1);
	int at, fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), number;
	char name[NAME_MAX + 1];

	assert(root[0] == '/');
	if (fd >= 0)
		return fd;
	if (errno != ENOENT || !make)
		return error_errno(e, errno, "%s: cannot open the folder", root);
	at = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (at >= 0 && rest.n) {
		struct str part = str_cut(&rest, '/');
		if (part.n > NAME_MAX) {
			close(at);
			return error_set(e, ERR_LIMIT, "%s: a name of it is too long", root);
		}
		str_copy(part, name, sizeof name);
		fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT)
			fd = make_below(at, name, make);
		number = errno;
		close(at);
		errno = number;
		at = fd;
	}
	return at >= 0 ? at : error_errno(e, errno, "%s: cannot make the folder", root);
}

int folder_open(const char *root, const char *path, const struct folder_modes *make,
	const char **name, struct error *e)
{
	int at = open_root(root, make, e), fd, number;
	const char *slash, *from = path;
	char part[NAME_MAX + 1];

	while (at >= 0 && (slash = strchr(from, '/'))) {
		assert((size_t)(slash - from) < sizeof part);
		str_copy(str_make(from, (size_t)(slash - from)), part, sizeof part);
		assert(strcmp(part, "..") != 0 && *part);
		fd = open_below(at, part);
		if (fd < 0 && errno == ENOENT && make)
			fd = make_below(at, part, make);
		number = errno;
		close(at);
		if (fd < 0)
			return say(e, number, root, str_make(path, (size_t)(slash - path)),
				"open the folder");
		at = fd;
		from = slash + 1;
	}
	*name = from;
	return at;
}
