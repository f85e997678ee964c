/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `email` output: records as mails, one each or gathered.
 *
 * Design.
 *
 *   write ─► alone, when there is no digest and the rate allows it ─┐
 *        └─► digest: lines, until it is due ──► sealed ─────────────┴─► each recipient
 *
 * A sealed mail never changes again: what a server may have taken already is
 * sent once more under the same Message-ID.  For a restart in between, which
 * records it held is written down before the first try, so that the digest is
 * cut there again.  Each recipient gets a transaction of its own: one that is
 * asked to come later (greylisting) costs the others nothing.
 *
 * The cursor moves when nothing is gathered or sealed, that is when the last
 * mail was accepted.  What a flood holds beyond the limits of one mail is
 * counted in it, and lies in the store.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "output/line_format.h"
#include "output/mail.h"
#include "output/mail_settings.h"
#include "record/time.h"

enum {
	DIGEST_RECORDS_MAX = 1000,
	DIGEST_BYTES_MAX = 256 << 10,
	RATE_MAX = 100000,
};

#define HOUR_NS (3600 * NS_PER_SEC)

struct email_settings {
	struct output_settings common;
	struct line_settings line;
	struct mail_settings mail;
	const char *subject;
	int64_t digest, rate;
};

/* Records on their way into one mail. */
struct digest {
	struct buf lines, subject;
	uint64_t n, n_shown;
	uint64_t first, last; /* sequence numbers */
	int64_t from_ns, until_ns;
	int64_t began_mono;
};

enum fate { FATE_WAITS, FATE_TAKEN, FATE_REFUSED };

/* A mail that is being sent. */
struct sealed {
	bool used;
	bool alone; /* of the record that write is asked to take, and has not taken yet */
	uint64_t n, first, last;
	struct buf message;
	uint8_t *fates; /* enum fate, of each recipient */
};

struct email {
	const struct email_settings *s;
	struct output_env env;
	struct smtp *smtp;
	struct line_format *line, *subject;
	struct digest digest;
	struct sealed sealed;
	double allowed; /* mails that may be sent now */
	int64_t allowed_mono;
	/* The mail that was under way when the process ended; n is 0 for none. */
	struct attempt {
		uint64_t first, last, n;
		int64_t date_ns;
	} attempt;
	/* For the dump. */
	uint64_t n_mails, n_records, n_refused;
};

/* Rate: a bucket of so many mails that fills up within an hour. */

static void refill(struct email *m)
{
	int64_t now = clock_mono_ns(m->env.clock);

	m->allowed += (double)(now - m->allowed_mono) / (double)HOUR_NS * (double)m->s->rate;
	if (m->allowed > (double)m->s->rate)
		m->allowed = (double)m->s->rate;
	m->allowed_mono = now;
}

static bool may_send(struct email *m)
{
	if (m->s->rate == 0)
		return true;
	refill(m);
	return m->allowed >= 1;
}

/* Gathering. */

static void digest_clear(struct digest *d)
{
	buf_clear(&d->lines);
	buf_clear(&d->subject);
	d->n = d->n_shown = 0;
}

static void digest_add(struct email *m, const struct output_record *r)
{
	struct digest *d = &m->digest;
	size_t before = d->lines.n;

	if (d->n == 0) {
		d->first = r->seq;
		d->from_ns = d->until_ns = r->timestamp;
		d->began_mono = clock_mono_ns(m->env.clock);
		line_format_put(m->subject, r, &d->subject);
	}
	if (d->n_shown < DIGEST_RECORDS_MAX && d->lines.n < DIGEST_BYTES_MAX) {
		line_format_put(m->line, r, &d->lines);
		if (d->lines.n > before + DIGEST_BYTES_MAX) {
			d->lines.n = before + DIGEST_BYTES_MAX;
			buf_c(&d->lines, " … (cut)");
		}
		buf_char(&d->lines, '\n');
		d->n_shown++;
	}
	if (r->timestamp < d->from_ns)
		d->from_ns = r->timestamp;
	if (r->timestamp > d->until_ns)
		d->until_ns = r->timestamp;
	d->last = r->seq;
	d->n++;
}

/* Does the mail of the last attempt end here? */
static bool at_attempt(const struct email *m)
{
	return m->attempt.n > 0 && m->digest.n == m->attempt.n &&
	       m->digest.first == m->attempt.first && m->digest.last == m->attempt.last;
}

static bool digest_due(struct email *m)
{
	if (m->digest.n == 0)
		return false;
	if (at_attempt(m))
		return true;
	return clock_mono_ns(m->env.clock) - m->digest.began_mono >= m->s->digest && may_send(m);
}

