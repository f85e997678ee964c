/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The notifier `stream`: each alert as a record of the stream {app="alerts"},
 * where it can be searched, followed and sent on like any other:
 *
 *   firing alertname=Errors value=12 summary="..." labels="{app=\"billing\"}"
 *
 * with the alert's labels as metadata label_<name>.  Its severity is warn when
 * it fires and info when it is over: no rule that counts errors counts its own
 * alerts.
 */
#include <stdlib.h>

#include "alert/notify_json.h"
#include "base/lock.h"
#include "base/memory.h"
#include "record/labels.h"
#include "record/severity.h"
#include "record/sink.h"

enum { WAIT_MS = 200, VALUE_SHOWN = 4096 };

struct stream_settings {
	struct notifier_settings common;
	const char *app;
};

/* Shared with the sink's thread: who is last frees it, as the wait may be given up. */
struct commit {
	struct lock lock;
	struct cond done;
	int refs;
	bool is_done;
	struct sink_result result;
};

struct stream_notifier {
	const struct stream_settings *s;
	struct notifier_env env;
};

/* --- records --------------------------------------------------------------------------- */

/* A value of logfmt, quoted where it must be. */
static void put_value(struct buf *out, struct str value)
{
	bool plain = value.n > 0;

	value = str_sub(value, 0, VALUE_SHOWN);
	for (size_t i = 0; i < value.n && plain; i++) {
		unsigned char c = (unsigned char)value.p[i];

		plain = c > ' ' && c < 127 && c != '"' && c != '=' && c != '\\';
	}
	if (plain)
		buf_str(out, value);
	else
		buf_json(out, value);
}

static void put_pair(struct buf *out, const char *name, struct str value)
{
	buf_printf(out, " %s=", name);
	put_value(out, value);
}

static void put_line(struct buf *out, const struct alert_note *note)
{
	const struct alert *a = note->alert;
	struct str at = a->annotations;
	struct buf labels = {0};
	struct label l;

	buf_c(out, alert_states[a->state]);
	put_pair(out, "alertname", note->rule);
	buf_printf(out, " value=%.10g", a->value);
	labels_start(&at);
	while (labels_next(&at, &l))
		if (label_name_valid(l.name)) {
			buf_printf(out, " %.*s=", STR_ARG(l.name));
			put_value(out, l.value);
		}
	labels_text(&labels, a->labels);
	put_pair(out, "labels", buf_view(&labels));
	buf_fini(&labels);
}

static void put_meta(struct buf *out, const struct alert_note *note)
{
	struct labels_builder b = {.names_free = true};
	struct str at = note->alert->labels;
	struct buf text = {0};
	struct label l;

	labels_start(&at);
	while (labels_next(&at, &l)) {
		buf_clear(&text);
		buf_printf(&text, "label_%.*s", STR_ARG(l.name));
		labels_builder_set(&b, buf_view(&text), l.value, NULL);
	}
	labels_builder_set(&b, STR("alertname"), note->rule, NULL);
	labels_builder_set(&b, STR("state"), str_c(alert_states[note->alert->state]), NULL);
	labels_builder_set(&b, STR("rule_group"), note->group, NULL);
	labels_builder_set(&b, STR("rule_namespace"), note->space, NULL);
	buf_clear(&text);
	buf_printf(&text, "%.17g", note->alert->value);
	labels_builder_set(&b, STR("value"), buf_view(&text), NULL);
	labels_builder_write(&b, out);
	labels_builder_fini(&b);
	buf_fini(&text);
}

