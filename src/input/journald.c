/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `journald` input: entries of the systemd journal, read with libsystemd.
 *
 * Design.  The position is journald's own cursor.  It goes with the batch that
 * holds the entry (POSITION_TOKEN) and is committed with it, so the store's
 * answer at the start is exact.  A sink that cannot be asked (the uplink) is
 * backed by a file with the last acknowledged cursor; that may be a second
 * old after a kill, and its entries are then sent again.
 *
 * Entries are read on the loop: they come from mapped files, and a batch's
 * worth is read between two turns of the loop.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <systemd/sd-journal.h>
/* It brings syslog.h, whose macros are named as the levels of base/log.h. */
#undef LOG_INFO
#undef LOG_DEBUG

#include "base/hash.h"
#include "base/log.h"
#include "base/map.h"
#include "input/courier.h"
#include "input/lines.h"
#include "os/fs.h"
#include "record/severity.h"

enum {
	RESERVE = 3 << 20,
	ENTRIES_PER_TURN = 5000,
	MESSAGE_MAX = 1 << 20, /* a longer one is cut by libsystemd */
	STREAMS_MAX = 10000,   /* label sets remembered */
	CURSOR_MAX = 4096,
	POLL_MS = 1000, /* network file systems send no events; the cursor is saved as often */
};

enum { START_BEGIN, START_END };

struct journald_settings {
	const char *directory;
	struct strings units;
	struct string_map labels;
	int start;
};

struct journald_input {
	const struct journald_settings *s;
	const struct input_env *env; /* env_copy: what it points to is borrowed */
	struct input_env env_copy;
	struct courier *courier;
	sd_journal *journal;
	uv_poll_t *poll; /* heap: outlives us until closed */
	struct timer timer, pump;
	bool pump_due;
	bool at_entry; /* the journal stands on an entry that is not taken yet */
	struct batch_builder *builder;
	uint16_t source_number; /* in the builder; 0: not there yet */
	struct buf source;
	struct map streams; /* host, app, unit -> heap struct buf of labels */
	struct buf key, meta, cursor;
	struct labels_builder meta_builder;
	bool cursor_changed;
	char *cursor_path;
	uint64_t reserved, reserve, n_entries;
	int64_t observed_ns;
	bool stopping;
	loop_fn *stopped;
	void *stopped_arg;
};

static void pump_soon(struct journald_input *in)
{
	if (in->pump_due || in->stopping)
		return;
	in->pump_due = true;
	timer_set(&in->pump, 0, 0);
}

/* Entries. */

/* The value of a field of the entry; false when it has none. */
static bool field(struct journald_input *in, const char *name, struct str *out)
{
	const void *data;
	size_t n, skip = strlen(name) + 1;

	if (sd_journal_get_data(in->journal, name, &data, &n) < 0 || n < skip)
		return false;
	*out = str_make((const char *)data + skip, n - skip);
	return true;
}

/* Append a field's value and a NUL: views of libsystemd do not outlive the next call. */
static bool key_field(struct journald_input *in, const char *name)
{
	struct str value;
	bool there = field(in, name, &value) && value.n > 0;

	if (there)
		buf_str(&in->key, str_sub(value, 0, LABEL_VALUE_MAX));
	return there;
}

static struct buf *labels_make(
	struct journald_input *in, const char *host, const char *app, const char *unit)
{
	struct buf *labels = xcalloc(1, sizeof(*labels));
	struct labels_builder b = {0};

	labels_builder_set(&b, STR("host"), str_c(host), NULL);
	labels_builder_set(&b, STR("app"), str_c(app), NULL);
	labels_builder_set(&b, STR("unit"), str_c(unit), NULL);
	labels_builder_set(&b, STR("input"), STR("journald"), NULL);
	for (size_t i = 0; i < in->s->labels.n; i++)
		labels_builder_set(&b, str_c(in->s->labels.items[i].name),
			str_c(in->s->labels.items[i].value), NULL);
	discover_service_name(&in->env->discover, &b);
	labels_builder_write(&b, labels);
	labels_builder_fini(&b);
	return labels;
}