/* Sealing. */

static void attempt_path(const struct email *m, struct buf *out)
{
	buf_printf(out, "%s/attempt", m->env.dir);
}

static int keep_attempt(struct email *m, struct error *e)
{
	struct buf path = {0}, text = {0};
	int r;

	attempt_path(m, &path);
	buf_printf(&text, "%llu %llu %llu %lld\n", (unsigned long long)m->attempt.first,
		(unsigned long long)m->attempt.last, (unsigned long long)m->attempt.n,
		(long long)m->attempt.date_ns);
	r = fs_write_all(m->env.fs, buf_cstr(&path), buf_view(&text), e);
	buf_fini(&path);
	buf_fini(&text);
	return r;
}

/* One that cannot be read is as good as none: then a mail may come twice under two names. */
static void load_attempt(struct email *m)
{
	struct buf path = {0}, text = {0};
	struct attempt a = {0};
	struct str rest;

	attempt_path(m, &path);
	if (fs_read_all(m->env.fs, buf_cstr(&path), 200, &text, NULL) == 0) {
		rest = str_trim(buf_view(&text));
		if (str_u64(str_cut(&rest, ' '), &a.first) &&
			str_u64(str_cut(&rest, ' '), &a.last) &&
			str_u64(str_cut(&rest, ' '), &a.n) && str_i64(rest, &a.date_ns))
			m->attempt = a;
	}
	buf_fini(&path);
	buf_fini(&text);
}

/* As one word for a shell. */
static void put_quoted(struct buf *out, const char *text)
{
	buf_char(out, '\'');
	for (; *text; text++) {
		if (*text == '\'')
			buf_c(out, "'\\'");
		buf_char(out, *text);
	}
	buf_char(out, '\'');
}

static void put_digest(const struct email *m, struct buf *out)
{
	const struct digest *d = &m->digest;

	if (d->n > 1) {
		buf_printf(out, "%llu records from ", (unsigned long long)d->n);
		time_format(out, d->from_ns);
		buf_c(out, " to ");
		time_format(out, d->until_ns);
		buf_c(out, ":\n\n");
	}
	buf_str(out, buf_view(&d->lines));
	if (d->n > d->n_shown) {
		buf_printf(out, "\nand %llu more, which are in the log:\n  sawlog query ",
			(unsigned long long)(d->n - d->n_shown));
		put_quoted(out, m->s->common.match);
		buf_c(out, " --from ");
		time_format(out, d->from_ns);
		buf_c(out, " --until ");
		/* The end is not within. */
		time_format(out, d->until_ns + 1);
		buf_char(out, '\n');
	}
}

/* The same records are the same mail, whenever and how often it is made. */
static void put_id(const struct email *m, struct buf *out)
{
	struct buf key = {0};

	buf_printf(&key, "%s\n%s\n%s\n", m->env.host, m->env.dir, m->env.name);
	buf_printf(out, "sawlog.%016llx.%llu.%llu", (unsigned long long)hash_stable(buf_view(&key)),
		(unsigned long long)m->attempt.first, (unsigned long long)m->attempt.last);
	buf_fini(&key);
}

static int seal(struct email *m, struct error *e)
{
	struct digest *d = &m->digest;
	struct sealed *sealed = &m->sealed;
	struct buf body = {0}, id = {0};
	int r;

	if (!at_attempt(m)) {
		m->attempt = (struct attempt){.first = d->first,
			.last = d->last,
			.n = d->n,
			.date_ns = clock_now_ns(m->env.clock)};
		if ((r = keep_attempt(m, e)) < 0) {
			m->attempt.n = 0;
			return r;
		}
	}
	if (d->n > 1)
		buf_printf(&d->subject, " (and %llu more)", (unsigned long long)(d->n - 1));
	put_digest(m, &body);
	put_id(m, &id);
	struct mail mail = {.from = m->s->mail.from,
		.to = &m->s->mail.to,
		.subject = buf_view(&d->subject),
		.body = buf_view(&body),
		.id = buf_view(&id),
		.host = m->env.host,
		.date_ns = m->attempt.date_ns};
	buf_clear(&sealed->message);
	mail_put(&mail, &sealed->message);
	memset(sealed->fates, FATE_WAITS, m->s->mail.to.n);
	sealed->used = true;
	sealed->alone = false;
	sealed->n = d->n;
	sealed->first = d->first;
	sealed->last = d->last;
	digest_clear(d);
	m->attempt.n = 0;
	m->allowed -= 1;
	buf_fini(&body);
	buf_fini(&id);
	return 0;
}

