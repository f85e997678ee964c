/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source of lines for tests and scripts: what logger(1) is to syslog, over
 * the HTTP protocols, to RabbitMQ and as Loggregator's datagrams.  One request is under way at a
 * time, so that what was acknowledged is always a prefix of what was sent, but for refused batches.
 *
 * A retry after a lost answer may store a batch twice with loki=, whose
 * protocol has no key; batch= is keyed by file and line number.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "cli/emit_amqp.h"
#include "cli/emit_loggregator.h"
#include "cli/remote.h"
#include "loop/loop.h"
#include "os/clock.h"
#include "os/process.h"

enum {
	EMIT_LINE_MAX = 1 << 20, /* bytes; a longer line of stdin is sent in pieces */
	READ_BYTES = 64 << 10,
	BODY_MAX = 8 << 20, /* a batch is sent when its body passes this */
	IDLE_MS = 100,      /* a batch is not held back longer than that for more of stdin */
};

struct emit;

struct emit_kind {
	const char *name;
	const char *path; /* of its requests; NULL: it is not HTTP */
	const char *went; /* what is said of lines that are through: "acknowledged" */
	void (*begin)(struct emit *m);
	void (*line)(struct emit *m, struct str line);
	/* The batch: 0 when all of it was acknowledged; an error may be tried again. */
	int (*send)(struct emit *m, int *retry_after_s, struct error *e);
	/* Its end, whatever came of it: how many lines were acknowledged. */
	uint64_t (*finish)(struct emit *m, bool sent);
};

struct emit {
	struct command_line *cl;
	const struct emit_kind *kind;
	struct remote *remote;
	struct emit_amqp *amqp;
	struct emit_loggregator *loggregator;
	char *url;
	char host[256];
	const char *app;
	char *file;          /* batch=: its key */
	int64_t rate, count; /* 0: no bound */
	uint64_t batch_lines, next_number;
	int64_t give_up_ns, start_mono, last_ns;
	/* The batch being made. */
	struct buf body;
	bool closed; /* its end was put */
	uint64_t n_body;
	/* Of the run. */
	uint64_t n_taken, n_acknowledged, n_refused, n_retries;
	bool cut_told;
	struct error first_refusal;
};

static volatile sig_atomic_t stopped_by;

static void on_signal(int number)
{
	stopped_by = number;
}

/* --- bodies ------------------------------------------------------------ */

static int post(struct emit *m, struct str end, int *retry_after_s, struct error *e)
{
	if (!m->closed)
		buf_str(&m->body, end);
	m->closed = true;
	return remote_post(m->remote, m->kind->path, buf_view(&m->body), retry_after_s, e);
}

static uint64_t post_finish(struct emit *m, bool sent)
{
	buf_clear(&m->body);
	m->closed = false;
	return sent ? m->n_body : 0;
}

static void loki_begin(struct emit *m)
{
	buf_c(&m->body, "{\"streams\":[{\"stream\":{\"app\":");
	buf_json(&m->body, str_c(m->app));
	for (size_t i = 0; i < flag_count(m->cl, "label"); i++) {
		struct str value = str_c(flag_nth(m->cl, "label", i)), name = str_cut(&value, '=');

		buf_char(&m->body, ',');
		buf_json(&m->body, name);
		buf_char(&m->body, ':');
		buf_json(&m->body, value);
	}
	buf_c(&m->body, "},\"values\":[");
}

static void loki_line(struct emit *m, struct str line)
{
	int64_t now = clock_now_ns(clock_real());

	/* Each line its own time, so that their order is kept by any server. */
	m->last_ns = now > m->last_ns ? now : m->last_ns + 1;
	buf_printf(&m->body, "%s[\"%" PRId64 "\",", m->n_body ? "," : "", m->last_ns);
	buf_json(&m->body, line);
	buf_char(&m->body, ']');
}

/* The body is closed once, and sent as often as it must be. */
static int loki_send(struct emit *m, int *retry_after_s, struct error *e)
{
	return post(m, STR("]}]}"), retry_after_s, e);
}

static void batch_begin(struct emit *m)
{
	buf_c(&m->body, "{\"batch\":[");
}

static void batch_line(struct emit *m, struct str line)
{
	uint64_t id[2];

	hash_random(id, sizeof id);
	buf_printf(&m->body,
		"%s{\"uuid\":\"%016" PRIx64 "%016" PRIx64 "\",\"host\":", m->n_body ? "," : "",
		id[0], id[1]);
	buf_json(&m->body, str_c(m->host));
	buf_c(&m->body, ",\"file\":");
	buf_json(&m->body, str_c(m->file));
	buf_printf(&m->body, ",\"line-num\":%" PRIu64 ",\"content\":", m->next_number++);
	buf_json(&m->body, line);
	buf_char(&m->body, '}');
}

