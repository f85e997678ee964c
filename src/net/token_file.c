/* SPDX-License-Identifier: Apache-2.0 */
#include "net/token_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hex.h"
#include "base/memory.h"
#include "record/batch.h"
#include "record/time.h"

static_assert(TENANT_MAX + 1 == sizeof((struct token *)0)->tenant, "a tenant fits");

/* Scopes */

static const struct {
	const char *name;
	unsigned flag;
} scopes[] = {{"ingest", SCOPE_INGEST}, {"read", SCOPE_READ}, {"admin", SCOPE_ADMIN}};

enum { N_SCOPES = sizeof scopes / sizeof *scopes };

bool token_scopes_parse(struct str s, unsigned *out)
{
	unsigned all = 0;

	do {
		struct str word = str_trim(str_cut(&s, ','));
		unsigned flag = 0;
		for (size_t i = 0; i < N_SCOPES; i++)
			if (str_eq_c(word, scopes[i].name))
				flag = scopes[i].flag;
		if (!flag)
			return false;
		all |= flag;
	} while (s.p);
	*out = all;
	return true;
}

void token_scopes_format(struct buf *out, unsigned flags)
{
	bool first = true;

	for (size_t i = 0; i < N_SCOPES; i++) {
		if (!(flags & scopes[i].flag))
			continue;
		buf_printf(out, "%s%s", first ? "" : ",", scopes[i].name);
		first = false;
	}
}

/* Lines */

void token_secret_hash(struct str secret, unsigned char out[TOKEN_HASH])
{
	int r = gnutls_hash_fast(GNUTLS_DIG_SHA256, secret.p ? secret.p : "", secret.n, out);

	assert(r == 0);
}

void token_hex(struct buf *out, const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_printf(out, "%02x", p[i]);
}

