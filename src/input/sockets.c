/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `sockets` input: connects to unix sockets that a glob names and reads
 * lines, as the stdout and stderr of containers are offered by Warden
 * (<container>/jobs/<id>/stdout.sock).
 *
 * Design.  Who writes into such a socket waits when nobody reads, so it is
 * read whatever happens: nothing of sawlog's may slow an application.  Lines go
 * to the outlet as long as that has room, else they wait in `waiting`, all
 * sockets together at most `buffer` bytes, and charged.  Beyond that they are
 * dropped, counted, and told by a record of their own stream when there is
 * room again.
 *
 *   glob ──► socket ──► connect, again each second ──► bytes ──► line ──► outlet
 *                                                                 └─► waiting ─┘
 *
 * A line is what stands before a newline, in however many pieces it comes; the
 * rest before the end of the connection is one too.  What was read and is not
 * durable when the process dies is lost, as it cannot be asked for again.
 */
#include <assert.h>
#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/metric.h"
#include "input/lines.h"
#include "input/outlet.h"
#include "input/shape.h"
#include "record/severity.h"
#include "record/time.h"

enum {
	RESERVE = 3 << 20,
	CHUNK = 64 << 10,
	READS = 16, /* of one socket, before others on the loop get their turn */
	TICK_MS = 1000,
	SOCKETS_MAX = 10000,
	STOP_BYTES = 1 << 20, /* that are read of a socket at the end */
};

struct sockets_settings {
	struct strings paths;
	struct string_map labels;
	const char *app;
	bool detect_time;
	uint64_t max_line, buffer;
	struct shape_settings shape; /* path_labels alone */
};

/* A line that waits: this, and its bytes behind it. */
struct waiting {
	int64_t observed_ns;
	uint64_t length; /* of the whole line, of which n bytes are here */
	uint32_t n;
};

struct socket {
	struct list node;
	struct sockets_input *in;
	char *path;
	uint64_t scan;   /* the last one that found it */
	uv_poll_t *poll; /* NULL: not connected.  Heap: outlives us until closed */
	int fd, said;    /* said: the errno that was logged */
	struct buf labels, meta;
	uint8_t told; /* the level of its labels */
	/* The line at hand: its first max_line bytes, charged, and how long it is so far. */
	struct buf line;
	uint64_t length;
	struct buf waiting;
	uint64_t n_lost, bytes_lost;
	int64_t lost_from_ns, lost_to_ns;
};

struct sockets_input {
	const struct sockets_settings *s;
	struct input_env env; /* what it points to is borrowed */
	struct outlets *outlets;
	struct shape *shape;
	struct line_reader lines;
	struct list sockets;
	struct map by_path;
	size_t n_sockets, n_waiting; /* n_waiting: bytes, charged */
	uint64_t scan, n_lines, n_lost;
	int64_t scan_at; /* the next one, no sooner */
	char *chunk;
	struct timer tick;
	bool full; /* there were more sockets than SOCKETS_MAX */
	loop_fn *stopped;
	void *stopped_arg;
};

/* Lines. */

static void put_cut(struct buf *meta, uint64_t length)
{
	struct labels_builder b = {0};
	char number[24];
	struct label l;
	struct str at = buf_view(meta);

	if (at.n) {
		labels_start(&at);
		while (labels_next(&at, &l))
			labels_builder_set(&b, l.name, l.value, NULL);
	}
	snprintf(number, sizeof number, "%" PRIu64, length);
	labels_builder_set(&b, STR("truncated_from"), str_c(number), NULL);
	buf_clear(meta);
	labels_builder_write(&b, meta);
	labels_builder_fini(&b);
}

static void add_record(struct socket *s, struct record *r)
{
	struct outlet *o = outlets_of(s->in->outlets, STR_NONE);
	struct outlet_stream *st = outlet_stream_told(o, buf_view(&s->labels));

	assert(st); /* its labels fitted when they were made */
	outlet_add(o, st, r);
}

static void add_line(struct socket *s, struct str line, uint64_t length, int64_t observed_ns)
{
	struct sockets_input *in = s->in;
	struct record r = {0};
	struct buf meta = {0};

	in->lines.observed_ns = observed_ns;
	line_reader_record(&in->lines, line, s->told, &r);
	r.meta = buf_view(&s->meta);
	if (length > line.n) {
		buf_str(&meta, buf_view(&s->meta));
		put_cut(&meta, length);
		r.meta = buf_view(&meta);
		r.flags |= RECORD_CUT;
		metric_add(METRIC_cut_records_total, "input=\"sockets\"", 1);
	}
	add_record(s, &r);
	in->n_lines++;
	buf_fini(&meta);
}

