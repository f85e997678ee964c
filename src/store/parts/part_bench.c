/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What parts take and cost on files of one's own: each file is a stream, as a
 * forwarder would send it, with the files side by side in pieces of 64 KiB.
 * Parts of a given size are written and then merged, with blocks as they are
 * and regrouped by stream.
 *
 *     part_bench [-p MiB of a part] [-l level] [-m level of merges] [-f parts merged]
 *                [-c MiB of memory] [-t]
 *                FILE...
 *
 * -t: rows have metadata too, a trace id that about three rows share and one of 5000 users.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "record/severity.h"
#include "record/time.h"
#include "store/parts/part.h"

enum { CHUNK = 64 << 10, PARTS_MAX = 4096 };

struct input {
	struct buf text;
	size_t at;
	int64_t last_ns;
	const char *name;
};

struct bench {
	struct part_writer writer;
	struct account memory;
	struct footer_cache cache;
	struct input *inputs;
	size_t n_inputs;
	struct part *parts[PARTS_MAX];
	size_t n_parts;
	uint64_t next_seq;
	bool traced;
	uint64_t seed, traces[16]; /* that are going on */
};

static uint64_t draw(struct bench *b)
{
	b->seed = b->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return b->seed >> 16 ^ b->seed << 48;
}

static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void die(const char *what, const struct error *e)
{
	fprintf(stderr, "%s: %s\n", what, e->text);
	exit(1);
}

static void add_trace(struct bench *b, struct buf *out)
{
	struct labels_builder lb = {.names_free = true};
	uint64_t *trace = &b->traces[draw(b) % 16];
	char id[40], user[24];

	if (*trace == 0 || draw(b) % 3 == 0)
		*trace = draw(b);
	snprintf(id, sizeof id, "%016llx%016llx", (unsigned long long)*trace,
		(unsigned long long)(*trace * UINT64_C(0x9e3779b97f4a7c15)));
	snprintf(user, sizeof user, "user-%u", (unsigned)(*trace % 5000));
	labels_builder_set(&lb, STR("trace_id"), str_c(id), NULL);
	labels_builder_set(&lb, STR("user"), str_c(user), NULL);
	buf_clear(out);
	labels_builder_write(&lb, out);
	labels_builder_fini(&lb);
}

/* The next 64 KiB of a file as a batch; NULL at its end. */
static struct batch *next_batch(struct bench *b, struct input *in)
{
	struct batch_builder *bb;
	struct batch_source source = {.id = str_c(in->name), .to = 1, .kind = POSITION_MARK};
	struct labels_builder lb = {0};
	struct buf labels = {0}, meta = {0};
	struct batch *batch;
	size_t end = in->at + CHUNK;

	if (in->at >= in->text.n)
		return NULL;
	bb = batch_builder_new(STR("fake"), STR("file"), time(NULL) * INT64_C(1000000000));
	labels_builder_set(&lb, STR("filename"), str_c(in->name), NULL);
	labels_builder_set(&lb, STR("host"), STR("bench"), NULL);
	labels_builder_write(&lb, &labels);
	while (in->at < in->text.n && in->at < end) {
		struct str rest = str_make(in->text.p + in->at, in->text.n - in->at);
		struct str line = str_cut(&rest, '\n');
		struct record r = {.body = line, .flags = RECORD_LEVEL_DETECTED};

		/* A line without a time has that of the one before. */
		time_detect(line, time(NULL) * INT64_C(1000000000), 0, &in->last_ns);
		in->at += line.n + 1;
		r.timestamp = in->last_ns;
		r.severity = severity_detect(line);
		r.stream = batch_builder_stream(bb, buf_view(&labels));
		r.source = batch_builder_source(bb, &source);
		r.position = in->at;
		if (b->traced)
			add_trace(b, &meta);
		r.meta = buf_view(&meta);
		batch_builder_add(bb, &r, NULL);
	}
	batch = batch_builder_finish(bb, 0);
	batch_builder_free(bb);
	labels_builder_fini(&lb);
	buf_fini(&labels);
	buf_fini(&meta);
	batch_set_first_seq(batch, b->next_seq);
	b->next_seq += batch_count(batch);
	return batch;
}

static struct part *open_part(struct bench *b, const struct part_summary *s)
{
	struct buf path = {0};
	struct part *p;