static void streams_clear(struct journald_input *in)
{
	const struct map_slot *slot;
	size_t at = 0;

	while ((slot = map_next(&in->streams, &at))) {
		buf_fini(slot->value.p);
		free(slot->value.p);
	}
	map_fini(&in->streams);
}

/* Canonical labels of the entry, valid until the next call. */
static struct str labels_of(struct journald_input *in)
{
	size_t app_at, unit_at;
	union map_value *v;
	bool added;

	buf_clear(&in->key);
	if (!key_field(in, "_HOSTNAME"))
		buf_c(&in->key, in->env->host);
	buf_char(&in->key, 0);
	app_at = in->key.n;
	if (!key_field(in, "SYSLOG_IDENTIFIER") && !key_field(in, "_COMM") &&
		!key_field(in, "_SYSTEMD_UNIT"))
		buf_c(&in->key, "journald");
	buf_char(&in->key, 0);
	unit_at = in->key.n;
	key_field(in, "_SYSTEMD_UNIT");
	buf_char(&in->key, 0);
	if (in->streams.n >= STREAMS_MAX)
		streams_clear(in);
	v = map_put(&in->streams, buf_view(&in->key), &added);
	if (added)
		v->p = labels_make(in, in->key.p, in->key.p + app_at, in->key.p + unit_at);
	return buf_view(v->p);
}

static int64_t time_of(struct journald_input *in)
{
	struct str text;
	uint64_t us;

	if (field(in, "_SOURCE_REALTIME_TIMESTAMP", &text) && str_u64(text, &us) &&
		us < INT64_MAX / 1000)
		return (int64_t)us * 1000;
	if (sd_journal_get_realtime_usec(in->journal, &us) >= 0 && us < INT64_MAX / 1000)
		return (int64_t)us * 1000;
	return in->observed_ns;
}

static struct str meta_of(struct journald_input *in)
{
	static const char *const names[][2] = {{"_PID", "pid"}, {"MESSAGE_ID", "message_id"}};
	struct str value;

	labels_builder_clear(&in->meta_builder);
	in->meta_builder.names_free = true;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (field(in, names[i][0], &value))
			labels_builder_set(&in->meta_builder, str_c(names[i][1]),
				str_sub(value, 0, LABEL_VALUE_MAX), NULL);
	}
	buf_clear(&in->meta);
	labels_builder_write(&in->meta_builder, &in->meta);
	return buf_view(&in->meta);
}

/* Add the entry the journal stands on.  False when the builder is full. */
static bool take_entry(struct journald_input *in)
{
	struct record r = {0};
	struct str labels, value;

	if (!field(in, "MESSAGE", &value))
		return true; /* a record of numbers for programs, no line */
	labels = labels_of(in);
	r.timestamp = time_of(in);
	r.meta = meta_of(in);
	if (field(in, "PRIORITY", &value) && value.n == 1 && value.p[0] >= '0' &&
		value.p[0] <= '7') {
		r.severity = severity_from_syslog((unsigned)(value.p[0] - '0'));
		if (in->env->discover.level)
			r.flags |= RECORD_LEVEL_DETECTED;
	}
	if (!field(in, "MESSAGE", &r.body))
		return true;
	if (r.body.n + sizeof("MESSAGE=") - 1 >= MESSAGE_MAX)
		r.flags |= RECORD_CUT;
	if (r.severity == 0)
		discover_level(&in->env->discover, labels, &r);
	if (in->source_number == 0) {
		struct batch_source s = {.id = buf_view(&in->source), .kind = POSITION_TOKEN};

		in->source_number = batch_builder_source(in->builder, &s);
	}
	r.source = in->source_number;
	r.stream = batch_builder_stream(in->builder, labels);
	if (batch_builder_add(in->builder, &r, NULL) < 0) {
		if (batch_builder_count(in->builder) > 0)
			return false;
		in->env->sink->account(
			in->env->sink, in->env->tenant, STR("journald"), "limit", 1, false);
	}
	in->n_entries++;
	return true;
}

