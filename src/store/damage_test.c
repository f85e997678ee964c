/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small store, and every way in which its files can be damaged: bytes
 * flipped and zeroed, files cut, emptied, removed and put back as they were
 * before.  Whatever was done: verify names it, the store opens, what it shows
 * is right and shown once, and what is missing was told.
 *
 *     damage_test            a sample of all places
 *     damage_test all        every byte of every file
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <unistd.h>

#include "base/log.h"
#include "store/parts/part.h"
#include "store/store_rig.h"
#include "store/tools.h"

enum {
	LINES = 60,  /* of a batch */
	BATCHES = 6, /* the last ones are in the journal alone */
	IN_PARTS = 4,
	PLACES = 60, /* of a file that are tried, when not all are */
	HANG_SECONDS = 100,
};

struct saved {
	char *path;
	struct buf bytes, before; /* before: as it was one batch earlier; empty: not there */
	bool had_before;
};

struct lab {
	struct rig rig;
	struct saved files[64];
	size_t n;
	bool every;
	unsigned long long tried, named;
	char what[200]; /* the damage at hand */
};

static struct lab *running;

static void on_hang(int number)
{
	fprintf(stderr, "hangs: %s\n", running ? running->what : "");
	_exit(1);
}

/* Line i of batch b; apps alternate. */
static void put_line(struct buf *out, size_t b, size_t i)
{
	buf_clear(out);
	buf_printf(out, "batch %zu request id=%08zx took %zums from 10.1.%zu.%zu", b,
		i * 2654435761u & 0xffffffff, i * 37 % 500, b, i);
}

static struct batch *make_batch(size_t b)
{
	struct batch_builder *bb = batch_builder_new(STR("t"), STR("test"), RIG_TODAY);
	struct batch_source bs = {
		.id = STR("file"), .kind = POSITION_MARK, .from = b * LINES, .to = (b + 1) * LINES};
	struct buf labels = {0}, other = {0}, line = {0};
	uint32_t stream[2];
	uint16_t source = batch_builder_source(bb, &bs);
	struct batch *out;

	rig_labels(&labels, "web", NULL);
	rig_labels(&other, "db", "a");
	stream[0] = batch_builder_stream(bb, buf_view(&labels));
	stream[1] = batch_builder_stream(bb, buf_view(&other));
	for (size_t i = 0; i < LINES; i++) {
		struct record r = {.stream = stream[i % 2],
			.severity = 9,
			.source = source,
			.position = b * LINES + i + 1,
			.timestamp = RIG_TODAY + (int64_t)(b * LINES + i) * NS_PER_SEC};

		put_line(&line, b, i);
		r.body = buf_view(&line);
		assert_int_equal(batch_builder_add(bb, &r, NULL), 0);
	}
	out = batch_builder_finish(bb, 0);
	batch_builder_free(bb);
	buf_fini(&labels);
	buf_fini(&other);
	buf_fini(&line);
	return out;
}

/* The picture of the disk */

static void read_file(struct fs *fs, const char *path, struct buf *out)
{
	buf_clear(out);
	assert_int_equal(fs_read_all(fs, path, 16 << 20, out, NULL), 0);
}

static void save_folder(struct lab *l, struct fs *fs, const char *dir)
{
	size_t n;
	struct buf names = rig_list(fs, dir, &n);
	const char *name = names.p;

	for (size_t i = 0; i < n; i++, name += strlen(name) + 1) {
		struct saved *s = &l->files[l->n];
		struct buf path = {0};
		struct file_stat st;

		buf_printf(&path, "%s/%s", dir, name);
		assert_int_equal(fs_stat(fs, buf_cstr(&path), &st, NULL), 0);
		if (st.kind == FILE_DIRECTORY) {
			save_folder(l, fs, path.p);
		} else {
			assert_true(l->n < 64);
			*s = (struct saved){.path = xstrdup(path.p)};
			read_file(fs, s->path, &s->bytes);
			l->n++;
		}
		buf_fini(&path);
	}
	buf_fini(&names);
}

static void save_before(struct lab *l, struct fs *fs, struct saved *old, size_t n)
{
	for (size_t i = 0; i < l->n; i++)
		for (size_t k = 0; k < n; k++)
			if (strcmp(l->files[i].path, old[k].path) == 0) {
				buf_str(&l->files[i].before, buf_view(&old[k].bytes));
				l->files[i].had_before = true;
			}
}

static void write_file(struct fs *fs, const char *path, struct str bytes)
{
	assert_int_equal(fs_write_all(fs, path, bytes, NULL), 0);
}

