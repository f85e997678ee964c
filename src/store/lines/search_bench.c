/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast lines are found in blocks:
 *
 *     search_bench [-b MIB] [-l LEVEL] [-r TIMES] [-p] [-x PATTERN]... FILE...
 *
 * Files are cut into lines and blocks of MIB (8) MiB, which are encoded once and
 * then lie in memory.  Each search of the table below runs over all of them, on
 * one thread: verdicts of the templates, once a file, as a part's scan makes
 * them; then of each block that they leave open the rows.  Printed are the hits,
 * the best of TIMES (5) runs in milliseconds of CPU for all blocks and in
 * microseconds a block, what was read of the payloads, and how many lines had to be spelled.
 * At last: spelling every line.
 *
 * -x searches for an expression, or a text when it begins with '=', instead.  -p compares the hits
 * of each search with those of testing every line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/memory.h"
#include "record/time.h"
#include "store/lines/lines.h"

enum { EXTRA_MAX = 16 };

struct block {
	struct buf payload;
	struct str *lines;
	int64_t *times;
	uint32_t n_rows;
	const struct template **templates;
	uint32_t *index; /* of the file's, by local */
	size_t n_templates, n_plain;
	struct file *file;
};

/* What a part is to its blocks: the templates, each once. */
struct file {
	struct buf text;
	struct map keys;
	struct arena arena; /* what the templates borrow */
	struct template *templates;
	uint8_t *verdict;
	size_t n, cap;
};

struct bench {
	struct file *files;
	struct block *blocks;
	size_t n_files, n_blocks, cap, raw, most;
	size_t block_bytes;
	int level, times;
	bool prove;
	struct lines_reader *r;
	uint32_t *pick;
	struct str *line;
};

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void die(const char *what, const struct error *e)
{
	fprintf(stderr, "search_bench: %s: %s\n", what, e->text);
	exit(1);
}

static int read_payload(void *ctx, uint64_t at, size_t n, void *to, struct error *e)
{
	const struct buf *payload = ctx;

	if (at > payload->n || n > payload->n - at)
		return error_set(e, ERR_CORRUPT, "read outside of the payload");
	memcpy(to, payload->p + at, n);
	return 0;
}

static struct lines_source source_of(struct block *b)
{
	return (struct lines_source){.ctx = &b->payload,
		.read = read_payload,
		.bytes = b->payload.n,
		.n_rows = b->n_rows,
		.templates = b->templates,
		.n_templates = b->n_templates,
		.timestamps = b->times};
}

static uint32_t file_template(struct file *f, struct str key)
{
	struct error e;
	bool added;
	union map_value *value = map_put(&f->keys, key, &added);

	if (added) {
		value->u = f->n;
		if (f->n == f->cap) {
			f->cap = f->cap ? 2 * f->cap : 256;
			f->templates = xrealloc(f->templates, f->cap * sizeof *f->templates);
		}
		if (template_parse(&f->templates[f->n++], arena_str(&f->arena, key), &e) < 0)
			die("template", &e);
	}
	return (uint32_t)value->u;
}

static void add_block(struct bench *b, struct file *f, struct lines_writer *w,
	const struct str *lines, const int64_t *times, size_t n)
{
	struct lines_written written;
	struct block *block;

	if (b->n_blocks == b->cap) {
		b->cap = b->cap ? 2 * b->cap : 64;
		b->blocks = xrealloc(b->blocks, b->cap * sizeof *b->blocks);
	}
	block = &b->blocks[b->n_blocks++];
	*block = (struct block){.n_rows = (uint32_t)n, .file = f};
	block->lines = xmalloc(n * sizeof *lines);
	block->times = xmalloc(n * sizeof *times);
	memcpy(block->lines, lines, n * sizeof *lines);
	memcpy(block->times, times, n * sizeof *times);
	for (size_t i = 0; i < n; i++)
		lines_writer_add(w, lines[i], times[i]);
	lines_writer_finish(w, &block->payload, &written);
	block->n_templates = written.n_templates;
	for (size_t i = 0; i < n; i++)
		block->n_plain += written.template_of[i] == TEMPLATE_NONE;
	block->index = xmalloc(written.n_templates * sizeof *block->index);
	for (size_t i = 0; i < written.n_templates; i++)
		block->index[i] = file_template(f, written.keys[i]);
	b->most = n > b->most ? n : b->most;
}

