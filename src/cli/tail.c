/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follow a query.  History and live are joined by a sequence number: the last
 * N lines are asked for, their answer tells the last sequence S it saw, and
 * the tail begins behind S.  From then on each frame brings a new token; after
 * a lost connection the tail goes on behind the last one, so that no line is
 * missed or printed twice, even when nothing matched before the loss.
 *
 * Loki has neither: there it sends the history itself, and a reconnect starts
 * behind the time of the last line, which may miss lines of that same time.
 */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/fetch.h"
#include "loop/loop.h"
#include "os/clock.h"
#include "os/fs.h"
#include "os/process.h"
#include "query/quote.h"
#include "query/tail.h"

enum {
	WAIT_MS = 250, /* how long a signal or a reader that left may go unnoticed */
	CURSOR_MAX = 1024,
	HISTORY_BYTES_MAX = 256 << 20,
};

static const int64_t cursor_save_ns = NS_PER_SEC; /* the file may be that old after a crash */
static const int64_t skew_ns = 3600 * NS_PER_SEC; /* clocks of senders may be ahead */

/* The lines of history, newest first as they come, copied out of the pages. */
struct history {
	struct print_entry *list; /* labels.p and line.p are offsets until all are there */
	size_t n, cap;
	struct buf text;
};

struct tail {
	struct command_line *cl;
	const char *query, *cursor_file; /* query: a view of `filtered` */
	struct buf filtered; /* the query of the command line, with --include and --exclude */
	struct remote *remote;
	struct printer printer;
	struct json_parser *parser;
	struct buf cursor, saved; /* token behind what was printed; what the file holds */
	int64_t saved_mono;
	int64_t start_ns, last_ns; /* Loki: where a connection starts */
	uint64_t limit;
	bool sawlog, began;
	struct history history;
};

static volatile sig_atomic_t stopped_by;

static void on_signal(int number)
{
	stopped_by = number;
}

/* The second signal ends the process at once, whatever it waits for. */
static void watch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

	stopped_by = 0;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

/* `sawlog tail … | head` is to end when head does, not at the next line. */
static bool reader_left(struct tail *t)
{
	struct pollfd p = {.fd = fileno(t->cl->out)};

	return ferror(t->cl->out) || (poll(&p, 1, 0) > 0 && p.revents & POLLERR);
}

static bool over(struct tail *t)
{
	return stopped_by || reader_left(t);
}

/* --- the cursor -------------------------------------------------------- */

static void set_cursor(struct tail *t, struct str token)
{
	if (token.n == 0 || token.n > CURSOR_MAX)
		return;
	buf_clear(&t->cursor);
	buf_str(&t->cursor, token);
}

static int read_cursor(struct tail *t, struct error *e)
{
	const char *given = flag_string(t->cl, "after-cursor");
	struct error local;
	struct buf text = {0};
	int r;

	t->cursor_file = flag_string(t->cl, "cursor-file");
	if (given) {
		set_cursor(t, str_c(given));
		return 0;
	}
	if (!t->cursor_file)
		return 0;
	r = fs_read_all(fs_real(), t->cursor_file, CURSOR_MAX, &text, &local);
	if (r == 0)
		set_cursor(t, str_trim(buf_view(&text)));
	else if (r != ERR_NOT_FOUND)
		error_set(e, r, "--cursor-file: %s", local.text);
	buf_fini(&text);
	return r == ERR_NOT_FOUND ? 0 : r;
}

/* After the lines before it left us, so that a crash repeats lines rather than lose them. */
static int save_cursor(struct tail *t, bool now, struct error *e)
{
	int64_t mono = clock_mono_ns(clock_real());
	int r;

	if (!t->cursor_file || t->cursor.n == 0 ||
		str_eq(buf_view(&t->cursor), buf_view(&t->saved)) ||
		(!now && mono - t->saved_mono < cursor_save_ns) || ferror(t->cl->out))
		return 0;
	if ((r = fs_write_all(fs_real(), t->cursor_file, buf_view(&t->cursor), e)) < 0)
		return error_wrap(e, r, "--cursor-file");
	buf_clear(&t->saved);
	buf_str(&t->saved, buf_view(&t->cursor));
	t->saved_mono = mono;
	return 0;
}