/* A disk with the store as it was saved. */
static void restore(struct lab *l)
{
	rig_init(&l->rig, 1, 32 << 20);
	l->rig.o.merge_off = true;
	assert_int_equal(fs_mkdir(l->rig.fs, "data/parts", NULL), 0);
	assert_int_equal(fs_mkdir(l->rig.fs, "data/journal", NULL), 0);
	for (size_t i = 0; i < l->n; i++)
		write_file(l->rig.fs, l->files[i].path, buf_view(&l->files[i].bytes));
}

static void free_files(struct saved *files, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(files[i].path);
		buf_fini(&files[i].bytes);
		buf_fini(&files[i].before);
	}
}

/* Make one part of those that there are. */
static void merge(struct lab *l)
{
	struct error e;

	store_close(l->rig.s);
	l->rig.o.merge_off = false;
	l->rig.o.merge_parts = 1; /* two of them make one */
	assert_int_equal(store_open(&l->rig.s, &l->rig.o, &e), 0);
	assert_int_equal(store_settle(l->rig.s, &e), 0);
	store_close(l->rig.s);
	l->rig.o.merge_off = true;
	assert_int_equal(store_open(&l->rig.s, &l->rig.o, &e), 0);
}

/* A merged part and one as it was built, the others in the journal, and a deletion that hides
 * nothing. */
static void build(struct lab *l)
{
	struct deletion d = {
		.tenant = STR("t"), .selector = STR("nobody"), .from_ns = 0, .to_ns = 1};
	struct retention keep = {.delete_wait_ns = RIG_DAY};
	struct saved old[64];
	size_t n_old = 0;
	struct error e;
	uint64_t id;

	rig_init(&l->rig, 1, 32 << 20);
	l->rig.o.segment_bytes = 4 << 10;
	l->rig.o.retention = &keep;
	l->rig.o.merge_off = true;
	assert_int_equal(store_open(&l->rig.s, &l->rig.o, &e), 0);
	for (size_t b = 0; b < BATCHES; b++) {
		struct sink_result r = rig_submit(l->rig.s, make_batch(b));

		assert_int_equal(r.code, 0);
		if (b < IN_PARTS && b != 1)
			assert_int_equal(store_flush(l->rig.s, &e), 0);
		if (b == 2)
			assert_int_equal(store_delete(l->rig.s, &d, &id, &e), 0);
		if (b == 2)
			merge(l);
		if (b == BATCHES - 2) {
			store_close(l->rig.s);
			l->n = 0;
			save_folder(l, l->rig.fs, "data");
			n_old = l->n;
			memcpy(old, l->files, sizeof old);
			assert_int_equal(store_open(&l->rig.s, &l->rig.o, &e), 0);
		}
	}
	store_close(l->rig.s);
	l->rig.s = NULL;
	l->n = 0;
	save_folder(l, l->rig.fs, "data");
	save_before(l, l->rig.fs, old, n_old);
	free_files(old, n_old);
	assert_int_equal(rig_fini(&l->rig), 0);
}

/* Checking */

struct look {
	struct lab *l;
	uint8_t seen[BATCHES * LINES];
	size_t n, wrong, warnings;
	size_t sentences; /* of verify */
};

static int on_rows(void *ctx, const struct rows *rows, struct error *e)
{
	struct look *k = ctx;
	struct buf line = {0};

	for (size_t i = 0; i < rows->n; i++) {
		uint32_t at = rows->pick[i];
		uint64_t n = rows->position[at] - 1;
		struct str app;

		if (n >= BATCHES * LINES) {
			k->wrong++;
			continue;
		}
		put_line(&line, n / LINES, n % LINES);
		if (!str_eq(rows->body[at], buf_view(&line)) || k->seen[n]++ ||
			rows->timestamp[at] != RIG_TODAY + (int64_t)n * NS_PER_SEC ||
			rows->severity[at] != 9 || rows->source[at] == 0 ||
			!str_eq_c(rows->sources[rows->source[at] - 1], "file") ||
			!labels_get(rows->streams[rows->stream[at]], STR("app"), &app) ||
			!str_eq_c(app, n % LINES % 2 ? "db" : "web"))
			k->wrong++;
		k->n++;
	}
	buf_fini(&line);
	return 0;
}

static void on_warn(void *ctx, const char *sentence)
{
	((struct look *)ctx)->warnings++;
}

static void on_sentence(void *ctx, const char *sentence)
{
	((struct look *)ctx)->sentences++;
}

static void scan(struct look *k, struct store *s)
{
	struct scan scan = {.tenant = STR("t"),
		.from_ns = INT64_MIN,
		.to_ns = INT64_MAX,
		.columns = SCAN_BODY | SCAN_META | SCAN_SOURCE,
		.ctx = k,
		.rows = on_rows,
		.warn = on_warn};
	struct snapshot *sn = snapshot_take(s);
	struct error e;

	if (snapshot_scan(sn, &scan, &e) < 0)
		fail_msg("%s: scan: %s", k->l->what, e.text);
	snapshot_free(sn);
}