static int batch_send(struct emit *m, int *retry_after_s, struct error *e)
{
	char end[40];

	snprintf(end, sizeof end, "],\"size\":%" PRIu64 "}", m->n_body);
	return post(m, str_c(end), retry_after_s, e);
}

#ifdef SAWLOG_AMQP
static void amqp_begin(struct emit *m) {}

static void amqp_line(struct emit *m, struct str line)
{
	emit_amqp_line(m->amqp, line);
}

static int amqp_send(struct emit *m, int *retry_after_s, struct error *e)
{
	*retry_after_s = 0;
	return emit_amqp_send(m->amqp, e);
}

static bool is_stopped(void *arg)
{
	return stopped_by != 0;
}

static uint64_t amqp_finish(struct emit *m, bool sent)
{
	return emit_amqp_finish(m->amqp);
}
#endif

static void loggregator_begin(struct emit *m) {}

static void loggregator_line(struct emit *m, struct str line)
{
	emit_loggregator_line(m->loggregator, line);
}

static int loggregator_send(struct emit *m, int *retry_after_s, struct error *e)
{
	*retry_after_s = 0;
	return emit_loggregator_send(m->loggregator, e);
}

static uint64_t loggregator_finish(struct emit *m, bool sent)
{
	return emit_loggregator_finish(m->loggregator);
}

static const struct emit_kind kinds[] = {
	{"loki", "/loki/api/v1/push", "acknowledged", loki_begin, loki_line, loki_send,
		post_finish},
	{"batch", "/store/batch", "acknowledged", batch_begin, batch_line, batch_send, post_finish},
	{"loggregator", NULL, "sent", loggregator_begin, loggregator_line, loggregator_send,
		loggregator_finish},
#ifdef SAWLOG_AMQP
	{"amqp", NULL, "acknowledged", amqp_begin, amqp_line, amqp_send, amqp_finish},
#endif
};

/* --- sending ----------------------------------------------------------- */

static bool worth_retrying(int code)
{
	return code == ERR_NET || code == ERR_BUSY || code == ERR_TIMEOUT;
}

static void refuse(struct emit *m, uint64_t n, const struct error *e)
{
	if (m->n_refused == 0)
		m->first_refusal = *e;
	m->n_refused += n;
}

static void pause_ms(uint64_t ms)
{
	while (ms && !stopped_by) {
		uint64_t step = ms < 100 ? ms : 100;

		usleep((useconds_t)(step * 1000));
		ms -= step;
	}
}

/* Not faster than --rate, counted from the start. */
static void keep_rate(struct emit *m)
{
	int64_t due;

	if (!m->rate)
		return;
	due = (int64_t)((double)(m->n_taken) / (double)m->rate * 1e9) -
	      (clock_mono_ns(clock_real()) - m->start_mono);
	if (due > 0)
		pause_ms((uint64_t)due / 1000000);
}

static void send_batch(struct emit *m)
{
	struct backoff backoff = {.base_ms = 100, .max_ms = 5000};
	int64_t begun = clock_mono_ns(clock_real());
	struct error e = {0};
	int retry_after_s = 0, r;
	uint64_t n;

	if (m->n_body == 0)
		return;
	for (;;) {
		r = m->kind->send(m, &retry_after_s, &e);
		if (r == 0 || !worth_retrying(r) || stopped_by ||
			clock_mono_ns(clock_real()) - begun > m->give_up_ns)
			break;
		m->n_retries++;
		pause_ms(retry_after_s > 0 && retry_after_s < 60 ? (uint64_t)retry_after_s * 1000
								 : backoff_next(&backoff));
	}
	n = m->kind->finish(m, r == 0);
	m->n_acknowledged += n;
	if (n < m->n_body)
		refuse(m, m->n_body - n, &e);
	m->n_body = 0;
	keep_rate(m);
}

static bool enough(const struct emit *m)
{
	return stopped_by || (m->count && m->n_taken >= (uint64_t)m->count);
}

static size_t batch_bytes(const struct emit *m)
{
#ifdef SAWLOG_AMQP
	if (m->amqp)
		return emit_amqp_bytes(m->amqp);
#endif
	if (m->loggregator)
		return emit_loggregator_bytes(m->loggregator);
	return m->body.n;
}

