/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/emit_amqp.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "base/memory.h"
#include "net/amqp_publisher.h"
#include "os/clock.h"
#include "record/time.h"

enum { SETTLE_MS = 1000 };
enum form { FORM_TEXT, FORM_JSON, FORM_PLAIN };

struct emit_amqp {
	struct command_line *cl;
	struct amqp_publisher_options options;
	struct amqp_publisher *publisher;
	const char *app, *severity, *key;
	int form; /* enum form */
	char run[33];
	uint64_t next; /* number of the next message */
	/* The batch: each line as its length in 4 bytes and its bytes. */
	struct buf batch;
	size_t at; /* what is before was put */
	uint64_t confirmed_before;
	bool told;
	struct buf body, id;
};

/* What a form cannot carry is refused, not left out. */
static int check_form(const struct command_line *cl, struct error *e)
{
	const char *severity = flag_string(cl, "severity");
	int form = flag_choice(cl, "form");

	if (form > FORM_PLAIN)
		return error_set(e, ERR_ARG,
			"--form: must be text, json or plain with amqp=, got \"%s\"",
			flag_string(cl, "form"));
	if (form != FORM_JSON && flag_count(cl, "label"))
		return error_set(e, ERR_ARG, "--label: only messages of --form json carry labels");
	if (form == FORM_TEXT && (!*severity || strpbrk(severity, " \t\r\n")))
		return error_set(e, ERR_ARG,
			"--severity: must be one word with --form text, got \"%s\"", severity);
	return 0;
}

int emit_amqp_open(struct emit_amqp **out, struct command_line *cl, const char *url,
	bool (*ending)(void *arg), struct error *e)
{
	const char *key = flag_string(cl, "routing-key");
	struct emit_amqp *a;
	uint64_t run[2];
	int r = amqp_check_url(str_c(url), e);

	if (r < 0)
		return error_wrap(e, r, "URL");
	if ((r = check_form(cl, e)) < 0)
		return r;
	a = xcalloc(1, sizeof *a);
	a->cl = cl;
	a->app = flag_string(cl, "app");
	a->severity = flag_string(cl, "severity");
	a->key = key ? key : arena_printf(&cl->arena, "%s.%s", a->app, a->severity);
	a->form = flag_choice(cl, "form");
	hash_random(run, sizeof run);
	snprintf(a->run, sizeof a->run, "%016" PRIx64 "%016" PRIx64, run[0], run[1]);
	a->options = (struct amqp_publisher_options){
		.link = {.url = url,
			.name = "sawlog emit",
			.tls = {.ca = flag_string(cl, "ca"),
				.cert = flag_string(cl, "cert"),
				.key = flag_string(cl, "key"),
				.insecure = flag_bool(cl, "insecure")}},
		.exchange = {.name = flag_string(cl, "exchange"), .type = "topic", .create = true},
		.ending = ending,
	};
	a->publisher = amqp_publisher_new(&a->options);
	*out = a;
	return 0;
}

void emit_amqp_close(struct emit_amqp *a)
{
	if (!a)
		return;
	amqp_publisher_free(a->publisher);
	buf_fini(&a->batch);
	buf_fini(&a->body);
	buf_fini(&a->id);
	free(a);
}

void emit_amqp_line(struct emit_amqp *a, struct str line)
{
	uint32_t n = (uint32_t)line.n;

	buf_put(&a->batch, &n, sizeof n);
	buf_str(&a->batch, line);
}

size_t emit_amqp_bytes(const struct emit_amqp *a)
{
	return a->batch.n;
}

static void put_json(struct emit_amqp *a, int64_t now, struct str line)
{
	buf_c(&a->body, "{\"timestamp\":\"");
	time_format(&a->body, now);
	buf_c(&a->body, "\",\"app\":");
	buf_json(&a->body, str_c(a->app));
	buf_c(&a->body, ",\"severity\":");
	buf_json(&a->body, str_c(a->severity));
	for (size_t i = 0; i < flag_count(a->cl, "label"); i++) {
		struct str value = str_c(flag_nth(a->cl, "label", i)), name = str_cut(&value, '=');

		buf_char(&a->body, ',');
		buf_json(&a->body, name);
		buf_char(&a->body, ':');
		buf_json(&a->body, value);
	}
	buf_c(&a->body, ",\"message\":");
	buf_json(&a->body, line);
	buf_char(&a->body, '}');
}

/* "2024-12-18 10:00:00 ServiceA Error what happened", in local time. */
static void put_text(struct emit_amqp *a, int64_t now, struct str line)
{
	char text[32];
	time_t seconds = (time_t)(now / NS_PER_SEC);
	struct tm t;

	localtime_r(&seconds, &t);
	strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &t);
	buf_printf(&a->body, "%s %s %s ", text, a->app, a->severity);
	buf_str(&a->body, line);
}

static int put_line(struct emit_amqp *a, struct str line, struct error *e)
{
	int64_t now = clock_now_ns(clock_real());
	struct amqp_outgoing m = {.key = str_c(a->key),
		.app = str_c(a->app),
		.type = a->form == FORM_JSON ? "application/json" : "text/plain",
		.time_ns = now};

	buf_clear(&a->body);
	switch ((enum form)a->form) {
	case FORM_TEXT: put_text(a, now, line); break;
	case FORM_JSON: put_json(a, now, line); break;
	case FORM_PLAIN: buf_str(&a->body, line); break;
	}
	buf_clear(&a->id);
	buf_printf(&a->id, "%s:%" PRIu64, a->run, a->next);
	m.body = buf_view(&a->body);
	m.id = buf_view(&a->id);
	return amqp_publisher_put(a->publisher, &m, e);
}

int emit_amqp_send(struct emit_amqp *a, struct error *e)
{
	const char *differs;
	uint32_t n;
	int r;

	while (a->at < a->batch.n) {
		memcpy(&n, a->batch.p + a->at, sizeof n);
		if ((r = put_line(a, str_make(a->batch.p + a->at + sizeof n, n), e)) < 0)
			return r;
		a->next++;
		a->at += sizeof n + n;
	}
	while ((r = amqp_publisher_settle(a->publisher, SETTLE_MS, e)) > 0)
		;
	differs = amqp_publisher_differs(a->publisher);
	if (differs && !a->told)
		fprintf(a->cl->err, "sawlog emit: %s; it is used as it is\n", differs);
	a->told = differs;
	return r;
}

size_t emit_amqp_finish(struct emit_amqp *a)
{
	struct amqp_publisher_stats s = amqp_publisher_stats(a->publisher);
	size_t n = (size_t)(s.confirmed - a->confirmed_before);

	a->confirmed_before = s.confirmed;
	if (s.waiting) {
		amqp_publisher_free(a->publisher);
		a->publisher = amqp_publisher_new(&a->options);
		a->confirmed_before = 0;
	}
	buf_clear(&a->batch);
	a->at = 0;
	return n;
}
