/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the listeners bring: frames of SocketHandler and DatagramHandler, a
 * length of four bytes, the highest first, and a pickle.  How much of a frame
 * that is too long is still to be skipped is the note of its connection, which
 * outlives a parking.
 *
 * Frames that are not whole yet are held by their connections.  When large ones
 * together hold too much, the one that grows is skipped as well, so that a few
 * who never end theirs take the memory of nobody.
 */
#include "input/python_input.h"

#include <stdlib.h>

#include "base/log.h"

enum {
	HALVES_PART = 8, /* of the memory: what halves of large frames may hold together */
	HALVES_DEFAULT = 32 << 20, /* where the memory has no limit */
	HALF_FREE = 1 << 20,       /* frames up to this length are not counted among them */
};

/* A connection. */
struct session {
	struct python_port *port;
	size_t half; /* bytes of a frame that is not whole; counted in the input's halves */
	char ip[SOCKET_PEER_MAX];
	struct str certificate; /* a view into the connection */
};

/* That of the frame at the start of the bytes, of which PYTHON_HEAD are there. */
static size_t python_length(struct str bytes)
{
	const unsigned char *p = (const unsigned char *)bytes.p;

	return (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

size_t python_frame(struct str bytes, struct str *frame, uint64_t *skip)
{
	size_t n;

	*frame = STR_NONE;
	*skip = 0;
	if (bytes.n < PYTHON_HEAD)
		return 0;
	n = python_length(bytes);
	if (n > PYLOG_FRAME_MAX) {
		*skip = n;
		return PYTHON_HEAD;
	}
	if (bytes.n - PYTHON_HEAD < n)
		return 0;
	*frame = str_sub(bytes, PYTHON_HEAD, PYTHON_HEAD + n);
	return PYTHON_HEAD + n;
}

/* The four bytes of a length are letters, as those of a shell's greeting before the frames. */
static bool is_text(uint64_t length)
{
	for (int shift = 24; shift >= 0; shift -= 8) {
		uint64_t c = length >> shift & 0xff;

		if (c < ' ' || c > '~')
			return false;
	}
	return true;
}

void python_too_long(struct python_port *p, uint64_t n, const char *peer)
{
	struct error e;

	if (is_text(n))
		error_set(&e, ERR_LIMIT,
			"text, \"%c%c%c%c\", where the length of a frame stands: the next %llu bytes "
			"are skipped (does a shell print something, or no SocketHandler send here?)",
			(int)(n >> 24), (int)(n >> 16 & 0xff), (int)(n >> 8 & 0xff),
			(int)(n & 0xff), (unsigned long long)n);
	else
		error_set(&e, ERR_LIMIT,
			"a frame of %llu bytes, over %d: it is skipped (does a SocketHandler send "
			"here?)",
			(unsigned long long)n, PYLOG_FRAME_MAX);
	python_bad(p, "over_limit", &e, peer);
}

static void crowded_out(struct python_port *p, uint64_t n, const char *peer)
{
	struct error e;

	error_set(&e, ERR_LIMIT,
		"a frame of %llu bytes was not whole when large ones held an eighth of the "
		"memory: it is skipped",
		(unsigned long long)n);
	python_bad(p, "crowded_out", &e, peer);
}

/* Count what the session holds: the start of a frame, or nothing.  False: it is too much. */
static bool hold(struct session *s, struct str half)
{
	struct python_input *in = s->port->in;
	const struct account *a = in->env->account;
	bool bounded = a && a->limit < UINT64_MAX;
	size_t most = bounded ? (size_t)(a->limit / HALVES_PART) : HALVES_DEFAULT;
	size_t n = half.n > PYTHON_HEAD && python_length(half) > HALF_FREE ? half.n : 0;

	in->halves += n - s->half;
	s->half = n;
	/* One alone is bounded by what a frame may be. */
	return n == 0 || in->halves <= most || n == in->halves;
}

void python_half(struct python_port *p, size_t n, const char *peer)
{
	struct error e;

	error_set(&e, ERR_CORRUPT, "the last frame broke off after %zu bytes", n);
	python_bad(p, "broken_frame", &e, peer);
}

bool python_take(struct python_port *p, const struct python_sender *from, const char *peer,
	struct str pickle, struct pylog_record *out)
{
	struct python_input *in = p->in;
	struct error e;
	int r;

	if ((r = pylog_pickle(in->pylog, pickle, in->observed_ns, out, &e)) < 0) {
		python_bad(p, error_name(r), &e, peer);
		return false;
	}
	if (!out->end)
		python_add(in, outlets_of(in->outlets, STR_NONE), from, out);
	return out->end;
}

/* "127.0.0.1:514" without the port. */
static struct str ip_of(const char *peer)
{
	const char *colon = strrchr(peer, ':');

	return str_make(peer, colon ? (size_t)(colon - peer) : strlen(peer));
}

/* Events of the listeners, whose argument is the port. */

static struct python_port *python_port_of(void *arg)
{
	return CONTAINER(arg, struct python_port, port);
}

static void on_datagram(void *arg, struct str bytes, const char *peer)
{
	struct python_port *p = python_port_of(arg);
	struct python_input *in = p->in;
	struct python_sender from = {.ip = ip_of(peer)};
	struct pylog_record record;
	struct str frame;
	uint64_t skip;
	size_t n;

	in->observed_ns = clock_now_ns(in->env->clock);
	/* Without room it is taken all the same, as it is here already, and the next waits. */
	outlets_room(in->outlets);
	while ((n = python_frame(bytes, &frame, &skip)) && !skip) {
		python_take(p, &from, peer, frame, &record);
		bytes = str_sub(bytes, n, bytes.n);
	}
	if (bytes.n)
		python_half(p, bytes.n, peer);
	outlets_room(in->outlets);
	outlets_flush_if_idle(in->outlets);
}

static void on_opened(void *arg, struct connection *c, void **state)
{
	struct session *s = xcalloc(1, sizeof *s);

	s->port = python_port_of(arg);
	str_copy(ip_of(connection_peer(c)), s->ip, sizeof s->ip);
	s->certificate = connection_certificate(c);
	*state = s;
}

static size_t on_bytes(void *arg, struct connection *c, void *state, struct str bytes, bool end)
{
	struct session *s = state;
	struct python_port *p = s->port;
	struct python_sender from = {.ip = str_c(s->ip), .certificate = s->certificate};
	struct pylog_record record;
	struct str frame, rest = bytes;
	uint64_t *skip = connection_note(c);
	bool room = true;
	size_t n;

	(void)arg;
	p->in->observed_ns = clock_now_ns(p->in->env->clock);
	while (rest.n && (room = *skip || outlets_room(p->in->outlets))) {
		if (*skip) {
			n = rest.n < *skip ? rest.n : (size_t)*skip;
			*skip -= n;
		} else if ((n = python_frame(rest, &frame, skip)) == 0) {
			break;
		} else if (*skip) {
			python_too_long(p, *skip, connection_peer(c));
		} else {
			python_take(p, &from, connection_peer(c), frame, &record);
		}
		rest = str_sub(rest, n, rest.n);
	}
	if (end && room && rest.n) {
		python_half(p, rest.n, connection_peer(c));
		rest = STR_NONE;
	} else if (!hold(s, room ? rest : STR_NONE)) {
		*skip = python_length(rest) - (rest.n - PYTHON_HEAD);
		crowded_out(p, python_length(rest), connection_peer(c));
		rest = STR_NONE;
		hold(s, STR_NONE);
	}
	outlets_flush_if_idle(p->in->outlets);
	return bytes.n - rest.n;
}

static void on_closed(void *arg, struct connection *c, void *state, const struct error *why)
{
	struct session *s = state;

	(void)arg;
	if (why)
		log_debug("input", "python: %s: %s: %s", s->port->port.address, connection_peer(c),
			why->text);
	hold(s, STR_NONE);
	free(s);
}

static void on_lost(void *arg, uint64_t n)
{
	losses_add(&((struct port *)arg)->losses, n);
}

static void on_refused(void *arg, const struct refusal *r)
{
	losses_refused(&((struct port *)arg)->losses, r);
}

const struct listener_events python_port_events = {
	.datagram = on_datagram,
	.lost = on_lost,
	.opened = on_opened,
	.bytes = on_bytes,
	.closed = on_closed,
	.refused = on_refused,
};