static void lose_line(struct socket *s, uint64_t length, int64_t now_ns)
{
	s->lost_to_ns = now_ns;
	if (s->n_lost++ == 0)
		s->lost_from_ns = now_ns;
	s->bytes_lost += length;
	s->in->n_lost++;
}

static void wait_line(struct socket *s, struct str line, uint64_t length, int64_t now_ns)
{
	struct sockets_input *in = s->in;
	const struct waiting w = {.observed_ns = now_ns, .length = length, .n = (uint32_t)line.n};
	size_t n = sizeof w + line.n;

	/* None behind one that is lost: the gap has one place. */
	if (s->n_lost || in->n_waiting + n > in->s->buffer ||
		(in->env.account && account_charge(in->env.account, n) < 0)) {
		lose_line(s, length, now_ns);
		return;
	}
	in->n_waiting += n;
	buf_put(&s->waiting, &w, sizeof w);
	buf_str(&s->waiting, line);
}

static void take_line(struct socket *s, struct str line, uint64_t length)
{
	struct sockets_input *in = s->in;
	int64_t now_ns = clock_now_ns(in->env.clock);

	if (line.n == length && str_ends(line, STR("\r"))) {
		line.n--;
		length--;
	}
	if (s->waiting.n == 0 && s->n_lost == 0 && outlets_room(in->outlets))
		add_line(s, line, length, now_ns);
	else
		wait_line(s, line, length, now_ns);
}

/* Bytes of the line at hand that are no whole one yet.  Without memory for them it is cut there, as
 * one that is too long. */
static void keep(struct socket *s, struct str part)
{
	struct account *a = s->in->env.account;
	struct str more = str_sub(part, 0, s->in->s->max_line - s->line.n);

	if (s->line.n == s->length && (!a || account_charge(a, more.n) == 0))
		buf_str(&s->line, more);
	s->length += part.n;
}

static void end_line(struct socket *s)
{
	take_line(s, buf_view(&s->line), s->length);
	account_release(s->in->env.account, s->line.n);
	buf_fini(&s->line);
	s->length = 0;
}

static void take_bytes(struct socket *s, struct str bytes)
{
	ptrdiff_t at;

	while ((at = str_chr(bytes, '\n')) >= 0) {
		struct str part = str_sub(bytes, 0, (size_t)at);

		bytes = str_sub(bytes, (size_t)at + 1, bytes.n);
		if (s->length == 0) {
			take_line(s, str_sub(part, 0, s->in->s->max_line), part.n);
			continue;
		}
		keep(s, part);
		end_line(s);
	}
	if (bytes.n)
		keep(s, bytes);
}

/* No more comes: what there is is a line. */
static void take_rest(struct socket *s)
{
	if (s->length)
		end_line(s);
}

/* What waits. */

static void tell_lost(struct socket *s)
{
	struct record r = {.timestamp = s->lost_to_ns,
		.severity = SEV_WARN,
		.flags = RECORD_GAP | RECORD_TIME_OBSERVED};
	struct sink *sink = s->in->env.sink;
	struct buf body = {0};

	if (s->n_lost == 0)
		return;
	buf_printf(&body,
		"sawlog: %" PRIu64 " lines (%" PRIu64 " bytes) of %s were dropped between ",
		s->n_lost, s->bytes_lost, s->path);
	time_format(&body, s->lost_from_ns);
	buf_c(&body, " and ");
	time_format(&body, s->lost_to_ns);
	buf_c(&body, ": they could not be stored, and buffer (");
	size_format(&body, s->in->s->buffer);
	buf_c(&body, ") was full");
	log_warn("input", "sockets: %.*s", STR_ARG(buf_view(&body)));
	sink->account(sink, s->in->env.tenant, STR("sockets"), "buffer", s->n_lost, false);
	r.body = buf_view(&body);
	add_record(s, &r);
	buf_fini(&body);
	s->n_lost = s->bytes_lost = 0;
}

