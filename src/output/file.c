/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file output: its settings, and the way of a record through it.
 *
 *   record -> line_format -> a line -> path_template -> one file, or with `hierarchy` several
 *          -> logfile_ready for each, logfile_put for each -> written when the burst ends
 *
 * file_path.c says where, file_write.c writes, file_rotate.c rotates and compresses, and
 * file_resume.c knows after a crash what is there already.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "conf/mode.h"
#include "output/file_output.h"

enum {
	LEVELS_MAX = 16,            /* of a hierarchy: more are its first 15 and the whole */
	PENDING_MAX = 1 << 20,      /* bytes taken before they are written */
	LINES_MAX = LEVELS_MAX + 1, /* that one record becomes */
};

static const int64_t fsync_interval_ns = 5 * NS_PER_SEC;

/* --- settings -------------------------------------------------------------- */

static const char *const every_names[] = {
	"none", "hour", "day", "midnight", "w0", "w1", "w2", "w3", "w4", "w5", "w6", NULL};
static const char *const compressions[] = {"none", "gzip", "zstd", NULL};
static const char *const fsync_policies[] = {"sync", "interval", "never", NULL};

static const struct option rotate_options[] = {
	OPTION(struct rotate_settings, size, .kind = OPT_SIZE,
		.help = "Rotate before a line with which a file would reach this size. Default: not by size."),
	OPTION(struct rotate_settings, every, .kind = OPT_ENUM, .values = every_names,
		.fallback = "none",
		.help = "Rotate with the first line of a new hour, day (or midnight, the same), or week, "
			"of which w0 begins on Monday."),
	OPTION(struct rotate_settings, at, .kind = OPT_STRING,
		.help = "When a day begins, as 03:30. Default: at midnight."),
	OPTION(struct rotate_settings, keep, .kind = OPT_INT, .fallback = "7", .min = 0, .max = 999,
		.help = "How many rotated files are kept, 1 at least: PATH.1 is the newest."),
	OPTION(struct rotate_settings, compress, .kind = OPT_ENUM, .values = compressions,
		.fallback = "none", .help = "Compress rotated files: PATH.1.gz, PATH.1.zst."),
	OPTION_END,
};

static const struct option options[] = {
	OUTPUT_OPTIONS(struct file_output_settings),
	LINE_OPTIONS(struct file_output_settings),
	OPTION(struct file_output_settings, path, .kind = OPT_PATH, .required = true,
		.help = "The file. {{.app}} and %(app)s are values of the record: each value makes a "
			"file, or folder, of its own."),
	OPTION(struct file_output_settings, root, .kind = OPT_PATH,
		.help = "The folder that no value leads out of, and below which no symbolic link is "
			"followed. Default: what of the path stands before its first field."),
	OPTION(struct file_output_settings, hierarchy, .kind = OPT_STRING,
		.help = "A label whose levels each get the line: with logger, one of A.B.C goes to the "
			"files of A.B.C, A.B and A."),
	OPTION(struct file_output_settings, separator, .kind = OPT_STRING, .fallback = ".",
		.help = "What parts the levels of the hierarchy."),
	OPTION(struct file_output_settings, consolidate, .kind = OPT_STRING,
		.help = "One more name in the place of the hierarchy's label, which gets all lines."),
	OPTION(struct file_output_settings, rotate, .kind = OPT_OBJECT, .fields = rotate_options,
		.help = "When a file is renamed and a new one begun, by size, time or both. Default: "
			"never."),
	OPTION(struct file_output_settings, watch, .kind = OPT_BOOL, .fallback = "true",
		.help = "Begin a new file when somebody has moved or deleted it, as logrotate does."),
	OPTION(struct file_output_settings, mode, .kind = OPT_STRING, .fallback = "0640",
		.check = mode_check, .help = "The mode of new files, whatever the umask."),
	OPTION(struct file_output_settings, dir_mode, .kind = OPT_STRING, .fallback = "0750",
		.check = mode_check, .help = "The mode of new folders."),
	OPTION(struct file_output_settings, fsync, .kind = OPT_ENUM, .values = fsync_policies,
		.fallback = "sync",
		.help = "When files are synced to the disk: before the place in the log is kept, so "
			"that a power cut loses and repeats nothing; at most every 5 s; never. The end "
			"of sawlog alone loses nothing in any case."),
	OPTION(struct file_output_settings, max_open, .kind = OPT_INT, .fallback = "256", .min = 32,
		.max = 65536, .help = "How many files are open at a time."),
	OPTION(struct file_output_settings, max_files, .kind = OPT_INT, .fallback = "10000",
		.min = 1, .max = 1000000,
		.help = "Different files since the start; records for more are passed by and counted."),
	OPTION_END,
};

