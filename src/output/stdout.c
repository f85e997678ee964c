/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `stdout` output: records as lines on descriptor 1 or 2, whatever it is.
 *
 * Design.  No write blocks (stream.h).  A pipe takes up to PIPE_BUF bytes all or
 * nothing, so whole records are written in pieces of that: none is cut, and no
 * line of others who write there comes into the middle of one.  Where a
 * longer record was written in part when an error came, the rest of it is what
 * comes next.
 *
 * Records that were written are where they should be: nothing is synced, as
 * what is behind the descriptor is not ours.  A crash writes those again
 * that came after the last sync, at most a second's.
 */
#include <stdlib.h>
#include <unistd.h>

#include "base/lock.h"
#include "output/line_format.h"
#include "output/stream.h"

enum {
	CHUNK_BYTES = 64 << 10, /* lines are gathered to about this */
	POLL_MS = 100,          /* how often the end of the process is looked for */
};

struct stdout_settings {
	struct output_settings common;
	struct line_settings line;
	int stream; /* index of stream_names */
};

struct stdout_output {
	const char *name; /* of the stream */
	struct output_env env;
	struct line_format *format;
	struct lock *lock; /* of the stream: chunks of two outputs do not mix */
	struct stream stream;
	struct buf lines;
	size_t *ends; /* offsets in `lines` of the ends of its records */
	size_t cap_ends;
	/* The record of which the first part_bytes were written; part_bytes 0: none. */
	uint64_t part_seq;
	size_t part_bytes;
};

static const char *const stream_names[] = {"stdout", "stderr", NULL};
static struct lock stream_locks[2] = {LOCK_INIT, LOCK_INIT};

static const struct option options[] = {
	OUTPUT_OPTIONS(struct stdout_settings),
	LINE_OPTIONS(struct stdout_settings),
	OPTION(struct stdout_settings, stream, .kind = OPT_ENUM, .values = stream_names,
		.fallback = "stdout",
		.help = "Which of the two streams. The process reports on itself on stderr."),
	OPTION_END,
};

static int check(const void *settings, struct error *e)
{
	return line_settings_check(&((const struct stdout_settings *)settings)->line, e);
}

static void close_output(void *output)
{
	struct stdout_output *o = output;

	stream_close(&o->stream);
	line_format_free(o->format);
	buf_fini(&o->lines);
	free(o->ends);
	free(o);
}

static int open_output(void **out, const void *settings, const struct output_env *env,
	struct str state, struct error *e)
{
	const struct stdout_settings *s = settings;
	struct stdout_output *o = xcalloc(1, sizeof *o);
	int r;

	o->name = stream_names[s->stream];
	o->env = *env;
	o->lock = &stream_locks[s->stream];
	r = stream_open(&o->stream, s->stream == 0 ? STDOUT_FILENO : STDERR_FILENO, e);
	if (r == 0 && (r = line_format_new(&o->format, &s->line, e)) == 0) {
		*out = o;
		return 0;
	}
	close_output(o);
	return r;
}

/* Spell records from the first on, until they fill a chunk; how many. */
static size_t spell(struct stdout_output *o, const struct output_record *records, size_t n)
{
	size_t done = 0;

	if (n > o->cap_ends) {
		o->cap_ends = n;
		o->ends = xrealloc(o->ends, n * sizeof *o->ends);
	}
	buf_clear(&o->lines);
	while (done < n && o->lines.n < CHUNK_BYTES) {
		line_format_put(o->format, &records[done], &o->lines);
		buf_char(&o->lines, '\n');
		o->ends[done++] = o->lines.n;
	}
	return done;
}

/* Bytes to be written at once from `at` on: whole records, or as much as goes of a longer one.  *i:
 * the first record that ends behind `at`. */
static size_t piece(const struct stdout_output *o, size_t at, size_t *i)
{
	size_t end = at, left = o->lines.n - at;

	if (left <= o->stream.most)
		return left;
	while (o->ends[*i] <= at)
		++*i;
	while (o->ends[*i] - at <= o->stream.most)
		end = o->ends[(*i)++];
	return end > at ? end - at : o->stream.most;
}

/* Write the chunk from *at on, which is moved: an error, or ERR_CANCELLED when the process ends
 * and nobody reads. */
static int write_all(struct stdout_output *o, size_t *at, struct error *e)
{
	size_t i = 0;

	while (*at < o->lines.n) {
		struct str text = str_make(o->lines.p + *at, piece(o, *at, &i));
		ssize_t n = stream_write(&o->stream, text, POLL_MS, e);
		if (n < 0)
			return error_wrap(e, (int)n, "%s", o->name);
		if (n == 0 && o->env.ending(o->env.ending_arg))
			return error_set(e, ERR_CANCELLED, "%s: nobody reads it", o->name);
		*at += (size_t)n;
	}
	return 0;
}

static int write_records(
	void *output, const struct output_record *records, size_t n, struct error *e)
{
	struct stdout_output *o = output;
	size_t spelled = spell(o, records, n), at = 0, done = 0;
	int r;

	/* The rest of what was begun before, unless the output was rewound meanwhile. */
	if (o->part_bytes && o->part_seq == records[0].seq && o->part_bytes < o->ends[0])
		at = o->part_bytes;
	o->part_bytes = 0;
	lock_take(o->lock);
	r = write_all(o, &at, e);
	lock_drop(o->lock);
	while (done < spelled && o->ends[done] <= at)
		done++;
	if (done < spelled && at > (done ? o->ends[done - 1] : 0)) {
		o->part_seq = records[done].seq;
		o->part_bytes = at - (done ? o->ends[done - 1] : 0);
	}
	return done ? (int)done : r;
}

static int sync_output(void *output, struct buf *state, struct error *e)
{
	return 0;
}

static void dump(const void *output, struct buf *out)
{
	const struct stdout_output *o = output;

	buf_printf(out, "stdout: stream=%s part_bytes=%zu\n", o->name, o->part_bytes);
}

const struct output_type output_stdout = {
	.name = "stdout",
	.summary = "lines on standard output or standard error",
	.size = sizeof(struct stdout_settings),
	.options = options,
	.check = check,
	.open = open_output,
	.write = write_records,
	.sync = sync_output,
	.close = close_output,
	.dump = dump,
};