/* Send what waits of it.  False: there is no more room.  `force`: there is no later. */
static bool send_waiting(struct socket *s, bool force)
{
	struct sockets_input *in = s->in;
	size_t done = 0;
	bool room = true;

	while (done < s->waiting.n && (room = outlets_room(in->outlets) || force)) {
		struct waiting w;

		memcpy(&w, s->waiting.p + done, sizeof w);
		add_line(s, str_make(s->waiting.p + done + sizeof w, w.n), w.length, w.observed_ns);
		done += sizeof w + w.n;
	}
	if (done) {
		buf_shift(&s->waiting, done);
		in->n_waiting -= done;
		account_release(in->env.account, in->env.account ? done : 0);
	}
	if (s->waiting.n == 0) {
		buf_fini(&s->waiting);
		tell_lost(s);
	}
	return room;
}

static void send_all_waiting(struct sockets_input *in, bool force)
{
	LIST_EACH (at, &in->sockets)
		if (!send_waiting(CONTAINER(at, struct socket, node), force))
			break;
	outlets_flush_if_idle(in->outlets);
}

/* It is asked for room line by line: nothing is to be stopped. */
static void on_paused(void *arg)
{
	(void)arg;
}

static void on_room(void *arg)
{
	send_all_waiting(arg, false);
}

/* Connections. */

static void poll_freed(uv_handle_t *handle)
{
	free(handle);
}

static void disconnect(struct socket *s)
{
	if (s->fd < 0)
		return;
	if (s->poll)
		uv_close((uv_handle_t *)s->poll, poll_freed);
	s->poll = NULL;
	close(s->fd);
	s->fd = -1;
	take_rest(s);
}

/* Once for each reason, until it was connected again. */
static void complain(struct socket *s, int number)
{
	if (number == s->said)
		return;
	s->said = number;
	/* One that is gone or not yet listened on is nothing unusual. */
	if (number == ECONNREFUSED || number == ENOENT)
		log_debug("input", "sockets: %s: %s", s->path, strerrordesc_np(number));
	else
		log_warn("input", "sockets: %s: cannot connect: %s; tried again each second",
			s->path, strerrordesc_np(number));
}

/* Read what is there, up to `most` bytes.  False: it is at its end. */
static bool read_socket(struct socket *s, size_t most)
{
	struct sockets_input *in = s->in;
	size_t n_read = 0;

	while (n_read < most) {
		ssize_t n = recv(s->fd, in->chunk, CHUNK, MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return true;
		if (n <= 0)
			return false;
		take_bytes(s, str_make(in->chunk, (size_t)n));
		n_read += (size_t)n;
	}
	return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct socket *s = poll->data;

	(void)events;
	(void)status; /* an error comes out of the read */
	if (!read_socket(s, READS * CHUNK) || status < 0)
		disconnect(s);
	outlets_flush_if_idle(s->in->outlets);
}

static void dial(struct socket *s)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int number;

	/* Globs may find longer paths than a socket's address holds. */
	if (strlen(s->path) >= sizeof a.sun_path) {
		complain(s, ENAMETOOLONG);
		return;
	}
	str_copy(str_c(s->path), a.sun_path, sizeof a.sun_path);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0 || connect(s->fd, (const struct sockaddr *)&a, sizeof a) < 0) {
		number = errno;
		if (s->fd >= 0)
			close(s->fd);
		s->fd = -1;
		complain(s, number);
		return;
	}
	s->poll = xcalloc(1, sizeof *s->poll);
	s->poll->data = s;
	if ((number = uv_poll_init(loop_uv(s->in->env.loop), s->poll, s->fd)) < 0) {
		free(s->poll);
		s->poll = NULL;
		close(s->fd);
		s->fd = -1;
		complain(s, -number);
		return;
	}
	uv_poll_start(s->poll, UV_READABLE, on_readable);
	s->said = 0;
}

/* Which sockets there are. */