static void take_line(struct emit *m, struct str line)
{
	if (m->n_body == 0)
		m->kind->begin(m);
	m->kind->line(m, line);
	m->n_body++;
	m->n_taken++;
	if (m->n_body >= m->batch_lines || batch_bytes(m) > BODY_MAX)
		send_batch(m);
}

/* --- where lines come from --------------------------------------------- */

static void from_operands(struct emit *m)
{
	size_t n = m->cl->n_args - 1;

	if (m->count == 0)
		m->count = (int64_t)n;
	while (!enough(m))
		take_line(m, str_c(m->cl->args[1 + m->n_taken % n]));
}

static void generate(struct emit *m)
{
	int64_t size = flag_int(m->cl, "size");
	struct buf line = {0};

	while (!enough(m)) {
		buf_clear(&line);
		buf_printf(&line, "%s line %09" PRIu64, m->app, m->n_taken);
		while ((int64_t)line.n < size)
			buf_char(&line, (char)('a' + line.n % 26));
		take_line(m, buf_view(&line));
	}
	buf_fini(&line);
}

/* Take the whole lines of the buffer; with `all`, the rest of it as well. */
static void take_lines(struct emit *m, struct buf *in, bool all)
{
	struct str rest = buf_view(in);

	while (rest.n && !enough(m)) {
		ptrdiff_t at = str_chr(rest, '\n');

		if (at < 0 && rest.n >= EMIT_LINE_MAX) {
			if (!m->cut_told)
				fprintf(m->cl->err,
					"sawlog emit: a line is longer than %d bytes: it is "
					"sent in pieces\n",
					EMIT_LINE_MAX);
			m->cut_told = true;
			at = EMIT_LINE_MAX;
			take_line(m, str_sub(rest, 0, EMIT_LINE_MAX));
			rest = str_sub(rest, EMIT_LINE_MAX, rest.n);
			continue;
		}
		if (at < 0 && !all)
			break;
		take_line(m, at < 0 ? rest : str_sub(rest, 0, (size_t)at));
		rest = at < 0 ? STR_NONE : str_sub(rest, (size_t)at + 1, rest.n);
	}
	buf_shift(in, in->n - rest.n);
}