/* Sending. */

/* How many recipients wait; the error is that of the last one. */
static size_t try_recipients(struct email *m, int *code, struct error *e)
{
	struct sealed *sealed = &m->sealed;
	struct str from = mail_address(str_c(m->s->mail.from));
	size_t waiting = 0;
	bool reachable = true;
	struct error one;

	for (size_t i = 0; i < m->s->mail.to.n; i++) {
		int r;

		if (sealed->fates[i] != FATE_WAITS)
			continue;
		if (!reachable) {
			waiting++;
			continue;
		}
		r = smtp_send(m->smtp, from, mail_address(str_c(m->s->mail.to.items[i])),
			buf_view(&sealed->message), &one);
		if (r == 0) {
			sealed->fates[i] = FATE_TAKEN;
		} else if (r == ERR_ARG) {
			sealed->fates[i] = FATE_REFUSED;
			log_warn("output", "%s: %s", m->env.name, one.text);
			if (*code == 0 && e)
				*e = one;
		} else {
			waiting++;
			reachable = r == ERR_BUSY;
			*code = r;
			if (e)
				*e = one;
		}
	}
	return waiting;
}

/* 0 when the mail is off our hands; ERR_ARG when every recipient refused it; else it stays
 * sealed. */
static int deliver(struct email *m, struct error *e)
{
	struct sealed *sealed = &m->sealed;
	bool taken = false;
	int code = 0;

	if (try_recipients(m, &code, e) > 0)
		return code;
	for (size_t i = 0; i < m->s->mail.to.n; i++)
		taken |= sealed->fates[i] == FATE_TAKEN;
	sealed->used = false;
	if (taken) {
		m->n_mails++;
		m->n_records += sealed->n;
		return 0;
	}
	m->n_refused += sealed->n;
	return ERR_ARG;
}

/* A digest that is refused for good is passed by as one record would be: it is told here, as its
 * records were taken before. */
static int deliver_digest(struct email *m, struct error *e)
{
	uint64_t n = m->sealed.n, first = m->sealed.first, last = m->sealed.last;
	struct error own = {0};
	int r = deliver(m, &own);

	if (r == ERR_ARG) {
		log_error("output",
			"%s: a mail of %llu records (%llu to %llu) is refused for good and passed "
			"by: %s",
			m->env.name, (unsigned long long)n, (unsigned long long)first,
			(unsigned long long)last, own.text);
		return 0;
	}
	if (r < 0 && e)
		*e = own;
	return r;
}

/* One mail for one record: what comes of it is the answer for the record. */
static int write_alone(struct email *m, const struct output_record *r, struct error *e)
{
	int code;

	digest_add(m, r);
	if ((code = seal(m, e)) < 0) {
		digest_clear(&m->digest);
		return code;
	}
	m->sealed.alone = true;
	code = deliver(m, e);
	return code < 0 ? code : 1;
}

/* Gather up to where the last attempt ended, if these are its records: how many. */
static size_t gather(struct email *m, const struct output_record *records, size_t n)
{
	size_t i = 0;

	if (m->digest.n == 0 && records[0].seq != m->attempt.first)
		m->attempt.n = 0;
	while (i < n && !at_attempt(m))
		digest_add(m, &records[i++]);
	return i;
}

static int write_records(
	void *output, const struct output_record *records, size_t n, struct error *e)
{
	struct email *m = output;
	bool again = m->sealed.used && m->sealed.alone;
	int r;

	assert(n > 0);
	if (again && m->sealed.first == records[0].seq) {
		r = deliver(m, e);
		return r < 0 ? r : 1;
	}
	/* Somebody has set the cursor elsewhere. */
	if (again)
		m->sealed.used = false;
	if (m->sealed.used && (r = deliver_digest(m, e)) < 0)
		return r;
	if (at_attempt(m) && (r = seal(m, e)) < 0)
		return r;
	if (m->sealed.used && (r = deliver_digest(m, e)) < 0)
		return r;
	if (m->s->digest == 0 && m->digest.n == 0 &&
		(m->attempt.n <= 1 || m->attempt.first != records[0].seq) && may_send(m))
		return write_alone(m, &records[0], e);
	return (int)gather(m, records, n);
}

static int sync_mails(void *output, struct buf *state, struct error *e)
{
	struct email *m = output;
	int r;

	if (m->sealed.used && m->sealed.alone)
		return 0;
	if (m->sealed.used && (r = deliver_digest(m, e)) < 0)
		return r;
	if (digest_due(m) && ((r = seal(m, e)) < 0 || (r = deliver_digest(m, e)) < 0))
		return r;
	return m->digest.n > 0;
}