static struct path_settings path_settings(const struct file_output_settings *s)
{
	return (struct path_settings){s->path, s->root, s->hierarchy, rotate_wanted(&s->rotate)};
}

static int check(const void *settings, struct error *e)
{
	const struct file_output_settings *s = settings;
	struct path_settings path = path_settings(s);
	struct path_template *t = NULL;
	int r;

	if ((r = line_settings_check(&s->line, e)) < 0 || (r = rotate_check(&s->rotate, e)) < 0 ||
		(r = path_template_new(&t, &path, e)) < 0)
		return r;
	if (s->consolidate && !s->hierarchy)
		r = error_set(
			e, ERR_ARG, "consolidate needs hierarchy: the label it stands in for");
	else if (s->hierarchy && (!*s->hierarchy || !*s->separator))
		r = error_set(e, ERR_ARG, "hierarchy and separator must not be empty");
	else if (s->hierarchy && path_template_fixed(t))
		r = error_set(e, ERR_ARG,
			"hierarchy needs a path with that label, as /var/log/%%(%s)s.log",
			s->hierarchy);
	path_template_free(t);
	return r;
}

static void claim(const void *settings, struct buf *out)
{
	struct path_settings path = path_settings(settings);
	struct path_template *t;

	if (path_template_new(&t, &path, NULL) < 0)
		return;
	path_template_text(t, out);
	path_template_free(t);
}

/* --- opening --------------------------------------------------------------- */

static void file_output_close(void *output);

/* Nothing had been written to it behind the kept place? */
static bool nothing_open(const struct file_output *o, const char *path, const struct resume_file *f)
{
	struct buf whole = {0};
	struct stat st;
	bool same;

	buf_printf(&whole, "%s/%s", o->root, path);
	same = f->placed && !f->ended && f->skip_to == f->base &&
	       lstat(buf_cstr(&whole), &st) == 0 && st.st_ino == f->inode &&
	       (uint64_t)st.st_size == f->from;
	buf_fini(&whole);
	return same;
}

/* Forget of the last run what is over.  What remains is carried on until lines of it come. */
static void forget_settled(struct file_output *o)
{
	const struct resume_file *f;
	struct buf settled = {0};
	const char *path;
	size_t at = 0;

	while ((path = resume_next(o->resume, &at, &f)))
		if (nothing_open(o, path, f))
			buf_put(&settled, path, strlen(path) + 1);
	for (size_t i = 0; i < settled.n; i += strlen(settled.p + i) + 1) {
		struct resume_file unused;
		resume_take(o->resume, settled.p + i, &unused);
	}
	buf_fini(&settled);
}

static int file_output_open(void **out, const void *settings, const struct output_env *env,
	struct str state, struct error *e)
{
	const struct file_output_settings *s = settings;
	struct path_settings path = path_settings(s);
	struct file_output *o = xcalloc(1, sizeof *o);
	int r;

	o->s = s;
	o->env = *env;
	o->epoch = 1;
	list_init(&o->open);
	list_init(&o->busy);
	list_init(&o->dirty);
	list_init(&o->work);
	o->synced_ns = clock_mono_ns(env->clock);
	mode_parse(str_c(s->mode), UINT_MAX, &o->mode);
	mode_parse(str_c(s->dir_mode), UINT_MAX, &o->folders.dir_mode);
	o->folders.durable = logfile_durable(o);
	if ((r = path_template_new(&o->path, &path, e)) == 0 &&
		(r = line_format_new(&o->line, &s->line, e)) == 0)
		r = resume_open(&o->resume, env->fs, env->dir, state, e);
	if (r < 0) {
		file_output_close(o);
		return r;
	}
	o->root = path_template_root(o->path);
	forget_settled(o);
	*out = o;
	return 0;
}