static bool is_part(const char *path)
{
	return str_ends(str_c(path), STR(".part"));
}

static bool is_journal(const char *path)
{
	return str_ends(str_c(path), STR(".journal"));
}

/* Open the store as it is now and look at it. */
static void look(struct lab *l, struct look *k, const char *when)
{
	struct error e;

	if (store_open(&l->rig.s, &l->rig.o, &e) < 0)
		fail_msg("%s, %s: %s", l->what, when, e.text);
	scan(k, l->rig.s);
	if (k->wrong > 0)
		fail_msg("%s, %s: %zu wrong records", l->what, when, k->wrong);
	store_close(l->rig.s);
	l->rig.s = NULL;
}

/* Verify, open, look; repair, open, look again.  `sealed`: nothing that nobody misses, so that all
 * damage must be named. */
static void check(struct lab *l, bool sealed, const char *path)
{
	struct look first = {.l = l}, second = {.l = l}, *verified = &first;
	struct store_check c, after;
	struct error e;

	if (store_verify(l->rig.fs, "data", &c, on_sentence, verified, &e) < 0)
		fail_msg("%s: verify: %s", l->what, e.text);
	if (sealed && (first.sentences == 0 || c.damaged_files == 0))
		fail_msg("%s: verify does not name it", l->what);
	if ((first.sentences > 0) != (c.damaged_files > 0))
		fail_msg("%s: verify tells %zu things and counts %llu files", l->what,
			first.sentences, (unsigned long long)c.damaged_files);
	l->tried++;
	l->named += first.sentences > 0;
	look(l, &first, "opened");
	/* What is missing was told, by the scan or by verify before. */
	if (first.n < BATCHES * LINES && first.warnings == 0 && c.lost_records == 0 &&
		!is_journal(path))
		fail_msg("%s: %zu records, and nobody says so", l->what, first.n);
	if (store_repair(l->rig.fs, "data", &after, NULL, NULL, &e) < 0)
		fail_msg("%s: repair: %s", l->what, e.text);
	look(l, &second, "repaired");
	if (second.n < first.n)
		fail_msg("%s: repaired, and %zu records became %zu", l->what, first.n, second.n);
	if (second.warnings > 0)
		fail_msg("%s: repaired, and a scan still warns", l->what);
	/* A segment is stepped over by a start, and stays until its other records are in parts. */
	if (is_journal(path))
		return;
	if (store_verify(l->rig.fs, "data", &after, on_sentence, &second, &e) < 0 ||
		after.damaged_files > 0)
		fail_msg("%s: repaired, and verify still names %llu files", l->what,
			(unsigned long long)after.damaged_files);
}

enum harm { FLIP, ZERO, CUT, EMPTY, REMOVE, OLDER };

static const char *const harms[] = {
	"a bit flipped at", "zeroed at", "cut at", "emptied", "removed", "as it was before"};

/* 1 tried, 0: it makes no difference. */
static bool harm_file(struct lab *l, const struct saved *s, enum harm harm, size_t at)
{
	struct buf bytes = {0};
	bool changed = true, sealed = is_part(s->path);

	buf_str(&bytes, buf_view(&s->bytes));
	snprintf(l->what, sizeof l->what, "%s %s %zu", s->path, harms[harm], at);
	switch (harm) {
	case FLIP: bytes.p[at] ^= (char)(1 << at % 8); break;
	case ZERO:
		changed = bytes.p[at] != 0;
		bytes.p[at] = 0;
		break;
	case CUT: bytes.n = at; break;
	case EMPTY:
		changed = bytes.n > 0;
		bytes.n = 0;
		break;
	case REMOVE: break;
	case OLDER:
		changed = s->had_before && !str_eq(buf_view(&s->bytes), buf_view(&s->before));
		bytes.n = 0;
		buf_str(&bytes, buf_view(&s->before));
		sealed = false;
		break;
	}
	if (str_ends(str_c(s->path), STR("MANIFEST")) || strstr(s->path, "DELETIONS") ||
		str_ends(str_c(s->path), STR("CLOCK")))
		sealed = harm != REMOVE && harm != OLDER;
	if (changed) {
		restore(l);
		if (harm == REMOVE)
			assert_int_equal(fs_unlink(l->rig.fs, s->path, NULL), 0);
		else
			write_file(l->rig.fs, s->path, buf_view(&bytes));
		alarm(HANG_SECONDS);
		check(l, sealed, s->path);
		alarm(0);
		if (rig_fini(&l->rig) != 0)
			fail_msg("%s: memory is still charged", l->what);
	}
	buf_fini(&bytes);
	return changed;
}

