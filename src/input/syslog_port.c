/* SPDX-License-Identifier: Apache-2.0 */
/* What the listeners bring: datagrams, connections, losses and refusals. */
#include "input/syslog_input.h"

#include <stdlib.h>

#include "base/log.h"

static struct syslog_input *input_of(const struct port *p)
{
	return p->ports->o.arg;
}

static void on_lost(void *arg, uint64_t n)
{
	losses_add(&((struct port *)arg)->losses, n);
}

static void on_refused(void *arg, const struct refusal *r)
{
	losses_refused(&((struct port *)arg)->losses, r);
}

/* Events of the listeners. */

static void on_datagram(void *arg, struct str bytes, const char *peer)
{
	struct port *p = arg;
	struct syslog_input *in = input_of(p);
	struct str ip = str_c(peer), message = str_sub(bytes, 0, in->s->max_line);
	struct origin from = {.port = p};
	struct error e;

	while (ip.n && ip.p[ip.n - 1] != ':')
		ip.n--;
	from.ip = str_sub(ip, 0, ip.n ? ip.n - 1 : 0);
	in->observed_ns = clock_now_ns(in->env->clock);
	/* Without room it is taken all the same, as it is here already, and the next waits. */
	outlets_room(in->outlets);
	if (bytes.n)
		syslog_take(in, &from, message, bytes.n, &e);
	outlets_room(in->outlets);
	outlets_flush_if_idle(in->outlets);
}

static void on_opened(void *arg, struct connection *c, void **state)
{
	struct session *s = xcalloc(1, sizeof *s);
	char *colon;

	s->port = arg;
	str_copy(str_c(connection_peer(c)), s->ip, sizeof s->ip);
	if ((colon = strrchr(s->ip, ':')))
		*colon = 0;
	s->certificate = connection_certificate(c);
	*state = s;
}

/* A message, whole or all there will be of it.  False: the connection is refused. */
static bool session_take(
	struct session *s, struct connection *c, struct str message, uint64_t length)
{
	struct origin from = {.port = s->port, .session = s, .ip = str_c(s->ip)};
	struct syslog_input *in = input_of(s->port);
	struct error e;

	if (syslog_take(in, &from, message, length, &e) == 0)
		return true;
	in->n_denied++;
	losses_count(&s->port->losses, "denied", 1);
	losses_warn_refused(&s->port->losses, e.text, connection_peer(c));
	connection_refuse(c, &e);
	return false;
}

static bool session_take_cut(struct session *s, struct connection *c)
{
	uint64_t left = *connection_note(c);
	bool taken;

	/* Of a counted one the whole length is known, whatever comes of it. */
	if (left != SYSLOG_SKIP_LINE)
		s->cut_n += left;
	taken = s->cut.n == 0 || session_take(s, c, buf_view(&s->cut), s->cut_n);
	buf_fini(&s->cut);
	s->cut_n = 0;
	return taken;
}

/* As syslog_frame; *half when there is a message only because there will be no more of it. */
static size_t next_frame(struct syslog_input *in, struct str bytes, bool end, struct str *message,
	uint64_t *skip, bool *half)
{
	size_t n = syslog_frame(bytes, in->s->max_line, false, message, skip);

	*half = n == 0;
	return n || !end ? n : syslog_frame(bytes, in->s->max_line, true, message, skip);
}

static size_t on_bytes(void *arg, struct connection *c, void *state, struct str bytes, bool end)
{
	struct session *s = state;
	struct syslog_input *in = input_of(s->port);
	uint64_t *skip = connection_note(c);
	struct str message, rest = bytes;
	bool half;
	size_t n;

	(void)arg;
	in->observed_ns = clock_now_ns(in->env->clock);
	while (rest.n) {
		if (*skip) {
			bool line = *skip == SYSLOG_SKIP_LINE;
			n = syslog_skip(rest, skip);
			s->cut_n += n - (line && *skip == 0); /* not the end of line */
			rest = str_sub(rest, n, rest.n);
			if (*skip == 0 && !session_take_cut(s, c))
				return bytes.n;
			continue;
		}
		if (!outlets_room(in->outlets))
			break;
		n = next_frame(in, rest, end, &message, skip, &half);
		if (n == 0)
			break;
		rest = str_sub(rest, n, rest.n);
		if (*skip) {
			buf_str(&s->cut, message);
			s->cut_n = message.n;
		} else if (message.n && !session_take(s, c, message,
						half && connection_broken(c) ? 0 : message.n)) {
			return bytes.n;
		}
	}
	if (end && rest.n == 0)
		session_take_cut(s, c);
	outlets_flush_if_idle(in->outlets);
	return bytes.n - rest.n;
}

static void on_closed(void *arg, struct connection *c, void *state, const struct error *why)
{
	struct session *s = state;

	/* Parked among what is skipped: the next owner skips the rest, and cannot tell. */
	session_take_cut(s, c);
	if (why)
		log_debug("input", "syslog: %s: %s: %s", s->port->address, connection_peer(c),
			why->text);
	(void)arg;
	buf_fini(&s->cut);
	if (s->secret.p)
		memset(s->secret.p, 0, s->secret.n);
	buf_fini(&s->secret);
	free(s);
}

const struct listener_events syslog_port_events = {
	.datagram = on_datagram,
	.lost = on_lost,
	.opened = on_opened,
	.bytes = on_bytes,
	.closed = on_closed,
	.refused = on_refused,
};