static void file_output_close(void *output)
{
	struct file_output *o = output;
	const struct map_slot *slot;
	struct error e;
	size_t at = 0;

	/* What cannot be written now is handed out again: its place in the log is not kept. */
	if (o->resume && file_output_flush(o, &e) < 0)
		log_warn("output", "%s: %s", o->env.name, e.text);
	rotate_stop(o);
	while ((slot = map_next(&o->files, &at)))
		logfile_free(o, slot->value.p);
	map_fini(&o->files);
	resume_close(o->resume);
	path_template_free(o->path);
	line_format_free(o->line);
	buf_fini(&o->text);
	buf_fini(&o->name);
	buf_fini(&o->packed);
	free(o);
}

/* --- writing --------------------------------------------------------------- */

/* The values that stand in for the hierarchy's label: its levels, the whole first.  They are views
 * into `whole`. */
static size_t levels(const struct file_output_settings *s, struct str whole, struct str *out)
{
	struct str separator = str_c(s->separator);
	size_t n = 0, from = 0;

	out[n++] = whole;
	while (n < LEVELS_MAX) {
		ptrdiff_t at = str_find(str_sub(whole, from, whole.n), separator);
		if (at < 0)
			break;
		if (from + (size_t)at > 0)
			out[n++] = str_sub(whole, 0, from + (size_t)at);
		from += (size_t)at + separator.n;
	}
	if (s->consolidate)
		out[n++] = str_c(s->consolidate);
	return n;
}

static int place(struct file_output *o, const struct output_record *r, const struct str *key,
	struct str line, struct placing *placings, size_t *n, struct error *e)
{
	struct logfile *f = o->only;
	int code;

	if (!f) {
		buf_clear(&o->name);
		path_template_put(o->path, r, key, &o->name);
		if ((code = logfile_of(o, buf_view(&o->name), &f, e)) < 0)
			return code;
		if (path_template_fixed(o->path))
			o->only = f;
	}
	for (size_t i = 0; i < *n; i++)
		if (placings[i].f == f)
			return 0;
	/* Two levels may have one name. */
	if ((code = logfile_ready(o, f, line, &placings[*n], e)) < 0)
		return code;
	++*n;
	return 0;
}

static int write_one(struct file_output *o, const struct output_record *r, struct error *e)
{
	struct placing placings[LINES_MAX];
	struct str keys[LINES_MAX], line;
	struct buf hierarchy = {0};
	size_t n = 0, n_keys = 1;
	int code = 0;

	o->record++;
	buf_clear(&o->text);
	line_format_put(o->line, r, &o->text);
	buf_char(&o->text, '\n');
	line = buf_view(&o->text);
	if (o->s->hierarchy) {
		path_template_value(o->path, r, str_c(o->s->hierarchy), &hierarchy);
		n_keys = levels(o->s, buf_view(&hierarchy), keys);
	}
	for (size_t i = 0; code == 0 && i < n_keys; i++)
		code = place(o, r, o->s->hierarchy ? &keys[i] : NULL, line, placings, &n, e);
	for (size_t i = 0; code == 0 && i < n; i++)
		logfile_put(o, &placings[i], line);
	buf_fini(&hierarchy);
	return code;
}

static void close_all(struct file_output *o)
{
	LIST_EACH (at, &o->open) {
		struct logfile *f = CONTAINER(at, struct logfile, open);
		if (o->s->fsync == FSYNC_NEVER || logfile_fsync(o, f, NULL) == 0)
			logfile_close(o, f);
	}
}

static int file_output_write(
	void *output, const struct output_record *records, size_t n, struct error *e)
{
	struct file_output *o = output;
	size_t taken = 0;
	int r = file_output_flush(o, e);

	if (r < 0)
		return r;
	o->burst++;
	if (atomic_exchange(&o->reopen, false))
		close_all(o);
	while (taken < n && r == 0) {
		r = write_one(o, &records[taken], e);
		taken += r == 0;
		if (r == 0 && o->pending > PENDING_MAX)
			r = file_output_flush(o, e);
	}
	/* Then its place in the log would be before what of the record is written. */
	if (r == 0 || r == ERR_ARG || r == ERR_LIMIT)
		o->within = false;
	else if (taken > 0)
		o->within = records[taken].seq == records[taken - 1].seq;
	if (taken == 0)
		return r;
	/* What was taken is in memory, and written at the next call if not now. */
	file_output_flush(o, NULL);
	return (int)taken;
}