/* Life. */

static void close_output(void *output)
{
	struct email *m = output;

	if (!m)
		return;
	smtp_free(m->smtp);
	line_format_free(m->line);
	line_format_free(m->subject);
	buf_fini(&m->digest.lines);
	buf_fini(&m->digest.subject);
	buf_fini(&m->sealed.message);
	free(m->sealed.fates);
	free(m);
}

static struct line_settings subject_of(const struct email_settings *s)
{
	static const char *const defaults[] = {
		[LINE_PERCENT] = "[%(levelname)s] %(app)s on %(host)s: %(message)s",
		[LINE_BRACE] = "[{levelname}] {app} on {host}: {message}",
		[LINE_TEMPLATE] = "{{.app}} on {{.host}}: {{__line__}}",
	};

	return (struct line_settings){.format = s->subject ? s->subject : defaults[s->line.style],
		.style = s->line.style,
		.datefmt = s->line.datefmt,
		.utc = s->line.utc,
		.breaks = LINE_RAW,
		.plain = true};
}

static int open_output(void **out, const void *settings, const struct output_env *env,
	struct str state, struct error *e)
{
	const struct email_settings *s = settings;
	struct email *m = xcalloc(1, sizeof *m);
	struct line_settings subject = subject_of(s);
	struct smtp_options smtp = mail_settings_smtp(&s->mail);
	int r;

	smtp.host = env->host;
	smtp.allow_private = s->common.allow_private;
	smtp.ending = env->ending;
	smtp.ending_arg = env->ending_arg;
	m->s = s;
	m->env = *env;
	m->sealed.fates = xcalloc(s->mail.to.n, 1);
	m->allowed = (double)s->rate;
	m->allowed_mono = clock_mono_ns(env->clock);
	if ((r = line_format_new(&m->line, &s->line, e)) < 0 ||
		(r = line_format_new(&m->subject, &subject, e)) < 0 ||
		(r = smtp_new(&m->smtp, &smtp, e)) < 0) {
		close_output(m);
		return r;
	}
	load_attempt(m);
	*out = m;
	return 0;
}

static void dump(const void *output, struct buf *out)
{
	const struct email *m = output;

	buf_printf(out,
		"email: %llu mails with %llu records accepted, %llu records refused for good; %llu "
		"records gathered, %llu in a mail under way\n",
		(unsigned long long)m->n_mails, (unsigned long long)m->n_records,
		(unsigned long long)m->n_refused, (unsigned long long)m->digest.n,
		(unsigned long long)(m->sealed.used ? m->sealed.n : 0));
}

static int check(const void *settings, struct error *e)
{
	const struct email_settings *s = settings;
	struct line_settings subject = subject_of(s);
	int r;

	if ((r = mail_settings_check(&s->mail, e)) < 0)
		return r;
	if ((r = line_settings_check(&s->line, e)) < 0)
		return error_wrap(e, r, "format");
	if ((r = line_settings_check(&subject, e)) < 0)
		return error_wrap(e, r, "subject");
	return 0;
}

static const struct option options[] = {
	OUTPUT_OPTIONS(struct email_settings),
	LINE_OPTIONS(struct email_settings),
	MAIL_OPTIONS(struct email_settings, mail),
	{.name = "from",
		.offset = offsetof(struct email_settings, mail.from),
		.kind = OPT_STRING,
		.required = true,
		.check = mail_check_mailbox,
		.help = "The sender: sawlog@example.com, or Logs <sawlog@example.com>."},
	OPTION(struct email_settings, subject, .kind = OPT_STRING,
		.help = "The subject, in the style of `format` or without a field; of the first "
			"record when there are more. Default: '[%(levelname)s] %(app)s on %(host)s: %(message)s'."),
	OPTION(struct email_settings, digest, .kind = OPT_DURATION, .fallback = "0s",
		.max = 7 * 24 * HOUR_NS,
		.help = "Records of that time go in one mail; 0s: one mail each."),
	OPTION(struct email_settings, rate, .kind = OPT_INT, .fallback = "60", .max = RATE_MAX,
		.help = "Mails per hour at most, 0 for no limit. What comes beyond that is "
			"gathered, and goes in one mail when the next is allowed."),
	OPTION_END,
};

const struct output_type output_email = {
	.name = "email",
	.summary = "mails, one a record or gathered",
	.size = sizeof(struct email_settings),
	.options = options,
	.check = check,
	.open = open_output,
	.write = write_records,
	.sync = sync_mails,
	.close = close_output,
	.dump = dump,
};
