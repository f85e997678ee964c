/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `syslog` output: messages of RFC 5424 over TCP, TLS or UDP.
 *
 * Design.
 *
 *   record ─► message ─► out (bytes) ─► socket ─► the peer's system ─► its program
 *             write                     sync: has it every byte?       nobody tells
 *
 * Over a stream each message has its length before it (RFC 6587, 3.4.1).  The
 * protocol has no acknowledgement, so the place in the log stays one sync (a
 * second) behind what the peer's system has taken: what a peer had not read
 * when it died is sent again.  The price is that this last second may come
 * twice after a broken connection; never that it is missing.  At an orderly end
 * we close first and wait for the peer to close as well: then it has read all,
 * and nothing comes twice.
 *
 * A connection that breaks is told to the runner as ERR_GAP, which begins anew
 * at the place.  One that broke while nothing was on its way is made anew at
 * the next record, and nobody is told: many a peer closes what is quiet.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "output/syslog_format.h"
#include "output/syslog_link.h"

enum {
	OUT_BYTES = 128 << 10, /* gathered before they are pushed */
	PUSH_MS = 1000,
	SETTLE_MS = 1000,
	FINISH_MS = 1000,
	STALL_S = 30, /* a peer that takes nothing for so long is left */
	DATAGRAM_TEXT = 60 << 10,
};

struct syslog_settings {
	struct output_settings common;
	const char *url;
	struct syslog_format_settings format;
	struct client_tls_settings tls;
	int64_t connect_timeout;
};

struct syslog_output {
	const struct syslog_settings *s;
	struct output_env env;
	struct syslog_format_settings format_settings;
	struct syslog_format *format;
	struct syslog_url url;
	struct syslog_link_options options;
	struct syslog_link *link;
	struct buf out;
	uint64_t taken_seq;   /* of the last record that was written */
	uint64_t marked_seq;  /* the same when the last sync went well */
	uint64_t settled_seq; /* and when the one before did; UINT64_MAX: nothing is on its way */
	int64_t moved_mono;   /* when bytes went last */
	uint64_t n_messages, n_bytes;
};

static void close_output(void *output)
{
	struct syslog_output *o = output;

	syslog_link_close(o->link);
	syslog_format_free(o->format);
	syslog_url_fini(&o->url);
	buf_fini(&o->out);
	free(o);
}

static int open_output(void **out, const void *settings, const struct output_env *env,
	struct str state, struct error *e)
{
	const struct syslog_settings *s = settings;
	struct syslog_output *o = xcalloc(1, sizeof *o);
	int r;

	o->s = s;
	o->env = *env;
	o->format_settings = s->format;
	if ((r = syslog_url_parse(&o->url, str_c(s->url), e)) < 0)
		goto fail;
	if (o->url.scheme == SYSLOG_UDP &&
		(s->format.max_message == 0 || s->format.max_message > DATAGRAM_TEXT))
		o->format_settings.max_message = DATAGRAM_TEXT;
	o->options = (struct syslog_link_options){.url = &o->url,
		.tls = &s->tls,
		.no_private = !s->common.allow_private,
		.no_loopback = s->common.no_loopback && !s->common.allow_private,
		.connect_ms = (unsigned)(s->connect_timeout / NS_PER_MS),
		.ending = env->ending,
		.ending_arg = env->ending_arg};
	if ((r = syslog_format_new(&o->format, &o->format_settings, env->host, false, e)) < 0 ||
		(r = syslog_link_open(&o->link, &o->options, e)) < 0)
		goto fail;
	o->moved_mono = clock_mono_ns(env->clock);
	o->settled_seq = UINT64_MAX;
	*out = o;
	return 0;
fail:
	close_output(o);
	return r;
}

/* Over a stream: what was taken and has not arrived is to come again. */
static int gap(int code)
{
	return code < 0 ? ERR_GAP : code;
}

/* Push what is gathered; ERR_GAP when the peer takes nothing any more. */
static int push(struct syslog_output *o, unsigned ms, struct error *e)
{
	int64_t now;
	size_t before = o->out.n;
	int r = syslog_link_push(o->link, &o->out, ms, e);

	if (r < 0)
		return gap(r);
	now = clock_mono_ns(o->env.clock);
	o->n_bytes += before - o->out.n;
	if (o->out.n < before || before == 0)
		o->moved_mono = now;
	else if (now - o->moved_mono > STALL_S * NS_PER_SEC)
		return error_set(
			e, ERR_GAP, "%s: it has taken nothing for %d s", o->url.where, STALL_S);
	return 0;
}

/* A new connection for one that ended while nothing was on its way. */
static int renew(struct syslog_output *o, struct error *e)
{
	bool settled = o->out.n == 0 && o->settled_seq == UINT64_MAX;

	if (!settled || syslog_link_alive(o->link))
		return 0;
	syslog_link_close(o->link);
	o->link = NULL;
	return gap(syslog_link_open(&o->link, &o->options, e));
}

static int write_stream(
	struct syslog_output *o, const struct output_record *records, size_t n, struct error *e)
{
	size_t done = 0;
	int r;