/* The stream of a job: "APP/<index>" is its source where the path tells an index and no source. */
static int label_socket(struct socket *s, struct error *e)
{
	struct sockets_input *in = s->in;
	const struct line_labels l = {.input = "sockets",
		.app = in->s->app,
		.file = s->path,
		.extra = &in->s->labels,
		.shape = in->shape};
	struct labels_builder b = {0};
	struct str at, index, source;
	struct buf text = {0};
	struct label pair;
	int r;

	if ((r = line_labels_write(&l, &in->env, &text, e)) < 0)
		goto done;
	at = buf_view(&text);
	labels_start(&at);
	while (labels_next(&at, &pair))
		labels_builder_set(&b, pair.name, pair.value, NULL);
	if (labels_builder_get(&b, STR("index"), &index) &&
		!labels_builder_get(&b, STR("source"), &source)) {
		struct buf name = {0};

		buf_printf(&name, "APP/%.*s", STR_ARG(index));
		r = labels_builder_set(&b, STR("source"), buf_view(&name), e);
		buf_fini(&name);
	}
	labels_builder_write(&b, &s->labels);
	s->told = discover_labels(&in->env.discover, buf_view(&s->labels));
done:
	labels_builder_fini(&b);
	buf_fini(&text);
	return r;
}

/* message_type of Loggregator, by the name of the socket. */
static void write_meta(struct socket *s)
{
	const char *slash = strrchr(s->path, '/');
	struct str name = str_c(slash ? slash + 1 : s->path);
	const struct str names[] = {STR("message_type")};
	const struct str values[] = {str_starts(name, STR("stderr"))   ? STR("ERR")
				     : str_starts(name, STR("stdout")) ? STR("OUT")
								       : STR("")};

	labels_write(&s->meta, names, values, 1);
}

static void socket_free(struct socket *s)
{
	struct sockets_input *in = s->in;

	disconnect(s);
	send_waiting(s, true);
	list_remove(&s->node);
	map_remove(&in->by_path, str_c(s->path));
	in->n_sockets--;
	buf_fini(&s->labels);
	buf_fini(&s->meta);
	buf_fini(&s->line);
	free(s->path);
	free(s);
}

static void socket_new(struct sockets_input *in, const char *path)
{
	struct socket *s;
	struct error e;

	if (in->n_sockets >= SOCKETS_MAX) {
		if (!in->full)
			log_warn("input",
				"sockets: there are more than %d: %s and others are not read",
				SOCKETS_MAX, path);
		in->full = true;
		return;
	}
	s = xcalloc(1, sizeof *s);
	s->in = in;
	s->fd = -1;
	s->path = xstrdup(path);
	s->scan = in->scan;
	list_append(&in->sockets, &s->node);
	map_put(&in->by_path, str_c(path), NULL)->p = s;
	in->n_sockets++;
	if (label_socket(s, &e) < 0) {
		log_warn("input", "sockets: %s: its labels: %s", path, e.text);
		buf_fini(&s->labels);
		return; /* known, and left alone */
	}
	write_meta(s);
}