static void read_text(struct buf *text, const char *path)
{
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f) {
		perror(path);
		exit(1);
	}
	while ((n = fread(buf_reserve(text, 1 << 20), 1, 1 << 20, f)) > 0)
		text->n += n;
	fclose(f);
}

static void load(struct bench *b, struct file *f, const char *path)
{
	struct lines_writer *w = lines_writer_new(NULL, b->level);
	struct str *lines = xmalloc((b->block_bytes + 1) * sizeof *lines), rest;
	int64_t *times = xmalloc((b->block_bytes + 1) * sizeof *times);
	int64_t now = INT64_C(1700000000) * 1000000000, time = now;
	size_t n = 0, bytes = 0, first = b->n_blocks;

	read_text(&f->text, path);
	b->raw += f->text.n;
	for (rest = buf_view(&f->text); rest.n;) {
		lines[n] = str_cut(&rest, '\n');
		time_detect(lines[n], now, 0, &time);
		times[n] = time;
		bytes += lines[n++].n + 1;
		if (bytes >= b->block_bytes || !rest.n) {
			add_block(b, f, w, lines, times, n);
			n = bytes = 0;
		}
	}
	f->verdict = xcalloc(f->n, 1);
	for (size_t i = first; i < b->n_blocks; i++) {
		struct block *block = &b->blocks[i];
		block->templates = xmalloc(block->n_templates * sizeof *block->templates);
		for (size_t k = 0; k < block->n_templates; k++)
			block->templates[k] = &f->templates[block->index[k]];
	}
	free(lines);
	free(times);
	lines_writer_free(w);
}

/* Rows of a block that pass; one whose rows all have templates that say no is not opened, as in a
 * scan. */
static size_t search_block(struct bench *b, struct block *block, const struct line_filter *f)
{
	struct lines_source s = source_of(block);
	uint8_t *verdict = xmalloc(block->n_templates + 1), any = 0;
	size_t n = block->n_rows;
	struct error e;

	for (size_t i = 0; i < block->n_templates; i++) {
		verdict[i] = block->file->verdict[block->index[i]];
		any |= verdict[i] != MATCH_NONE;
	}
	if (!any && block->n_plain == 0) {
		free(verdict);
		return 0;
	}
	for (uint32_t i = 0; i < block->n_rows; i++)
		b->pick[i] = i;
	if (lines_open(b->r, &s, &e) < 0 || lines_filter(b->r, f, 1, verdict, b->pick, &n, &e) < 0)
		die("filter", &e);
	free(verdict);
	return n;
}

static size_t search_all(struct bench *b, const struct line_filter *f)
{
	size_t hits = 0;

	for (size_t i = 0; i < b->n_files; i++)
		for (size_t k = 0; k < b->files[i].n; k++)
			b->files[i].verdict[k] =
				(uint8_t)match_template(f, &b->files[i].templates[k]);
	for (size_t i = 0; i < b->n_blocks; i++)
		hits += search_block(b, &b->blocks[i], f);
	return hits;
}

static void prove(struct bench *b, const struct line_filter *f, size_t hits)
{
	size_t want = 0;

	for (size_t i = 0; i < b->n_blocks; i++)
		for (uint32_t k = 0; k < b->blocks[i].n_rows; k++)
			want += line_filter_test(f, b->blocks[i].lines[k]) == 1;
	if (want != hits) {
		fprintf(stderr, "search_bench: %zu hits instead of %zu\n", hits, want);
		exit(1);
	}
}

static void search(struct bench *b, const char *pattern)
{
	struct line_test test = {.text = str_c(pattern + 1)};
	struct line_filter f = {.tests = &test, .n = 1};
	struct regex *regex = NULL;
	double best = 1e9, start, took;
	struct lines_figures before, after;
	struct error e;
	size_t hits = 0;

	if (*pattern != '=') {
		if (regex_new(&regex, str_c(pattern), false, &e) < 0)
			die(pattern, &e);
		test.regex = regex;
	}
	for (int i = 0; i < b->times; i++) {
		before = lines_figures(b->r);
		start = now_ms();
		hits = search_all(b, &f);
		took = now_ms() - start;
		best = took < best ? took : best;
		after = lines_figures(b->r);
	}
	printf("%-36s %9zu hits %9.2f ms %9.1f us/block %9.2f MB read %9llu spelled\n", pattern,
		hits, best, best * 1e3 / (double)b->n_blocks,
		(double)(after.bytes_read - before.bytes_read) / 1e6,
		(unsigned long long)(after.spelled - before.spelled));
	if (b->prove)
		prove(b, &f, hits);
	regex_free(regex);
}

