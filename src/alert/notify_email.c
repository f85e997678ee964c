/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The notifier `email`: one mail for each message.
 *
 * Each recipient gets a transaction of its own.  A mail that some took and
 * others did not is kept and sent to the rest, under the same Message-ID, as
 * long as it says the same; when something changed meanwhile, all get the new.
 */
#include <stdlib.h>
#include <string.h>

#include "alert/notify_json.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "output/mail.h"
#include "output/mail_settings.h"
#include "record/labels.h"
#include "record/time.h"

enum { SHOWN_MAX = 100, TEXT_SHOWN = 2000 };

struct email_settings {
	struct notifier_settings common;
	struct mail_settings mail;
};

struct email {
	const struct email_settings *s;
	struct notifier_env env;
	char *from; /* a mailbox */
	struct smtp *smtp;
	/* The mail under way. */
	uint64_t text_hash; /* 0: none */
	int64_t date_ns;
	uint64_t id;
	bool *done; /* of each recipient */
	bool taken; /* by one of them */
};

/* --- the text -------------------------------------------------------------------------- */

/* A line of its own for each line of `text`, so that none of it looks like ours. */
static void put_text(struct buf *out, const char *before, struct str text)
{
	bool cut = text.n > TEXT_SHOWN;

	text = str_sub(text, 0, TEXT_SHOWN);
	do {
		struct str line = str_cut(&text, '\n');

		buf_printf(out, "  %s", before);
		for (size_t i = 0; i < line.n; i++)
			buf_char(out, (unsigned char)line.p[i] < ' ' ? ' ' : line.p[i]);
		buf_char(out, '\n');
		before = "    ";
	} while (text.p);
	if (cut)
		buf_c(out, "    … (cut)\n");
}

static void put_pairs(struct buf *out, struct str labels)
{
	struct buf name = {0};
	struct label l;

	labels_start(&labels);
	while (labels_next(&labels, &l)) {
		buf_clear(&name);
		buf_printf(&name, "%.*s: ", STR_ARG(str_sub(l.name, 0, 100)));
		put_text(out, buf_cstr(&name), l.value);
	}
	buf_fini(&name);
}

static void put_note(struct buf *out, const struct alert_note *note)
{
	const struct alert *a = note->alert;

	buf_printf(out, "%s  %.*s\n", a->state == ALERT_FIRING ? "FIRING" : "RESOLVED",
		STR_ARG(note->rule));
	put_pairs(out, a->annotations);
	buf_c(out, "  since ");
	time_format(out, a->active_ns);
	if (a->state != ALERT_FIRING) {
		buf_c(out, " until ");
		time_format(out, a->resolved_ns);
	}
	buf_printf(out, ", value %.10g\n", a->value);
	put_pairs(out, a->labels);
	put_text(out, "query: ", note->expr);
	if (note->url.n > 0)
		put_text(out, "", note->url);
	buf_char(out, '\n');
}

static void put_body(
	const struct email *m, struct buf *out, const struct alert_note *notes, size_t n)
{
	for (size_t i = 0; i < n && i < SHOWN_MAX; i++)
		put_note(out, &notes[i]);
	if (n > SHOWN_MAX)
		buf_printf(out, "and %zu more.\n\n", n - SHOWN_MAX);
	buf_printf(out, "-- \nsawlog on %s", m->env.host);
	if (m->env.external_url)
		buf_printf(out, ", %s", m->env.external_url);
	buf_char(out, '\n');
}

/* "[FIRING:2] Errors {app="billing"}": what the mail is about before what changes in it. */
static void put_subject(
	const struct email *m, struct buf *out, const struct alert_note *notes, size_t n)
{
	size_t firing = notes_firing(notes, n);

	if (firing > 0)
		buf_printf(out, "[FIRING:%zu] ", firing);
	else
		buf_printf(out, "[RESOLVED:%zu] ", n);
	if (n == 1) {
		struct labels_builder b = {0};
		struct buf rest = {0};
		struct str at = notes[0].alert->labels;
		struct label l;

		labels_start(&at);
		while (labels_next(&at, &l))
			if (!str_eq(l.name, STR("alertname")))
				labels_builder_set(&b, l.name, l.value, NULL);
		buf_printf(out, "%.*s ", STR_ARG(notes[0].rule));
		labels_builder_write(&b, &rest);
		labels_text(out, buf_view(&rest));
		labels_builder_fini(&b);
		buf_fini(&rest);
	} else {
		notify_group_text(out, &notes[0], &m->s->common);
	}
}

/* --- sending --------------------------------------------------------------------------- */

