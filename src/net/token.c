/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The set in memory is a sorted array; a check hashes the whole token, finds
 * the line by the id in it and compares the hashes in constant time.  What an
 * attacker can time is whether an id exists, which is no secret.
 *
 * The file is looked at again, by stat, by the first check after a second has
 * passed, and read when its identity, size or times changed.  Times of files
 * are coarse: one that was written a moment before it was read is read again.
 *
 * The commands change lines, not the set: what they do not understand (a
 * comment, a damaged line) stays as it is, so that a damaged line never keeps
 * anybody from revoking a token.
 */
#include "net/token.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/memory.h"
#include "os/clock.h"
#include "os/fs.h"
#include "record/batch.h"
#include "record/time.h"

enum {
	HASH = 32,
	ID_BYTES = 4, /* of an id that we make, two characters each */
	SECRET_BYTES = 32,
	SECRET_MAX = 256, /* a longer one is none of ours */
	FILE_MAX = 4 << 20,
	TOKENS_MAX = 10000,
	LOOK_NS = 1000000000,
	LOCK_WAIT_MS = 5000,
	LOCK_STEP_MS = 10,
};

static_assert(TENANT_MAX + 1 == sizeof((struct token *)0)->tenant, "a tenant fits");

static const char file_head[] =
	"# Tokens of sawlog: `sawlog token create`, `list` and `revoke` keep this file.\n"
	"# id, SHA-256 of the token, scopes, tenant, created, expires, name\n";

struct entry {
	struct token token;
	unsigned char hash[HASH];
};

struct entries {
	struct entry *items; /* sorted by id */
	size_t n, cap;
};

/* What tells one state of the file from another. */
struct look {
	bool there;
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified, changed;
};

struct tokens {
	struct lock lock;
	/* Under `lock`. */
	char *path;
	struct entries entries;
	struct look seen;
	bool settled; /* the file was not young when it was read */
	int64_t looked_mono;
};

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

bool token_may(unsigned held, unsigned scope)
{
	return scope == 0 || held & (scope | SCOPE_ADMIN);
}

/* Lines */

static void hash_secret(struct str secret, unsigned char out[HASH])
{
	int r = gnutls_hash_fast(GNUTLS_DIG_SHA256, secret.p ? secret.p : "", secret.n, out);

	assert(r == 0);
}

