/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/emit_loggregator.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/secret.h"
#include "proto/loggregator.h"
#include "record/severity.h"

enum {
	SEND_MAX = 64,    /* datagrams at a time */
	TEXT_MAX = 65000, /* what a datagram has room for beside the rest of a message */
};

struct emit_loggregator {
	struct command_line *cl;
	struct loggregator_secret secret;
	struct buf secret_text;
	const char *app, *url;
	bool err, dropsonde;
	int fd;
	struct buf bytes, message, signed_message; /* bytes: of the batch */
	uint32_t *lengths;                         /* of its datagrams; 0: a line left out */
	size_t n, cap, n_sent, at;                 /* `at` in bytes */
};

/* "udp://host:port" */
static int connect_to(struct emit_loggregator *l, struct error *e)
{
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *list;
	struct str rest = str_c(l->url), scheme = STR("udp://"), host;
	char name[256], port[16];
	size_t colon;
	int r;

	if (str_starts(rest, scheme))
		rest = str_sub(rest, scheme.n, rest.n);
	if (str_find(rest, STR("://")) >= 0)
		rest = STR_NONE;
	for (colon = rest.n; colon > 0 && rest.p[colon - 1] != ':'; colon--)
		;
	host = str_sub(rest, 0, colon ? colon - 1 : 0);
	if (host.n > 1 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = str_sub(host, 1, host.n - 1);
	if (host.n == 0 || host.n >= sizeof name || rest.n - colon >= sizeof port ||
		rest.n == colon)
		return error_set(e, ERR_ARG, "\"%s\": must be loggregator=udp://HOST:PORT", l->url);
	str_copy(host, name, sizeof name);
	str_copy(str_sub(rest, colon, rest.n), port, sizeof port);
	if ((r = getaddrinfo(name, port, &hints, &list)) != 0)
		return error_set(e, ERR_NET, "%s: %s", l->url, gai_strerror(r));
	l->fd = socket(list->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	r = l->fd < 0 ? -1 : connect(l->fd, list->ai_addr, list->ai_addrlen);
	if (r < 0)
		r = error_errno(e, errno, "%s", l->url);
	freeaddrinfo(list);
	return r;
}

static int read_secret(struct emit_loggregator *l, struct error *e)
{
	const char *file = flag_string(l->cl, "secret-file");
	int r;

	if (!file)
		return 0;
	if ((r = secret_read(file, &l->secret_text, e)) < 0)
		return error_wrap(e, r, "--secret-file");
	if (l->secret_text.n == 0)
		return error_set(e, ERR_ARG, "--secret-file: %s is empty", file);
	loggregator_secret_init(&l->secret, buf_view(&l->secret_text));
	return 0;
}

/* What these messages cannot carry is refused, not left out. */
static int check_flags(const struct command_line *cl, struct error *e)
{
	const char *form = flag_string(cl, "form");

	if (flag_count(cl, "label"))
		return error_set(e, ERR_ARG, "--label: Loggregator's messages carry no labels");
	if (flag_given(cl, "form") && !str_same(form, "2013") && !str_same(form, "dropsonde"))
		return error_set(e, ERR_ARG,
			"--form: must be 2013 or dropsonde with loggregator=, got \"%s\"", form);
	return 0;
}

int emit_loggregator_open(
	struct emit_loggregator **out, struct command_line *cl, const char *url, struct error *e)
{
	struct emit_loggregator *l = xcalloc(1, sizeof *l);
	int r;

	*out = l;
	l->cl = cl;
	l->url = url;
	l->fd = -1;
	l->app = flag_string(cl, "app");
	l->err = severity_from_word(str_c(flag_string(cl, "severity"))) >= SEV_ERROR;
	l->dropsonde = str_same(flag_string(cl, "form"), "dropsonde");
	if ((r = check_flags(cl, e)) < 0 || (r = read_secret(l, e)) < 0)
		return r;
	return connect_to(l, e);
}

void emit_loggregator_close(struct emit_loggregator *l)
{
	if (!l)
		return;
	if (l->fd >= 0)
		close(l->fd);
	secret_fini(&l->secret_text);
	buf_fini(&l->bytes);
	buf_fini(&l->message);
	buf_fini(&l->signed_message);
	free(l->lengths);
	free(l);
}

static struct str encode(struct emit_loggregator *l, struct str line)
{
	struct loggregator x;

	loggregator_clear(&x);
	x.timestamp = clock_now_ns(clock_real());
	x.source_id = str_c(l->app);
	x.source_type = l->dropsonde ? STR("APP") : STR("App");
	x.instance_id = STR("0");
	x.err = l->err;
	x.payload = line;
	buf_clear(&l->message);
	buf_clear(&l->signed_message);
	if (l->dropsonde)
		loggregator_put_envelope(&l->message, &x, 0);
	else
		loggregator_put_message(&l->message, &x);
	if (!l->secret.given)
		return buf_view(&l->message);
	if (l->dropsonde)
		loggregator_sign_dropsonde(&l->signed_message, buf_view(&l->message), &l->secret);
	else
		loggregator_sign_2013(
			&l->signed_message, x.source_id, line, buf_view(&l->message), &l->secret);
	return buf_view(&l->signed_message);
}

void emit_loggregator_line(struct emit_loggregator *l, struct str line)
{
	struct str datagram = STR_NONE;

	if (str_trim(line).n)
		datagram = encode(l, str_sub(line, 0, TEXT_MAX));
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 256;
		l->lengths = xrealloc(l->lengths, l->cap * sizeof *l->lengths);
	}
	l->lengths[l->n++] = (uint32_t)datagram.n;
	buf_str(&l->bytes, datagram);
}

size_t emit_loggregator_bytes(const struct emit_loggregator *l)
{
	return l->bytes.n;
}

/* The next few: how many lines went, with those that are left out; -1 with errno. */
static int send_some(struct emit_loggregator *l)
{
	struct mmsghdr headers[SEND_MAX] = {0};
	struct iovec iov[SEND_MAX];
	size_t line[SEND_MAX], at = l->at, i = l->n_sent;
	unsigned n = 0;
	int sent;

	for (; i < l->n && n < SEND_MAX; i++) {
		if (l->lengths[i] == 0)
			continue;
		iov[n] = (struct iovec){l->bytes.p + at, l->lengths[i]};
		headers[n].msg_hdr = (struct msghdr){.msg_iov = &iov[n], .msg_iovlen = 1};
		line[n++] = i;
		at += l->lengths[i];
	}
	if (n == 0) {
		l->n_sent = i;
		return 0;
	}
	if ((sent = sendmmsg(l->fd, headers, n, 0)) <= 0)
		return -1;
	l->n_sent = line[sent - 1] + 1;
	for (int k = 0; k < sent; k++)
		l->at += iov[k].iov_len;
	return 0;
}

int emit_loggregator_send(struct emit_loggregator *l, struct error *e)
{
	while (l->n_sent < l->n) {
		if (send_some(l) == 0)
			continue;
		if (errno == ENOBUFS || errno == EINTR || errno == EAGAIN)
			return error_set(e, ERR_BUSY, "%s: the network is busy", l->url);
		/* That nobody listens is told by the next call.  It is not tried again: that
		 * would go through, and be lost like the one before it. */
		return error_errno(e, errno, "%s: nobody takes datagrams", l->url);
	}
	return 0;
}

size_t emit_loggregator_finish(struct emit_loggregator *l)
{
	size_t n = l->n_sent;

	l->n = l->n_sent = l->at = 0;
	buf_clear(&l->bytes);
	return n;
}