/* One mail says the same as the last that not all took: go on with it; else begin anew. */
static void begin(struct email *m, struct str subject, struct str body)
{
	struct buf both = {0};
	uint64_t hash;

	buf_str(&both, subject);
	buf_char(&both, 0);
	buf_str(&both, body);
	hash = hash_stable(buf_view(&both));
	hash += hash == 0;
	buf_fini(&both);
	if (m->text_hash == hash)
		return;
	m->text_hash = hash;
	m->date_ns = clock_now_ns(m->env.clock);
	hash_random(&m->id, sizeof m->id);
	memset(m->done, 0, m->s->mail.to.n * sizeof *m->done);
	m->taken = false;
}

/* How many recipients wait; the error is that of the last one. */
static size_t try_recipients(struct email *m, struct str message, int *code, struct error *e)
{
	struct str from = mail_address(str_c(m->from));
	size_t waiting = 0;
	bool reachable = true;
	struct error one;

	for (size_t i = 0; i < m->s->mail.to.n; i++) {
		int r;

		if (m->done[i])
			continue;
		if (!reachable) {
			waiting++;
			continue;
		}
		r = smtp_send(
			m->smtp, from, mail_address(str_c(m->s->mail.to.items[i])), message, &one);
		if (r == 0) {
			m->done[i] = m->taken = true;
		} else if (r == ERR_ARG) {
			m->done[i] = true;
			log_warn("alert", "%s: %s", m->env.name, one.text);
		} else {
			waiting++;
			reachable = r == ERR_BUSY;
		}
		if (r < 0 && (r != ERR_ARG || waiting == 0)) {
			*code = r;
			*e = one;
		}
	}
	return waiting;
}

static int send_notes(void *notifier, const struct alert_note *notes, size_t n, struct error *e)
{
	struct email *m = notifier;
	struct buf subject = {0}, body = {0}, id = {0}, message = {0};
	int r = 0;

	put_subject(m, &subject, notes, n);
	put_body(m, &body, notes, n);
	begin(m, buf_view(&subject), buf_view(&body));
	buf_printf(&id, "sawlog.alert.%016llx", (unsigned long long)m->id);
	struct mail mail = {.from = m->from,
		.to = &m->s->mail.to,
		.subject = buf_view(&subject),
		.body = buf_view(&body),
		.id = buf_view(&id),
		.host = m->env.host,
		.date_ns = m->date_ns};
	mail_put(&mail, &message);
	if (try_recipients(m, buf_view(&message), &r, e) == 0) {
		m->text_hash = 0;
		if (m->taken)
			r = 0;
	}
	buf_fini(&subject);
	buf_fini(&body);
	buf_fini(&id);
	buf_fini(&message);
	return r;
}

/* --- life ------------------------------------------------------------------------------ */

static void close_email(void *notifier)
{
	struct email *m = notifier;

	if (!m)
		return;
	smtp_free(m->smtp);
	free(m->from);
	free(m->done);
	free(m);
}

/* sawlog at this host, as far as its name is one for mails. */
static char *own_address(const char *host)
{
	struct buf text = {0};
	char *out;

	buf_printf(&text, "sawlog@%s", host);
	out = str_dup(mail_check_mailbox(buf_view(&text), NULL) == 0 ? buf_view(&text)
								     : STR("sawlog@localhost"));
	buf_fini(&text);
	return out;
}

static int open_email(
	void **out, const void *settings, const struct notifier_env *env, struct error *e)
{
	const struct email_settings *s = settings;
	struct email *m = xcalloc(1, sizeof *m);
	struct smtp_options smtp = mail_settings_smtp(&s->mail);
	int r;

	smtp.host = env->host;
	smtp.allow_private = s->common.allow_private;
	smtp.ending = env->ending;
	smtp.ending_arg = env->ending_arg;
	m->s = s;
	m->env = *env;
	m->from = s->mail.from ? xstrdup(s->mail.from) : own_address(env->host);
	m->done = xcalloc(s->mail.to.n, sizeof *m->done);
	if ((r = smtp_new(&m->smtp, &smtp, e)) < 0) {
		close_email(m);
		return r;
	}
	*out = m;
	return 0;
}

static int check(const void *settings, struct error *e)
{
	return mail_settings_check(&((const struct email_settings *)settings)->mail, e);
}

static const struct option options[] = {
	MAIL_OPTIONS(struct email_settings, mail),
	{.name = "from",
		.offset = offsetof(struct email_settings, mail.from),
		.kind = OPT_STRING,
		.check = mail_check_mailbox,
		.help = "The sender: sawlog@example.com, or Logs <sawlog@example.com>. Default: sawlog "
			"at this host."},
	NOTIFIER_OPTIONS(struct email_settings, "4h"),
	NOTIFIER_GROUPING(struct email_settings, "1m"),
	NOTIFIER_PRIVATE(struct email_settings,
		"Allow a mail server in a private or link-local address range."),
	OPTION_END,
};

const struct notifier_type notifier_email = {
	.name = "email",
	.summary = "a mail",
	.size = sizeof(struct email_settings),
	.by_group = true,
	.options = options,
	.check = check,
	.open = open_email,
	.send = send_notes,
	.close = close_email,
};