static void put_hex(struct buf *out, const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_printf(out, "%02x", p[i]);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hash(struct str s, unsigned char out[HASH])
{
	if (s.n != 2 * HASH)
		return false;
	for (size_t i = 0; i < HASH; i++) {
		int high = hex_digit(s.p[2 * i]), low = hex_digit(s.p[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		out[i] = (unsigned char)(high << 4 | low);
	}
	return true;
}

static bool id_valid(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!(s.p[i] >= 'a' && s.p[i] <= 'z') && !(s.p[i] >= '0' && s.p[i] <= '9'))
			return false;
	return s.n >= 1 && s.n < sizeof((struct token *)0)->id;
}

static bool name_valid(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return false;
	return s.n >= 1 && s.n < sizeof((struct token *)0)->name && str_utf8_valid(s) == s.n;
}

static bool tenant_allowed(struct str s)
{
	return str_eq(s, STR("*")) || tenant_valid(s);
}

/* The next word of a line; blanks before it are passed over. */
static struct str next_word(struct str *rest)
{
	*rest = str_trim(*rest);
	return str_cut(rest, ' ');
}

static int parse_line(struct str line, struct entry *out, struct error *e)
{
	struct str id = next_word(&line), hash = next_word(&line), scope = next_word(&line);
	struct str tenant = next_word(&line), created = next_word(&line);
	struct str expires = next_word(&line), name = str_trim(line);
	struct token *t = &out->token;

	*out = (struct entry){0};
	if (!id_valid(id))
		return error_set(e, ERR_CORRUPT, "the id is not 1 to 16 of a-z0-9");
	if (!read_hash(hash, out->hash))
		return error_set(e, ERR_CORRUPT, "the hash is not 64 hexadecimal digits");
	if (!token_scopes_parse(scope, &t->scopes))
		return error_set(e, ERR_CORRUPT, "the scopes are not of ingest, read, admin");
	if (!tenant_allowed(tenant))
		return error_set(e, ERR_CORRUPT, "the tenant is no tenant's name");
	if (!created.n || !time_parse_rfc3339(created, &t->created_ns))
		return error_set(e, ERR_CORRUPT, "the time of creation is not RFC 3339");
	/* 0 means never: a token that expired in 1970 expired a moment later. */
	if (!str_eq(expires, STR("-")) &&
		(!expires.n || !time_parse_rfc3339(expires, &t->expires_ns)))
		return error_set(e, ERR_CORRUPT, "the time of expiry is neither RFC 3339 nor -");
	if (!str_eq(expires, STR("-")) && t->expires_ns == 0)
		t->expires_ns = 1;
	if (!name_valid(name))
		return error_set(e, ERR_CORRUPT, "the name is not 1 to 100 bytes of text");
	str_copy(id, t->id, sizeof t->id);
	str_copy(tenant, t->tenant, sizeof t->tenant);
	str_copy(name, t->name, sizeof t->name);
	return 0;
}

static void format_line(struct buf *out, const struct entry *en)
{
	const struct token *t = &en->token;

	buf_printf(out, "%s ", t->id);
	put_hex(out, en->hash, HASH);
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

/* Add all good lines to `out`; the code and sentence are those of the first bad one. */
static int parse_file(struct str text, struct entries *out, struct error *e)
{
	struct error local;
	int first = 0;

	for (unsigned number = 1; text.n; number++) {
		struct str line = str_trim(str_cut(&text, '\n'));
		struct entry en;
		int r;

		if (!is_token_line(line))
			continue;
		if (out->n == TOKENS_MAX)
			r = error_set(&local, ERR_LIMIT, "more than %d tokens", TOKENS_MAX);
		else
			r = parse_line(line, &en, &local);
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

/* Reading */

static void entries_fini(struct entries *s)
{
	free(s->items);
	*s = (struct entries){0};
}

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->token.id, ((const struct entry *)b)->token.id);
}

static struct look look_of(const struct stat *st)
{
	return (struct look){true, st->st_dev, st->st_ino, st->st_size, st->st_mtim, st->st_ctim};
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_look(const struct look *a, const struct look *b)
{
	return a->there == b->there &&
	       (!a->there || (a->device == b->device && a->inode == b->inode &&
				     a->size == b->size && same_time(a->modified, b->modified) &&
				     same_time(a->changed, b->changed)));
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
		if (text->n > FILE_MAX)
			return error_set(
				e, ERR_LIMIT, "%s is over the limit of %d bytes", path, FILE_MAX);
	}
}

/* The text of the file and its look; one that is not there is empty. */
static int read_file(
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

/* Replace what is in memory by what is in the file; the good lines of it in any case. */
static int load(struct tokens *t, const char *path, struct error *e) REQUIRES(t->lock)
{
	struct entries fresh = {0};
	struct buf text = {0};
	struct stat st;
	int r = read_file(path, false, &text, &st, e), bad;

	if (r == 0 && (bad = parse_file(buf_view(&text), &fresh, e)) < 0)
		r = error_wrap(e, bad, "%s", path);
	buf_fini(&text);
	if (fresh.n)
		qsort(fresh.items, fresh.n, sizeof *fresh.items, by_id);
	entries_fini(&t->entries);
	t->entries = fresh;
	t->seen = st.st_ino ? look_of(&st) : (struct look){0};
	t->settled = clock_now_ns(clock_real()) / NS_PER_SEC - (int64_t)t->seen.changed.tv_sec >= 2;
	return r;
}

/* Look whether the file changed, at most once a second. */
static void refresh(struct tokens *t) REQUIRES(t->lock)
{
	int64_t now = clock_mono_ns(clock_real());
	struct look look = {0};
	struct error e;
	struct stat st;

	if (now - t->looked_mono < LOOK_NS)
		return;
	t->looked_mono = now;
	if (stat(t->path, &st) == 0)
		look = look_of(&st);
	if (t->settled && same_look(&look, &t->seen))
		return;
	bool changed = !same_look(&look, &t->seen);
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
	entries_fini(&t->entries);
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
	struct entries entries;

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

static struct entry *find(struct tokens *t, struct str id) REQUIRES(t->lock)
{
	struct entry key = {0};

	if (!id_valid(id) || t->entries.n == 0)
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
	unsigned char hash[HASH];
	const struct entry *en;
	bool good;

	if (secret.n > SECRET_MAX || !str_starts(secret, STR("slt_")))
		return error_set(e, ERR_DENIED, "this is no token: one begins with slt_");
	hash_secret(secret, hash);
	rest = str_sub(rest, 4, rest.n);
	lock_take(&t->lock);
	refresh(t);
	en = find(t, str_cut(&rest, '_'));
	good = en && gnutls_memcmp(en->hash, hash, HASH) == 0;
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
	const struct entry *en;
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

/* Changing: the text of the file, between lock and replacement. */

struct change {
	const char *path;
	char *folder;
	int folder_fd;
	struct buf text;
	struct stat before; /* st_ino 0: the file is new */
};

static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return xstrdup(".");
	if (slash == path)
		return xstrdup("/");
	return str_dup(str_make(path, (size_t)(slash - path)));
}

static int lock_folder(struct change *c, struct error *e)
{
	for (int waited = 0; flock(c->folder_fd, LOCK_EX | LOCK_NB) < 0; waited += LOCK_STEP_MS) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return error_errno(e, errno, "lock %s", c->folder);
		if (waited >= LOCK_WAIT_MS)
			return error_set(e, ERR_BUSY,
				"%s: another command changes the tokens since %d s: try again",
				c->folder, LOCK_WAIT_MS / 1000);
		usleep(LOCK_STEP_MS * 1000);
	}
	return 0;
}

static void change_end(struct change *c)
{
	if (c->folder_fd >= 0)
		close(c->folder_fd); /* and drop the lock */
	buf_fini(&c->text);
	free(c->folder);
}

static int change_begin(struct change *c, const char *path, struct error *e)
{
	int r;

	*c = (struct change){.path = path, .folder = folder_of(path)};
	c->folder_fd = open(c->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->folder_fd < 0)
		r = error_errno(e, errno, "open folder %s", c->folder);
	else if ((r = lock_folder(c, e)) == 0)
		r = read_file(path, true, &c->text, &c->before, e);
	if (r < 0)
		change_end(c);
	return r;
}

/* A file that root made in the folder of a service's user would lock that service out. */
static int keep_owner(const struct change *c, int fd, struct error *e)
{
	struct stat folder, fresh;
	const struct stat *owner = c->before.st_ino ? &c->before : &folder;

	if (fstat(c->folder_fd, &folder) < 0 || fstat(fd, &fresh) < 0)
		return error_errno(e, errno, "stat %s", c->folder);
	if (owner->st_uid == fresh.st_uid || (geteuid() != 0 && !c->before.st_ino))
		return 0;
	if (fchown(fd, owner->st_uid, owner->st_gid) < 0)
		return error_errno(e, errno, "%s belongs to user %u: change it as that one",
			c->path, (unsigned)owner->st_uid);
	return 0;
}

static int write_fd(int fd, struct str s, const char *path, struct error *e)
{
	while (s.n) {
		ssize_t n = write(fd, s.p, s.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(e, errno, "write %s", path);
		s = str_sub(s, (size_t)n, s.n);
	}
	return fsync(fd) < 0 ? error_errno(e, errno, "sync %s", path) : 0;
}

static int change_commit(struct change *c, struct error *e)
{
	struct buf temp = {0};
	int fd, r;

	buf_printf(&temp, "%s.tmp", c->path);
	unlink(buf_cstr(&temp)); /* of one that was killed: we hold the lock */
	fd = open(temp.p, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		r = error_errno(e, errno, "create %s", temp.p);
		goto done;
	}
	if ((r = keep_owner(c, fd, e)) == 0)
		r = write_fd(fd, buf_view(&c->text), temp.p, e);
	close(fd);
	if (r == 0 && rename(temp.p, c->path) < 0)
		r = error_errno(e, errno, "rename %s", temp.p);
	if (r < 0)
		unlink(temp.p);
	else if (fsync(c->folder_fd) < 0)
		r = error_errno(e, errno, "sync folder %s", c->folder);
done:
	buf_fini(&temp);
	return r;
}

/* The line whose first word is the id, with its end; false when there is none. */
static bool find_line(struct str text, struct str id, struct str *out)
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

static void random_hex(struct buf *out, size_t n)
{
	unsigned char raw[SECRET_BYTES];
	int r;

	assert(n <= sizeof raw);
	r = gnutls_rnd(GNUTLS_RND_KEY, raw, n);
	assert(r == 0);
	put_hex(out, raw, n);
	explicit_bzero(raw, sizeof raw);
}

static int check_new(const struct token *what, struct error *e)
{
	if (!what->scopes)
		return error_set(e, ERR_ARG, "a token needs a scope: ingest, read or admin");
	if (!tenant_allowed(str_c(what->tenant)))
		return error_set(e, ERR_ARG,
			"a tenant has 1 to %d letters, digits or !-_.*'(), or is * for all; got "
			"\"%s\"",
			TENANT_MAX, what->tenant);
	if (!name_valid(str_c(what->name)) ||
		!str_eq(str_trim(str_c(what->name)), str_c(what->name)))
		return error_set(e, ERR_ARG,
			"a name has 1 to %zu bytes of text, without line ends and blanks around it",
			sizeof what->name - 1);
	return 0;
}

/* A new token into the text, and its secret. */
static void add_token(struct change *c, const struct token *what, struct buf *secret)
{
	struct entry en = {.token = *what};
	struct buf id = {0};
	struct str line;

	do {
		buf_clear(&id);
		random_hex(&id, ID_BYTES);
	} while (find_line(buf_view(&c->text), buf_view(&id), &line));
	str_copy(buf_view(&id), en.token.id, sizeof en.token.id);
	en.token.created_ns = clock_now_ns(clock_real()) / NS_PER_SEC * NS_PER_SEC;
	buf_printf(secret, "slt_%s_", en.token.id);
	random_hex(secret, SECRET_BYTES);
	hash_secret(buf_view(secret), en.hash);
	if (c->text.n == 0)
		buf_c(&c->text, file_head);
	else if (c->text.p[c->text.n - 1] != '\n')
		buf_char(&c->text, '\n');
	format_line(&c->text, &en);
	buf_fini(&id);
}

int tokens_create(const char *path, const struct token *what, struct buf *secret, struct error *e)
{
	struct change c;
	char *folder;
	int r;

	if ((r = check_new(what, e)) < 0)
		return r;
	folder = folder_of(path);
	r = access(folder, F_OK) == 0 ? 0 : fs_mkdir(fs_real(), folder, e);
	free(folder);
	if (r < 0 || (r = change_begin(&c, path, e)) < 0)
		return error_wrap(e, r, "tokens");
	add_token(&c, what, secret);
	if ((r = change_commit(&c, e)) < 0) {
		explicit_bzero(secret->p, secret->n);
		buf_clear(secret);
		error_wrap(e, r, "tokens");
	}
	change_end(&c);
	return r;
}

int tokens_list(const char *path, void (*each)(void *arg, const struct token *t), void *arg,
	struct error *e)
{
	struct entries all = {0};
	struct buf text = {0};
	struct stat st;
	int r = read_file(path, true, &text, &st, e), bad;

	if (r == 0 && (bad = parse_file(buf_view(&text), &all, e)) < 0)
		r = error_wrap(e, bad, "%s", path);
	for (size_t i = 0; i < all.n; i++)
		each(arg, &all.items[i].token);
	entries_fini(&all);
	buf_fini(&text);
	return r < 0 ? error_wrap(e, r, "tokens") : 0;
}

int tokens_revoke(const char *path, struct str id, struct error *e)
{
	struct str line, text;
	struct buf rest = {0};
	struct change c;
	int r;

	if ((r = change_begin(&c, path, e)) < 0)
		return error_wrap(e, r, "tokens");
	text = buf_view(&c.text);
	if (!id_valid(id) || !find_line(text, id, &line)) {
		r = error_set(e, ERR_NOT_FOUND, "tokens: %s has no token %.*s", path,
			STR_ARG(str_sub(id, 0, 100)));
	} else {
		size_t at = (size_t)(line.p - text.p);
		buf_str(&rest, str_sub(text, 0, at));
		buf_str(&rest, str_sub(text, at + line.n, text.n));
		buf_fini(&c.text);
		c.text = buf_take(&rest);
		if ((r = change_commit(&c, e)) < 0)
			error_wrap(e, r, "tokens");
	}
	change_end(&c);
	return r;
}