static bool read_hash(struct str s, unsigned char out[TOKEN_HASH])
{
	if (s.n != 2 * TOKEN_HASH)
		return false;
	for (size_t i = 0; i < TOKEN_HASH; i++) {
		int high = hex_digit(s.p[2 * i]), low = hex_digit(s.p[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		out[i] = (unsigned char)(high << 4 | low);
	}
	return true;
}

bool token_id_valid(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!(s.p[i] >= 'a' && s.p[i] <= 'z') && !(s.p[i] >= '0' && s.p[i] <= '9'))
			return false;
	return s.n >= 1 && s.n < sizeof((struct token *)0)->id;
}

bool token_name_valid(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return false;
	return s.n >= 1 && s.n < sizeof((struct token *)0)->name && str_utf8_valid(s) == s.n;
}

bool token_tenant_valid(struct str s)
{
	return str_eq(s, STR("*")) || tenant_valid(s);
}

/* The next word of a line; blanks before it are passed over. */
static struct str next_word(struct str *rest)
{
	*rest = str_trim(*rest);
	return str_cut(rest, ' ');
}

int token_line_parse(struct str line, struct token_entry *out, struct error *e)
{
	struct str id = next_word(&line), hash = next_word(&line), scope = next_word(&line);
	struct str tenant = next_word(&line), created = next_word(&line);
	struct str expires = next_word(&line), name = str_trim(line);
	struct token *t = &out->token;

	*out = (struct token_entry){0};
	if (!token_id_valid(id))
		return error_set(e, ERR_CORRUPT, "the id is not 1 to 16 of a-z0-9");
	if (!read_hash(hash, out->hash))
		return error_set(e, ERR_CORRUPT, "the hash is not 64 hexadecimal digits");
	if (!token_scopes_parse(scope, &t->scopes))
		return error_set(e, ERR_CORRUPT, "the scopes are not of ingest, read, admin");
	if (!token_tenant_valid(tenant))
		return error_set(e, ERR_CORRUPT, "the tenant is no tenant's name");
	if (!created.n || !time_parse_rfc3339(created, &t->created_ns))
		return error_set(e, ERR_CORRUPT, "the time of creation is not RFC 3339");
	/* 0 means never: a token that expired in 1970 expired a moment later. */
	if (!str_eq(expires, STR("-")) &&
		(!expires.n || !time_parse_rfc3339(expires, &t->expires_ns)))
		return error_set(e, ERR_CORRUPT, "the time of expiry is neither RFC 3339 nor -");
	if (!str_eq(expires, STR("-")) && t->expires_ns == 0)
		t->expires_ns = 1;
	if (!token_name_valid(name))
		return error_set(e, ERR_CORRUPT, "the name is not 1 to 100 bytes of text");
	str_copy(id, t->id, sizeof t->id);
	str_copy(tenant, t->tenant, sizeof t->tenant);
	str_copy(name, t->name, sizeof t->name);
	return 0;
}

void token_line_format(struct buf *out, const struct token_entry *en)
{
	const struct token *t = &en->token;

	buf_printf(out, "%s ", t->id);
	token_hex(out, en->hash, TOKEN_HASH);
	buf_char(out, ' ');
	token_scopes_format(out, t->scopes);
	buf_printf(out, " %s ", t->tenant);
	time_format(out, t->created_ns);
	buf_char(out, ' ');
	if (t->expires_ns)
		time_format(out, t->expires_ns);
	else
		buf_char(out, '-');
	buf_printf(out, " %s\n", t->name);
}

static bool is_token_line(struct str line)
{
	return line.n > 0 && line.p[0] != '#';
}

/* The line whose first word is the id, with its end; false when there is none. */
bool token_line_find(struct str text, struct str id, struct str *out)
{
	struct str rest = text;

	while (rest.n) {
		const char *start = rest.p;
		struct str line = str_cut(&rest, '\n'), body = str_trim(line);
		if (!is_token_line(body) || !str_eq(next_word(&body), id))
			continue;
		*out = str_make(start, line.n + (rest.p != NULL));
		return true;
	}
	return false;
}

/* The file */

void token_entries_fini(struct token_entries *s)
{
	free(s->items);
	*s = (struct token_entries){0};
}

/* Add all good lines to `out`; the code and sentence are those of the first bad one. */
int token_file_parse(struct str text, struct token_entries *out, struct error *e)
{
	struct error local;
	int first = 0;

	for (unsigned number = 1; text.n; number++) {
		struct str line = str_trim(str_cut(&text, '\n'));
		struct token_entry en;
		int r;

		if (!is_token_line(line))
			continue;
		if (out->n == TOKENS_MAX)
			r = error_set(&local, ERR_LIMIT, "more than %d tokens", TOKENS_MAX);
		else
			r = token_line_parse(line, &en, &local);
		if (r < 0) {
			if (first == 0)
				first = error_set(e, r, "line %u: %s", number, local.text);
			continue;
		}
		if (out->n == out->cap) {
			out->cap = out->cap ? out->cap * 2 : 16;
			out->items = xrealloc(out->items, out->cap * sizeof *out->items);
		}
		out->items[out->n++] = en;
	}
	return first;
}

/* Who may write the file may let himself in.  Root may change the file of a service's user. */
static int check_owner(const char *path, const struct stat *st, bool changing, struct error *e)
{
	if (!S_ISREG(st->st_mode))
		return error_set(e, ERR_DENIED, "%s is no file", path);
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return error_set(e, ERR_DENIED,
			"%s may be written by others (mode %03o): chmod 600 it, and look who did",
			path, st->st_mode & 0777);
	if (!changing && st->st_uid != 0 && st->st_uid != geteuid())
		return error_set(e, ERR_DENIED,
			"%s belongs to user %u: it must be root's or that of user %u, who runs this",
			path, (unsigned)st->st_uid, (unsigned)geteuid());
	return 0;
}

static int read_fd(int fd, const char *path, struct buf *text, struct error *e)
{
	for (;;) {
		ssize_t n = read(fd, buf_reserve(text, 64 << 10), 64 << 10);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(e, errno, "read %s", path);
		if (n == 0)
			return 0;
		text->n += (size_t)n;
		if (text->n > TOKEN_FILE_MAX)
			return error_set(e, ERR_LIMIT, "%s is over the limit of %d bytes", path,
				TOKEN_FILE_MAX);
	}
}

/* The text of the file and its look; one that is not there is empty. */
int token_file_read(
	const char *path, bool changing, struct buf *text, struct stat *st, struct error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), r;

	*st = (struct stat){0};
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return error_errno(e, errno, "open %s", path);
	if (fstat(fd, st) < 0)
		r = error_errno(e, errno, "stat %s", path);
	else if ((r = check_owner(path, st, changing, e)) == 0)
		r = read_fd(fd, path, text, e);
	close(fd);
	return r;
}
