/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the typed store makes of files, and how fast:
 *
 *     lines_bench [-b MIB] [-l LEVEL] [-c] [-w] FILE...
 *
 * Each file is cut into lines, the lines into blocks of MIB (8) MiB; each block
 * is encoded with zstd LEVEL (3), decoded again and compared.  A line's time is
 * the one at its head, else that of the line before.  Per file and in total:
 *
 *     ratio     raw bytes / (payloads + keys of templates, each once a file)
 *     cut       MB of lines per CPU-second of cutting into tokens
 *     write     of all: cutting, columns, zstd
 *     zstd      share of that in zstd, in percent (packed once more to know it)
 *     read      MB of lines per CPU-second of reading every line of a block
 *     plain     rows without a template, in percent
 *
 * -c adds what the bytes are spent on.  -w only writes: for profiles.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/map.h"
#include "base/memory.h"
#include "codec/codec.h"
#include "record/time.h"
#include "store/lines/lines.h"
#include "store/lines/payload.h"

struct totals {
	size_t raw, stored, keys, lines, plain, templates, blocks;
	double cut, write, zstd, read;
	uint64_t spent[LINES_PLAIN + 1];
	uint64_t kind[SLOT_TEXT + 1];
};

struct bench {
	size_t block;
	int level;
	bool costs, write_only;
	struct lines_writer *w;
	struct lines_reader *r;
	struct map keys;
	const struct template *const *templates; /* of the block at hand */
	struct totals t;
};

static double cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void die(const char *what, const struct error *e)
{
	fprintf(stderr, "lines_bench: %s: %s\n", what, e->text);
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

/* How long does zstd take for the chunks alone? */
static double repack(const struct bench *b, const struct lines_source *s, const struct buf *payload)
{
	struct payload p;
	struct error e;
	struct buf raw = {0}, packed = {0};
	size_t head;
	double start, spent = 0;

	if (payload_head(str_make(payload->p, PAYLOAD_HEADER), payload->n, &head, &e) < 0 ||
		payload_decode(&p, str_make(payload->p, head), payload->n, s->n_rows, s->templates,
			s->n_templates, &e) < 0)
		die("directory", &e);
	for (uint32_t i = 0; i < p.n_chunks; i++) {
		struct payload_chunk *c = &p.chunks[i];
		buf_clear(&raw);
		buf_clear(&packed);
		if (payload_unpack(c, str_make(payload->p + c->at, c->stored), &raw, &e) < 0)
			die("chunk", &e);
		start = cpu();
		zstd_pack_columns(&packed, buf_view(&raw), 0, b->level);
		spent += cpu() - start;
	}
	payload_fini(&p);
	buf_fini(&raw);
	buf_fini(&packed);
	return spent;
}

static void spend(void *ctx, enum lines_part part, uint32_t template, uint32_t slot,
	uint64_t stored, uint64_t raw)
{
	struct bench *b = ctx;

	b->t.spent[part] += stored;
	if (part == LINES_COLUMN)
		b->t.kind[b->templates[template]->slots[slot].kind] += stored;
}

static void read_block(struct bench *b, const struct lines_source *s, const struct str *lines)
{
	uint32_t *pick = xcalloc(s->n_rows, sizeof *pick);
	struct str *got = xcalloc(s->n_rows, sizeof *got);
	struct error e;
	double start = cpu();

	for (uint32_t i = 0; i < s->n_rows; i++)
		pick[i] = i;
	if (lines_open(b->r, s, &e) < 0 || lines_get(b->r, pick, s->n_rows, got, &e) < 0)
		die("reading", &e);
	b->t.read += cpu() - start;
	for (uint32_t i = 0; i < s->n_rows; i++) {
		if (!str_eq(got[i], lines[i])) {
			fprintf(stderr, "line %u differs:\n%.*s\n%.*s\n", i, STR_ARG(lines[i]),
				STR_ARG(got[i]));
			exit(1);
		}
	}
	b->templates = s->templates;
	if (b->costs && lines_account(b->r, spend, b, &e) < 0)
		die("costs", &e);
	free(pick);
	free(got);
}

static void bench_block(struct bench *b, const struct str *lines, const int64_t *times, size_t n)
{
	struct lines_written written;
	struct buf payload = {0};
	struct template *templates;
	const struct template **pointers;
	struct lines_source s = {.ctx = &payload, .read = read_payload, .timestamps = times};
	struct error e;
	double start = cpu();

	for (size_t i = 0; i < n; i++)
		lines_writer_add(b->w, lines[i], times[i]);
	b->t.cut += cpu() - start;
	lines_writer_finish(b->w, &payload, &written);
	b->t.write += cpu() - start;
	templates = xcalloc(written.n_templates, sizeof *templates);
	pointers = xcalloc(written.n_templates, sizeof(struct template *));
	for (size_t i = 0; i < written.n_templates; i++) {
		bool added;
		map_put(&b->keys, written.keys[i], &added);
		b->t.keys += added ? written.keys[i].n : 0;
		b->t.templates += added;
		if (template_parse(&templates[i], written.keys[i], &e) < 0)
			die("template", &e);
		pointers[i] = &templates[i];
	}
	s.bytes = payload.n;
	s.n_rows = (uint32_t)n;
	s.templates = pointers;
	s.n_templates = written.n_templates;
	for (size_t i = 0; i < n; i++) {
		b->t.raw += lines[i].n + 1;
		b->t.plain += written.template_of[i] == TEMPLATE_NONE;
	}
	if (!b->write_only) {
		b->t.zstd += repack(b, &s, &payload);
		read_block(b, &s, lines);
	}
	b->t.stored += payload.n;
	b->t.lines += n;
	b->t.blocks++;
	for (size_t i = 0; i < written.n_templates; i++)
		template_fini(&templates[i]);
	free(templates);
	free(pointers);
	buf_fini(&payload);
}

static struct buf read_file(const char *path)
{
	struct buf text = {0};
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f) {
		perror(path);
		exit(1);
	}
	while ((n = fread(buf_reserve(&text, 1 << 20), 1, 1 << 20, f)) > 0)
		text.n += n;
	fclose(f);
	return text;
}