static void spell(struct bench *b)
{
	double best = 1e9;
	struct error e;

	for (int i = 0; i < b->times; i++) {
		double start = now_ms(), took;
		for (size_t k = 0; k < b->n_blocks; k++) {
			struct lines_source s = source_of(&b->blocks[k]);
			for (uint32_t row = 0; row < s.n_rows; row++)
				b->pick[row] = row;
			if (lines_open(b->r, &s, &e) < 0 ||
				lines_get(b->r, b->pick, s.n_rows, b->line, &e) < 0)
				die("spelling", &e);
		}
		took = now_ms() - start;
		best = took < best ? took : best;
	}
	printf("all lines spelled: %.1f ms, %.0f MB/s\n", best, (double)b->raw / 1e3 / best);
}

static void drop(struct bench *b)
{
	for (size_t i = 0; i < b->n_blocks; i++) {
		buf_fini(&b->blocks[i].payload);
		free(b->blocks[i].lines);
		free(b->blocks[i].times);
		free(b->blocks[i].templates);
		free(b->blocks[i].index);
	}
	for (size_t i = 0; i < b->n_files; i++) {
		for (size_t k = 0; k < b->files[i].n; k++)
			template_fini(&b->files[i].templates[k]);
		free(b->files[i].templates);
		free(b->files[i].verdict);
		map_fini(&b->files[i].keys);
		arena_fini(&b->files[i].arena);
		buf_fini(&b->files[i].text);
	}
	free(b->blocks);
	free(b->files);
	free(b->pick);
	free(b->line);
	lines_reader_free(b->r);
}

int main(int argc, char **argv)
{
	static const char *const searches[] = {
		"=ndl7Q4x9ZkT2vWp0",
		"=no line of any log says this",
		"=Failed password for",
		"(timeout|timed out).*[0-9]{3}",
		"=7231904",
		"=50411",
		"=10.251.43.21",
		"=blk_-72",
		"(?i)ERROR",
		"[0-9]{3}[a-f]{2}",
	};
	struct bench b = {.block_bytes = 8 << 20, .level = 3, .times = 5};
	const char *extra[EXTRA_MAX];
	size_t n_extra = 0, stored = 0;
	int option;

	while ((option = getopt(argc, argv, "b:l:r:px:")) != -1) {
		switch (option) {
		case 'b': b.block_bytes = (size_t)atoi(optarg) << 20; break;
		case 'l': b.level = atoi(optarg); break;
		case 'r': b.times = atoi(optarg); break;
		case 'p': b.prove = true; break;
		case 'x': extra[n_extra++ % EXTRA_MAX] = optarg; break;
		default: return 2;
		}
	}
	if (optind == argc || b.block_bytes == 0 || n_extra > EXTRA_MAX) {
		fprintf(stderr, "usage: search_bench [-b MIB] [-l LEVEL] [-r TIMES] [-p] "
				"[-x PATTERN]... FILE...\n");
		return 2;
	}
	b.n_files = (size_t)(argc - optind);
	b.files = xcalloc(b.n_files, sizeof *b.files);
	b.r = lines_reader_new();
	for (int i = optind; i < argc; i++)
		load(&b, &b.files[i - optind], argv[i]);
	b.pick = xmalloc(b.most * sizeof *b.pick);
	b.line = xmalloc(b.most * sizeof *b.line);
	for (size_t i = 0; i < b.n_blocks; i++)
		stored += b.blocks[i].payload.n;
	printf("%zu MiB in %zu blocks, %zu KiB of payload\n", b.raw >> 20, b.n_blocks,
		stored >> 10);
	for (size_t i = 0; n_extra == 0 && i < sizeof searches / sizeof searches[0]; i++)
		search(&b, searches[i]);
	for (size_t i = 0; i < n_extra; i++)
		search(&b, extra[i]);
	if (n_extra == 0)
		spell(&b);
	drop(&b);
	return 0;
}