/* What is there goes out when no more comes for a moment. */
static int from_stdin(struct emit *m, struct error *e)
{
	struct buf in = {0};
	ssize_t n = 0;

	while (!enough(m)) {
		struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

		if (m->n_body && poll(&p, 1, IDLE_MS) == 0)
			send_batch(m);
		n = read(STDIN_FILENO, buf_reserve(&in, READ_BYTES), READ_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		in.n += (size_t)n;
		take_lines(m, &in, false);
	}
	if (n == 0)
		take_lines(m, &in, true);
	buf_fini(&in);
	return n < 0 && !stopped_by ? error_errno(e, errno, "standard input") : 0;
}

/* --- the command ------------------------------------------------------- */

static int check_labels(const struct command_line *cl, struct error *e)
{
	for (size_t i = 0; i < flag_count(cl, "label"); i++) {
		const char *text = flag_nth(cl, "label", i);

		if (text[0] == '=' || !strchr(text, '='))
			return error_set(
				e, ERR_ARG, "--label: must be NAME=VALUE, got \"%s\"", text);
	}
	return 0;
}

static bool is_amqp(struct str url)
{
	return str_starts(url, STR("amqp://")) || str_starts(url, STR("amqps://"));
}

/* "loki=http://host:3100"; the path of the protocol may be there or not.  "amqp://…" tells its kind
 * itself. */
static int read_target(struct emit *m, struct error *e)
{
	struct str url = str_c(m->cl->args[0]), kind = STR("amqp");

	if (!is_amqp(url))
		kind = str_cut(&url, '=');

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (str_eq_c(kind, kinds[i].name))
			m->kind = &kinds[i];
	if (!m->kind && str_eq(kind, STR("amqp")))
		return error_set(e, ERR_ARG,
			"this build has no AMQP: build again with the package librabbitmq-dev");
	if (!m->kind || !url.n)
		/* Not the whole, in which a password may be. */
		return error_set(e, ERR_ARG,
			"\"%.*s\": must be loki=URL, batch=URL, loggregator=URL or amqp=URL, as "
			"loki=http://127.0.0.1:3100",
			(int)(kind.n < 40 ? kind.n : 40), kind.p);
	if (m->kind->path && str_ends(url, str_c(m->kind->path)))
		url.n -= strlen(m->kind->path);
	m->url = arena_c(&m->cl->arena, url);
	return 0;
}

static int emit_open(struct emit *m, struct error *e)
{
	struct command_line *cl = m->cl;
	const char *file = flag_string(cl, "file"), *host = flag_string(cl, "host");
	int r;

	if ((r = read_target(m, e)) < 0 || (r = check_labels(cl, e)) < 0)
		return r;
	if (flag_bool(cl, "generate") && cl->n_args > 1)
		return error_set(e, ERR_ARG, "--generate makes the lines: give no LINE with it");
	m->app = flag_string(cl, "app");
	m->file = file ? arena_c(&cl->arena, str_c(file))
		       : arena_printf(&cl->arena, "/var/log/%s.log", m->app);
	if (host)
		str_copy(str_c(host), m->host, sizeof m->host);
	else
		process_hostname(m->host, sizeof m->host);
	m->rate = flag_int(cl, "rate");
	m->count = flag_int(cl, "count");
	m->next_number = (uint64_t)flag_int(cl, "first");
	m->give_up_ns = flag_int(cl, "give-up");
	m->batch_lines = (uint64_t)flag_int(cl, "batch");
	/* Ten requests a second or more, so that a rate is even. */
	if (m->rate && m->batch_lines > (uint64_t)m->rate / 10)
		m->batch_lines = m->rate < 20 ? 1 : (uint64_t)m->rate / 10;
	if (m->kind->send == loggregator_send)
		return emit_loggregator_open(&m->loggregator, cl, m->url, e);
#ifdef SAWLOG_AMQP
	if (!m->kind->path)
		return emit_amqp_open(&m->amqp, cl, m->url, is_stopped, e);
#endif
	return remote_open_url(&m->remote, cl, m->url, e);
}

static void emit_close(struct emit *m)
{
#ifdef SAWLOG_AMQP
	emit_amqp_close(m->amqp);
#endif
	emit_loggregator_close(m->loggregator);
	remote_close(m->remote);
	buf_fini(&m->body);
}

static void report(const struct emit *m)
{
	double seconds = (double)(clock_mono_ns(clock_real()) - m->start_mono) / 1e9;

	fprintf(m->cl->err, "%s %" PRIu64 " lines in %.3f s (%.0f lines/s)", m->kind->went,
		m->n_acknowledged, seconds, seconds > 0 ? (double)m->n_acknowledged / seconds : 0);
	if (m->n_retries)
		fprintf(m->cl->err, ", %" PRIu64 " retries", m->n_retries);
	if (m->n_refused)
		fprintf(m->cl->err, ", refused %" PRIu64 ": %s", m->n_refused,
			m->first_refusal.text);
	fputc('\n', m->cl->err);
}

static int exit_of(const struct emit *m)
{
	if (stopped_by)
		return stopped_by == SIGTERM ? EXIT_TERMINATED : EXIT_INTERRUPTED;
	if (m->n_refused == 0)
		return EXIT_OK;
	if (m->first_refusal.code == ERR_NET && m->n_acknowledged == 0)
		return EXIT_UNREACHABLE;
	return m->first_refusal.code == ERR_DENIED ? EXIT_AUTH : EXIT_TEMPORARY;
}

static int run(struct command_line *cl)
{
	/* Without SA_RESTART: a read of stdin ends by it.  The second one kills. */
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
	struct emit m = {.cl = cl};
	struct error e = {0};
	int r;

	if ((r = emit_open(&m, &e)) < 0) {
		emit_close(&m);
		return r == ERR_ARG ? command_usage(cl, &e) : command_fail(cl, &e);
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	m.start_mono = clock_mono_ns(clock_real());
	if (flag_bool(cl, "generate"))
		generate(&m);
	else if (cl->n_args > 1)
		from_operands(&m);
	else
		r = from_stdin(&m, &e);
	send_batch(&m);
	report(&m);
	emit_close(&m);
	return r < 0 ? command_fail(cl, &e) : exit_of(&m);
}

static const char *const forms[] = {"text", "json", "plain", "2013", "dropsonde", NULL};

static const struct flag flags[] = {
	{.name = "app",
		.kind = FLAG_STRING,
		.value = "NAME",
		.fallback = "emit",
		.help = "Label app; with batch=, the file is /var/log/NAME.log."},
	{.name = "label",
		.kind = FLAG_REPEATED,
		.value = "NAME=VALUE",
		.help = "A further label (loki=, and amqp= with --form json); may be repeated."},
	{.name = "severity",
		.kind = FLAG_STRING,
		.value = "NAME",
		.fallback = "Info",
		.help = "Severity of the lines (amqp=): Error, Info, Debug, Warn. With loggregator= "
			"lines from Error on are ERR, others OUT."},
	{.name = "exchange",
		.kind = FLAG_STRING,
		.value = "NAME",
		.fallback = "logs_exchange",
		.help = "Exchange of the messages (amqp=), a topic exchange that is declared not durable; "
			"where it is there otherwise, it is used as it is. '' is the broker's default one."},
	{.name = "routing-key",
		.kind = FLAG_STRING,
		.value = "KEY",
		.help = "Routing key of the messages (amqp=). Default: APP.SEVERITY."},
	{.name = "form",
		.kind = FLAG_CHOICE,
		.choices = forms,
		.fallback = "text",
		.help = "What a message holds (amqp=): `2024-12-18 10:00:00 APP SEVERITY LINE`, a JSON "
			"object, or the line alone; (loggregator=): 2013, which is the default there, or "
			"dropsonde."},
	{.name = "secret-file",
		.kind = FLAG_STRING,
		.value = "FILE",
		.help = "Sign messages with the secret in the first line of FILE (loggregator=)."},
	{.name = "generate",
		.kind = FLAG_BOOL,
		.help = "Make numbered lines instead of reading any, --count of them or until stopped."},
	{.name = "size",
		.kind = FLAG_INT,
		.min = 0,
		.max = EMIT_LINE_MAX,
		.fallback = "0",
		.help = "Fill generated lines up to that many bytes."},
	{.name = "count",
		.letter = 'n',
		.kind = FLAG_INT,
		.min = 0,
		.max = INT64_MAX,
		.fallback = "0",
		.help = "Stop after N lines; given LINEs are repeated in turn."},
	{.name = "rate",
		.kind = FLAG_INT,
		.min = 0,
		.max = 100000000,
		.fallback = "0",
		.help = "At most N lines a second."},
	{.name = "batch",
		.kind = FLAG_INT,
		.min = 1,
		.max = 100000,
		.fallback = "1000",
		.help = "Lines in a request."},
	{.name = "give-up",
		.kind = FLAG_DURATION,
		.fallback = "30s",
		.help = "How long a batch is tried again while the server is busy or away."},
	{.name = "host",
		.kind = FLAG_STRING,
		.value = "NAME",
		.help = "Host of the lines (batch=). Default: this one."},
	{.name = "file",
		.kind = FLAG_STRING,
		.value = "PATH",
		.help = "File of the lines (batch=)."},
	{.name = "first",
		.kind = FLAG_INT,
		.min = 0,
		.max = INT64_MAX,
		.fallback = "0",
		.help = "Number of the first line (batch=). A number sent before with another text is "
			"a new version of that line."},
	FLAG_END,
};

const struct command command_emit = {
	.name = "emit",
	.args = "KIND=URL [LINE…]",
	.summary = "send lines to a server: a test source",
	.description =
		"Sends each LINE, or the lines of standard input, to a server and says how many were "
		"acknowledged. KIND is loki (Loki's push as JSON), batch (POST /store/batch), amqp (an "
		"exchange of RabbitMQ) or loggregator (datagrams of Cloud Foundry's Loggregator, which nobody acknowledges). Bytes that are not UTF-8 become U+FFFD in JSON; sawlog forward "
		"keeps them.\n\n"
		"Messages to RabbitMQ are persistent and confirmed by the broker; one that no queue takes "
		"is tried again until --give-up. amqp://user:password@host/vhost alone is enough.\n\n"
		"A busy server (429, 503) is asked again. After a lost answer a batch is sent again, "
		"which may store it twice with loki, never with batch; with amqp it has the same message-id. Refused lines make the exit "
		"status 75.",
	.examples =
		"sawlog emit loki=http://127.0.0.1:3100 --app try 'hello'\n"
		"journalctl -f | sawlog emit loki=http://127.0.0.1:3100 --label host=web1\n"
		"sawlog emit batch=http://127.0.0.1:3100 --generate --count 100000 --size 200\n"
		"sawlog emit amqp://guest:guest@localhost:5672/ --app ServiceA --severity Error 'it broke'\n"
		"sawlog emit loggregator=udp://127.0.0.1:3456 --app 8d9f4b7c --secret-file secret 'started'\n",
	.flags = flags,
	.groups = {&access_flags},
	.min_args = 1,
	.max_args = ARGS_ANY,
	.run = run,
};
