/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outputs `https` and `https-batch`: messages of RFC 5424 in the bodies of
 * POST requests.
 *
 * Design.  `https` sends one message a request, in order, and each answer tells
 * of its record; `https-batch` puts messages one behind the other into a body,
 * which goes when it has BATCH_BYTES or at the runner's sync, that is after a
 * second.  What an answer says:
 *
 *   2xx                                   delivered
 *   400 410 413 414 415 422 and the like  the message is at fault: passed by, counted, told;
 *                                         a batch is halved first when it was too large (413)
 *   401 403 404 405 407 408 421 425 429   the target, its settings or the moment are: tried
 *   3xx 5xx, no answer                    again, with backoff
 *
 * A redirect is never followed: it would lead away from the address that was
 * allowed.  A batch is the same bytes each time it is tried, as a target that
 * took one without being able to say so must be able to tell.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "net/client.h"
#include "net/loopback.h"
#include "os/secret.h"
#include "output/drains.h"
#include "output/syslog_format.h"

enum {
	BATCH_BYTES = 512 << 10,
	BATCH_RECORDS = 20000,
	ANSWER_MAX = 64 << 10,
	WORDS_MAX = 120, /* of an answer, in a sentence */
};

struct https_settings {
	struct output_settings common;
	const char *url;
	struct syslog_format_settings format;
	bool octets;
	struct client_tls_settings tls;
	const char *token_file, *proxy;
	struct string_map headers;
	int64_t timeout;
};

struct https_output {
	const struct https_settings *s;
	struct output_env env;
	bool batches;
	struct syslog_format *format;
	struct http_client *client;
	struct buf server, path, token;
	struct buf where; /* the server, for sentences */
	struct buf body;
	size_t *ends; /* of the records in `body` */
	size_t n, cap;
	uint64_t charged; /* for both */
	uint64_t refused; /* since it was last asked */
	/* `https`: what became of the record of late_seq, which was not the first of its write. */
	struct error late;
	uint64_t late_seq;
	int late_code; /* 0: nothing */
	uint64_t n_requests, n_messages;
	int64_t told_mono;
};

/* The URL: what the client connects to, and the request's target, as it was written. */
static void split(struct https_output *o)
{
	struct str url = str_c(o->s->url);
	ptrdiff_t at = str_find(url, STR("://"));
	size_t end = at < 0 ? 0 : (size_t)at + 3;
	ptrdiff_t hash = str_chr(url, '#');

	if (hash >= 0)
		url = str_sub(url, 0, (size_t)hash);
	while (end < url.n && url.p[end] != '/' && url.p[end] != '?')
		end++;
	buf_str(&o->server, str_sub(url, 0, end));
	drains_plain_url(buf_view(&o->server), &o->where);
	if (end < url.n && url.p[end] == '?')
		buf_char(&o->path, '/');
	buf_str(&o->path, str_sub(url, end, url.n));
	if (o->path.n == 0)
		buf_char(&o->path, '/');
}

static int try_client(const struct https_settings *s, const char *url, struct error *e)
{
	struct http_client *c = NULL;
	int r = http_client_new(&c,
		&(struct http_client_options){.url = url, .headers = s ? &s->headers : NULL}, e);

	http_client_free(c);
	return r;
}

static int check_url(struct str url, struct error *e)
{
	char *text = str_dup(url);
	int r;

	if (!str_starts(url, STR("https://")) && !str_starts(url, STR("http://")))
		r = error_set(e, ERR_ARG, "must be https://HOST/PATH, or http://HOST/PATH");
	else
		r = try_client(NULL, text, e);
	free(text);
	return r;
}

/* Opening. */

static void close_output(void *output)
{
	struct https_output *o = output;

	http_client_free(o->client);
	syslog_format_free(o->format);
	buf_fini(&o->server);
	buf_fini(&o->path);
	buf_fini(&o->where);
	secret_fini(&o->token);
	buf_fini(&o->body);
	free(o->ends);
	account_release(o->env.account, o->charged);
	free(o);
}