/* Keys of a file's templates count again, packed as a part's footer packs them. */
static size_t packed_keys(const struct map *keys)
{
	const struct map_slot *slot;
	struct buf all = {0}, packed = {0};
	size_t n;

	for (size_t at = 0; (slot = map_next(keys, &at));)
		buf_str(&all, slot->key);
	zstd_pack(&packed, buf_view(&all), 9);
	n = packed.n;
	buf_fini(&all);
	buf_fini(&packed);
	return n;
}

static void bench_file(struct bench *b, const char *path)
{
	struct buf text = read_file(path);
	struct str rest = buf_view(&text);
	struct str *lines = xcalloc(b->block + 1, sizeof *lines);
	int64_t *times = xcalloc(b->block + 1, sizeof *times);
	int64_t now = INT64_C(1700000000) * 1000000000, time = now;
	size_t n = 0, bytes = 0;

	while (rest.n) {
		lines[n] = str_cut(&rest, '\n');
		time_detect(lines[n], now, 0, &time);
		times[n] = time;
		bytes += lines[n++].n + 1;
		if (bytes >= b->block || !rest.n) {
			bench_block(b, lines, times, n);
			n = bytes = 0;
		}
	}
	b->t.stored += packed_keys(&b->keys);
	map_fini(&b->keys);
	free(lines);
	free(times);
	buf_fini(&text);
}

static void print(const char *name, const struct totals *t)
{
	const char *base = strrchr(name, '/');
	double mb = (double)t->raw / 1e6;

	printf("%-16s %9zu -> %8zu  ratio %6.2f  cut %5.0f  write %4.0f  zstd %2.0f%%  read %4.0f  "
	       "plain %5.2f%%  templates %zu (%zu bytes)\n",
		base ? base + 1 : name, t->raw, t->stored, (double)t->raw / (double)t->stored,
		mb / t->cut, mb / t->write, 100 * t->zstd / t->write, mb / t->read,
		100.0 * (double)t->plain / (double)t->lines, t->templates, t->keys);
}

static void print_costs(const struct totals *t)
{
	printf("    directory %llu, ids %llu, columns %llu, pools %llu, plain %llu; columns of",
		(unsigned long long)t->spent[LINES_DIRECTORY],
		(unsigned long long)t->spent[LINES_TEMPLATE_IDS],
		(unsigned long long)t->spent[LINES_COLUMN],
		(unsigned long long)t->spent[LINES_POOL],
		(unsigned long long)t->spent[LINES_PLAIN]);
	for (int kind = SLOT_NUMBER; kind <= SLOT_TEXT; kind++)
		printf(" kind %d %llu", kind, (unsigned long long)t->kind[kind]);
	putchar('\n');
}

static void sum(struct totals *all, const struct totals *t)
{
	all->raw += t->raw;
	all->stored += t->stored;
	all->keys += t->keys;
	all->lines += t->lines;
	all->plain += t->plain;
	all->templates += t->templates;
	all->cut += t->cut;
	all->write += t->write;
	all->zstd += t->zstd;
	all->read += t->read;
	for (int i = 0; i <= LINES_PLAIN; i++)
		all->spent[i] += t->spent[i];
	for (int i = 0; i <= SLOT_TEXT; i++)
		all->kind[i] += t->kind[i];
}

int main(int argc, char **argv)
{
	struct bench b = {.block = 8 << 20, .level = 3};
	struct totals all = {0};
	int option;

	while ((option = getopt(argc, argv, "b:l:cw")) != -1) {
		switch (option) {
		case 'b': b.block = (size_t)atoi(optarg) << 20; break;
		case 'l': b.level = atoi(optarg); break;
		case 'c': b.costs = true; break;
		case 'w': b.write_only = true; break;
		default: return 2;
		}
	}
	if (optind == argc || b.block == 0 || b.block > PAYLOAD_CHUNK_MAX) {
		fprintf(stderr, "usage: lines_bench [-b MIB] [-l LEVEL] [-c] [-w] FILE...\n");
		return 2;
	}
	b.w = lines_writer_new(NULL, b.level);
	b.r = lines_reader_new();
	for (int i = optind; i < argc; i++) {
		b.t = (struct totals){0};
		bench_file(&b, argv[i]);
		print(argv[i], &b.t);
		if (b.costs)
			print_costs(&b.t);
		sum(&all, &b.t);
	}
	print("total", &all);
	if (b.costs)
		print_costs(&all);
	lines_writer_free(b.w);
	lines_reader_free(b.r);
	return 0;
}
