/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands do to the file.  They change lines, not the set: what they
 * do not understand (a comment, a damaged line) stays as it is, so that a
 * damaged line never keeps anybody from revoking a token.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/memory.h"
#include "net/token_file.h"
#include "os/clock.h"
#include "os/fs.h"
#include "record/batch.h"

enum {
	ID_BYTES = 4, /* of an id that we make, two characters each */
	SECRET_BYTES = 32,
	LOCK_WAIT_MS = 5000,
	LOCK_STEP_MS = 10,
};

static const char file_head[] =
	"# Tokens of sawlog: `sawlog token create`, `list` and `revoke` keep this file.\n"
	"# id, SHA-256 of the token, scopes, tenant, created, expires, name\n";

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
		r = token_file_read(path, true, &c->text, &c->before, e);
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

static void random_hex(struct buf *out, size_t n)
{
	unsigned char raw[SECRET_BYTES];
	int r;

	assert(n <= sizeof raw);
	r = gnutls_rnd(GNUTLS_RND_KEY, raw, n);
	assert(r == 0);
	token_hex(out, raw, n);
	explicit_bzero(raw, sizeof raw);
}

static int check_new(const struct token *what, struct error *e)
{
	if (!what->scopes)
		return error_set(e, ERR_ARG, "a token needs a scope: ingest, read or admin");
	if (!token_tenant_valid(str_c(what->tenant)))
		return error_set(e, ERR_ARG,
			"a tenant has 1 to %d letters, digits or !-_.*'(), or is * for all; got "
			"\"%s\"",
			TENANT_MAX, what->tenant);
	if (!token_name_valid(str_c(what->name)) ||
		!str_eq(str_trim(str_c(what->name)), str_c(what->name)))
		return error_set(e, ERR_ARG,
			"a name has 1 to %zu bytes of text, without line ends and blanks around it",
			sizeof what->name - 1);
	return 0;
}

/* A new token into the text, and its secret. */
static void add_token(struct change *c, const struct token *what, struct buf *secret)
{
	struct token_entry en = {.token = *what};
	struct buf id = {0};
	struct str line;

	do {
		buf_clear(&id);
		random_hex(&id, ID_BYTES);
	} while (token_line_find(buf_view(&c->text), buf_view(&id), &line));
	str_copy(buf_view(&id), en.token.id, sizeof en.token.id);
	en.token.created_ns = clock_now_ns(clock_real()) / NS_PER_SEC * NS_PER_SEC;
	buf_printf(secret, "slt_%s_", en.token.id);
	random_hex(secret, SECRET_BYTES);
	token_secret_hash(buf_view(secret), en.hash);
	if (c->text.n == 0)
		buf_c(&c->text, file_head);
	else if (c->text.p[c->text.n - 1] != '\n')
		buf_char(&c->text, '\n');
	token_line_format(&c->text, &en);
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
	struct token_entries all = {0};
	struct buf text = {0};
	struct stat st;
	int r = token_file_read(path, true, &text, &st, e), bad;

	if (r == 0 && (bad = token_file_parse(buf_view(&text), &all, e)) < 0)
		r = error_wrap(e, bad, "%s", path);
	for (size_t i = 0; i < all.n; i++)
		each(arg, &all.items[i].token);
	token_entries_fini(&all);
	buf_fini(&text);
	return r < 0 ? error_wrap(e, r, "tokens") : 0;
}

/* `line` is a view of the text. */
static void remove_line(struct buf *text, struct str line)
{
	char *to = text->p + (line.p - text->p);

	memmove(to, to + line.n, text->n - (size_t)(to - text->p) - line.n);
	text->n -= line.n;
}

int tokens_revoke(const char *path, struct str id, struct error *e)
{
	struct str line;
	struct change c;
	bool found = false;
	int r;

	if ((r = change_begin(&c, path, e)) < 0)
		return error_wrap(e, r, "tokens");
	/* All of them: somebody may have copied a line by hand. */
	while (token_id_valid(id) && token_line_find(buf_view(&c.text), id, &line)) {
		remove_line(&c.text, line);
		found = true;
	}
	if (!found)
		r = error_set(e, ERR_NOT_FOUND, "%s has no token %.*s", path,
			STR_ARG(str_sub(id, 0, 100)));
	else
		r = change_commit(&c, e);
	change_end(&c);
	return r < 0 ? error_wrap(e, r, "tokens") : 0;
}
