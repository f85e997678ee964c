/* SPDX-License-Identifier: Apache-2.0 */
/* Merging, retention and deletions, on the fake disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/hash.h"
#include "base/lock.h"
#include "base/metric.h"
#include "os/fake.h"
#include "store/core.h"
#include "store/deletion.h"
#include "store/forecast.h"
#include "store/parts/manifest.h"
#include "store/parts/merger.h"
#include "store/retain.h"

#define DAY    NS_PER_DAY
#define TODAY  (INT64_C(20000) * DAY + 12 * NS_PER_HOUR)
#define MINUTE (60 * NS_PER_SEC)

/* Selectors of the tests: "web" is the app, "web needle" its lines with the needle, "" nobody. */
struct simple {
	char app[32], needle[32];
};

static int simple_parse(void **out, struct str text, struct error *e)
{
	struct str rest = text, app = str_cut(&rest, ' ');
	struct simple *s;

	if (app.n == 0 || app.n > 31 || rest.n > 31)
		return error_set(e, ERR_ARG, "no selector");
	s = xcalloc(1, sizeof *s);
	str_copy(app, s->app, sizeof s->app);
	str_copy(rest, s->needle, sizeof s->needle);
	*out = s;
	return 0;
}

static bool simple_stream(const void *selector, struct str labels)
{
	struct str app;

	return labels_get(labels, STR("app"), &app) &&
	       str_eq_c(app, ((const struct simple *)selector)->app);
}

static bool simple_has_filters(const void *selector)
{
	return ((const struct simple *)selector)->needle[0] != 0;
}

static int simple_line(const void *selector, struct str line)
{
	return str_find(line, str_c(((const struct simple *)selector)->needle)) >= 0;
}

static const struct store_selectors simple = {
	.parse = simple_parse,
	.free = free,
	.stream = simple_stream,
	.has_filters = simple_has_filters,
	.line = simple_line,
};

struct env {
	struct fs *fs;
	struct clock *clock;
	struct account memory;
	struct store_options o;
	struct store *s;
};

static void env_init(struct env *v, uint64_t seed)
{
	*v = (struct env){.fs = fs_fake_new(seed), .clock = clock_fake_new(TODAY)};
	account_init(&v->memory, "memory", 16 << 20, NULL);
	v->o = (struct store_options){.fs = v->fs,
		.clock = v->clock,
		.dir = "data",
		.account = &v->memory,
		.selectors = &simple,
		.segment_bytes = 8 << 10,
		.part_bytes = 1 << 20,
		.reserve_bytes = 1,
		.merge_parts = 2};
}

static void env_open(struct env *v)
{
	struct error e = {0};

	if (store_open(&v->s, &v->o, &e) < 0)
		fail_msg("%s", e.text);
}

static void env_close(struct env *v)
{
	store_close(v->s);
	v->s = NULL;
}

static void env_fini(struct env *v)
{
	env_close(v);
	assert_int_equal(account_held(&v->memory), 0);
	fs_fake_free(v->fs);
	clock_fake_free(v->clock);
}

struct done {
	struct lock lock;
	struct cond cond;
	bool called;
	struct sink_result result;
};

static void on_done(void *arg, const struct sink_result *result)
{
	struct done *d = arg;

	lock_take(&d->lock);
	d->called = true;
	d->result = *result;
	cond_signal(&d->cond);
	lock_drop(&d->lock);
}

/* n lines "<app> <number>" of an app, one a second from `at`. */
static struct sink_result put(
	struct env *v, const char *app, uint64_t from, size_t n, int64_t at, const char *tail)
{
	struct batch_builder *bb = batch_builder_new(STR("t"), STR("test"), clock_now_ns(v->clock));
	struct labels_builder lb = {0};
	struct buf labels = {0}, line = {0};
	struct done d = {0};
	struct batch *b;
	uint32_t stream;

	labels_builder_set(&lb, STR("app"), str_c(app), NULL);
	labels_builder_write(&lb, &labels);
	stream = batch_builder_stream(bb, buf_view(&labels));
	for (size_t i = 0; i < n; i++) {
		struct record r = {.stream = stream, .severity = 9};

		buf_clear(&line);
		buf_printf(&line, "%s %llu%s", app, (unsigned long long)(from + i), tail);
		/* What no column makes small. */
		for (int k = 0; k < 4 && strcmp(tail, " noise") == 0; k++)
			buf_printf(
				&line, "%016llx", (unsigned long long)hash_stable(buf_view(&line)));
		r.body = buf_view(&line);
		r.timestamp = at + (int64_t)i * NS_PER_SEC;
		assert_int_equal(batch_builder_add(bb, &r, NULL), 0);
	}
	b = batch_builder_finish(bb, 0);
	batch_builder_free(bb);
	labels_builder_fini(&lb);
	buf_fini(&labels);
	buf_fini(&line);
	lock_init(&d.lock);
	cond_init(&d.cond);
	d.result.code = sink_submit(store_sink(v->s), b, on_done, &d, &d.result.error);
	if (d.result.code < 0) {
		batch_unref(b);
	} else {
		lock_take(&d.lock);
		while (!d.called)
			cond_wait(&d.cond, &d.lock);
		lock_drop(&d.lock);
	}
	cond_fini(&d.cond);
	lock_fini(&d.lock);
	return d.result;
}

static void flush(struct env *v)
{
	struct error e = {0};

	if (store_flush(v->s, &e) < 0)
		fail_msg("%s", e.text);
}

static void settle(struct env *v)
{
	struct error e = {0};

	if (store_settle(v->s, &e) < 0)
		fail_msg("%s", e.text);
}

/* What a reader sees. */
struct seen {
	size_t n, warnings;
	uint64_t sum; /* of the numbers of the lines */
	const char *app;
};