/* --- history ----------------------------------------------------------- */

static size_t history_text(struct history *h, struct str s)
{
	size_t at = h->text.n;

	buf_str(&h->text, s);
	return at;
}

static int keep_page(void *ctx, const struct print_entry *list, size_t n)
{
	struct tail *t = ctx;
	struct history *h = &t->history;

	for (size_t i = 0; i < n; i++) {
		if (h->text.n > HISTORY_BYTES_MAX)
			return ERR_LIMIT;
		if (h->n == h->cap) {
			h->cap = h->cap ? h->cap * 2 : 64;
			h->list = xrealloc(h->list, h->cap * sizeof *h->list);
		}
		/* Offsets for now: the buffer still moves. */
		h->list[h->n++] = (struct print_entry){
			.timestamp = list[i].timestamp,
			.labels = {(const char *)history_text(h, list[i].labels), list[i].labels.n},
			.line = {(const char *)history_text(h, list[i].line), list[i].line.n},
		};
	}
	return 0;
}

static void print_history(struct tail *t)
{
	struct history *h = &t->history;

	for (size_t i = h->n; i-- > 0;) {
		struct print_entry en = h->list[i];

		en.labels.p = h->text.p + (size_t)en.labels.p;
		en.line.p = h->text.p + (size_t)en.line.p;
		printer_entry(&t->printer, &en);
	}
	fflush(t->cl->out);
}

static int print_page(void *ctx, const struct print_entry *list, size_t n)
{
	struct tail *t = ctx;

	for (size_t i = 0; i < n; i++)
		printer_entry(&t->printer, &list[i]);
	return ferror(t->cl->out) ? ERR_CLOSED : 0;
}

/* The last lines, and the sequence they were seen at.  What came since a token is printed as it
 * comes, oldest first and all of it. */
static int fetch_history(struct tail *t, struct error *e)
{
	bool since_token = t->cursor.n > 0;
	struct fetch f = {.remote = t->remote,
		.cl = t->cl,
		.query = t->query,
		.from_ns = since_token ? 0 : t->start_ns,
		.until_ns = t->cl->now_ns + skew_ns,
		.limit = since_token ? 0
			 : t->limit  ? t->limit
				     : 1,
		.forward = since_token,
		.page = since_token ? print_page : keep_page,
		.ctx = t};
	char seq[24];
	int r;

	if (since_token)
		f.after_seq = buf_cstr(&t->cursor);
	r = fetch_run(&f, e);
	if (r == ERR_LIMIT && t->history.text.n > HISTORY_BYTES_MAX)
		return error_set(e, ERR_ARG,
			"--limit: more than 256 MiB of history; `sawlog query --forward` has no such limit");
	if (r < 0)
		return r;
	t->sawlog = f.sawlog;
	if (t->limit == 0)
		t->history.n = 0;
	if (f.sawlog) {
		snprintf(seq, sizeof seq, "%" PRIu64, f.last_seq);
		set_cursor(t, str_c(seq));
	}
	return 0;
}

/* --- frames ------------------------------------------------------------ */

static void print_stream(struct tail *t, const struct json *j, size_t at)
{
	size_t values = json_get(j, at, "values");
	struct labels_builder b = {0};
	struct buf labels = {0};

	if (!values || j->nodes[values].type != JSON_ARRAY)
		return;
	print_labels_of(j, json_get(j, at, "stream"), &b, &labels);
	for (size_t i = json_first(j, values); i < json_end(j, values); i = json_next(j, i)) {
		struct print_entry en = {.labels = buf_view(&labels)};

		if (j->nodes[i].type != JSON_ARRAY || j->nodes[i].inside < 2 ||
			!str_i64(j->nodes[i + 1].text, &en.timestamp))
			continue;
		en.line = j->nodes[i + 2].text;
		printer_entry(&t->printer, &en);
		if (en.timestamp > t->last_ns)
			t->last_ns = en.timestamp;
	}
	labels_builder_fini(&b);
	buf_fini(&labels);
}