static int add_note(const struct stream_notifier *s, struct batch_builder *b,
	const struct alert_note *note, int64_t now_ns, struct error *e)
{
	struct str names[] = {STR("app"), STR("host"), STR("input")},
		   values[] = {str_c(s->s->app), str_c(s->env.host), STR("alert")};
	struct buf labels = {0}, line = {0}, meta = {0};
	struct record r;
	int code;

	labels_write(&labels, names, values, 3);
	put_line(&line, note);
	put_meta(&meta, note);
	r = (struct record){.timestamp = now_ns,
		.body = buf_view(&line),
		.meta = buf_view(&meta),
		.stream = batch_builder_stream(b, buf_view(&labels)),
		.severity = note->alert->state == ALERT_FIRING ? SEV_WARN : SEV_INFO};
	code = batch_builder_add(b, &r, e);
	buf_fini(&labels);
	buf_fini(&line);
	buf_fini(&meta);
	return code;
}

/* --- committing ------------------------------------------------------------------------ */

static void drop(struct commit *c)
{
	bool last;

	lock_take(&c->lock);
	last = --c->refs == 0;
	lock_drop(&c->lock);
	if (!last)
		return;
	lock_fini(&c->lock);
	cond_fini(&c->done);
	free(c);
}

static void committed(void *arg, const struct sink_result *result)
{
	struct commit *c = arg;

	lock_take(&c->lock);
	c->result = *result;
	c->is_done = true;
	cond_signal(&c->done);
	lock_drop(&c->lock);
	drop(c);
}

static bool is_ending(const struct stream_notifier *s)
{
	return s->env.ending && s->env.ending(s->env.ending_arg);
}

static int wait_for(const struct stream_notifier *s, struct commit *c, struct error *e)
{
	int r;

	lock_take(&c->lock);
	while (!c->is_done && !is_ending(s))
		cond_wait_for(&c->done, &c->lock, WAIT_MS * NS_PER_MS);
	if (!c->is_done) {
		r = error_set(e, ERR_CANCELLED, "given up, as the process ends");
	} else if ((r = c->result.code) < 0) {
		*e = c->result.error;
		if (r == ERR_DENIED)
			/* Trying again helps as little. */
			r = ERR_ARG;
	}
	lock_drop(&c->lock);
	return r;
}

/* Takes the batch's reference.  What is not taken now is tried again, as all that fails. */
static int commit(const struct stream_notifier *s, struct batch *b, struct error *e)
{
	struct commit *c = xcalloc(1, sizeof *c);
	int r;

	lock_init(&c->lock);
	cond_init(&c->done);
	c->refs = 2;
	if ((r = sink_submit(s->env.sink, b, committed, c, e)) < 0) {
		batch_unref(b);
		drop(c);
	} else {
		r = wait_for(s, c, e);
	}
	drop(c);
	return r;
}

static int send_notes(void *notifier, const struct alert_note *notes, size_t n, struct error *e)
{
	struct stream_notifier *s = notifier;
	int64_t now = clock_now_ns(s->env.clock);
	struct batch_builder *b = batch_builder_new(notes[0].tenant, STR("alert"), now);
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = add_note(s, b, &notes[i], now, e);
	if (r == 0)
		r = commit(s, batch_builder_finish(b, now), e);
	batch_builder_free(b);
	return r;
}

/* --- life ------------------------------------------------------------------------------ */

static int open_stream(
	void **out, const void *settings, const struct notifier_env *env, struct error *e)
{
	struct stream_notifier *s;

	if (!env->sink)
		return error_set(e, ERR_UNSUPPORTED, "there is no store to keep records in");
	s = xcalloc(1, sizeof *s);
	s->s = settings;
	s->env = *env;
	*out = s;
	return 0;
}

static const struct option options[] = {
	OPTION(struct stream_settings, app, .kind = OPT_STRING, .fallback = "alerts",
		.help = "The label `app` of the records."),
	NOTIFIER_OPTIONS(struct stream_settings, "4h"),
	OPTION_END,
};

const struct notifier_type notifier_stream = {
	.name = "stream",
	.summary = "records of a stream of alerts, in the store",
	.size = sizeof(struct stream_settings),
	.options = options,
	.open = open_stream,
	.send = send_notes,
	.close = free,
};