static bool want_app(void *ctx, struct str labels)
{
	struct seen *s = ctx;
	struct str app;

	return !s->app || (labels_get(labels, STR("app"), &app) && str_eq_c(app, s->app));
}

static int add_rows(void *ctx, const struct rows *rows, struct error *e)
{
	struct seen *s = ctx;

	for (size_t i = 0; i < rows->n; i++) {
		struct str body = rows->body[rows->pick[i]];
		uint64_t number = 0;

		str_cut(&body, ' ');
		str_u64(str_cut(&body, ' '), &number);
		s->sum += number;
	}
	s->n += rows->n;
	return 0;
}

static void add_warning(void *ctx, const char *sentence)
{
	((struct seen *)ctx)->warnings++;
}

static struct seen look(struct env *v, const char *app)
{
	struct seen seen = {.app = app};
	struct scan scan = {.tenant = STR("t"),
		.from_ns = INT64_MIN,
		.to_ns = INT64_MAX,
		.columns = SCAN_BODY,
		.ctx = &seen,
		.want_stream = want_app,
		.rows = add_rows,
		.warn = add_warning};
	struct snapshot *sn = snapshot_take(v->s);
	struct error e = {0};

	if (snapshot_scan(sn, &scan, &e) < 0)
		fail_msg("%s", e.text);
	snapshot_free(sn);
	return seen;
}

static struct engine_figures figures(struct env *v)
{
	struct engine_figures f;

	lock_take(&v->s->lock);
	engine_type(v->s->engine)->figures(v->s->engine, &f);
	lock_drop(&v->s->lock);
	return f;
}

static size_t part_files(struct env *v)
{
	struct buf names = {0};
	const char *name;
	size_t n, parts = 0;

	assert_int_equal(fs_list(v->fs, "data/parts", &names, &n, NULL), 0);
	name = names.p;
	for (size_t i = 0; i < n; i++, name += strlen(name) + 1)
		parts += str_ends(str_c(name), STR(".part"));
	buf_fini(&names);
	return parts;
}

/* ---- deciding ---- */

struct shape {
	const char *name;
	const char *parts; /* "day/level/MiB" with "!" for apart and "x" for skip before it */
	size_t at, n;
};

static size_t read_shape(const char *text, struct part_summary *s, struct merge_part *p)
{
	size_t n = 0;

	for (const char *c = text; *c; n++) {
		int day, level, mib, used;

		p[n] = (struct merge_part){.summary = &s[n], .apart = *c == '!', .skip = *c == 'x'};
		c += *c == '!' || *c == 'x';
		assert_int_equal(sscanf(c, "%d/%d/%d%n", &day, &level, &mib, &used), 3);
		c += used;
		c += *c == ' ';
		s[n] = (struct part_summary){.first_seq = n * 10 + 1,
			.last_seq = n * 10 + 10,
			.day = day,
			.level = (uint32_t)level,
			.raw_bytes = (uint64_t)mib << 20};
	}
	return n;
}

static void merges_are_chosen(void **state)
{
	static const struct shape rows[] = {
		{"too few", "9/0/64 9/0/64", 0, 0},
		{"fan and large", "9/0/60 9/0/60 9/0/60", 0, 3},
		{"fan and small", "9/0/1 9/0/1 9/0/1", 0, 0},
		{"twice the fan", "9/0/1 9/0/1 9/0/1 9/0/1 9/0/1 9/0/1 9/0/1", 0, 6},
		{"behind others", "9/1/1 9/0/100 9/0/100 9/0/100", 1, 3},
		{"levels apart", "9/0/100 9/1/100 9/0/100 9/0/100", 0, 0},
		{"days apart", "9/0/100 9/0/100 8/0/100 8/0/20", 2, 0},
		{"large ones stay", "9/0/300 9/0/300 9/0/300", 0, 0},
		{"a gap", "9/0/100 9/0/100 !9/0/100", 0, 0},
		{"one that cannot", "9/0/100 x9/0/100 9/0/100 9/0/100 9/0/100", 2, 3},
		{"a day that is over", "5/0/10 5/1/20 5/0/12", 0, 3},
		{"the largest stays", "5/1/200 5/0/10 5/0/10", 1, 2},
		{"too large together", "5/1/1500 5/1/1500", 0, 0},
		{"day that is not quiet", "7/0/10 7/0/10", 0, 0},
		{"one alone", "5/0/10", 0, 0},
		{"none", "", 0, 0},
	};
	struct merge_rules rules = {.fan = 3, .most_parts = 64, .today = 9, .active_day = 7};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct part_summary s[16];
		struct merge_part p[16];
		size_t n = read_shape(rows[i].parts, s, p), at = 0, count = 0;
		bool found = merge_pick(p, n, &rules, &at, &count);

		/* Of the eighth day two parts are left that are worth it. */
		if (strcmp(rows[i].name, "days apart") == 0) {
			assert_false(found && at < 2);
			continue;
		}
		if (found != (rows[i].n > 0) || (found && (at != rows[i].at || count != rows[i].n)))
			fail_msg("%s: found %d at %zu, %zu parts", rows[i].name, found, at, count);
	}
}

