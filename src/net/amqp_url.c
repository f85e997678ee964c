/* SPDX-License-Identifier: Apache-2.0 */
#include "net/amqp.h"
#include "net/url.h"

enum { PORT_MAX = 65535, HEARTBEAT_MAX = 65535, HOST_MAX = 255, NAME_MAX_BYTES = 255 };

/* One part of the URL, decoded.  A zero byte would cut what librabbitmq sends. */
static int decoded(const char **out, struct str raw, const char *what, size_t limit,
	struct arena *a, struct error *e)
{
	struct buf text = {0};
	/* Without the decoder's sentence, which quotes: this may be the password. */
	int r = url_decode(&text, raw, false, NULL);

	if (r < 0 || (text.n && memchr(text.p, 0, text.n)))
		r = error_set(
			e, ERR_ARG, "the %s is badly percent-encoded: write %% as %%25", what);
	else if (text.n > limit)
		r = error_set(e, ERR_ARG, "the %s is longer than %zu bytes", what, limit);
	else
		*out = arena_c(a, buf_view(&text));
	if (text.p)
		explicit_bzero(text.p, text.n);
	buf_fini(&text);
	return r;
}

static int read_user(struct amqp_url *out, struct str text, struct arena *a, struct error *e)
{
	struct str user = str_cut(&text, ':');
	int r;

	if ((r = decoded(&out->user, user, "user", NAME_MAX_BYTES, a, e)) < 0)
		return r;
	return text.p ? decoded(&out->password, text, "password", AMQP_URL_MAX, a, e) : 0;
}

static int read_host(struct amqp_url *out, struct str text, struct arena *a, struct error *e)
{
	struct str host = text, port = STR_NONE;
	ptrdiff_t colon;
	uint64_t number;

	if (text.n && text.p[0] == '[') {
		ptrdiff_t end = str_chr(text, ']');

		if (end < 0)
			return error_set(e, ERR_ARG, "the host begins with '[' and has no ']'");
		host = str_sub(text, 1, (size_t)end);
		text = str_sub(text, (size_t)end + 1, text.n);
		if (text.n && text.p[0] != ':')
			return error_set(e, ERR_ARG, "behind the ']' of the host comes ':port'");
		if (text.n)
			port = str_sub(text, 1, text.n);
	} else if ((colon = str_chr(text, ':')) >= 0) {
		host = str_sub(text, 0, (size_t)colon);
		port = str_sub(text, (size_t)colon + 1, text.n);
	}
	if (port.n) {
		if (!str_u64(port, &number) || number < 1 || number > PORT_MAX)
			return error_set(e, ERR_ARG, "the port must be 1 to %d", PORT_MAX);
		out->port = (int)number;
	}
	return host.n ? decoded(&out->host, host, "host", HOST_MAX, a, e) : 0;
}

static bool is_one_of(struct str name, const char *const *list)
{
	for (; *list; list++)
		if (str_eq_c(name, *list))
			return true;
	return false;
}

static int read_parameter(struct amqp_url *out, struct str name, struct str value, struct error *e)
{
	/* What pika, amqplib and RabbitMQ's own clients have, and what means nothing here. */
	static const char *const foreign[] = {"auth_mechanism", "backpressure_detection",
		"blocked_connection_timeout", "channel_max", "client_properties",
		"connection_attempts", "connection_timeout", "frame_max", "locale", "retry_delay",
		"socket_timeout", "stack_timeout", "tcp_options", "channelMax", "frameMax", NULL};
	static const char *const tls[] = {"cacertfile", "certfile", "keyfile", "verify",
		"fail_if_no_peer_cert", "password", "server_name_indication", "ssl_options", NULL};
	uint64_t number;

	if (str_eq(name, STR("heartbeat"))) {
		if (!str_u64(value, &number) || number > HEARTBEAT_MAX)
			return error_set(
				e, ERR_ARG, "heartbeat must be 0 to %d seconds", HEARTBEAT_MAX);
		out->heartbeat_s = (int64_t)number;
		return 0;
	}
	if (is_one_of(name, foreign))
		return 0;
	if (is_one_of(name, tls))
		return error_set(e, ERR_ARG,
			"%.*s does not go in the URL: say it in `tls: {ca, cert, key}`",
			STR_ARG(name));
	return error_set(e, ERR_ARG, "there is no parameter %.*s; heartbeat is one",
		(int)(name.n < 40 ? name.n : 40), name.p ? name.p : "");
}

int amqp_url_parse(struct amqp_url *out, struct str text, struct arena *a, struct error *e)
{
	struct str query = text, path, authority;
	ptrdiff_t at;
	int r;

	*out = (struct amqp_url){.host = "localhost",
		.user = "guest",
		.password = "guest",
		.vhost = "/",
		.port = 5672,
		.heartbeat_s = -1};
	if (text.n > AMQP_URL_MAX)
		return error_set(e, ERR_ARG, "is longer than %d bytes", AMQP_URL_MAX);
	path = str_cut(&query, '?');
	if (str_starts(path, STR("amqps://"))) {
		out->tls = true;
		out->port = 5671;
	} else if (!str_starts(path, STR("amqp://"))) {
		return error_set(e, ERR_ARG,
			"must be the URL of a broker: amqp://user:password@host:port/vhost, or "
			"amqps:// with TLS");
	}
	path = str_sub(path, out->tls ? 8 : 7, path.n);
	authority = str_cut(&path, '/');
	if ((at = str_chr(authority, '@')) >= 0) {
		if ((r = read_user(out, str_sub(authority, 0, (size_t)at), a, e)) < 0)
			return r;
		authority = str_sub(authority, (size_t)at + 1, authority.n);
	}
	if (str_chr(authority, '@') >= 0)
		return error_set(e, ERR_ARG, "an '@' in user or password is written %%40");
	if ((r = read_host(out, authority, a, e)) < 0)
		return r;
	if (path.n && (r = decoded(&out->vhost, path, "vhost", NAME_MAX_BYTES, a, e)) < 0)
		return r;
	while (query.n) {
		struct str value = str_cut(&query, '&'), name = str_cut(&value, '=');

		if (name.n && (r = read_parameter(out, name, value, e)) < 0)
			return r;
	}
	return 0;
}

int amqp_check_url(struct str text, struct error *e)
{
	struct amqp_url url;
	struct arena a;
	int r;

	arena_init(&a, NULL);
	r = amqp_url_parse(&url, text, &a, e);
	arena_fini(&a);
	return r;
}
