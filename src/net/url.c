/* SPDX-License-Identifier: Apache-2.0 */
#include "net/url.h"

#include <stdlib.h>

#include "base/hex.h"
#include "base/memory.h"
#include "net/client.h"

/* The decoded text of one url_params_add: never longer than the encoded one. */
struct url_block {
	struct url_block *next;
	struct buf text;
};

static bool is_unreserved(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

void url_encode(struct buf *out, struct str s)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (is_unreserved(s.p[i])) {
			buf_char(out, s.p[i]);
		} else {
			buf_char(out, '%');
			buf_char(out, digits[c >> 4]);
			buf_char(out, digits[c & 15]);
		}
	}
}

int url_decode(struct buf *out, struct str s, bool plus, struct error *e)
{
	char *to = buf_reserve(out, s.n);

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (c == '%') {
			int high = i + 2 < s.n ? hex_digit(s.p[i + 1]) : -1;
			int low = i + 2 < s.n ? hex_digit(s.p[i + 2]) : -1;
			if (high < 0 || low < 0)
				return error_set(e, ERR_ARG,
					"'%.*s' is no percent-encoded byte: write %% as %%25",
					(int)(s.n - i < 3 ? s.n - i : 3), s.p + i);
			c = (char)(high << 4 | low);
			i += 2;
		} else if (c == '+' && plus) {
			c = ' ';
		}
		*to++ = c;
		out->n++;
	}
	return 0;
}

void url_split(struct str target, struct str *path, struct str *query)
{
	ptrdiff_t scheme = str_find(target, STR("://"));

	if (scheme > 0 && target.p[0] != '/') {
		struct str rest = str_sub(target, (size_t)scheme + 3, target.n);
		ptrdiff_t slash = str_chr(rest, '/'), mark = str_chr(rest, '?');
		if (slash >= 0 && (mark < 0 || slash < mark))
			target = str_sub(rest, (size_t)slash, rest.n);
		else /* "http://host?q": an empty path is "/" */
			target = mark >= 0 ? str_sub(rest, (size_t)mark, rest.n) : STR_NONE;
	}
	*path = str_cut(&target, '?');
	*query = target;
	if (path->n == 0)
		*path = STR("/");
}

int url_path_parse(struct url_path *p, struct str raw, struct error *e)
{
	int r;

	if (raw.n == 0 || raw.p[0] != '/')
		return error_set(e, ERR_ARG, "path does not start with '/'");
	/* Reserved at once: the segments are views of it. */
	buf_reserve(&p->text, raw.n);
	raw = str_sub(raw, 1, raw.n);
	do {
		size_t from;
		if (p->n == URL_MAX_SEGMENTS)
			return error_set(
				e, ERR_LIMIT, "path has more than %d segments", URL_MAX_SEGMENTS);
		buf_char(&p->text, '/');
		from = p->text.n;
		if ((r = url_decode(&p->text, str_cut(&raw, '/'), false, e)) < 0)
			return error_wrap(e, r, "path");
		p->segments[p->n++] = str_make(p->text.p + from, p->text.n - from);
	} while (raw.p);
	return 0;
}

void url_path_fini(struct url_path *p)
{
	buf_fini(&p->text);
	p->n = 0;
}

static struct url_param *params_grow(struct url_params *p)
{
	if (p->n == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 8;
		p->list = xrealloc(p->list, p->cap * sizeof *p->list);
	}
	return &p->list[p->n];
}

static int decode_field(struct buf *text, struct str raw, struct str *out, struct error *e)
{
	size_t from = text->n;
	int r = url_decode(text, raw, true, e);

	*out = str_make(text->p + from, text->n - from);
	return r;
}

int url_params_add(struct url_params *p, struct str text, struct error *e)
{
	struct url_block *b;
	int r;

	if (text.n == 0)
		return 0;
	b = xcalloc(1, sizeof *b);
	b->next = p->blocks;
	p->blocks = b;
	buf_reserve(&b->text, text.n); /* at once: the parameters are views of it */
	while (text.p) {
		struct str value = str_cut(&text, '&'), name;
		struct url_param *to;
		if (value.n == 0)
			continue;
		if (p->n == URL_MAX_PARAMS)
			return error_set(e, ERR_LIMIT, "more than %d parameters", URL_MAX_PARAMS);
		to = params_grow(p);
		name = str_cut(&value, '=');
		if ((r = decode_field(&b->text, name, &to->name, e)) < 0)
			return error_wrap(e, r, "parameter name");
		if ((r = decode_field(&b->text, value, &to->value, e)) < 0)
			return error_wrap(
				e, r, "parameter '%.*s'", (int)(name.n < 60 ? name.n : 60), name.p);
		p->n++;
	}
	return 0;
}

void url_params_fini(struct url_params *p)
{
	while (p->blocks) {
		struct url_block *next = p->blocks->next;
		buf_fini(&p->blocks->text);
		free(p->blocks);
		p->blocks = next;
	}
	free(p->list);
	*p = (struct url_params){0};
}

const struct url_param *url_params_get(const struct url_params *p, struct str name, size_t n)
{
	for (size_t i = 0; i < p->n; i++)
		if (str_eq(p->list[i].name, name) && n-- == 0)
			return &p->list[i];
	return NULL;
}