/* What a flood and a trickle write, until nothing is due. */
static void bytes_are_written_few_times(void **state)
{
	static const uint64_t sizes[] = {1, 8, 32, 64};
	struct merge_rules rules = {
		.fan = MERGE_PARTS, .most_parts = 64, .today = 9, .active_day = 9};

	for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
		struct part_summary s[128];
		struct merge_part p[128];
		uint64_t written = 0, total = 0;
		size_t n = 0, most = 0;

		while (total < (UINT64_C(8) << 30)) {
			size_t at, count;

			s[n] = (struct part_summary){.day = 9, .raw_bytes = sizes[k] << 20};
			written += s[n].raw_bytes;
			total += s[n++].raw_bytes;
			for (;;) {
				for (size_t i = 0; i < n; i++)
					p[i] = (struct merge_part){.summary = &s[i]};
				if (!merge_pick(p, n, &rules, &at, &count))
					break;
				s[at].level++;
				for (size_t i = 1; i < count; i++)
					s[at].raw_bytes += s[at + i].raw_bytes;
				written += s[at].raw_bytes;
				memmove(&s[at + 1], &s[at + count], (n - at - count) * sizeof *s);
				n -= count - 1;
			}
			most = n > most ? n : most;
			assert_true(n < 120);
		}
		print_message("parts of %llu MiB: %.2f bytes written for each, %zu parts at most\n",
			(unsigned long long)sizes[k], (double)written / (double)total, most);
		assert_true(written <= 3 * total);
	}
}

static void manifests_come_back(void **state)
{
	struct seq_range holes[] = {{3, 9}, {40, 40}};
	struct part_summary parts[] = {
		{.first_seq = 1,
			.last_seq = 2,
			.n_rows = 2,
			.raw_bytes = 7,
			.file_bytes = 99,
			.min_ns = INT64_MIN,
			.max_ns = INT64_MAX,
			.day = -5,
			.level = 3,
			.n_blocks = 1000000,
			.cleaned = 7},
		{.first_seq = 10, .last_seq = 30, .revision = 4, .day = 20000, .min_ns = -1},
	};
	struct manifest m = {.flushed_until = 50,
				.holes = holes,
				.n_holes = 2,
				.parts = parts,
				.n = 2},
			got;
	struct buf bytes = {0};

	manifest_encode(&m, &bytes);
	assert_int_equal(manifest_decode(&got, buf_view(&bytes), NULL), 0);
	assert_int_equal(got.flushed_until, 50);
	assert_int_equal(got.n_holes, 2);
	assert_memory_equal(got.holes, holes, sizeof holes);
	assert_int_equal(got.n, 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(got.parts[i].first_seq, parts[i].first_seq);
		assert_int_equal(got.parts[i].last_seq, parts[i].last_seq);
		assert_int_equal(got.parts[i].revision, parts[i].revision);
		assert_int_equal(got.parts[i].min_ns, parts[i].min_ns);
		assert_int_equal(got.parts[i].max_ns, parts[i].max_ns);
		assert_int_equal(got.parts[i].day, parts[i].day);
		assert_int_equal(got.parts[i].level, parts[i].level);
		assert_int_equal(got.parts[i].n_blocks, parts[i].n_blocks);
		assert_int_equal(got.parts[i].cleaned, parts[i].cleaned);
	}
	assert_ptr_equal(manifest_find(&got, &parts[1]), &got.parts[1]);
	parts[1].revision = 3;
	assert_null(manifest_find(&got, &parts[1]));
	manifest_fini(&got);
	for (size_t n = 0; n < bytes.n; n++)
		assert_int_equal(manifest_decode(&got, str_make(bytes.p, n), NULL), ERR_CORRUPT);
	for (size_t i = 0; i < bytes.n * 8; i++) {
		bytes.p[i / 8] ^= (char)(1 << (i % 8));
		assert_int_equal(manifest_decode(&got, buf_view(&bytes), NULL), ERR_CORRUPT);
		bytes.p[i / 8] ^= (char)(1 << (i % 8));
	}
	buf_fini(&bytes);
}

/* ---- size ---- */

static void the_oldest_go_when_there_is_too_much(void **state)
{
	struct retention r = {.size_bytes = 1};
	struct engine_figures before, after;
	struct env v;
	uint64_t own, limit;

	env_init(&v, 1);
	v.o.merge_off = true;
	env_open(&v);
	for (uint64_t i = 0; i < 20; i++) {
		/* The newest day comes first: sequences do not decide. */
		put(&v, "a", i * 2000, 2000, TODAY - (int64_t)(i % 10) * DAY, " noise");
		flush(&v);
	}
	settle(&v);
	before = figures(&v);
	assert_int_equal(before.parts, 20);
	store_size(v.s, &own, &limit);
	assert_true(own > before.bytes && limit == 0);
	r.size_bytes = own - before.bytes / 2;
	assert_int_equal(store_retain(v.s, &r, NULL), 0);
	settle(&v);
	after = figures(&v);
	store_size(v.s, &own, &limit);
	assert_int_equal(limit, r.size_bytes);
	print_message("%llu of %llu parts stay, %llu of %llu bytes\n",
		(unsigned long long)after.parts, (unsigned long long)before.parts,
		(unsigned long long)after.bytes, (unsigned long long)before.bytes);
	assert_true(after.parts >= 8 && after.parts <= 12);
	assert_int_equal(look(&v, NULL).n, after.parts * 2000);
	assert_int_equal(part_files(&v), after.parts);
	/* They do not come back out of the journal, whatever happens. */
	for (int i = 0; i < 2; i++) {
		env_close(&v);
		if (i == 1)
			fake_crash(v.fs, true);
		env_open(&v);
		assert_int_equal(look(&v, NULL).n, after.parts * 2000);
	}
	env_fini(&v);
}

static void a_share_of_the_disk(void **state)
{
	struct retention r = {.size_percent = 50};
	struct env v;
	uint64_t own, limit;

	env_init(&v, 2);
	v.o.retention = &r;
	fake_set_space(v.fs, 4 << 20);
	env_open(&v);
	put(&v, "a", 0, 100, TODAY, "");
	settle(&v);
	store_size(v.s, &own, &limit);
	assert_true(limit > 1 << 20 && limit < 3 << 20);
	assert_int_equal(look(&v, NULL).n, 100);
	env_fini(&v);
}

/* ---- age ---- */