	buf_printf(&path, "%s/", b->writer.dir);
	part_name(&path, s);
	p = part_new(b->writer.fs, buf_cstr(&path), s, &b->cache);
	buf_fini(&path);
	return p;
}

static double write_part(struct bench *b, struct batch **batches, size_t n)
{
	struct part_summary s;
	struct error e;
	double start = cpu_s();

	if (n == 0)
		return 0;
	if (part_write(&b->writer, batches, n, &s, &e) < 0)
		die("part_write", &e);
	start = cpu_s() - start;
	if (b->n_parts == PARTS_MAX) {
		fprintf(stderr, "more than %d parts\n", PARTS_MAX);
		exit(1);
	}
	b->parts[b->n_parts++] = open_part(b, &s);
	for (size_t i = 0; i < n; i++)
		batch_unref(batches[i]);
	return start;
}

/* Returns the CPU time of writing. */
static double write_parts(struct bench *b, uint64_t part_bytes)
{
	struct batch **batches = NULL;
	uint64_t bytes = 0;
	size_t n = 0, cap = 0;
	double cpu = 0;
	bool more = true;

	while (more) {
		more = false;
		for (size_t i = 0; i < b->n_inputs; i++) {
			struct batch *batch = next_batch(b, &b->inputs[i]);

			if (!batch)
				continue;
			more = true;
			if (n == cap) {
				cap = cap ? cap * 2 : 64;
				batches = xrealloc(batches, cap * sizeof(struct batch *));
			}
			batches[n++] = batch;
			bytes += batch_raw_bytes(batch) + batch_count(batch);
		}
		if (bytes >= part_bytes || !more) {
			cpu += write_part(b, batches, n);
			n = 0;
			bytes = 0;
		}
	}
	free(batches);
	return cpu;
}

/* Where the bytes are */

enum { KIND_LINES = N_COLUMNS, N_KINDS = N_COLUMNS + LINES_PLAIN + 1 };

static const char *const kind_names[N_KINDS] = {"times", "sequences", "streams", "severities",
	"flags", "metadata", "positions", "directories", "template ids", "columns", "pools",
	"plain lines"};

static void add_lines(void *ctx, enum lines_part part, uint32_t template, uint32_t slot,
	uint64_t stored, uint64_t raw)
{
	uint64_t *kinds = ctx;

	kinds[KIND_LINES + part] += stored;
}

struct figures {
	uint64_t raw, rows, file, blocks, footer_memory, templates, counts;
	uint64_t kinds[N_KINDS];
};

static void look(struct bench *b, struct part *p, struct figures *out)
{
	const struct part_footer *f;
	struct block_reader br;
	struct error e;

	if (part_load(p, &f, &e) < 0)
		die("part_load", &e);
	block_reader_init(&br, &b->memory);
	for (size_t i = 0; i < f->n_blocks; i++) {
		if (block_open(&br, p, f, &f->blocks[i], &e) < 0 ||
			lines_account(block_lines(&br), add_lines, out->kinds, &e) < 0)
			die("block", &e);
		for (int k = 0; k < N_COLUMNS; k++)
			out->kinds[k] += br.places[k].stored;
		out->counts += f->blocks[i].counts.n;
	}
	block_reader_fini(&br);
	out->raw += p->summary.raw_bytes + p->summary.n_rows;
	out->rows += p->summary.n_rows;
	out->file += p->summary.file_bytes;
	out->blocks += f->n_blocks;
	out->templates += f->n_templates;
	out->footer_memory += f->bytes;
	part_release(p);
}