/* May the address be private?  This machine is fine where its owner names it; a name that leads to
 * it is not. */
static bool is_public_only(const struct https_settings *s, struct str server)
{
	struct str host = server;
	ptrdiff_t at;

	if (s->common.allow_private)
		return false;
	if (s->common.no_loopback)
		return true;
	host = str_sub(host, (size_t)(str_find(host, STR("://")) + 3), host.n);
	if ((at = str_chr(host, '@')) >= 0)
		host = str_sub(host, (size_t)at + 1, host.n);
	return !loopback_host_port(host) && !loopback_host(host);
}

static int new_client(struct https_output *o, struct error *e)
{
	const struct https_settings *s = o->s;
	unsigned timeout_ms = (unsigned)(s->timeout / NS_PER_MS);
	struct http_client_options options = {.url = buf_cstr(&o->server),
		.ca_file = s->tls.ca,
		.cert_file = s->tls.cert,
		.key_file = s->tls.key,
		.insecure = s->tls.insecure,
		.proxy = s->proxy,
		.headers = &s->headers,
		.public_only = is_public_only(s, buf_view(&o->server)),
		.connect_ms = timeout_ms,
		.timeout_ms = timeout_ms,
		.ending = o->env.ending,
		.ending_arg = o->env.ending_arg};
	int r = 0;

	if (s->token_file && (r = secret_read(s->token_file, &o->token, e)) < 0)
		return error_wrap(e, r == ERR_ARG ? ERR_IO : r, "token_file");
	if (s->token_file)
		options.bearer = buf_cstr(&o->token);
	r = http_client_new(&o->client, &options, e);
	return r == ERR_ARG ? ERR_NET : r;
}

static int open_kind(void **out, const void *settings, const struct output_env *env, bool batches,
	struct error *e)
{
	const struct https_settings *s = settings;
	struct https_output *o = xcalloc(1, sizeof *o);
	int r;

	o->s = s;
	o->env = *env;
	o->batches = batches;
	split(o);
	if ((r = syslog_format_new(&o->format, &s->format, env->host, true, e)) < 0 ||
		(r = new_client(o, e)) < 0) {
		close_output(o);
		return r;
	}
	*out = o;
	return 0;
}

static int open_one(void **out, const void *settings, const struct output_env *env,
	struct str state, struct error *e)
{
	return open_kind(out, settings, env, false, e);
}

static int open_batch(void **out, const void *settings, const struct output_env *env,
	struct str state, struct error *e)
{
	return open_kind(out, settings, env, true, e);
}

/* Requests. */

static bool is_about_message(int status)
{
	switch (status) {
	case 401:
	case 403:
	case 404:
	case 405:
	case 407:
	case 408:
	case 421:
	case 425:
	case 429: return false;
	default: return status >= 400 && status < 500;
	}
}

/* The target's words, in one line. */
static void put_words(char out[WORDS_MAX], struct str text)
{
	str_copy(str_trim(text), out, WORDS_MAX);
	for (char *p = out; *p; p++)
		if (*p < ' ' || *p == 127)
			*p = ' ';
}

/* 0: taken.  ERR_ARG: refused for good, ERR_LIMIT: as it is too large.  Others: try again. */
static int post(struct https_output *o, struct str body, struct error *e)
{
	struct http_answer answer;
	char words[WORDS_MAX];
	int r = http_client_call(o->client, "POST", buf_cstr(&o->path), body,
		"text/plain; charset=utf-8", NULL, ANSWER_MAX, &answer, e);

	o->n_requests++;
	/* Its status says all: one that took a message must not get it again because it is wordy.
	 */
	if (r == ERR_LIMIT && answer.status > 0)
		r = 0;
	/* Of the message, only its answer can say that. */
	if (r == ERR_LIMIT || r == ERR_ARG)
		return ERR_NET;
	if (r < 0)
		return r;
	if (answer.status < 200 || answer.status > 299) {
		put_words(words, buf_view(&answer.body));
		r = !is_about_message(answer.status) ? ERR_NET
		    : answer.status == 413           ? ERR_LIMIT
						     : ERR_ARG;
		error_set(e, r, "%.*s: answered %d%s%s%s", STR_ARG(buf_view(&o->where)),
			answer.status,
			answer.status >= 300 && answer.status < 400
				? ", and redirects are not followed"
				: "",
			*words ? ": " : "", words);
	}
	http_answer_fini(&answer);
	return r;
}