static void the_old_are_hidden_dropped_and_refused(void **state)
{
	struct retention r = {.age_ns = 10 * DAY};
	struct sink_result res;
	struct env v;

	env_init(&v, 3);
	v.o.merge_off = true;
	env_open(&v);
	for (uint64_t i = 0; i < 8; i++) {
		put(&v, "a", 0, 10, TODAY - (int64_t)i * 2 * DAY - MINUTE, "");
		flush(&v);
	}
	assert_int_equal(look(&v, NULL).n, 80);
	assert_int_equal(store_retain(v.s, &r, NULL), 0);
	assert_int_equal(look(&v, NULL).n, 50); /* at once */
	settle(&v);
	assert_int_equal(figures(&v).parts, 5);
	/* Half of these come too late. */
	res = put(&v, "a", 0, 20, TODAY - 10 * DAY - 10 * NS_PER_SEC, "");
	assert_int_equal(res.code, 0);
	assert_int_equal(res.n_too_old, 10);
	assert_int_equal(res.n_committed, 10);
	res = put(&v, "a", 0, 20, TODAY - 11 * DAY, "");
	assert_int_equal(res.n_too_old, 20);
	assert_int_equal(look(&v, NULL).n, 60);
	/* Time moves on. */
	for (int i = 0; i < 48; i++) {
		clock_fake_advance(v.clock, NS_PER_HOUR);
		look(&v, NULL);
	}
	assert_int_equal(look(&v, NULL).n, 40);
	env_close(&v);
	env_open(&v);
	assert_int_equal(store_retain(v.s, &r, NULL), 0);
	assert_int_equal(look(&v, NULL).n, 40);
	env_fini(&v);
}

/* A record that claims to come from the future does not keep its part. */
static void the_future_passes_as_well(void **state)
{
	struct retention r = {.age_ns = DAY};
	struct env v;

	env_init(&v, 4);
	env_open(&v);
	put(&v, "a", 0, 10, TODAY + 1000 * DAY, "");
	flush(&v);
	assert_int_equal(store_retain(v.s, &r, NULL), 0);
	settle(&v);
	assert_int_equal(figures(&v).parts, 1);
	for (int i = 0; i < 60; i++) {
		clock_fake_advance(v.clock, NS_PER_HOUR);
		settle(&v);
	}
	assert_int_equal(figures(&v).parts, 0);
	env_fini(&v);
}

static void a_clock_that_jumps_deletes_nothing(void **state)
{
	struct retention r = {.age_ns = 10 * DAY};
	struct env v;

	env_init(&v, 5);
	env_open(&v);
	put(&v, "a", 0, 10, TODAY - DAY, "");
	flush(&v);
	assert_int_equal(store_retain(v.s, &r, NULL), 0);
	clock_fake_set(v.clock, TODAY + 1000 * DAY);
	settle(&v);
	assert_int_equal(look(&v, NULL).n, 10);
	clock_fake_set(v.clock, TODAY);
	settle(&v);
	clock_fake_set(v.clock, TODAY + 1000 * DAY);
	for (int i = 0; i < 23; i++) {
		clock_fake_advance(v.clock, NS_PER_HOUR);
		settle(&v);
		assert_int_equal(look(&v, NULL).n, 10);
	}
	/* It stays: it is true. */
	for (int i = 0; i < 3; i++) {
		clock_fake_advance(v.clock, NS_PER_HOUR);
		settle(&v);
	}
	assert_int_equal(look(&v, NULL).n, 0);
	assert_int_equal(figures(&v).parts, 0);
	env_fini(&v);
}

/* What its clock wrote into the journal meanwhile is no proof of it. */
static void a_clock_that_is_ahead_at_starts_deletes_nothing(void **state)
{
	struct retention r = {.age_ns = 10 * DAY};
	struct env v;

	env_init(&v, 31);
	v.o.retention = &r;
	env_open(&v);
	put(&v, "a", 0, 10, TODAY - DAY, "");
	flush(&v);
	settle(&v);
	clock_fake_set(v.clock, TODAY + 1000 * DAY);
	for (int i = 0; i < 3; i++) {
		settle(&v);
		put(&v, "a", 0, 10, TODAY - DAY, "");
		flush(&v);
		env_close(&v);
		env_open(&v);
		settle(&v);
		assert_int_equal(look(&v, NULL).n, 20 + 10 * i);
	}
	/* Right again while nobody ran. */
	env_close(&v);
	clock_fake_set(v.clock, TODAY + 3 * NS_PER_HOUR);
	env_open(&v);
	settle(&v);
	assert_false(retainer_clock_ahead(v.s->retainer));
	clock_fake_set(v.clock, TODAY + 1000 * DAY);
	settle(&v);
	assert_true(retainer_clock_ahead(v.s->retainer));
	/* The day in which it is not believed is counted over restarts. */
	for (int run = 0; run < 3; run++) {
		for (int i = 0; i < 9; i++) {
			assert_int_equal(look(&v, NULL).n, run == 2 && i >= 6 ? 0 : 40);
			clock_fake_advance(v.clock, NS_PER_HOUR);
			settle(&v);
		}
		env_close(&v);
		env_open(&v);
	}
	settle(&v);
	assert_int_equal(figures(&v).parts, 0);
	env_fini(&v);
}

/* ---- rules ---- */