/* Note what is left of the last run, of files that have had no line of it yet or not all. */
static int carry_on(struct file_output *o, struct error *e)
{
	const struct resume_file *was;
	const struct map_slot *slot;
	const char *path;
	size_t at = 0;

	while ((path = resume_next(o->resume, &at, &was)))
		resume_note_rest(o->resume, path, was);
	at = 0;
	while ((slot = map_next(&o->files, &at)))
		if (((struct logfile *)slot->value.p)->resumed)
			logfile_note(o, slot->value.p);
	return resume_write(o->resume, logfile_durable(o), e);
}

static int file_output_sync(void *output, struct buf *state, struct error *e)
{
	struct file_output *o = output;
	int64_t now = clock_mono_ns(o->env.clock);
	size_t from = state->n;
	int r = file_output_flush(o, e);

	if (r < 0)
		return r;
	if (o->within)
		return 1;
	if (o->s->fsync == FSYNC_SYNC ||
		(o->s->fsync == FSYNC_INTERVAL && now - o->synced_ns >= fsync_interval_ns)) {
		if ((r = file_output_fsync(o, e)) < 0)
			return r;
		o->synced_ns = now;
	}
	resume_mark(o->resume, state);
	o->epoch++;
	if ((r = carry_on(o, e)) < 0)
		state->n = from;
	return r;
}

/* --- the clock --------------------------------------------------------------- */

static void sooner(int64_t *due_ns, int64_t at_ns)
{
	if (at_ns && (*due_ns == 0 || at_ns < *due_ns))
		*due_ns = at_ns;
}

/* Rotate what nobody writes to: at least one line of each file, and no line is pending. */
static int rotate_idle(struct file_output *o, int64_t now_ns, int64_t *due_ns, struct error *e)
{
	int r = 0;

	LIST_EACH (at, &o->open) {
		struct logfile *f = CONTAINER(at, struct logfile, open);
		if (f->due_ns && f->due_ns <= now_ns && !f->resumed) {
			if (f->size == 0)
				f->due_ns = rotate_due(&o->s->rotate, o->s->line.utc, now_ns);
			else if (r == 0)
				r = logfile_rotate(o, f, e);
		}
		/* One that waits for lines of the last run is rotated with the line after them. */
		if (!f->resumed)
			sooner(due_ns, f->due_ns);
	}
	return r;
}

static int file_output_tick(void *output, int64_t now_ns, int64_t *due_ns, struct error *e)
{
	struct file_output *o = output;
	int64_t mono = clock_mono_ns(o->env.clock);
	int r;

	*due_ns = 0;
	if ((r = file_output_flush(o, e)) < 0)
		return r;
	if (atomic_exchange(&o->reopen, false))
		close_all(o);
	if (o->s->rotate.every != EVERY_NONE)
		r = rotate_idle(o, now_ns, due_ns, e);
	if (r == 0 && o->s->fsync == FSYNC_INTERVAL && !list_empty(&o->dirty)) {
		if (mono - o->synced_ns >= fsync_interval_ns && (r = file_output_fsync(o, e)) == 0)
			o->synced_ns = mono;
	}
	rotate_work(o);
	if (o->packing.f || !list_empty(&o->work))
		*due_ns = now_ns;
	/* Work and writes come between two ticks. */
	else if (o->s->rotate.compress != COMPRESS_NONE || o->s->fsync == FSYNC_INTERVAL)
		sooner(due_ns, now_ns + NS_PER_SEC);
	return r;
}

static void file_output_reopen(void *output)
{
	struct file_output *o = output;

	atomic_store(&o->reopen, true);
}

static void file_output_dump(const void *output, struct buf *out)
{
	const struct file_output *o = output;

	buf_printf(out, "root %s, files %zu (open %zu), pending %llu bytes, rotations %llu%s\n",
		o->root, o->files.n, o->n_open, (unsigned long long)o->pending,
		(unsigned long long)o->rotations, o->packing.f ? ", compressing" : "");
}

const struct output_type output_file = {
	.name = "file",
	.summary = "lines in files, rotated by size or time, one or by label",
	.size = sizeof(struct file_output_settings),
	.options = options,
	.check = check,
	.claim = claim,
	.open = file_output_open,
	.write = file_output_write,
	.sync = file_output_sync,
	.tick = file_output_tick,
	.reopen = file_output_reopen,
	.close = file_output_close,
	.dump = file_output_dump,
};