static void tell_losses(struct tail *t, const struct json *j)
{
	size_t dropped = json_get(j, 0, "dropped_entries"), sawlog = json_get(j, 0, "sawlog");
	size_t gap = sawlog ? json_get(j, sawlog, "gap") : 0, n = 0;

	if (dropped && j->nodes[dropped].type == JSON_ARRAY)
		for (size_t i = json_first(j, dropped); i < json_end(j, dropped);
			i = json_next(j, i))
			n++;
	if (n)
		fprintf(t->cl->err,
			"sawlog tail: the server left out %zu lines: this reader is too slow\n", n);
	if (gap && j->nodes[gap].type == JSON_NUMBER && !str_eq_c(j->nodes[gap].text, "0"))
		fprintf(t->cl->err, "sawlog tail: %.*s lines are missing here\n",
			STR_ARG(j->nodes[gap].text));
}

static int print_frame(struct tail *t, struct str text, struct error *e)
{
	size_t streams, sawlog, token;
	struct json j;

	if (json_parse(t->parser, text, &j, e) < 0)
		return error_wrap(e, ERR_NET, "a frame of the tail is no JSON");
	tell_losses(t, &j);
	streams = json_get(&j, 0, "streams");
	if (streams && j.nodes[streams].type == JSON_ARRAY)
		for (size_t i = json_first(&j, streams); i < json_end(&j, streams);
			i = json_next(&j, i))
			print_stream(t, &j, i);
	fflush(t->cl->out);
	sawlog = json_get(&j, 0, "sawlog");
	token = sawlog ? json_get(&j, sawlog, "cursor") : 0;
	/* "0" is inside history that the server sends: no place to go on from. */
	if (token && !str_eq_c(j.nodes[token].text, "0"))
		set_cursor(t, j.nodes[token].text);
	return save_cursor(t, false, e);
}

/* --- following --------------------------------------------------------- */

static int connect_tail(struct tail *t, struct ws_client **out, struct error *e)
{
	bool empty = t->cursor.n && str_eq_c(buf_view(&t->cursor), "0");
	struct buf path = {0};
	int r;

	buf_c(&path, "/loki/api/v1/tail");
	remote_param(&path, "query", str_c(t->query));
	if (empty) {
		/* The store had no line at all: what it has now is all of it. */
		remote_param_i64(&path, "start", 0);
		remote_param_i64(&path, "limit", 1000000000);
	} else if (t->cursor.n) {
		remote_param(&path, "cursor", buf_view(&t->cursor));
		remote_param_i64(&path, "limit", 0);
	} else {
		remote_param_i64(&path, "start", t->began ? t->last_ns + 1 : t->start_ns);
		remote_param_i64(&path, "limit", t->began ? 5000 : (int64_t)t->limit);
	}
	if (flag_bool(t->cl, "verbose"))
		fprintf(t->cl->err, "%s%s\n", remote_options(t->remote)->url, buf_cstr(&path));
	r = ws_client_open(out, remote_options(t->remote), buf_cstr(&path), e);
	buf_fini(&path);
	return r;
}

/* Until the connection ends: its code, or 0 when we are to stop. */
static int follow_connection(struct tail *t, struct ws_client *ws, struct error *e)
{
	struct buf frame = {0};
	int r = 0;

	while (!over(t)) {
		buf_clear(&frame);
		r = ws_client_next(ws, &frame, WAIT_MS, e);
		if (r == 0)
			r = print_frame(t, buf_view(&frame), e);
		else if (r == ERR_TIMEOUT)
			r = save_cursor(t, false, e);
		if (r < 0)
			break;
	}
	buf_fini(&frame);
	return over(t) ? 0 : r;
}