static void rules_hold_for_their_streams(void **state)
{
	static const struct retention_rule rules[] = {
		{STR_INIT("debug"), 2 * DAY},
		{STR_INIT("audit"), 100 * DAY},
		{STR_INIT("debug"), 50 * DAY},
	};
	static const struct retention_rule bad[] = {{STR_INIT("debug needle"), DAY}};
	struct retention r = {.age_ns = 10 * DAY, .rules = rules, .n_rules = 3},
			 wrong = {.rules = bad, .n_rules = 1};
	struct env v;

	env_init(&v, 6);
	env_open(&v);
	assert_int_equal(store_retain(v.s, &wrong, NULL), ERR_ARG);
	put(&v, "debug", 0, 10, TODAY - 3 * DAY, "");
	put(&v, "audit", 0, 10, TODAY - 30 * DAY, "");
	put(&v, "web", 0, 10, TODAY - 3 * DAY, "");
	flush(&v);
	assert_int_equal(store_retain(v.s, &r, NULL), 0);
	assert_int_equal(look(&v, "debug").n, 0);
	assert_int_equal(look(&v, "audit").n, 10);
	assert_int_equal(look(&v, "web").n, 10);
	assert_int_equal(put(&v, "debug", 0, 10, TODAY - 3 * DAY, "").n_too_old, 10);
	assert_int_equal(put(&v, "audit", 0, 10, TODAY - 3 * DAY, "").n_too_old, 0);
	/* A third of the part is hidden: it is written anew. */
	settle(&v);
	assert_int_equal(figures(&v).records, 20);
	/* Weaker rules do not bring back what is gone. */
	r.n_rules = 0;
	assert_int_equal(store_retain(v.s, &r, NULL), 0);
	assert_int_equal(look(&v, "debug").n, 0);
	env_fini(&v);
}

/* ---- forecasts ---- */

static struct forecast forecast(struct env *v, int64_t now_ns)
{
	struct forecast f;
	struct error e = {0};

	if (store_forecast(&f, v->fs, "data", &simple, now_ns, &e) < 0)
		fail_msg("%s", e.text);
	return f;
}

static void rules_are_remembered(void **state)
{
	static const struct retention_rule rules[] = {
		{STR_INIT("web"), 2 * DAY}, {STR_INIT("b"), DAY}};
	struct retention r = {.size_percent = 80, .age_ns = 10 * DAY, .rules = rules, .n_rules = 2},
			 got;
	struct fs *fs = fs_fake_new(32);
	struct buf bytes = {0};
	uint64_t changes;

	fs_mkdir(fs, "data", NULL);
	assert_int_equal(retention_load(fs, "data", &got, NULL), ERR_NOT_FOUND);
	assert_int_equal(retention_save(fs, "data", &r, NULL), 0);
	changes = fake_changes(fs);
	assert_int_equal(retention_save(fs, "data", &r, NULL), 0);
	assert_int_equal(fake_changes(fs), changes);
	assert_int_equal(retention_load(fs, "data", &got, NULL), 0);
	assert_int_equal(got.size_percent, 80);
	assert_int_equal(got.age_ns, 10 * DAY);
	assert_int_equal(got.n_rules, 2);
	assert_true(str_eq_c(got.rules[0].match, "web") && str_eq_c(got.rules[1].match, "b"));
	assert_int_equal(got.rules[1].age_ns, DAY);
	retention_fini(&got);
	/* Any byte of it may be wrong. */
	assert_int_equal(fs_read_all(fs, "data/RETENTION", 1 << 20, &bytes, NULL), 0);
	for (uint64_t bit = 0; bit < bytes.n * 8; bit++) {
		fake_flip(fs, "data/RETENTION", bit);
		assert_int_equal(retention_load(fs, "data", &got, NULL), ERR_CORRUPT);
		fake_flip(fs, "data/RETENTION", bit);
	}
	buf_fini(&bytes);
	fs_fake_free(fs);
}

static void it_is_known_what_will_go(void **state)
{
	static const struct retention_rule rules[] = {
		{STR_INIT("debug"), 3 * DAY}, {STR_INIT("none"), DAY}};
	struct retention r = {
		.size_bytes = 64 << 20, .age_ns = 10 * DAY, .rules = rules, .n_rules = 2};
	int64_t room;
	struct forecast f;
	struct env v;

	env_init(&v, 33);
	v.o.retention = &r;
	v.o.merge_off = true;
	env_open(&v);
	for (int i = 3; i >= 0; i--) {
		put(&v, "web", 0, 100, TODAY - i * DAY, " noise");
		put(&v, "debug", 0, 50, TODAY - i * DAY + MINUTE, " noise");
		flush(&v);
	}
	f = forecast(&v, TODAY);
	assert_int_equal(f.n_rules, 4);
	assert_int_equal(f.rules[0].by, FORECAST_RULE);
	assert_int_equal(f.rules[0].records, 200);
	assert_int_equal(f.rules[0].oldest_ns, TODAY - 3 * DAY + MINUTE);
	assert_int_equal(f.rules[0].due_ns, TODAY + MINUTE);
	assert_int_equal(f.rules[1].records, 0);
	assert_int_equal(f.rules[1].due_ns, INT64_MAX);
	assert_int_equal(f.rules[2].by, FORECAST_AGE);
	assert_int_equal(f.rules[2].due_ns, TODAY + 7 * DAY);
	assert_int_equal(f.rules[3].by, FORECAST_SIZE);
	assert_int_equal(f.rules[3].records, 600);
	/* The rate is that of three days. */
	assert_true(f.bytes_a_day > 0 && f.limit_bytes == 64 << 20);
	room = (int64_t)((double)(f.limit_bytes - f.own_bytes) / (double)f.bytes_a_day *
			 (double)DAY);
	assert_true(llabs(f.rules[3].due_ns - TODAY - room) < NS_PER_SEC);
	/* A row for the debug records and one for the others of each day. */
	assert_int_equal(f.n_days, 8);
	for (size_t i = 0; i < 8; i++) {
		const struct forecast_day *d = &f.days[i];
		int64_t day = TODAY - (3 - (int64_t)i / 2) * DAY;

		assert_int_equal(d->records, i % 2 ? 100 : 50);
		assert_int_equal(d->by, i % 2 ? FORECAST_AGE : FORECAST_RULE);
		assert_int_equal(d->rule, i % 2 ? 2 : 0);
		assert_int_equal(d->due_ns, i % 2 ? day + 10 * DAY + 99 * NS_PER_SEC
						  : day + 3 * DAY + MINUTE + 49 * NS_PER_SEC);
	}
	r.size_bytes = f.own_bytes / 2;
	forecast_fini(&f);
	/* Where size is short it is the first, day by day. */
	assert_int_equal(retention_save(v.fs, "data", &r, NULL), 0); /* for the forecast alone */
	f = forecast(&v, TODAY);
	assert_int_equal(f.rules[3].due_ns, TODAY);
	for (size_t i = 2; i < f.n_days; i++)
		assert_true(f.days[i].due_ns >= f.days[i - 2].due_ns);
	forecast_fini(&f);
	env_fini(&v);
}