	if ((r = renew(o, e)) < 0)
		return r;
	o->settled_seq = o->settled_seq == UINT64_MAX ? o->taken_seq : o->settled_seq;
	/* What the peer has not taken yet comes first: no more is gathered meanwhile. */
	while (o->out.n >= OUT_BYTES)
		if (o->env.ending(o->env.ending_arg))
			return error_set(e, ERR_GAP, "%s: the end has come first", o->url.where);
		else if ((r = push(o, PUSH_MS, e)) < 0)
			return r;
	while (done < n && o->out.n < OUT_BYTES) {
		size_t messages = syslog_format_make(o->format, &records[done]);

		for (size_t i = 0; i < messages; i++) {
			struct str message = syslog_format_message(o->format, i);

			buf_u64(&o->out, message.n);
			buf_char(&o->out, ' ');
			buf_str(&o->out, message);
		}
		o->n_messages += messages;
		o->taken_seq = records[done++].seq;
	}
	r = push(o, PUSH_MS, e);
	return r < 0 ? r : (int)done;
}

static int write_datagrams(
	struct syslog_output *o, const struct output_record *records, size_t n, struct error *e)
{
	size_t done = 0;
	int r = 0;

	for (; done < n; done++) {
		size_t messages = syslog_format_make(o->format, &records[done]);

		for (size_t i = 0; i < messages && r == 0; i++)
			r = syslog_link_datagram(o->link, syslog_format_message(o->format, i), e);
		if (r < 0)
			break;
		o->n_messages += messages;
		o->taken_seq = records[done].seq;
	}
	return done > 0 ? (int)done : r;
}

static int write_records(
	void *output, const struct output_record *records, size_t n, struct error *e)
{
	struct syslog_output *o = output;

	return o->url.scheme == SYSLOG_UDP ? write_datagrams(o, records, n, e)
					   : write_stream(o, records, n, e);
}

/* The end: everything out, and the peer's word that it has read it. */
static int finish(struct syslog_output *o, struct error *e)
{
	int r = syslog_link_push(o->link, &o->out, FINISH_MS, e);

	if (r < 0)
		return gap(r);
	if (o->out.n > 0)
		return 1;
	if ((r = syslog_link_finish(o->link, FINISH_MS, e)) < 0)
		return gap(r);
	/* One that keeps the connection open has said nothing: then it is as at any other time. */
	if (r == 0)
		o->settled_seq = UINT64_MAX;
	return 0;
}

static int sync_output(void *output, struct buf *state, struct error *e)
{
	struct syslog_output *o = output;
	int r;

	if (o->url.scheme == SYSLOG_UDP) {
		o->settled_seq = UINT64_MAX;
		return 0;
	}
	if (o->env.ending(o->env.ending_arg))
		return finish(o, e);
	if ((r = push(o, PUSH_MS, e)) < 0)
		return r;
	if (o->out.n > 0)
		return 1;
	if ((r = syslog_link_settle(o->link, SETTLE_MS, e)) != 0)
		return gap(r);
	o->settled_seq = o->marked_seq == o->taken_seq ? UINT64_MAX : o->marked_seq;
	o->marked_seq = o->taken_seq;
	return 0;
}

static uint64_t settled(const void *output)
{
	return ((const struct syslog_output *)output)->settled_seq;
}

static void dump(const void *output, struct buf *out)
{
	const struct syslog_output *o = output;

	buf_printf(out,
		"    %s: %" PRIu64 " messages, %" PRIu64 " bytes sent since it is connected, %zu "
		"bytes waiting\n",
		o->url.where, o->n_messages, o->n_bytes, o->out.n);
}

static int check(const void *settings, struct error *e)
{
	const struct syslog_settings *s = settings;
	struct syslog_url u;
	enum syslog_scheme scheme;
	int r = syslog_url_parse(&u, str_c(s->url), e);

	if (r < 0)
		return error_wrap(e, r, "url");
	scheme = u.scheme;
	syslog_url_fini(&u);
	if (scheme != SYSLOG_TLS && (s->tls.ca || s->tls.cert || s->tls.key || s->tls.insecure))
		return error_set(e, ERR_ARG, "tls: it is for syslog-tls:// alone");
	return client_tls_check(&s->tls, e);
}

static const struct option options[] = {
	OUTPUT_OPTIONS(struct syslog_settings),
	OPTION(struct syslog_settings, url, .kind = OPT_STRING, .required = true,
		.check = syslog_check_url,
		.help = "The server: syslog://HOST:514 (TCP), syslog-tls://HOST:6514 or "
			"syslog-udp://HOST:514."),
	SYSLOG_FORMAT_OPTIONS(struct syslog_settings, "rfc5424"),
	OPTION(struct syslog_settings, tls, .kind = OPT_OBJECT, .fields = client_tls_options,
		.help = "For syslog-tls://."),
	OPTION(struct syslog_settings, connect_timeout, .kind = OPT_DURATION, .fallback = "10s",
		.min = 100 * NS_PER_MS, .max = 300 * NS_PER_SEC,
		.help = "A connection that takes longer is given up."),
	OPTION_END,
};

const struct output_type output_syslog = {
	.name = "syslog",
	.summary = "messages of RFC 5424 over TCP, TLS or UDP",
	.size = sizeof(struct syslog_settings),
	.options = options,
	.check = check,
	.open = open_output,
	.write = write_records,
	.sync = sync_output,
	.settled = settled,
	.close = close_output,
	.dump = dump,
};