static void report(struct bench *b, const char *what, const struct figures *f, double cpu)
{
	uint64_t lines = 0, fixed = 0;

	for (int k = 0; k < N_KINDS; k++)
		*(k < N_COLUMNS ? &fixed : &lines) += f->kinds[k];
	printf("%s: %.1f MB of %llu rows in %.3f MB (%.2f : 1), %llu blocks, %llu templates, "
	       "%.1f MB/CPU-s\n",
		what, (double)f->raw / 1e6, (unsigned long long)f->rows, (double)f->file / 1e6,
		(double)f->raw / (double)f->file, (unsigned long long)f->blocks,
		(unsigned long long)f->templates, (double)f->raw / 1e6 / cpu);
	printf("  lines %llu, fixed columns %llu (%.2f %% of lines), footers and headers %llu, "
	       "packed counts %llu, footers in memory %llu (%.0f KB per GB)\n ",
		(unsigned long long)lines, (unsigned long long)fixed,
		100.0 * (double)fixed / (double)lines,
		(unsigned long long)(f->file - lines - fixed), (unsigned long long)f->counts,
		(unsigned long long)f->footer_memory,
		(double)f->footer_memory / 1e3 / ((double)f->raw / 1e9));
	for (int k = 0; k < N_KINDS; k++)
		printf(" %s %llu", kind_names[k], (unsigned long long)f->kinds[k]);
	printf("\n  most memory %.1f MB\n",
		(double)atomic_exchange(&b->memory.peak, account_held(&b->memory)) / 1e6);
}

static void merge(struct bench *b, int level, bool regroup, size_t fan)
{
	struct figures f = {0};
	double cpu = 0;

	b->writer.level = level;
	for (size_t i = 0; i < b->n_parts; i += fan) {
		struct part_merge m = {.parts = b->parts + i,
			.n = b->n_parts - i < fan ? b->n_parts - i : fan,
			.regroup = regroup};
		struct part_summary s;
		struct error e;
		struct part *p;
		double start = cpu_s();

		if (part_merge(&b->writer, &m, &s, &e) < 0)
			die("part_merge", &e);
		cpu += cpu_s() - start;
		p = open_part(b, &s);
		look(b, p, &f);
		part_retire(p);
		part_unref(p);
	}
	report(b, regroup ? "merged, regrouped" : "merged, large blocks copied", &f, cpu);
}

static void read_inputs(struct bench *b, char **files, size_t n)
{
	struct error e;

	b->inputs = xcalloc(n, sizeof *b->inputs);
	b->n_inputs = n;
	for (size_t i = 0; i < n; i++) {
		struct input *in = &b->inputs[i];

		in->name = files[i];
		if (fs_read_all(fs_real(), files[i], (size_t)4 << 30, &in->text, &e) < 0)
			die(files[i], &e);
	}
}

int main(int argc, char **argv)
{
	struct bench b = {.writer = {.fs = fs_real(), .block_raw = BLOCK_RAW_MAX, .level = 3},
		.cache = {.limit = UINT64_MAX},
		.next_seq = 1,
		.seed = 1};
	char dir[] = "/tmp/part_bench.XXXXXX";
	uint64_t part_mib = 32;
	struct figures f = {0};
	size_t fan = 8;
	uint64_t ceiling = UINT64_MAX;
	int merge_level = 3, option;
	double cpu;

	while ((option = getopt(argc, argv, "p:l:m:f:c:t")) >= 0) {
		switch (option) {
		case 'p': part_mib = strtoull(optarg, NULL, 10); break;
		case 'l': b.writer.level = atoi(optarg); break;
		case 'm': merge_level = atoi(optarg); break;
		case 'f': fan = strtoull(optarg, NULL, 10); break;
		case 'c': ceiling = strtoull(optarg, NULL, 10) << 20; break;
		case 't': b.traced = true; break;
		default:
			fprintf(stderr,
				"part_bench [-p MiB] [-l level] [-m level] [-f parts] [-c MiB] [-t] FILE...\n");
			return 2;
		}
	}
	if (!mkdtemp(dir))
		return 1;
	account_init(&b.memory, "memory", ceiling, NULL);
	b.cache.account = b.writer.account = &b.memory;
	b.writer.dir = dir;
	read_inputs(&b, argv + optind, (size_t)(argc - optind));
	cpu = write_parts(&b, part_mib << 20);
	for (size_t i = 0; i < b.n_parts; i++)
		look(&b, b.parts[i], &f);
	report(&b, "written", &f, cpu);
	merge(&b, merge_level, false, fan);
	merge(&b, merge_level, true, fan);
	for (size_t i = 0; i < b.n_parts; i++) {
		part_retire(b.parts[i]);
		part_unref(b.parts[i]);
	}
	for (size_t i = 0; i < b.n_inputs; i++)
		buf_fini(&b.inputs[i].text);
	free(b.inputs);
	rmdir(dir);
	return 0;
}