/* What another attempt may cure. */
static bool passes_away(int code)
{
	return code == ERR_NET || code == ERR_CLOSED || code == ERR_TIMEOUT || code == ERR_BUSY;
}

static void pause_ms(struct tail *t, uint64_t ms)
{
	while (ms && !over(t)) {
		uint64_t step = ms < WAIT_MS ? ms : WAIT_MS;

		usleep((useconds_t)(step * 1000));
		ms -= step;
	}
}

static int follow(struct tail *t, struct error *e)
{
	struct backoff backoff = {.base_ms = 100, .max_ms = 10000};
	bool lost = false;
	int r;

	while (!over(t)) {
		struct ws_client *ws = NULL;

		if ((r = connect_tail(t, &ws, e)) == 0) {
			if (lost)
				fprintf(t->cl->err, "sawlog tail: connected again\n");
			t->began = true;
			lost = false;
			backoff_reset(&backoff);
			r = follow_connection(t, ws, e);
			ws_client_free(ws);
		}
		if (r == 0 || !passes_away(r) || !t->began)
			return r;
		if (!lost) {
			command_fail(t->cl, e);
			fprintf(t->cl->err, "sawlog tail: connecting again\n");
		}
		lost = true;
		pause_ms(t, backoff_next(&backoff));
	}
	return 0;
}

/* --- the command ------------------------------------------------------- */

static bool wants_follow(const struct command_line *cl)
{
	return flag_bool(cl, "follow") && !flag_bool(cl, "no-follow");
}

static void add_filters(struct tail *t, const char *op, const char *flag)
{
	for (size_t i = 0; i < flag_count(t->cl, flag); i++) {
		buf_printf(&t->filtered, "\n%s ", op); /* a comment ends with its line */
		quote_go(&t->filtered, str_c(flag_nth(t->cl, flag, i)));
	}
}

/* What no tail can answer is refused before its history is printed.  What does not parse here is
 * the server's to judge, which may be another than sawlog. */
static int check_query(struct tail *t, struct error *e)
{
	struct query_tail *tail = NULL;
	struct query *q = NULL;
	struct error ignored = {0};
	int r = 0;

	if (wants_follow(t->cl) && query_parse(&q, str_c(t->query), &ignored) == 0)
		r = query_tail_new(&tail, q, false, NULL, e);
	query_tail_free(tail);
	query_free(q);
	return r;
}

static int tail_open(struct tail *t, struct error *e)
{
	struct command_line *cl = t->cl;
	bool tty = process_is_tty(fileno(cl->out));
	int r;

	buf_c(&t->filtered, cl->args[0]);
	add_filters(t, "|~", "include");
	add_filters(t, "!~", "exclude");
	t->query = buf_cstr(&t->filtered);
	t->parser = json_parser_new();
	t->limit = (uint64_t)flag_int(cl, "limit");
	t->last_ns = t->start_ns = flag_int(cl, "since");
	if ((r = printer_init(&t->printer, cl, cl->out, tty, e)) < 0)
		return r;
	/* An array that never ends is of no use. */
	if (t->printer.format == OUTPUT_JSON && wants_follow(cl))
		t->printer.format = OUTPUT_JSONL;
	if ((r = check_query(t, e)) < 0 || (r = read_cursor(t, e)) < 0)
		return r;
	return remote_open(&t->remote, cl, e);
}

static void tail_close(struct tail *t)
{
	printer_fini(&t->printer);
	remote_close(t->remote);
	json_parser_free(t->parser);
	free(t->history.list);
	buf_fini(&t->history.text);
	buf_fini(&t->cursor);
	buf_fini(&t->saved);
	buf_fini(&t->filtered);
}

