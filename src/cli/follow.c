/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/follow.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "loop/loop.h"

enum { AGAIN_LINES = 5000 /* of Loki, which has no tokens, after a lost connection */ };

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
static bool reader_left(struct follow *f)
{
	struct pollfd p = {.fd = fileno(f->cl->out)};

	return ferror(f->cl->out) || (poll(&p, 1, 0) > 0 && p.revents & POLLERR);
}

static bool over(struct follow *f)
{
	return stopped_by || reader_left(f);
}

/* --- tokens ------------------------------------------------------------ */

void follow_cursor(struct follow *f, struct str token)
{
	if (token.n == 0 || token.n > FOLLOW_CURSOR_MAX)
		return;
	buf_clear(&f->cursor);
	buf_str(&f->cursor, token);
}

/* --- frames ------------------------------------------------------------ */

static void tell_stream(struct follow *f, const struct json *j, size_t at)
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
		f->entry(f->ctx, &en);
		if (en.timestamp > f->last_ns)
			f->last_ns = en.timestamp;
	}
	labels_builder_fini(&b);
	buf_fini(&labels);
}

static void tell_losses(struct follow *f, const struct json *j)
{
	size_t dropped = json_get(j, 0, "dropped_entries"), sawlog = json_get(j, 0, "sawlog");
	size_t gap = sawlog ? json_get(j, sawlog, "gap") : 0, n = 0;

	if (dropped && j->nodes[dropped].type == JSON_ARRAY)
		for (size_t i = json_first(j, dropped); i < json_end(j, dropped);
			i = json_next(j, i))
			n++;
	if (n)
		fprintf(f->cl->err,
			"sawlog %s: the server left out %zu lines: this reader is too slow\n",
			f->cl->command->name, n);
	if (gap && j->nodes[gap].type == JSON_NUMBER && !str_eq_c(j->nodes[gap].text, "0"))
		fprintf(f->cl->err, "sawlog %s: %.*s lines are missing here\n",
			f->cl->command->name, STR_ARG(j->nodes[gap].text));
}

static int tell_frame(struct follow *f, struct str text, struct error *e)
{
	size_t streams, sawlog, token;
	struct json j;

	if (json_parse(f->parser, text, &j, e) < 0)
		return error_wrap(e, ERR_NET, "a frame of the tail is no JSON");
	tell_losses(f, &j);
	streams = json_get(&j, 0, "streams");
	if (streams && j.nodes[streams].type == JSON_ARRAY)
		for (size_t i = json_first(&j, streams); i < json_end(&j, streams);
			i = json_next(&j, i))
			tell_stream(f, &j, i);
	sawlog = json_get(&j, 0, "sawlog");
	token = sawlog ? json_get(&j, sawlog, "cursor") : 0;
	/* "0" is inside history that the server sends: no place to go on from. */
	if (token && !str_eq_c(j.nodes[token].text, "0"))
		follow_cursor(f, j.nodes[token].text);
	return f->pause(f->ctx, e);
}

/* --- following --------------------------------------------------------- */

static int connect_tail(struct follow *f, struct ws_client **out, struct error *e)
{
	bool empty = f->cursor.n && str_eq_c(buf_view(&f->cursor), "0");
	struct buf path = {0};
	int r;

	buf_c(&path, "/loki/api/v1/tail");
	remote_param(&path, "query", str_c(f->query));
	if (empty) {
		/* The store had no line at all: what it has now is all of it. */
		remote_param_i64(&path, "start", 0);
		remote_param_i64(&path, "limit", 1000000000);
	} else if (f->cursor.n) {
		remote_param(&path, "cursor", buf_view(&f->cursor));
		remote_param_i64(&path, "limit", 0);
	} else {
		remote_param_i64(&path, "start", f->began ? f->last_ns + 1 : f->start_ns);
		remote_param_i64(&path, "limit", f->began ? AGAIN_LINES : (int64_t)f->limit);
	}
	if (flag_bool(f->cl, "verbose"))
		fprintf(f->cl->err, "%s%s\n", remote_options(f->remote)->url, buf_cstr(&path));
	r = ws_client_open(out, remote_options(f->remote), buf_cstr(&path), e);
	buf_fini(&path);
	return r;
}

/* Until the connection ends: its code, or 0 when we are to stop. */
static int follow_connection(struct follow *f, struct ws_client *ws, struct error *e)
{
	struct buf frame = {0};
	int r = 0;

	while (!over(f)) {
		buf_clear(&frame);
		r = ws_client_next(ws, &frame, f->wait_ms ? f->wait_ms : FOLLOW_WAIT_MS, e);
		if (r == 0)
			r = tell_frame(f, buf_view(&frame), e);
		else if (r == ERR_TIMEOUT)
			r = f->pause(f->ctx, e);
		if (r < 0)
			break;
	}
	buf_fini(&frame);
	return over(f) ? 0 : r;
}

/* What another attempt may cure. */
static bool passes_away(int code)
{
	return code == ERR_NET || code == ERR_CLOSED || code == ERR_TIMEOUT || code == ERR_BUSY;
}

static int wait_ms(struct follow *f, uint64_t ms, struct error *e)
{
	int r = 0;

	while (r == 0 && ms && !over(f)) {
		uint64_t step = ms < FOLLOW_WAIT_MS ? ms : FOLLOW_WAIT_MS;

		usleep((useconds_t)(step * 1000));
		ms -= step;
		r = f->pause(f->ctx, e);
	}
	return r;
}

/* The first connection counts alone: what hinders it is told and ends it. */
static int follow_once(struct follow *f, struct backoff *backoff, bool *lost, struct error *e)
{
	struct ws_client *ws = NULL;
	int r = connect_tail(f, &ws, e);

	if (r < 0)
		return r;
	if (*lost)
		fprintf(f->cl->err, "sawlog %s: connected again\n", f->cl->command->name);
	if (!f->began && f->connected)
		f->connected(f->ctx);
	/* Without a token to come back with, what is older than this was wanted no more. */
	if (!f->began && f->limit == 0 && f->cl->now_ns > f->last_ns)
		f->last_ns = f->cl->now_ns;
	f->began = true;
	*lost = false;
	backoff_reset(backoff);
	r = follow_connection(f, ws, e);
	ws_client_free(ws);
	return r;
}

int follow_run(struct follow *f, struct error *e)
{
	struct backoff backoff = {.base_ms = 100, .max_ms = 10000};
	bool lost = false;
	int r = 0;

	if (!f->parser)
		f->parser = json_parser_new();
	f->last_ns = f->start_ns;
	watch_signals();
	while (!over(f)) {
		r = follow_once(f, &backoff, &lost, e);
		if (r == 0 || !passes_away(r) || !f->began)
			return r;
		if (!lost) {
			command_fail(f->cl, e);
			fprintf(f->cl->err, "sawlog %s: connecting again\n", f->cl->command->name);
		}
		lost = true;
		if ((r = wait_ms(f, backoff_next(&backoff), e)) < 0)
			return r;
	}
	return 0;
}

void follow_fini(struct follow *f)
{
	json_parser_free(f->parser);
	buf_fini(&f->cursor);
}

int follow_stopped_by(void)
{
	return stopped_by;
}

int follow_exit_code(int code)
{
	if (code != EXIT_OK || !stopped_by)
		return code;
	return stopped_by == SIGTERM ? EXIT_TERMINATED : EXIT_INTERRUPTED;
}
