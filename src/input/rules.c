/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  A rule that cannot be tried, because the expression runs out of its
 * budget or the result grows without bounds, fails to the safe side: nothing
 * is dropped, and nothing leaves the host unredacted.
 */
#include "input/rules.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "codec/regex.h"

enum {
	GROUPS_MAX = 10,        /* $0 to $9 */
	REDACTED_MAX = 4 << 20, /* bytes of a body after replacement */
};

struct redaction {
	struct regex *regex;
	struct str with;
};

struct rules {
	struct regex **drop;
	size_t n_drop;
	struct redaction *redact;
	size_t n_redact;
};

/* "$1" must be a group that there is. */
static int check_replacement(const struct redaction *r, struct error *e)
{
	for (size_t i = 0; i < r->with.n; i++) {
		char next = i + 1 < r->with.n ? r->with.p[i + 1] : 0;

		if (r->with.p[i] != '$')
			continue;
		if (next != '$' && (next < '0' || next > '9'))
			return error_set(e, ERR_ARG,
				"\"%.*s\": a $ is followed by a digit for a group, or by $ for a "
				"dollar",
				STR_ARG(r->with));
		if (next != '$' && (size_t)(next - '0') > regex_n_groups(r->regex))
			return error_set(e, ERR_ARG, "\"%.*s\": the expression has %zu groups",
				STR_ARG(r->with), regex_n_groups(r->regex));
		i++;
	}
	return 0;
}

/* An empty expression, as of a variable that is not set, or one that matches nothing at all too:
 * every record would be dropped, or torn by replacements.  "^$" is not one of them. */
static int check_expression(const struct regex *r, struct error *e)
{
	static const char *const texts[] = {"", "x", " ", "0-"};
	struct str pattern = regex_pattern(r);

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		if (regex_match(r, str_c(texts[i])) <= 0)
			return 0;
	}
	if (pattern.n == 0)
		return error_set(e, ERR_ARG,
			"\"\" matches every line: leave it out, or write an expression");
	return error_set(e, ERR_ARG,
		"\"%.*s\" matches every line, as it matches no text at all too: say what must be there "
		"(+ for *)",
		STR_ARG(pattern));
}

int rules_new(struct rules **out, const struct strings *drop, const struct string_map *redact,
	struct error *e)
{
	struct rules *r = xcalloc(1, sizeof(*r));
	int code;

	r->drop = xcalloc(drop->n, sizeof(*r->drop));
	r->redact = xcalloc(redact->n, sizeof(*r->redact));
	for (; r->n_drop < drop->n; r->n_drop++) {
		code = regex_new(&r->drop[r->n_drop], str_c(drop->items[r->n_drop]), false, e);
		if (code >= 0 && (code = check_expression(r->drop[r->n_drop], e)) < 0)
			regex_free(r->drop[r->n_drop]);
		if (code < 0) {
			error_wrap(e, code, "drop");
			goto fail;
		}
	}
	for (; r->n_redact < redact->n; r->n_redact++) {
		struct redaction *at = &r->redact[r->n_redact];

		at->with = str_c(redact->items[r->n_redact].value);
		code = regex_new_groups(&at->regex, str_c(redact->items[r->n_redact].name), e);
		if (code >= 0 && ((code = check_expression(at->regex, e)) < 0 ||
					 (code = check_replacement(at, e)) < 0))
			regex_free(at->regex);
		if (code < 0) {
			error_wrap(e, code, "redact");
			goto fail;
		}
	}
	*out = r;
	return 0;
fail:
	rules_free(r);
	return ERR_ARG;
}

void rules_free(struct rules *r)
{
	if (!r)
		return;
	while (r->n_drop > 0)
		regex_free(r->drop[--r->n_drop]);
	while (r->n_redact > 0)
		regex_free(r->redact[--r->n_redact].regex);
	free(r->drop);
	free(r->redact);
	free(r);
}

bool rules_empty(const struct rules *r)
{
	return r->n_drop == 0 && r->n_redact == 0;
}

bool rules_drop(const struct rules *r, struct str body)
{
	for (size_t i = 0; i < r->n_drop; i++) {
		if (regex_match(r->drop[i], body) > 0)
			return true;
	}
	return false;
}

static void put_replacement(struct str with, const struct str *groups, struct buf *out)
{
	for (size_t i = 0; i < with.n; i++) {
		if (with.p[i] != '$')
			buf_char(out, with.p[i]);
		else if (with.p[++i] == '$')
			buf_char(out, '$');
		else
			buf_str(out, groups[with.p[i] - '0']);
	}
}

/* Append `body` with all matches replaced: how many, or ERR_LIMIT. */
static int replace_all(const struct redaction *r, struct str body, struct buf *out)
{
	struct str groups[GROUPS_MAX];
	size_t copied = 0, from = 0;
	int n = 0, found;

	while (from <= body.n) {
		size_t at, end;

		memset(groups, 0, sizeof(groups));
		found = regex_find(r->regex, body, from, groups, GROUPS_MAX);
		if (found < 0)
			return found;
		if (found == 0)
			break;
		at = (size_t)(groups[0].p - body.p);
		end = at + groups[0].n;
		/* An empty match right behind the one before it is none. */
		if (groups[0].n > 0 || n == 0 || at > copied) {
			buf_str(out, str_sub(body, copied, at));
			put_replacement(r->with, groups, out);
			copied = end;
			n++;
		}
		from = groups[0].n > 0 ? end : end + 1;
		if (out->n > REDACTED_MAX)
			return ERR_LIMIT;
	}
	if (n > 0)
		buf_str(out, str_sub(body, copied, body.n));
	return out->n > REDACTED_MAX ? ERR_LIMIT : n;
}

bool rules_redact(const struct rules *r, struct str body, struct buf *out)
{
	struct buf other = {0};
	bool any = false;
	int n = 0;

	for (size_t i = 0; i < r->n_redact && n >= 0; i++) {
		buf_clear(&other);
		n = replace_all(&r->redact[i], any ? buf_view(out) : body, &other);
		if (n > 0) {
			struct buf swap = *out;

			*out = other;
			other = swap;
			any = true;
		}
	}
	if (n < 0) {
		buf_clear(out);
		buf_c(out, "[redacted]");
		any = true;
	}
	buf_fini(&other);
	return any;
}