/* Finish the batch with the cursor of the last entry taken, where the journal stands, or stood
 * before the entry that did not fit. */
static void send_builder(struct journald_input *in)
{
	char *cursor = NULL;
	struct batch_source s = {.id = buf_view(&in->source), .kind = POSITION_TOKEN};
	uint64_t reserved = in->reserved;

	if (in->at_entry)
		sd_journal_previous(in->journal);
	if (sd_journal_get_cursor(in->journal, &cursor) >= 0) {
		s.token = str_c(cursor);
		batch_builder_source(in->builder, &s);
	}
	if (in->at_entry)
		sd_journal_next(in->journal);
	free(cursor);
	in->reserved = 0;
	in->source_number = 0;
	courier_send(in->courier, batch_builder_finish(in->builder, in->observed_ns), reserved);
}

static bool reserve(struct journald_input *in)
{
	if (in->reserved == 0)
		in->reserved = courier_reserve(in->courier, in->reserve);
	return in->reserved > 0;
}

static void pump(void *arg)
{
	struct journald_input *in = arg;
	unsigned n = 0;
	int r = 1;

	in->pump_due = false;
	if (in->stopping)
		return;
	in->observed_ns = clock_now_ns(in->env->clock);
	while (r > 0 && n < ENTRIES_PER_TURN && courier_ready(in->courier) && reserve(in)) {
		if (!in->at_entry && (r = sd_journal_next(in->journal)) <= 0)
			break;
		in->at_entry = !take_entry(in);
		n++;
		if (in->at_entry ||
			batch_builder_bytes(in->builder) >= courier_target(in->reserved))
			send_builder(in);
	}
	if (r < 0)
		log_warn("input", "journald: %s", strerror(-r));
	if (batch_builder_count(in->builder) > 0 && courier_idle(in->courier))
		send_builder(in);
	if (in->reserved && batch_builder_count(in->builder) == 0) {
		courier_unreserve(in->courier, in->reserved);
		in->reserved = 0;
	}
	if (n >= ENTRIES_PER_TURN)
		pump_soon(in);
}

/* Positions. */

static void on_acked(void *arg, const struct batch *b, const struct sink_result *result)
{
	struct journald_input *in = arg;

	(void)result;
	for (size_t i = 0; i < batch_n_sources(b); i++) {
		buf_clear(&in->cursor);
		buf_str(&in->cursor, batch_source(b, i).token);
		in->cursor_changed = true;
	}
}

static void on_room(void *arg)
{
	pump_soon(arg);
}

static void save_cursor(struct journald_input *in)
{
	struct error e;

	if (!in->cursor_changed)
		return;
	in->cursor_changed = false;
	if (fs_write_all(fs_real(), in->cursor_path, buf_view(&in->cursor), &e) < 0)
		log_warn("input", "journald: the cursor cannot be saved: %s", e.text);
}

static void on_timer(void *arg)
{
	struct journald_input *in = arg;

	save_cursor(in);
	/* The journal may have news that made no event. */
	sd_journal_process(in->journal);
	pump_soon(in);
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
	struct journald_input *in = handle->data;

	(void)status;
	(void)events;
	sd_journal_process(in->journal);
	pump_soon(in);
}