static int tail_run(struct tail *t, struct error *e)
{
	bool follows = wants_follow(t->cl);
	int r = 0;

	if (t->cursor.n && follows)
		t->sawlog = true; /* only a sawlog gives tokens: it goes on behind it by itself */
	else if ((r = fetch_history(t, e)) < 0)
		return r;
	/* Loki sends the history over the tail. */
	if (t->sawlog || !follows)
		print_history(t);
	if ((r = save_cursor(t, true, e)) < 0 || !follows)
		return r;
	watch_signals();
	return follow(t, e);
}

static int run(struct command_line *cl)
{
	struct tail t = {.cl = cl};
	struct error e = {0}, late = {0};
	int r, code;

	if ((r = tail_open(&t, &e)) == 0)
		r = tail_run(&t, &e);
	code = r == 0 || ferror(cl->out) ? EXIT_OK : remote_fail(cl, t.query, &e);
	fflush(cl->out);
	if (save_cursor(&t, true, &late) < 0 && code == EXIT_OK)
		code = command_fail(cl, &late);
	if (flag_bool(cl, "show-cursor") && t.cursor.n)
		fprintf(t.printer.format > OUTPUT_RAW ? cl->err : cl->out, "-- cursor: %s\n",
			buf_cstr(&t.cursor));
	tail_close(&t);
	if (code == EXIT_OK && stopped_by)
		code = stopped_by == SIGTERM ? EXIT_TERMINATED : EXIT_INTERRUPTED;
	return code;
}

static const struct flag flags[] = {
	{.name = "limit",
		.letter = 'n',
		.aliases = "lines tail",
		.kind = FLAG_INT,
		.min = 0,
		.max = 10000000,
		.fallback = "10",
		.help = "Lines of history before the live ones."},
	{.name = "since",
		.aliases = "from",
		.kind = FLAG_TIME,
		.fallback = "1h",
		.help = "How far history goes back: how long ago (5m, 3h, 2d), or a time."},
	{.name = "include",
		.letter = 'i',
		.aliases = "grep",
		.kind = FLAG_REPEATED,
		.value = "REGEX",
		.help = "Only lines that match, as |~ at the end of the query; repeated: all of them."},
	{.name = "exclude",
		.letter = 'e',
		.kind = FLAG_REPEATED,
		.value = "REGEX",
		.help = "No lines that match, as !~ at the end of the query; may be repeated."},
	{.name = "follow",
		.letter = 'f',
		.kind = FLAG_BOOL,
		.fallback = "true",
		.help = "Go on with lines as they come; this is the default."},
	{.name = "no-follow", .kind = FLAG_BOOL, .help = "Print the history and end."},
	{.name = "after-cursor",
		.aliases = "cursor",
		.kind = FLAG_STRING,
		.value = "TOKEN",
		.help = "Go on behind the lines that gave this token, instead of with history."},
	{.name = "cursor-file",
		.kind = FLAG_STRING,
		.value = "FILE",
		.help = "Go on behind the token in FILE when it exists, and keep it up to date: at "
			"most a second behind after a crash."},
	{.name = "show-cursor",
		.kind = FLAG_BOOL,
		.help = "Print the token at the end, as -- cursor: TOKEN; with JSON to stderr."},
	FLAG_END,
};

const struct command command_tail = {
	.name = "tail",
	.args = "LOGQL",
	.summary = "follow a log query",
	.description =
		"Prints the last lines that match and then each new one as it is stored. When the "
		"connection breaks it is made again, and printing goes on behind the last line.\n\n"
		"Lines come in the order in which they were stored, so a line that arrives late is "
		"printed late, not left out.",
	.examples =
		"sawlog tail '{app=\"billing\"} |= \"error\"'\n"
		"sawlog tail '{app=\"billing\"}' -i timeout -e healthz --highlight 'user=\\w+'\n"
		"sawlog tail '{app=\"billing\"}' --cursor-file /var/lib/me/cursor -o raw | handle\n",
	.flags = flags,
	.groups = {&print_flags, &remote_flags, &access_flags},
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
