/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The set in memory is a sorted array; a check hashes the whole token, finds
 * the line by the id in it and compares the hashes in constant time.  What an
 * attacker can time is whether an id exists, which is no secret.
 *
 * The file is looked at again, by stat, by the first check after a second has
 * passed, and read when its identity, size or times changed.  Times of files
 * are coarse: one that was written a moment before it was read is read again.
 */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/memory.h"
#include "net/token_file.h"
#include "os/clock.h"
#include "os/file_stamp.h"

enum {
	SECRET_MAX = 256, /* a longer one is none of ours */
	LOOK_NS = 1000000000,
};

struct tokens {
	struct lock lock;
	/* Under `lock`. */
	char *path;
	struct token_entries entries; /* by id */
	struct file_stamp seen;
	bool settled; /* the file was not young when it was read */
	int64_t looked_mono;
};

bool token_may(unsigned held, unsigned scope)
{
	return scope == 0 || held & (scope | SCOPE_ADMIN);
}

/* Reading */

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct token_entry *)a)->token.id,
		((const struct token_entry *)b)->token.id);
}

/* Replace what is in memory by what is in the file; the good lines of it in any case. */
static int load(struct tokens *t, const char *path, struct error *e) REQUIRES(t->lock)
{
	struct token_entries fresh = {0};
	struct buf text = {0};
	struct stat st;
	int r = token_file_read(path, false, &text, &st, e), bad;

	if (r == 0 && (bad = token_file_parse(buf_view(&text), &fresh, e)) < 0)
		r = error_wrap(e, bad, "%s", path);
	buf_fini(&text);
	if (fresh.n)
		qsort(fresh.items, fresh.n, sizeof *fresh.items, by_id);
	token_entries_fini(&t->entries);
	t->entries = fresh;
	t->seen = st.st_ino ? file_stamp_of(&st) : (struct file_stamp){0};
	t->settled = clock_now_ns(clock_real()) / NS_PER_SEC - (int64_t)t->seen.changed.tv_sec >= 2;
	return r;
}

/* Look whether the file changed, at most once a second. */
static void refresh(struct tokens *t) REQUIRES(t->lock)
{
	int64_t now = clock_mono_ns(clock_real());
	struct file_stamp stamp;
	struct error e;
	bool changed;

	if (now - t->looked_mono < LOOK_NS)
		return;
	t->looked_mono = now;
	stamp = file_stamp_read(t->path);
	changed = !file_stamp_same(&stamp, &t->seen);
	if (t->settled && !changed)
		return;
	if (load(t, t->path, &e) < 0 && changed)
		log_error("auth", "tokens: %s", e.text);
}

static struct tokens *tokens_new(const char *path)
{
	struct tokens *t = xcalloc(1, sizeof *t);

	lock_init(&t->lock);
	t->path = xstrdup(path);
	return t;
}

static int open_first(struct tokens *t, struct error *e)
{
	int r;

	lock_take(&t->lock);
	r = load(t, t->path, e);
	t->looked_mono = clock_mono_ns(clock_real());
	lock_drop(&t->lock);
	return r < 0 ? error_wrap(e, r, "tokens") : 0;
}

int tokens_open(struct tokens **out, const char *path, struct error *e)
{
	struct tokens *t = tokens_new(path);
	int r = open_first(t, e);

	if (r < 0) {
		tokens_free(t);
		return r;
	}
	*out = t;
	return 0;
}

void tokens_free(struct tokens *t)
{
	if (!t)
		return;
	token_entries_fini(&t->entries);
	lock_fini(&t->lock);
	free(t->path);
	free(t);
}

size_t tokens_count(struct tokens *t)
{
	size_t n;

	lock_take(&t->lock);
	n = t->entries.n;
	lock_drop(&t->lock);
	return n;
}

void tokens_adopt(struct tokens *t, struct tokens *fresh)
{
	char *path;
	struct token_entries entries; /* by id */

	lock_take(&t->lock);
	path = t->path;
	entries = t->entries;
	t->path = fresh->path;
	t->entries = fresh->entries;
	t->seen = fresh->seen;
	t->settled = fresh->settled;
	t->looked_mono = fresh->looked_mono;
	lock_drop(&t->lock);
	fresh->path = path;
	fresh->entries = entries;
	tokens_free(fresh);
}

/* Checking */

static struct token_entry *find(struct tokens *t, struct str id) REQUIRES(t->lock)
{
	struct token_entry key = {0};

	if (!token_id_valid(id) || t->entries.n == 0)
		return NULL;
	str_copy(id, key.token.id, sizeof key.token.id);
	return bsearch(&key, t->entries.items, t->entries.n, sizeof key, by_id);
}

static bool expired(const struct token *t)
{
	return t->expires_ns && clock_now_ns(clock_real()) >= t->expires_ns;
}

int tokens_check(struct tokens *t, struct str secret, struct token *out, struct error *e)
{
	struct str rest = secret;
	unsigned char hash[TOKEN_HASH];
	const struct token_entry *en;
	bool good;

	if (secret.n > SECRET_MAX || !str_starts(secret, STR("slt_")))
		return error_set(e, ERR_DENIED, "this is no token: one begins with slt_");
	token_secret_hash(secret, hash);
	rest = str_sub(rest, 4, rest.n);
	lock_take(&t->lock);
	refresh(t);
	en = find(t, str_cut(&rest, '_'));
	good = en && gnutls_memcmp(en->hash, hash, TOKEN_HASH) == 0;
	if (good)
		*out = en->token;
	lock_drop(&t->lock);
	if (!good)
		return error_set(e, ERR_DENIED, "the token is not known, or was revoked");
	if (expired(out))
		return error_set(e, ERR_DENIED, "the token has expired: %s", out->id);
	return 0;
}

bool tokens_alive(struct tokens *t, const char *id)
{
	const struct token_entry *en;
	bool alive;

	lock_take(&t->lock);
	refresh(t);
	en = find(t, str_c(id));
	alive = en && !expired(&en->token);
	lock_drop(&t->lock);
	return alive;
}

static bool decode_basic(struct str value, char room[TOKEN_HEADER_MAX], struct str *secret)
{
	gnutls_datum_t encoded = {(unsigned char *)value.p, (unsigned)value.n}, raw;
	struct str pair;
	bool found;

	if (value.n == 0 || gnutls_base64_decode2(&encoded, &raw) < 0)
		return false;
	pair = str_make(raw.data, raw.size);
	str_cut(&pair, ':');
	found = pair.n > 0 && pair.n <= TOKEN_HEADER_MAX;
	if (found) {
		memcpy(room, pair.p, pair.n);
		*secret = str_make(room, pair.n);
	}
	gnutls_free(raw.data);
	return found;
}

bool token_of_header(struct str value, char room[TOKEN_HEADER_MAX], struct str *secret)
{
	struct str rest = str_trim(value), scheme;

	if (rest.n > TOKEN_HEADER_MAX)
		return false;
	scheme = str_cut(&rest, ' ');
	rest = str_trim(rest);
	if (str_eq_nocase(scheme, STR("Bearer"))) {
		*secret = rest;
		return rest.n > 0;
	}
	return str_eq_nocase(scheme, STR("Basic")) && decode_basic(rest, room, secret);
}