/* ---- deletions ---- */

static struct deletion deletion_of(const char *selector, int64_t from_ns, int64_t to_ns)
{
	return (struct deletion){.tenant = STR("t"),
		.selector = str_c(selector),
		.from_ns = from_ns,
		.to_ns = to_ns};
}

static uint64_t ask(struct env *v, const char *selector)
{
	struct deletion d = deletion_of(selector, 0, INT64_MAX);
	struct error e = {0};
	uint64_t id = 0;

	if (store_delete(v->s, &d, &id, &e) < 0)
		fail_msg("%s", e.text);
	return id;
}

struct counts {
	size_t active, done;
};

static void count_state(void *ctx, const struct deletion *d)
{
	struct counts *c = ctx;

	if (d->state == DELETION_DONE)
		c->done++;
	else
		c->active++;
}

static struct counts count_deletions(struct env *v, const char *tenant)
{
	struct counts c = {0};

	store_deletions(v->s, str_c(tenant), count_state, &c);
	return c;
}

static void deletions_hide_at_once(void **state)
{
	struct retention r = {.delete_wait_ns = DAY};
	struct deletion wrong[] = {deletion_of("web", 5, 5), deletion_of("", 0, 9),
		{.tenant = STR("../x"), .selector = STR("web"), .to_ns = 1}},
			part = deletion_of("web", TODAY + 3 * NS_PER_SEC, TODAY + 5 * NS_PER_SEC);
	struct env v;
	uint64_t id, other;

	env_init(&v, 7);
	v.o.retention = &r;
	env_open(&v);
	put(&v, "web", 0, 10, TODAY, "");
	flush(&v);
	put(&v, "web", 10, 10, TODAY, " needle");
	put(&v, "db", 0, 10, TODAY, " needle");
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(store_delete(v.s, &wrong[i], &id, NULL), ERR_ARG);
	id = ask(&v, "web needle");
	put(&v, "web", 20, 10, TODAY, " needle"); /* comes later, and stays */
	assert_int_equal(look(&v, "web").n, 20);
	assert_int_equal(look(&v, "db").n, 10);
	assert_int_equal(store_delete(v.s, &part, &other, NULL), 0);
	assert_true(other > id);
	assert_int_equal(look(&v, "web").n, 16);
	for (int i = 0; i < 2; i++) {
		env_close(&v);
		if (i == 1)
			fake_crash(v.fs, true);
		env_open(&v);
		assert_int_equal(look(&v, "web").n, 16);
		assert_int_equal(count_deletions(&v, "t").active, 2);
		assert_int_equal(count_deletions(&v, "u").active, 0);
		if (i == 0)
			flush(&v);
	}
	assert_int_equal(store_delete_cancel(v.s, STR("u"), id, NULL), ERR_NOT_FOUND);
	assert_int_equal(store_delete_cancel(v.s, STR("t"), other, NULL), 0);
	assert_int_equal(look(&v, "web").n, 20);
	assert_int_equal(store_delete_cancel(v.s, STR("t"), other, NULL), ERR_NOT_FOUND);
	env_close(&v);
	env_open(&v);
	assert_int_equal(count_deletions(&v, "").active, 1);
	assert_int_equal(look(&v, "web").n, 20);
	env_fini(&v);
}

/* Is the text in some file of the store? */
static bool on_disk(struct env *v, const char *dir, const char *text)
{
	struct buf names = {0}, path = {0}, bytes = {0};
	const char *name;
	bool found = false;
	size_t n = 0;

	assert_int_equal(fs_list(v->fs, dir, &names, &n, NULL), 0);
	name = names.p;
	for (size_t i = 0; i < n; i++, name += strlen(name) + 1) {
		buf_clear(&path);
		buf_clear(&bytes);
		buf_printf(&path, "%s/%s", dir, name);
		fs_read_all(v->fs, buf_cstr(&path), 64 << 20, &bytes, NULL);
		found = found || str_find(buf_view(&bytes), str_c(text)) >= 0;
	}
	buf_fini(&names);
	buf_fini(&path);
	buf_fini(&bytes);
	return found;
}