/* Append the messages of a record. */
static void put_record(struct https_output *o, const struct output_record *r, struct buf *out)
{
	size_t n = syslog_format_make(o->format, r);

	for (size_t i = 0; i < n; i++) {
		struct str message = syslog_format_message(o->format, i);

		if (o->s->octets)
			buf_printf(out, "%zu ", message.n);
		buf_str(out, message);
	}
	o->n_messages += n;
}

/* Charge what is held.  There may be hundreds of these: none that waits for records keeps memory.
 */
static void settle(struct https_output *o)
{
	uint64_t held;

	if (o->n == 0) {
		buf_fini(&o->body);
		free(o->ends);
		o->ends = NULL;
		o->cap = 0;
	}
	held = o->body.cap + o->cap * sizeof *o->ends;
	if (held > o->charged)
		account_force(o->env.account, held - o->charged);
	else
		account_release(o->env.account, o->charged - held);
	o->charged = held;
}

/* One message a request. */

static int write_one(void *output, const struct output_record *records, size_t n, struct error *e)
{
	struct https_output *o = output;
	size_t done = 0;
	int r = o->late_code;

	/* It was asked already: not again at once. */
	o->late_code = 0;
	if (r < 0 && records[0].seq == o->late_seq) {
		*e = o->late;
		return r;
	}
	r = 0;
	while (done < n && !o->env.ending(o->env.ending_arg)) {
		buf_clear(&o->body);
		put_record(o, &records[done], &o->body);
		if (o->body.n > 0 && (r = post(o, buf_view(&o->body), e)) < 0)
			break;
		done++;
	}
	settle(o);
	if (done > 0 && r < 0) {
		o->late = *e;
		o->late_seq = records[done].seq;
		o->late_code = r;
	}
	if (done > 0)
		return (int)done;
	return r < 0 ? r : error_set(e, ERR_CANCELLED, "the end has come first");
}

static int sync_one(void *output, struct buf *state, struct error *e)
{
	return 0; /* what was taken was answered */
}

/* Batches. */

static void refuse(struct https_output *o, size_t n, const struct error *e)
{
	int64_t now = clock_mono_ns(o->env.clock);

	o->refused += n;
	if (o->told_mono == 0 || now - o->told_mono > 60 * NS_PER_SEC) {
		log_warn("output", "%s: %zu records are passed by: %s", o->env.name, n, e->text);
		o->told_mono = now;
	}
}

static struct str batch_text(const struct https_output *o, size_t from, size_t to)
{
	return str_sub(buf_view(&o->body), from ? o->ends[from - 1] : 0, o->ends[to - 1]);
}

static void batch_shift(struct https_output *o, size_t n)
{
	size_t bytes = o->ends[n - 1];

	for (size_t i = n; i < o->n; i++)
		o->ends[i - n] = o->ends[i] - bytes;
	o->n -= n;
	buf_shift(&o->body, bytes);
}

/* Send what is gathered.  One that is too large is sent in halves, as long as that is what is said
 * of it. */
static int flush(struct https_output *o, struct error *e)
{
	size_t n = o->n;
	int r;

	while (o->n > 0) {
		if (n > o->n)
			n = o->n;
		r = post(o, batch_text(o, 0, n), e);
		if (r == ERR_LIMIT && n > 1) {
			n = (n + 1) / 2;
			continue;
		}
		if (r < 0 && r != ERR_LIMIT && r != ERR_ARG)
			return r;
		if (r < 0)
			refuse(o, n, e);
		batch_shift(o, n);
	}
	return 0;
}

