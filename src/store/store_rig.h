/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What the tests of the whole store share: a fake disk and clock with a store
 * on them, simple selectors, random records of many kinds, batches of them, and
 * waiting for their acknowledgement.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/lock.h"
#include "os/fake.h"
#include "store/retain.h"

#define RIG_DAY   (24 * 3600 * NS_PER_SEC)
#define RIG_TODAY (INT64_C(20000) * RIG_DAY + 12 * 3600 * NS_PER_SEC)

/* Random numbers: splitmix64 (Steele, Lea and Flood, 2014). */
static inline uint64_t rig_draw(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static inline uint64_t rig_below(uint64_t *state, uint64_t n)
{
	return rig_draw(state) % n;
}

static inline bool rig_chance(uint64_t *state, unsigned one_in)
{
	return rig_below(state, one_in) == 0;
}

/* Selectors: "web" is the app, "web needle" its lines with the needle. */
struct rig_selector {
	char app[32], needle[32];
};

static inline int rig_parse(void **out, struct str text, struct error *e)
{
	struct str rest = text, app = str_cut(&rest, ' ');
	struct rig_selector *s;

	if (app.n == 0 || app.n > 31 || rest.n > 31)
		return error_set(e, ERR_ARG, "no selector");
	s = xcalloc(1, sizeof *s);
	str_copy(app, s->app, sizeof s->app);
	str_copy(rest, s->needle, sizeof s->needle);
	*out = s;
	return 0;
}

static inline bool rig_stream(const void *selector, struct str labels)
{
	struct str app;

	return labels_get(labels, STR("app"), &app) &&
	       str_eq_c(app, ((const struct rig_selector *)selector)->app);
}

static inline bool rig_has_filters(const void *selector)
{
	return ((const struct rig_selector *)selector)->needle[0] != 0;
}

static inline int rig_line(const void *selector, struct str line)
{
	return str_find(line, str_c(((const struct rig_selector *)selector)->needle)) >= 0;
}

static const struct store_selectors rig_selectors = {
	.parse = rig_parse,
	.free = free,
	.stream = rig_stream,
	.has_filters = rig_has_filters,
	.line = rig_line,
};

struct rig {
	struct fs *fs;
	struct clock *clock;
	struct account memory;
	struct store_options o;
	struct store *s;
};

static inline void rig_init(struct rig *r, uint64_t seed, uint64_t memory)
{
	*r = (struct rig){.fs = fs_fake_new(seed), .clock = clock_fake_new(RIG_TODAY)};
	account_init(&r->memory, "memory", memory, NULL);
	r->o = (struct store_options){.fs = r->fs,
		.clock = r->clock,
		.dir = "data",
		.account = &r->memory,
		.selectors = &rig_selectors,
		.segment_bytes = 8 << 10,
		.part_bytes = 1 << 20,
		.reserve_bytes = 1,
		.merge_parts = 2};
}

/* Returns what is still charged, which should be nothing. */
static inline uint64_t rig_fini(struct rig *r)
{
	uint64_t held;

	store_close(r->s);
	r->s = NULL;
	held = account_held(&r->memory);
	fs_fake_free(r->fs);
	clock_fake_free(r->clock);
	return held;
}

/* Labels of an app, with one more label when `more` is set. */
static inline void rig_labels(struct buf *out, const char *app, const char *more)
{
	struct labels_builder lb = {0};

	labels_builder_set(&lb, STR("app"), str_c(app), NULL);
	if (more)
		labels_builder_set(&lb, STR("host"), str_c(more), NULL);
	labels_builder_write(&lb, out);
	labels_builder_fini(&lb);
}

/* Submitting: several batches at once, then waiting for all of them. */
struct rig_done {
	struct lock lock;
	struct cond cond;
	bool called;
	struct sink_result result;
};

static inline void rig_on_done(void *arg, const struct sink_result *result)
{
	struct rig_done *d = arg;

	lock_take(&d->lock);
	d->called = true;
	d->result = *result;
	cond_signal(&d->cond);
	lock_drop(&d->lock);
}

/* Takes the reference.  A store that stays busy for so long has refused it. */
static inline void rig_submit_begin(
	struct store *s, struct batch *b, struct rig_done *d, int64_t patience_ns)
{
	int64_t end = clock_mono_ns(clock_real()) + patience_ns;
	int r;

	*d = (struct rig_done){0};
	lock_init(&d->lock);
	cond_init(&d->cond);
	while ((r = sink_submit(store_sink(s), b, rig_on_done, d, &d->result.error)) == ERR_BUSY &&
		clock_mono_ns(clock_real()) < end) {
		struct timespec ts = {.tv_nsec = 200000};

		nanosleep(&ts, NULL);
	}
	if (r == 0)
		return;
	d->result.code = r;
	d->called = true;
	batch_unref(b);
}

static inline struct sink_result rig_submit_end(struct rig_done *d)
{
	lock_take(&d->lock);
	while (!d->called)
		cond_wait(&d->cond, &d->lock);
	lock_drop(&d->lock);
	cond_fini(&d->cond);
	lock_fini(&d->lock);
	return d->result;
}

static inline struct sink_result rig_submit(struct store *s, struct batch *b)
{
	struct rig_done d;

	rig_submit_begin(s, b, &d, 20 * NS_PER_SEC);
	return rig_submit_end(&d);
}

/* Times that real logs have, and some that they should not have. */
static inline int64_t rig_time(uint64_t *rng, int64_t now_ns)
{
	static const int64_t unusual[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1,
		INT64_C(4102444800) * NS_PER_SEC, INT64_C(-2208988800) * NS_PER_SEC};
	int64_t step = (int64_t)rig_below(rng, 3600 * (uint64_t)NS_PER_SEC);

	/* Senders give nanoseconds, milliseconds or seconds. */
	if (rig_chance(rng, 2))
		step -= step % (rig_chance(rng, 2) ? NS_PER_SEC : NS_PER_MS);
	switch (rig_below(rng, 20)) {
	case 0: return unusual[rig_below(rng, sizeof unusual / sizeof *unusual)];
	case 1: return now_ns - (int64_t)rig_below(rng, 4000) * RIG_DAY - step;
	case 2: return now_ns + (int64_t)rig_below(rng, 4000) * RIG_DAY + step;
	case 3:
	case 4: return now_ns - (int64_t)rig_below(rng, 10) * RIG_DAY - step;
	default: return now_ns - step;
	}
}

static inline void rig_put_time(uint64_t *rng, struct buf *out, int64_t ns)
{
	time_t sec = (time_t)(ns / NS_PER_SEC);
	int64_t rest = ns % NS_PER_SEC;
	struct tm tm;
	char text[64];

	if (rest < 0) {
		rest += NS_PER_SEC;
		sec--;
	}
	gmtime_r(&sec, &tm);
	switch (rig_below(rng, 5)) {
	case 0:
		strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
		buf_printf(out, "%s.%09lldZ", text, (long long)rest);
		break;
	case 1:
		strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
		buf_printf(out, "%s,%03lld", text, (long long)(rest / NS_PER_MS));
		break;
	case 2:
		strftime(text, sizeof text, "%b %e %H:%M:%S", &tm);
		buf_c(out, text);
		break;
	case 3:
		strftime(text, sizeof text, "[%d/%b/%Y:%H:%M:%S +0000]", &tm);
		buf_c(out, text);
		break;
	default: buf_printf(out, "%lld", (long long)(ns / NS_PER_MS));
	}
}

static inline void rig_put_bytes(uint64_t *rng, struct buf *out, size_t n)
{
	static const char some[] = "\0\0\r\t\x1b\xff\xc3\x28\xe2\x82 %{}\"'\\=:/aZ09";
	bool all = rig_chance(rng, 2);

	for (size_t i = 0; i < n; i++)
		buf_char(out, all ? (char)rig_draw(rng) : some[rig_below(rng, sizeof some - 1)]);
}

/* A line: mostly such as programs write, with numbers, addresses, ids and times in it. */
static inline void rig_line_text(uint64_t *rng, struct buf *out, int64_t ns)
{
	static const char *const paths[] = {"/api/v1/push", "/", "/health", "/a/b.c?d=1&e=x"};
	unsigned a = (unsigned)rig_below(rng, 300);
	uint64_t big = rig_draw(rng), id = rig_below(rng, 8) * UINT64_C(0x123456789abcdef);

	switch (rig_below(rng, 18)) {
	case 0:
	case 1:
		rig_put_time(rng, out, ns);
		buf_printf(out, " INFO worker-%u took %u.%03us", a % 8, a, a * 7 % 1000);
		break;
	case 2:
		buf_printf(out, "10.0.%u.%u - - ", a % 4, a % 256);
		rig_put_time(rng, out, ns);
		buf_printf(out, " \"GET %s HTTP/1.1\" %u %llu", paths[a % 4], 200 + a % 3 * 102,
			(unsigned long long)(big % 100000));
		break;
	case 3:
		buf_printf(out, "request %016llx done in %dms needle", (unsigned long long)id,
			(int)(big % 2000) - 1000);
		break;
	case 4:
		buf_printf(out, "id=%08x-%04x-4%03x-a%03x-%012llx status=%u", (unsigned)(id >> 32),
			(unsigned)(id & 0xffff), a, a, (unsigned long long)(id & 0xffffffffffff),
			a % 3);
		break;
	case 5:
		buf_printf(out, "{\"level\":\"info\",\"n\":%lld,\"t\":\"", (long long)big);
		rig_put_time(rng, out, ns);
		buf_printf(out, "\",\"msg\":\"x%u\"}", a);
		break;
	case 6:
		buf_printf(out, "%0*u %u %c%u 0x%X", (int)(a % 12), a, a, "+-"[a % 2], a,
			(unsigned)big);
		break;
	case 7:
		buf_printf(out, "user%u failed: error %u of %u (needle%u)", a % 5, a, a + 1, a % 3);
		break;
	case 8: rig_put_bytes(rng, out, rig_below(rng, 40)); break;
	case 9:
		buf_printf(out, "before %u ", a);
		rig_put_bytes(rng, out, 1 + rig_below(rng, 6));
		buf_printf(out, " after %u", a);
		break;
	case 10: break; /* empty */
	case 11:
		for (unsigned i = 0; i < 20 + a; i++)
			buf_printf(out, "%u;", i * a);
		break;
	case 12:
		for (unsigned i = 0; i < 200; i++)
			buf_printf(out, "word%c", (char)('a' + rig_below(rng, 26)));
		break;
	case 13:
		buf_printf(out, "v1.%u.%u-rc%u 192.168.1.%u:%u aa:bb:cc:%02x:%02x:01", a, a % 7,
			a % 3, a % 256, 1024 + a, a % 256, a % 251);
		break;
	case 14: buf_printf(out, "%c", (char)('a' + a % 26)); break;
	default: buf_printf(out, "the cache has %u of %llu entries", a, (unsigned long long)big);
	}
}

/* Names of the files of a folder, or of nothing. */
static inline struct buf rig_list(struct fs *fs, const char *dir, size_t *n)
{
	struct buf names = {0};

	*n = 0;
	if (fs_list(fs, dir, &names, n, NULL) < 0)
		*n = 0;
	return names;
}