static void wait_done(struct env *v, size_t n)
{
	for (int i = 0; i < 500 && count_deletions(v, "").done < n; i++) {
		settle(v);
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
	assert_int_equal(count_deletions(v, "").done, n);
}

static void deletions_are_carried_out(void **state)
{
	struct env v;
	uint64_t id;

	env_init(&v, 8);
	env_open(&v);
	put(&v, "web", 0, 50, TODAY, "");
	flush(&v);
	put(&v, "web", 50, 1, TODAY, " hunter2");
	put(&v, "db", 0, 50, TODAY, "");
	assert_true(on_disk(&v, "data/journal", "hunter2"));
	id = ask(&v, "web hunter2");
	wait_done(&v, 1);
	assert_false(on_disk(&v, "data/journal", "hunter2"));
	assert_int_equal(figures(&v).records, 100);
	assert_int_equal(look(&v, NULL).n, 100);
	assert_int_equal(store_delete_cancel(v.s, STR("t"), id, NULL), ERR_BUSY);
	/* A whole part goes, and an empty store goes on. */
	ask(&v, "web");
	ask(&v, "db");
	wait_done(&v, 3);
	assert_int_equal(figures(&v).parts, 0);
	assert_int_equal(part_files(&v), 0);
	env_close(&v);
	env_open(&v);
	assert_int_equal(look(&v, NULL).n, 0);
	assert_int_equal(put(&v, "web", 0, 10, TODAY, "").first_seq, 102);
	assert_int_equal(look(&v, NULL).n, 10);
	env_fini(&v);
}

/* A reader keeps what it began with; the file goes after it. */
static void readers_keep_what_they_have(void **state)
{
	struct seen seen = {0};
	struct scan scan = {.tenant = STR("t"),
		.from_ns = INT64_MIN,
		.to_ns = INT64_MAX,
		.columns = SCAN_BODY,
		.ctx = &seen,
		.rows = add_rows};
	struct snapshot *sn;
	struct env v;

	env_init(&v, 9);
	env_open(&v);
	put(&v, "web", 0, 50, TODAY, "");
	flush(&v);
	sn = snapshot_take(v.s);
	ask(&v, "web");
	for (int i = 0; i < 5; i++)
		settle(&v);
	assert_int_equal(look(&v, NULL).n, 0);
	assert_int_equal(count_deletions(&v, "").done, 0); /* the file is there still */
	assert_int_equal(snapshot_scan(sn, &scan, NULL), 0);
	assert_int_equal(seen.n, 50);
	snapshot_free(sn);
	wait_done(&v, 1);
	env_fini(&v);
}

static void a_damaged_list_of_deletions_has_a_copy(void **state)
{
	static const char *const files[] = {"data/DELETIONS", "data/DELETIONS.2"};
	struct retention r = {.delete_wait_ns = DAY};

	for (int i = 0; i < 4; i++) {
		struct env v;
		uint64_t id;

		env_init(&v, 10);
		v.o.retention = &r;
		env_open(&v);
		put(&v, "web", 0, 10, TODAY, "");
		ask(&v, "web");
		env_close(&v);
		for (int k = 0; k < 2; k++) {
			if (i == k || i == 2)
				fake_flip(v.fs, files[k], 99);
			else if (i == 3)
				fs_unlink(v.fs, files[k], NULL);
		}
		env_open(&v);
		assert_int_equal(look(&v, NULL).n, i < 2 ? 0 : 10);
		id = ask(&v, "web");
		assert_int_equal(look(&v, NULL).n, 0);
		assert_int_equal(id, i < 2 ? 2 : 1);
		env_fini(&v);
	}
}

static void lists_of_deletions_come_back(void **state)
{
	struct deletions ds = {.next_id = 7}, got;
	struct deletion d = deletion_of("web needle", -5, INT64_MAX);
	struct buf bytes = {0};

	d.state = DELETION_DONE;
	d.until_seq = UINT64_MAX;
	deletions_add(&ds, &d, NULL)->begun = true;
	d.state = DELETION_ACTIVE;
	deletions_add(&ds, &d, NULL);
	deletions_encode(&ds, &bytes);
	assert_int_equal(deletions_decode(&got, buf_view(&bytes), NULL), 0);
	assert_int_equal(got.next_id, 9);
	assert_int_equal(got.n, 2);
	assert_int_equal(got.all[0].d.state, DELETION_DONE);
	assert_true(got.all[0].begun && !got.all[1].begun);
	assert_true(str_eq(got.all[1].d.selector, STR("web needle")));
	assert_int_equal(got.all[1].d.from_ns, -5);
	deletions_fini(&got);
	for (size_t i = 0; i < bytes.n * 8; i++) {
		bytes.p[i / 8] ^= (char)(1 << (i % 8));
		assert_int_equal(deletions_decode(&got, buf_view(&bytes), NULL), ERR_CORRUPT);
		bytes.p[i / 8] ^= (char)(1 << (i % 8));
	}
	deletions_fini(&ds);
	buf_fini(&bytes);
}

/* ---- merging ---- */

static void parts_are_merged(void **state)
{
	struct engine_figures f;
	struct seen before, after;
	struct env v;

	env_init(&v, 11);
	env_open(&v);
	for (uint64_t i = 0; i < 40; i++) {
		put(&v, i % 3 ? "web" : "db", i * 50, 50, TODAY - (int64_t)i * MINUTE, " text");
		flush(&v);
	}
	before = look(&v, NULL);
	settle(&v);
	after = look(&v, NULL);
	f = figures(&v);
	print_message("%llu parts, %.2f bytes written for each\n", (unsigned long long)f.parts,
		(double)f.written_bytes / (double)f.bytes);
	assert_true(f.parts < 12);
	assert_int_equal(f.records, 2000);
	assert_int_equal(part_files(&v), f.parts);
	assert_int_equal(after.n, before.n);
	assert_int_equal(after.sum, before.sum);
	env_close(&v);
	env_open(&v);
	assert_int_equal(look(&v, NULL).sum, before.sum);
	assert_int_equal(store_recovery(v.s)->records, 0);
	env_fini(&v);
}

/* Without the manifest a merged part and what is left of its inputs are told apart. */
static void a_lost_manifest_is_made_anew(void **state)
{
	struct snapshot *sn;
	struct seen before;
	struct env v;

	for (int lost = 0; lost < 3; lost++) {
		env_init(&v, 12);
		env_open(&v);
		for (uint64_t i = 0; i < 6; i++) {
			put(&v, "web", i * 50, 50, TODAY, " text");
			flush(&v);
		}
		sn = snapshot_take(v.s); /* keeps the files of what is merged */
		settle(&v);
		before = look(&v, NULL);
		assert_int_equal(before.n, 300);
		fake_crash(v.fs, false);
		snapshot_free(sn);
		env_close(&v);
		if (lost == 1)
			fs_unlink(v.fs, "data/parts/MANIFEST", NULL);
		else if (lost == 2)
			fake_flip(v.fs, "data/parts/MANIFEST", 77);
		env_open(&v);
		assert_int_equal(look(&v, NULL).n, before.n);
		assert_int_equal(look(&v, NULL).sum, before.sum);
		assert_int_equal(part_files(&v), figures(&v).parts);
		env_fini(&v);
	}
}

static void a_full_disk_ends_a_merge(void **state)
{
	struct error e = {0};
	struct env v;

	env_init(&v, 13);
	v.o.merge_off = true;
	env_open(&v);
	for (uint64_t i = 0; i < 8; i++) {
		put(&v, "web", i * 500, 500, TODAY, " text");
		flush(&v);
	}
	env_close(&v);
	v.o.merge_off = false;
	for (uint64_t n = 1; n < 12; n++) {
		env_open(&v);
		fake_fail(v.fs, FAKE_WRITE, n, ENOSPC, true);
		if (store_settle(v.s, &e) < 0)
			assert_true(e.code == ERR_FULL || e.code == ERR_IO);
		fake_fail(v.fs, FAKE_WRITE, 0, 0, false);
		assert_int_equal(look(&v, NULL).n, 4000);
		env_close(&v);
	}
	env_open(&v);
	settle(&v);
	assert_true(figures(&v).parts < 8);
	assert_int_equal(look(&v, NULL).n, 4000);
	assert_int_equal(part_files(&v), figures(&v).parts);
	env_fini(&v);
}

/* ---- crashes ---- */

enum { STEPS = 12, LINES = 20 };

struct script {
	uint64_t acked, sent;
	uint64_t deleted_from; /* of app x: what came before is to be hidden */
	bool delete_acked;
};

/* Parts are built, merged, cleaned and dropped; note what was promised. */
static void run_script(struct env *v, struct script *sc)
{
	struct retention r = {.age_ns = 30 * DAY};

	v->o.retention = &r;
	if (store_open(&v->s, &v->o, NULL) < 0)
		return;
	for (int step = 0; step < STEPS; step++) {
		struct deletion d = deletion_of("x", 0, INT64_MAX);
		uint64_t id;

		sc->sent += LINES;
		if (put(v, "web", sc->acked, LINES, TODAY - 40 * DAY + step * 10 * DAY, "").code ==
				0 &&
			put(v, "x", 0, LINES, TODAY, " secret").code == 0)
			sc->acked += LINES;
		if (step == 5 && store_delete(v->s, &d, &id, NULL) == 0)
			sc->delete_acked = true;
		if (step % 2)
			store_flush(v->s, NULL);
		if (step % 3 == 2)
			store_settle(v->s, NULL);
	}
	store_close(v->s);
	v->s = NULL;
}

static bool is_broken(struct env *v, const struct script *sc)
{
	/* Of "web" the first batch is too old at the door: 40 days. */
	struct seen web = look(v, "web"), x = look(v, "x");
	uint64_t most_x = sc->delete_acked ? sc->sent - 6 * LINES : sc->sent;
	size_t least = sc->acked > LINES ? (size_t)sc->acked - LINES : 0;

	return web.warnings + x.warnings > 0 || web.n < least || web.n > sc->sent || x.n > most_x;
}

static int crash_everywhere(bool keep_some)
{
	bool reached = true;
	int broken = 0, runs = 0;

	for (uint64_t n = 1; reached; n += 3) {
		struct script sc = {0};
		struct env v;
		bool bad;

		env_init(&v, n);
		fake_crash_at(v.fs, n);
		run_script(&v, &sc);
		reached = fake_changes(v.fs) >= n;
		fake_crash(v.fs, keep_some);
		v.o.retention = NULL;
		env_open(&v);
		bad = is_broken(&v, &sc);
		if (!bad) {
			flush(&v);
			settle(&v);
			bad = is_broken(&v, &sc);
			env_close(&v);
			env_open(&v);
			bad = bad || is_broken(&v, &sc) || part_files(&v) != figures(&v).parts;
		}
		if (bad)
			print_message("crash at change %llu, keep_some %d: broken\n",
				(unsigned long long)n, keep_some);
		broken += bad;
		runs++;
		env_fini(&v);
	}
	print_message("%d crashes\n", runs);
	return broken;
}

static void survives_crashes(void **state)
{
	assert_int_equal(crash_everywhere(false), 0);
	assert_int_equal(crash_everywhere(true), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merges_are_chosen),
		cmocka_unit_test(bytes_are_written_few_times),
		cmocka_unit_test(manifests_come_back),
		cmocka_unit_test(lists_of_deletions_come_back),
		cmocka_unit_test(the_oldest_go_when_there_is_too_much),
		cmocka_unit_test(a_share_of_the_disk),
		cmocka_unit_test(the_old_are_hidden_dropped_and_refused),
		cmocka_unit_test(the_future_passes_as_well),
		cmocka_unit_test(a_clock_that_jumps_deletes_nothing),
		cmocka_unit_test(a_clock_that_is_ahead_at_starts_deletes_nothing),
		cmocka_unit_test(rules_hold_for_their_streams),
		cmocka_unit_test(rules_are_remembered),
		cmocka_unit_test(it_is_known_what_will_go),
		cmocka_unit_test(deletions_hide_at_once),
		cmocka_unit_test(a_damaged_list_of_deletions_has_a_copy),
		cmocka_unit_test(deletions_are_carried_out),
		cmocka_unit_test(readers_keep_what_they_have),
		cmocka_unit_test(parts_are_merged),
		cmocka_unit_test(a_lost_manifest_is_made_anew),
		cmocka_unit_test(a_full_disk_ends_a_merge),
		cmocka_unit_test(survives_crashes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
