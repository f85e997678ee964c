/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two small files of retention.
 *
 * RETENTION: the rules that a server was given last.  The server itself goes by
 * its configuration and never reads it, so that a lost one costs nothing but a
 * forecast.
 *
 * CLOCK: the time by which ages are reckoned, at its last saving, so that a
 * restart under a wrong clock does not believe what was not believed before.
 * The times in the journal are no help then: that clock wrote some of them.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "store/bytes.h"
#include "store/deletion.h"
#include "store/forecast.h"
#include "store/retain_core.h"

enum {
	FILE_BYTES_MAX = 16 << 20,
	CLOCK_BYTES_MAX = 64,
	RULE_BYTES_MIN = 2,
};

static const char magic[MAGIC_BYTES] = "SLRET001";
static const char clock_magic[MAGIC_BYTES] = "SLCLK001";

static void encode(const struct retention *r, struct buf *out)
{
	buf_put(out, magic, sizeof magic);
	varint_put(out, r->size_bytes);
	varint_put(out, r->size_percent);
	varint_put(out, (uint64_t)r->age_ns);
	varint_put(out, (uint64_t)r->delete_wait_ns);
	varint_put(out, r->n_rules);
	for (size_t i = 0; i < r->n_rules; i++) {
		bytes_put_str(out, r->rules[i].match);
		varint_put(out, (uint64_t)r->rules[i].age_ns);
	}
	bytes_seal(out, 0);
}

int retention_save(struct fs *fs, const char *dir, const struct retention *r, struct error *e)
{
	struct buf path = {0}, bytes = {0}, there = {0};
	int code = 0;

	buf_printf(&path, "%s/RETENTION", dir);
	encode(r, &bytes);
	if (fs_read_all(fs, buf_cstr(&path), FILE_BYTES_MAX, &there, NULL) < 0 ||
		!str_eq(buf_view(&there), buf_view(&bytes)))
		code = fs_write_all(fs, path.p, buf_view(&bytes), e);
	buf_fini(&path);
	buf_fini(&bytes);
	buf_fini(&there);
	return code;
}

static int decode(struct retention *out, struct str bytes, struct error *e)
{
	struct retention_rule *rules;
	struct reader in = {0};
	uint64_t n;

	*out = (struct retention){0};
	if (!bytes_unseal(bytes, magic, &in.at))
		return error_set(e, ERR_CORRUPT, "bad checksum");
	out->size_bytes = reader_varint(&in);
	out->size_percent = (unsigned)reader_number(&in, 100);
	out->age_ns = (int64_t)reader_number(&in, INT64_MAX);
	out->delete_wait_ns = (int64_t)reader_number(&in, INT64_MAX);
	n = reader_number(&in, bytes.n / RULE_BYTES_MIN);
	out->rules = rules = xcalloc(n, sizeof *rules);
	for (uint64_t i = 0; i < n && !in.bad; i++) {
		struct str match = reader_str(&in, SELECTOR_MAX);

		rules[i] = (struct retention_rule){.match = str_make(str_dup(match), match.n),
			.age_ns = (int64_t)reader_number(&in, INT64_MAX)};
		out->n_rules++;
	}
	if (!in.bad && in.at.n == 0)
		return 0;
	retention_fini(out);
	return error_set(e, ERR_CORRUPT, "bad structure");
}

int retention_load(struct fs *fs, const char *dir, struct retention *out, struct error *e)
{
	struct buf path = {0}, bytes = {0};
	int r;

	buf_printf(&path, "%s/RETENTION", dir);
	if ((r = fs_read_all(fs, buf_cstr(&path), FILE_BYTES_MAX, &bytes, e)) == 0 &&
		(r = decode(out, buf_view(&bytes), e)) < 0)
		error_wrap(e, r, "%s", path.p);
	buf_fini(&path);
	buf_fini(&bytes);
	return r;
}

void retention_fini(struct retention *r)
{
	struct retention_rule *rules = (struct retention_rule *)r->rules;

	for (size_t i = 0; i < r->n_rules; i++)
		free((char *)rules[i].match.p);
	free(rules);
	*r = (struct retention){0};
}

int steady_save(struct fs *fs, const char *dir, const struct steady *t, struct error *e)
{
	struct buf path = {0}, bytes = {0};
	int r;

	buf_printf(&path, "%s/CLOCK", dir);
	buf_put(&bytes, clock_magic, sizeof clock_magic);
	varint_put(&bytes, zigzag(t->now_ns));
	varint_put(&bytes, t->ahead ? (uint64_t)(t->mono_ns - t->ahead_since_ns) + 1 : 0);
	bytes_seal(&bytes, 0);
	r = fs_write_all(fs, buf_cstr(&path), buf_view(&bytes), e);
	buf_fini(&path);
	buf_fini(&bytes);
	return r;
}

int steady_load(
	struct fs *fs, const char *dir, int64_t mono_ns, struct steady *out, struct error *e)
{
	struct buf path = {0}, bytes = {0};
	struct steady t = {.mono_ns = mono_ns};
	struct reader in = {0};
	uint64_t ahead;
	int r;

	buf_printf(&path, "%s/CLOCK", dir);
	if ((r = fs_read_all(fs, buf_cstr(&path), CLOCK_BYTES_MAX, &bytes, e)) == 0) {
		in.bad = !bytes_unseal(buf_view(&bytes), clock_magic, &in.at);
		t.now_ns = reader_signed(&in);
		ahead = reader_number(&in, BELIEVE_NS + 1);
		t.ahead = ahead > 0;
		t.ahead_since_ns = mono_ns - (ahead > 0 ? (int64_t)ahead - 1 : 0);
		if (in.bad || in.at.n > 0)
			r = error_set(e, ERR_CORRUPT, "%s: bad checksum", path.p);
		else
			*out = t;
	}
	buf_fini(&path);
	buf_fini(&bytes);
	return r;
}