static int write_batch(void *output, const struct output_record *records, size_t n, struct error *e)
{
	struct https_output *o = output;
	size_t done = 0;
	int r;

	if (o->body.n >= BATCH_BYTES || o->n == BATCH_RECORDS)
		if ((r = flush(o, e)) < 0)
			return r;
	while (done < n && o->n < BATCH_RECORDS) {
		size_t before = o->body.n;

		put_record(o, &records[done], &o->body);
		/* Within the size, unless it is one alone. */
		if (o->body.n > BATCH_BYTES && o->n > 0) {
			o->body.n = before;
			if (done > 0)
				break;
			if ((r = flush(o, e)) < 0)
				return r;
			continue;
		}
		if (o->n == o->cap) {
			o->cap = o->cap ? 2 * o->cap : 256;
			o->ends = xrealloc(o->ends, o->cap * sizeof *o->ends);
		}
		o->ends[o->n++] = o->body.n;
		done++;
	}
	settle(o);
	return (int)done;
}

static int sync_batch(void *output, struct buf *state, struct error *e)
{
	int r = flush(output, e);

	settle(output);
	return r;
}

static uint64_t take_refused(void *output)
{
	struct https_output *o = output;
	uint64_t n = o->refused;

	o->refused = 0;
	return n;
}

/* Both. */

static void dump(const void *output, struct buf *out)
{
	const struct https_output *o = output;

	buf_printf(out,
		"    %" PRIu64 " messages in %" PRIu64 " requests since it was opened, %zu records "
		"waiting\n",
		o->n_messages, o->n_requests, o->n);
}

static int check(const void *settings, struct error *e)
{
	const struct https_settings *s = settings;
	int r;

	if ((r = client_tls_check(&s->tls, e)) < 0)
		return r;
	if ((r = try_client(s, s->url, e)) < 0)
		return error_wrap(e, r, "url");
	return 0;
}

static const struct option options[] = {
	OUTPUT_OPTIONS(struct https_settings),
	OPTION(struct https_settings, url, .kind = OPT_STRING, .required = true, .secret = true,
		.check = check_url,
		.help = "Where to: https://HOST/PATH; user and password in it are sent as Basic "
			"authentication."),
	SYSLOG_FORMAT_OPTIONS(struct https_settings, "rfc5424"),
	OPTION(struct https_settings, octets, .kind = OPT_BOOL, .fallback = "false",
		.help = "Put the length before each message, as over TCP."),
	OPTION(struct https_settings, tls, .kind = OPT_OBJECT, .fields = client_tls_options,
		.help = "For https://."),
	OPTION(struct https_settings, token_file, .kind = OPT_PATH,
		.help = "File with a token that is sent as `Authorization: Bearer`."),
	OPTION(struct https_settings, headers, .kind = OPT_MAP, .secret = true,
		.help = "More headers."),
	OPTION(struct https_settings, proxy, .kind = OPT_STRING, .secret = true,
		.help = "URL of a proxy. Default: by https_proxy and no_proxy, where private "
			"targets are allowed; else none."),
	OPTION(struct https_settings, timeout, .kind = OPT_DURATION, .fallback = "10s",
		.min = 100 * NS_PER_MS, .max = 300 * NS_PER_SEC,
		.help = "A request that takes longer is given up, and tried again."),
	OPTION_END,
};

const struct output_type output_https = {
	.name = "https",
	.summary = "messages of RFC 5424, each in an HTTP request",
	.size = sizeof(struct https_settings),
	.options = options,
	.check = check,
	.open = open_one,
	.write = write_one,
	.sync = sync_one,
	.close = close_output,
	.dump = dump,
};

const struct output_type output_https_batch = {
	.name = "https-batch",
	.summary = "messages of RFC 5424, many in an HTTP request",
	.size = sizeof(struct https_settings),
	.options = options,
	.check = check,
	.open = open_batch,
	.write = write_batch,
	.sync = sync_batch,
	.refused = take_refused,
	.close = close_output,
	.dump = dump,
};