static void harm_everything(struct lab *l)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct saved *s = &l->files[i];
		size_t step = l->every || s->bytes.n < PLACES ? 1 : s->bytes.n / PLACES;

		/* Where places fall must not follow the layout. */
		for (size_t at = i % step; at < s->bytes.n; at += step) {
			harm_file(l, s, FLIP, at);
			if (at % 2 == 0 || l->every)
				harm_file(l, s, ZERO, at);
			if (at % 3 == 0 || l->every)
				harm_file(l, s, CUT, at);
		}
		harm_file(l, s, EMPTY, 0);
		harm_file(l, s, REMOVE, 0);
		harm_file(l, s, OLDER, 0);
	}
}

static void a_whole_store_is_all_well(void **state)
{
	struct lab *l = *state;
	struct look k = {.l = l};
	struct store_check c;
	size_t n_parts = 0;
	struct error e;

	restore(l);
	assert_int_equal(store_verify(l->rig.fs, "data", &c, on_sentence, &k, &e), 0);
	assert_int_equal(k.sentences, 0);
	assert_int_equal(c.damaged_files, 0);
	assert_int_equal(c.records, IN_PARTS * LINES);
	assert_true(c.blocks >= 2);
	for (size_t i = 0; i < l->n; i++)
		n_parts += is_part(l->files[i].path);
	assert_int_equal(n_parts, 2); /* of the three that were built */
	look(l, &k, "whole");
	assert_int_equal(k.n, BATCHES * LINES);
	assert_int_equal(k.warnings, 0);
	assert_int_equal(rig_fini(&l->rig), 0);
}

static void damage_is_found_and_costs_no_more_than_it_must(void **state)
{
	struct lab *l = *state;

	harm_everything(l);
	print_message("%llu kinds of damage, %llu named by verify\n", l->tried, l->named);
}

struct totals {
	uint64_t rows[5], records[5], stored[5];
	bool descending;
	uint64_t last;
	enum stats_of of;
};

static void on_stats(void *ctx, const struct stats_row *row)
{
	struct totals *t = ctx;

	if (t->rows[row->of]++ > 0 && row->stored > t->last)
		t->descending = false;
	t->last = row->stored;
	t->records[row->of] += row->records;
	t->stored[row->of] += row->stored;
}

static void statistics_add_up(void **state)
{
	struct totals t = {.descending = true};
	struct lab *l = *state;
	uint64_t parts = 0, all = 0;
	struct error e;

	restore(l);
	for (size_t i = 0; i < l->n; i++) {
		all += l->files[i].bytes.n;
		parts += is_part(l->files[i].path) ? l->files[i].bytes.n : 0;
	}
	assert_int_equal(store_stats(l->rig.fs, "data", SIZE_MAX, on_stats, &t, &e), 0);
	assert_true(t.descending);
	assert_int_equal(t.stored[STATS_FILES], all);
	assert_int_equal(t.stored[STATS_DAYS], parts);
	assert_int_equal(t.records[STATS_FILES], IN_PARTS * LINES);
	assert_int_equal(t.records[STATS_STREAMS], IN_PARTS * LINES);
	assert_int_equal(t.records[STATS_DAYS], IN_PARTS * LINES);
	assert_int_equal(t.rows[STATS_STREAMS], 2);
	/* Shares are rounded down. */
	assert_true(t.stored[STATS_COLUMNS] <= parts && t.stored[STATS_COLUMNS] > parts / 2);
	memset(&t, 0, sizeof t);
	t.descending = true;
	assert_int_equal(store_stats(l->rig.fs, "data", 1, on_stats, &t, &e), 0);
	assert_int_equal(t.rows[STATS_STREAMS], 1);
	assert_int_equal(rig_fini(&l->rig), 0);
	rig_init(&l->rig, 1, 1 << 20);
	assert_int_equal(store_stats(l->rig.fs, "data", 1, on_stats, &t, &e), ERR_NOT_FOUND);
	assert_int_equal(rig_fini(&l->rig), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_store_is_all_well),
		cmocka_unit_test(statistics_add_up),
		cmocka_unit_test(damage_is_found_and_costs_no_more_than_it_must),
	};
	struct lab l = {.every = argc > 1 && strcmp(argv[1], "all") == 0};
	struct CMUnitTest with_lab[3];
	int r;

	signal(SIGALRM, on_hang);
	log_set_level(LOG_ERROR);
	running = &l;
	build(&l);
	for (size_t i = 0; i < 3; i++) {
		with_lab[i] = tests[i];
		with_lab[i].initial_state = &l;
	}
	r = cmocka_run_group_tests(with_lab, NULL, NULL);
	free_files(l.files, l.n);
	return r;
}