/* Whose journal, and which part of it: two inputs with other units have cursors of their own. */
static void set_source(struct journald_input *in)
{
	sd_id128_t machine;
	struct buf units = {0};

	buf_c(&in->source, "journald:");
	if (in->s->directory)
		buf_printf(&in->source, "%s:%s", in->env->host, in->s->directory);
	else if (sd_id128_get_machine(&machine) >= 0)
		buf_printf(&in->source, SD_ID128_FORMAT_STR, SD_ID128_FORMAT_VAL(machine));
	else
		buf_c(&in->source, in->env->host);
	for (size_t i = 0; i < in->s->units.n; i++)
		buf_printf(&units, "%s\n", in->s->units.items[i]);
	if (units.n)
		buf_printf(&in->source, ":%016" PRIx64, hash_stable(buf_view(&units)));
	in->source.n = in->source.n < 1024 ? in->source.n : 1024;
	buf_fini(&units);
}

/* Stand where the next entry is the first to read. */
static int seek(struct journald_input *in)
{
	const char *cursor;
	int r;

	if (in->env->sink->position(
		    in->env->sink, in->env->tenant, buf_view(&in->source), &in->cursor, NULL) < 0 ||
		in->cursor.n == 0) {
		buf_clear(&in->cursor);
		if (fs_read_all(fs_real(), in->cursor_path, CURSOR_MAX, &in->cursor, NULL) < 0)
			buf_clear(&in->cursor);
	}
	cursor = buf_cstr(&in->cursor);
	if (in->cursor.n > 0 && sd_journal_seek_cursor(in->journal, cursor) >= 0) {
		if ((r = sd_journal_next(in->journal)) < 0)
			return r;
		/* Where the entry itself has been removed, we stand on the one after it. */
		in->at_entry = r > 0 && sd_journal_test_cursor(in->journal, cursor) <= 0;
		return 0;
	}
	if (in->cursor.n > 0)
		log_warn("input", "journald: the cursor kept is none of this journal: %s", cursor);
	if (in->s->start == START_BEGIN)
		return sd_journal_seek_head(in->journal);
	if ((r = sd_journal_seek_tail(in->journal)) < 0 ||
		(r = sd_journal_previous(in->journal)) < 0)
		return r;
	return r > 0 ? 0 : sd_journal_seek_head(in->journal);
}

static int open_journal(struct journald_input *in, struct error *e)
{
	struct buf match = {0};
	int r;

	if (!journald_available(in->s->directory))
		return error_set(e, ERR_NOT_FOUND,
			"no journal files in %s: does journald store any, and may this user read "
			"them (group systemd-journal)?",
			in->s->directory ? in->s->directory
					 : "/var/log/journal and /run/log/journal");
	r = in->s->directory ? sd_journal_open_directory(&in->journal, in->s->directory, 0)
			     : sd_journal_open(&in->journal, SD_JOURNAL_LOCAL_ONLY);
	if (r < 0)
		return error_errno(e, -r, "the journal cannot be opened");
	sd_journal_set_data_threshold(in->journal, MESSAGE_MAX);
	for (size_t i = 0; r >= 0 && i < in->s->units.n; i++) {
		buf_clear(&match);
		buf_printf(&match, "_SYSTEMD_UNIT=%s", in->s->units.items[i]);
		r = sd_journal_add_match(in->journal, match.p, match.n);
	}
	buf_fini(&match);
	if (r < 0 || (r = seek(in)) < 0)
		return error_errno(e, -r, "the journal");
	return 0;
}

static void poll_closed(uv_handle_t *handle)
{
	free(handle);
}

static int watch(struct journald_input *in, struct error *e)
{
	int fd = sd_journal_get_fd(in->journal), r;

	if (fd < 0)
		return error_errno(e, -fd, "the journal cannot be watched");
	in->poll = xcalloc(1, sizeof(*in->poll));
	in->poll->data = in;
	if ((r = uv_poll_init(loop_uv(in->env->loop), in->poll, fd)) < 0) {
		free(in->poll);
		in->poll = NULL;
		return error_errno(e, -r, "the journal cannot be watched");
	}
	uv_poll_start(in->poll, UV_READABLE, on_readable);
	return 0;
}