static void look_at(struct sockets_input *in, const char *path)
{
	union map_value *v = map_get(&in->by_path, str_c(path));
	struct stat st;

	if (stat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	if (v)
		((struct socket *)v->p)->scan = in->scan;
	else
		socket_new(in, path);
}

static void scan(struct sockets_input *in)
{
	int64_t began = clock_mono_ns(in->env.clock);

	in->scan++;
	for (size_t i = 0; i < in->s->paths.n; i++) {
		glob_t found;

		if (glob(in->s->paths.items[i], GLOB_BRACE, NULL, &found) != 0)
			continue;
		for (size_t k = 0; k < found.gl_pathc; k++)
			look_at(in, found.gl_pathv[k]);
		globfree(&found);
	}
	LIST_EACH (at, &in->sockets) {
		struct socket *s = CONTAINER(at, struct socket, node);

		/* One whose file is gone is read on as long as its peer is there. */
		if (s->fd >= 0)
			continue;
		if (s->scan == in->scan && s->labels.n)
			dial(s);
		else if (s->scan != in->scan && s->waiting.n == 0 && s->n_lost == 0)
			socket_free(s);
	}
	/* Globs over many folders take no more than a tenth of the loop's time. */
	in->scan_at = began + 10 * (clock_mono_ns(in->env.clock) - began);
}

static void on_tick(void *arg)
{
	struct sockets_input *in = arg;

	if (clock_mono_ns(in->env.clock) >= in->scan_at)
		scan(in);
	send_all_waiting(in, false);
}

/* Life. */

static void input_free(struct sockets_input *in)
{
	outlets_free(in->outlets);
	shape_free(in->shape);
	timer_fini(&in->tick);
	map_fini(&in->by_path);
	account_release(in->env.account, in->env.account ? CHUNK : 0);
	free(in->chunk);
	free(in);
}

static int start(void **out, const void *settings, const struct input_env *env, struct error *e)
{
	struct sockets_input *in = xcalloc(1, sizeof *in);
	int r;

	in->s = settings;
	in->env = *env;
	list_init(&in->sockets);
	in->chunk = xmalloc(CHUNK);
	if (env->account)
		account_force(env->account, CHUNK);
	in->outlets = outlets_new(&(struct outlets_options){.env = &in->env,
		.input = "sockets",
		.reserve = RESERVE,
		.paused = on_paused,
		.room = on_room,
		.arg = in});
	line_reader_init(&in->lines, &in->env, in->s->detect_time);
	timer_init(&in->tick, env->loop, on_tick, in);
	if ((r = shape_new(&in->shape, &in->s->shape, e)) < 0) {
		input_free(in);
		return error_wrap(e, r, "sockets");
	}
	scan(in);
	timer_set(&in->tick, TICK_MS, TICK_MS);
	*out = in;
	return 0;
}

static void on_stopped(void *arg)
{
	struct sockets_input *in = arg;
	loop_fn *stopped = in->stopped;
	void *stopped_arg = in->stopped_arg;

	input_free(in);
	stopped(stopped_arg);
}

static void stop(void *input, loop_fn *stopped, void *arg)
{
	struct sockets_input *in = input;

	in->stopped = stopped;
	in->stopped_arg = arg;
	timer_clear(&in->tick);
	LIST_EACH (at, &in->sockets) {
		struct socket *s = CONTAINER(at, struct socket, node);

		if (s->fd >= 0)
			read_socket(s, STOP_BYTES);
		socket_free(s);
	}
	outlets_stop(in->outlets, on_stopped, in);
}

static void dump(const void *input, struct buf *out)
{
	const struct sockets_input *in = input;

	buf_printf(out,
		"sockets: %zu of them, %" PRIu64 " lines, %zu bytes wait, %" PRIu64 " lines lost\n",
		in->n_sockets, in->n_lines, in->n_waiting, in->n_lost);
	LIST_EACH (at, &in->sockets) {
		const struct socket *s = CONTAINER(at, struct socket, node);

		buf_printf(out, "  %s: %s\n", s->path, s->fd >= 0 ? "connected" : "not connected");
	}
	outlets_dump(in->outlets, out);
}

/* Settings. */

static int check(const void *settings, struct error *e)
{
	const struct sockets_settings *s = settings;

	if (s->paths.n == 0)
		return error_set(e, ERR_ARG, "paths: none is named: give sockets or globs");
	return shape_check(&s->shape, e);
}

static const struct option options[] = {
	OPTION(struct sockets_settings, paths, .kind = OPT_PATHS, .required = true,
		.help = "Unix sockets to read from: paths or globs (* ? [a-z] {a,b})."),
	OPTION(struct sockets_settings, labels, .kind = OPT_MAP,
		.help = "Labels of all lines, besides host, app, file and input."),
	OPTION(struct sockets_settings, app, .kind = OPT_STRING, .fallback = "sockets",
		.help = "The label app where path_labels tell none."),
	OPTION(struct sockets_settings, detect_time, .kind = OPT_BOOL, .fallback = "false",
		.help = "Take the time at the head of a line as its timestamp; else it is when the "
			"line was read."),
	OPTION(struct sockets_settings, max_line, .kind = OPT_SIZE, .fallback = "256KiB",
		.min = 480, .max = 1 << 20,
		.help = "A longer line is cut there, marked and counted."),
	OPTION(struct sockets_settings, buffer, .kind = OPT_SIZE, .fallback = "16MiB",
		.min = 64 << 10, .max = 1 << 30,
		.help = "Bytes of lines that wait, of all sockets together, while they cannot be "
			"stored; more are dropped, counted and told, as applications are never "
			"made to wait."),
	SHAPE_PATH_OPTIONS(struct sockets_settings, shape),
	OPTION_END,
};

const struct input_type input_sockets = {
	.name = "sockets",
	.summary = "lines from unix sockets, as those of containers' stdout and stderr",
	.size = sizeof(struct sockets_settings),
	.options = options,
	.check = check,
	.start = start,
	.stop = stop,
	.dump = dump,
};