static void input_free(struct journald_input *in)
{
	if (in->poll)
		uv_close((uv_handle_t *)in->poll, poll_closed);
	if (in->journal)
		sd_journal_close(in->journal);
	courier_free(in->courier);
	batch_builder_free(in->builder);
	account_release(in->env->account, in->reserved);
	timer_fini(&in->timer);
	timer_fini(&in->pump);
	streams_clear(in);
	labels_builder_fini(&in->meta_builder);
	buf_fini(&in->source);
	buf_fini(&in->key);
	buf_fini(&in->meta);
	buf_fini(&in->cursor);
	free(in->cursor_path);
	free(in);
}

static int start(void **out, const void *settings, const struct input_env *env, struct error *e)
{
	static const struct courier_events events = {
		.acked = on_acked, .room = on_room, .rereads = true};
	struct journald_input *in = xcalloc(1, sizeof(*in));
	struct buf path = {0};
	int r;

	in->s = settings;
	in->env_copy = *env;
	in->env = env = &in->env_copy;
	in->observed_ns = clock_now_ns(env->clock);
	in->builder = batch_builder_new(env->tenant, STR("journald"), in->observed_ns);
	in->courier = courier_new(env, "journald", &events, in);
	in->reserve = RESERVE;
	if (env->account && env->account->limit / 4 < in->reserve)
		in->reserve = env->account->limit / 4;
	timer_init(&in->timer, env->loop, on_timer, in);
	timer_init(&in->pump, env->loop, pump, in);
	buf_printf(&path, "%s/cursor", env->state_dir);
	in->cursor_path = xstrdup(buf_cstr(&path));
	buf_fini(&path);
	set_source(in);
	if ((r = open_journal(in, e)) < 0 || (r = watch(in, e)) < 0) {
		input_free(in);
		return r;
	}
	timer_set(&in->timer, POLL_MS, POLL_MS);
	pump_soon(in);
	*out = in;
	return 0;
}

static void on_courier_stopped(void *arg)
{
	struct journald_input *in = arg;
	loop_fn *stopped = in->stopped;
	void *stopped_arg = in->stopped_arg;

	save_cursor(in);
	input_free(in);
	stopped(stopped_arg);
}

static void stop(void *input, loop_fn *stopped, void *arg)
{
	struct journald_input *in = input;

	in->stopping = true;
	in->stopped = stopped;
	in->stopped_arg = arg;
	timer_clear(&in->timer);
	timer_clear(&in->pump);
	uv_poll_stop(in->poll);
	if (batch_builder_count(in->builder) > 0)
		send_builder(in);
	courier_stop(in->courier, on_courier_stopped, in);
}

static void dump(const void *input, struct buf *out)
{
	const struct journald_input *in = input;

	buf_printf(out, "journald: %llu entries read, acknowledged up to %.*s\n",
		(unsigned long long)in->n_entries, STR_ARG(buf_view(&in->cursor)));
	courier_dump(in->courier, out);
}

static const char *const starts[] = {"begin", "end", NULL};

static const struct option options[] = {
	OPTION(struct journald_settings, directory, .kind = OPT_PATH,
		.help = "Folder with journal files; without it the journal of this machine."),
	OPTION(struct journald_settings, units, .kind = OPT_STRINGS,
		.help = "Units to read, as in _SYSTEMD_UNIT (\"ssh.service\"); without it all."),
	OPTION(struct journald_settings, labels, .kind = OPT_MAP,
		.help = "Labels of all lines, besides host, app, unit and input."),
	OPTION(struct journald_settings, start, .kind = OPT_ENUM, .values = starts,
		.fallback = "begin", .help = "Where to begin at the very first start."),
	OPTION_END,
};

const struct input_type input_journald = {
	.name = "journald",
	.summary = "entries of the systemd journal",
	.size = sizeof(struct journald_settings),
	.options = options,
	.rereads = true,
	.start = start,
	.stop = stop,
	.dump = dump,
};
