/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  Messages lie in a ring of slots, in the order in which they were
 * taken, until they are settled:
 *
 *   put ─► AGAIN ─publish─► SENT(tag) ─ack─► FREE
 *            ▲                 │
 *            └── nack, return, connection lost
 *
 * The broker numbers what is published on a channel (delivery tags, from 1);
 * `tags` leads from a number back to its slot.  It is longer than the ring of
 * slots, as a message that is published again has a new number while the old
 * one may still be open in front of it.
 *
 * A basic.return comes before the confirm of its message and names it by its
 * message-id alone; the slot remembers it until the confirm.
 *
 * While anything was refused, nothing new is taken before that is settled: the
 * order stays, and one sentence says what everybody waits for.
 */
#include "net/amqp_publisher.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>

#include "base/memory.h"
#include "os/clock.h"

enum {
	WINDOW = 1000,
	WINDOW_MAX = 10000,
	WINDOW_BYTES = 8 << 20, /* of bodies on their way; one alone may be larger */
	CONFIRM_MS = 30000,
	BLOCKED_MS = 1000, /* how long a call waits for a blocked broker */
	SLICE_MS = 100,    /* how often `ending` is asked */
	ENDING_MS = 700,   /* how long confirms are waited for when the process ends */
	TAGS_PER_SLOT = 4,
};

enum slot_state { SLOT_FREE, SLOT_AGAIN, SLOT_SENT };

struct slot {
	enum slot_state state;
	bool returned, published;
	uint64_t tag;
	const char *type;
	int64_t time_s;
	struct buf text; /* key, id, app, header names and values, body, one behind the other */
	uint32_t n_key, n_id, n_app, n_headers;
	struct {
		uint32_t n_name, n_value;
	} headers[AMQP_HEADERS_MAX];
};

struct amqp_publisher {
	const struct amqp_publisher_options *o;
	struct amqp_link *link; /* NULL: not connected */
	/* Messages: slots[(first + i) % cap] for i < n. */
	struct slot *slots;
	size_t cap, first, n;
	size_t bytes;   /* of their texts */
	size_t n_again; /* in state AGAIN */
	/* Tags that are open lie in oldest … next - 1; 0 in `tags`: settled, else slot + 1. */
	uint32_t *tags;
	size_t cap_tags;
	uint64_t oldest, next;
	bool blocked;
	bool differs;
	struct error how;     /* it differs */
	struct error refusal; /* code 0: none since it was last told */
	int64_t moved_ms;     /* when something was settled last, or was begun */
	struct amqp_publisher_stats stats;
};

static int64_t now_ms(void)
{
	return clock_mono_ns(clock_real()) / NS_PER_MS;
}

static bool ending(const struct amqp_publisher *p)
{
	return p->o->ending && p->o->ending(p->o->ending_arg);
}

static unsigned confirm_ms(const struct amqp_publisher *p)
{
	return p->o->confirm_ms ? p->o->confirm_ms : CONFIRM_MS;
}

struct amqp_publisher *amqp_publisher_new(const struct amqp_publisher_options *o)
{
	struct amqp_publisher *p = xcalloc(1, sizeof *p);

	p->o = o;
	p->cap = o->window ? o->window : WINDOW;
	if (p->cap > WINDOW_MAX)
		p->cap = WINDOW_MAX;
	p->cap_tags = p->cap * TAGS_PER_SLOT;
	p->slots = xcalloc(p->cap, sizeof *p->slots);
	p->tags = xcalloc(p->cap_tags, sizeof *p->tags);
	p->oldest = p->next = 1;
	return p;
}

void amqp_publisher_free(struct amqp_publisher *p)
{
	if (!p)
		return;
	amqp_link_close(p->link);
	for (size_t i = 0; i < p->cap; i++)
		buf_fini(&p->slots[i].text);
	free(p->slots);
	free(p->tags);
	free(p);
}

/* Slots. */

static struct slot *nth(struct amqp_publisher *p, size_t i)
{
	return &p->slots[(p->first + i) % p->cap];
}

static void set_again(struct amqp_publisher *p, struct slot *s)
{
	assert(s->state == SLOT_SENT);
	s->state = SLOT_AGAIN;
	s->returned = false;
	p->n_again++;
}

static void set_free(struct amqp_publisher *p, struct slot *s)
{
	assert(s->state == SLOT_SENT);
	s->state = SLOT_FREE;
	s->returned = false;
	p->bytes -= s->text.n;
	p->moved_ms = now_ms();
	while (p->n && nth(p, 0)->state == SLOT_FREE) {
		p->first = (p->first + 1) % p->cap;
		p->n--;
	}
}

/* The connection is gone: what was on its way may or may not have arrived. */
static int lost(struct amqp_publisher *p, int code)
{
	amqp_link_close(p->link);
	p->link = NULL;
	p->blocked = false;
	for (size_t i = 0; i < p->n; i++)
		if (nth(p, i)->state == SLOT_SENT)
			set_again(p, nth(p, i));
	memset(p->tags, 0, p->cap_tags * sizeof *p->tags);
	p->oldest = p->next = 1;
	return code;
}

/* Connecting. */

static int declare(struct amqp_publisher *p, struct error *e)
{
	struct amqp_declared d;
	int r;

	if (p->o->never_declare || !*p->o->exchange.name)
		return 0;
	if ((r = amqp_declare_exchange(p->link, &p->o->exchange, &d, e)) < 0)
		return r;
	p->differs = d.differs;
	p->how = d.how;
	return 0;
}

int amqp_publisher_open(struct amqp_publisher *p, struct error *e)
{
	int r;

	if (p->link)
		return 0;
	if ((r = amqp_link_open(&p->link, &p->o->link, e)) < 0)
		return r;
	if ((r = declare(p, e)) < 0)
		return lost(p, r);
	amqp_confirm_select(amqp_link_state(p->link), AMQP_CHANNEL);
	if ((r = amqp_link_failed(p->link, amqp_get_rpc_reply(amqp_link_state(p->link)),
		     "asking for confirms", e)) < 0)
		return lost(p, r);
	return 0;
}

/* What comes from the broker. */

static void refuse(struct amqp_publisher *p, const char *fmt, ...) PRINTF(2, 3);

/* The first one is told. */
static void refuse(struct amqp_publisher *p, const char *fmt, ...)
{
	struct buf text = {0};
	va_list ap;

	if (p->refusal.code)
		return;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	error_set(&p->refusal, ERR_BUSY, "%s: %s", amqp_link_where(p->link), buf_cstr(&text));
	buf_fini(&text);
}

static void settle_tag(struct amqp_publisher *p, uint64_t tag, bool taken)
{
	uint32_t *at = &p->tags[tag % p->cap_tags];
	struct slot *s;

	if (*at == 0)
		return;
	s = &p->slots[*at - 1];
	*at = 0;
	if (!taken) {
		p->stats.nacked++;
		refuse(p, "the broker refuses messages (basic.nack): a queue is full, or its node "
			  "is not well");
		set_again(p, s);
	} else if (s->returned && !p->o->skip_unroutable) {
		set_again(p, s);
	} else {
		if (s->returned)
			p->stats.unroutable++;
		else
			p->stats.confirmed++;
		set_free(p, s);
	}
}

/* A tag that was never given is a broker's error that harms nobody. */
static void on_confirm(struct amqp_publisher *p, uint64_t tag, bool multiple, bool taken)
{
	if (tag >= p->next)
		tag = multiple ? p->next - 1 : 0;
	if (multiple)
		for (uint64_t t = p->oldest; t <= tag; t++)
			settle_tag(p, t, taken);
	else if (tag >= p->oldest)
		settle_tag(p, tag, taken);
	while (p->oldest < p->next && p->tags[p->oldest % p->cap_tags] == 0)
		p->oldest++;
}

static struct slot *find_id(struct amqp_publisher *p, struct str id)
{
	for (size_t i = 0; i < p->n; i++) {
		struct slot *s = nth(p, i);

		if (s->state == SLOT_SENT && !s->returned &&
			str_eq(str_make(s->text.p + s->n_key, s->n_id), id))
			return s;
	}
	return NULL;
}

static int on_return(struct amqp_publisher *p, const amqp_basic_return_t *r, struct error *e)
{
	char key[AMQP_KEY_MAX + 1];
	amqp_message_t m;
	struct slot *s;
	int code;

	str_copy(str_make(r->routing_key.bytes, r->routing_key.len), key, sizeof key);
	for (char *c = key; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = '?';
	if ((code = amqp_link_failed(p->link,
		     amqp_read_message(amqp_link_state(p->link), AMQP_CHANNEL, &m, 0),
		     "reading a returned message", e)) < 0)
		return code;
	s = find_id(p, str_make(m.properties.message_id.bytes, m.properties.message_id.len));
	amqp_destroy_message(&m);
	p->stats.returned++;
	if (s) {
		s->returned = true;
		if (!p->o->skip_unroutable)
			refuse(p,
				"no queue takes what goes to exchange \"%s\" with routing key "
				"\"%s\": bind one%s",
				p->o->exchange.name, key,
				p->o->unroutable_hint ? p->o->unroutable_hint : "");
	}
	return 0;
}

static int on_frame(struct amqp_publisher *p, const amqp_frame_t *f, struct error *e)
{
	const amqp_method_t *m = &f->payload.method;

	if (f->frame_type != AMQP_FRAME_METHOD)
		return 0;
	if (m->id == AMQP_BASIC_ACK_METHOD) {
		const amqp_basic_ack_t *a = m->decoded;

		on_confirm(p, a->delivery_tag, a->multiple, true);
		return 0;
	}
	if (m->id == AMQP_BASIC_NACK_METHOD) {
		const amqp_basic_nack_t *a = m->decoded;

		on_confirm(p, a->delivery_tag, a->multiple, false);
		return 0;
	}
	if (m->id == AMQP_BASIC_RETURN_METHOD)
		return on_return(p, m->decoded, e);
	return amqp_link_unasked(p->link, f, &p->blocked, e);
}

/* Take what came; wait up to `ms` for the first of it.  An error has the connection given up. */
static int pump(struct amqp_publisher *p, unsigned ms, struct error *e)
{
	amqp_connection_state_t state = amqp_link_state(p->link);

	for (;;) {
		struct timeval t = {ms / 1000, ms % 1000 * 1000};
		amqp_frame_t f = {0};
		int r = amqp_simple_wait_frame_noblock(state, &f, &t);

		if (r == AMQP_STATUS_TIMEOUT)
			return 0;
		if (r != AMQP_STATUS_OK)
			return lost(p, amqp_link_status(p->link, r, "waiting for confirms", e));
		if (p->blocked)
			p->moved_ms = now_ms();
		if ((r = on_frame(p, &f, e)) < 0)
			return lost(p, r);
		amqp_maybe_release_buffers(state);
		ms = 0;
	}
}

/* What goes to it. */

static amqp_bytes_t cut(const struct slot *s, size_t *at, size_t n)
{
	amqp_bytes_t b = {n, s->text.p + *at};

	*at += n;
	return b;
}

static amqp_basic_properties_t properties_of(
	const struct slot *s, bool transient, size_t *at, amqp_table_entry_t *entries)
{
	amqp_basic_properties_t q = {0};

	q._flags =
		AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_APP_ID_FLAG;
	q.delivery_mode = transient ? AMQP_DELIVERY_NONPERSISTENT : AMQP_DELIVERY_PERSISTENT;
	q.message_id = cut(s, at, s->n_id);
	q.app_id = cut(s, at, s->n_app);
	if (s->type) {
		q._flags |= AMQP_BASIC_CONTENT_TYPE_FLAG;
		q.content_type = amqp_cstring_bytes(s->type);
	}
	if (s->time_s > 0) {
		q._flags |= AMQP_BASIC_TIMESTAMP_FLAG;
		q.timestamp = (uint64_t)s->time_s;
	}
	for (uint32_t i = 0; i < s->n_headers; i++) {
		entries[i].key = cut(s, at, s->headers[i].n_name);
		entries[i].value.kind = AMQP_FIELD_KIND_UTF8;
		entries[i].value.value.bytes = cut(s, at, s->headers[i].n_value);
	}
	if (s->n_headers) {
		q._flags |= AMQP_BASIC_HEADERS_FLAG;
		q.headers = (amqp_table_t){(int)s->n_headers, entries};
	}
	return q;
}

static int publish(struct amqp_publisher *p, struct slot *s, struct error *e)
{
	amqp_table_entry_t entries[AMQP_HEADERS_MAX];
	amqp_basic_properties_t q;
	amqp_bytes_t key, body;
	size_t at = 0;
	int r;

	key = cut(s, &at, s->n_key);
	q = properties_of(s, p->o->transient, &at, entries);
	body = cut(s, &at, s->text.n - at);
	if (s->published)
		p->stats.repeated++;
	s->published = true;
	s->state = SLOT_SENT;
	p->n_again--;
	if (p->oldest == p->next)
		p->moved_ms = now_ms();
	s->tag = p->next++;
	p->tags[s->tag % p->cap_tags] = (uint32_t)(s - p->slots) + 1;
	r = amqp_basic_publish(amqp_link_state(p->link), AMQP_CHANNEL,
		amqp_cstring_bytes(p->o->exchange.name), key, 1, 0, &q, body);
	if (r != AMQP_STATUS_OK)
		return lost(p, amqp_link_status(p->link, r, "publishing", e));
	return 0;
}

/* May a message go out now?  A broker in alarm does not read: bytes for it would fill the socket,
 * and the next send would hang. */
static bool is_open(const struct amqp_publisher *p)
{
	struct pollfd f = {.fd = amqp_link_fd(p->link), .events = POLLOUT};

	return !p->blocked && p->next - p->oldest < p->cap_tags && poll(&f, 1, 0) > 0;
}

/* Publish what has to be, in the order in which it was taken, as far as it goes. */
static int publish_all(struct amqp_publisher *p, struct error *e)
{
	int r;

	for (size_t i = 0; i < p->n && p->n_again; i++) {
		struct slot *s = nth(p, i);

		if (s->state != SLOT_AGAIN)
			continue;
		if (!is_open(p))
			return 0;
		if ((r = publish(p, s, e)) < 0)
			return r;
	}
	return 0;
}

static int tell_refusal(struct amqp_publisher *p, struct error *e)
{
	if (e)
		*e = p->refusal;
	p->refusal.code = 0;
	return ERR_BUSY;
}

/* Waiting. */

/* One turn of a wait that began at `began`: publish, listen.  Errors end it. */
static int turn(struct amqp_publisher *p, int64_t began, struct error *e)
{
	int r;

	/* What is on its way is most likely confirmed in a moment, and need not be sent again. */
	if (ending(p) && (!p->link || p->blocked || now_ms() - began >= ENDING_MS))
		return error_set(e, ERR_CANCELLED, "%s: given up, as the process ends",
			p->link ? amqp_link_where(p->link) : "broker");
	if ((r = amqp_publisher_open(p, e)) < 0 || (r = publish_all(p, e)) < 0 ||
		(r = pump(p, SLICE_MS, e)) < 0)
		return r;
	if (p->refusal.code)
		return tell_refusal(p, e);
	if (p->blocked && now_ms() - began >= BLOCKED_MS)
		return error_set(e, ERR_BUSY, "%s: the broker takes nothing now: %s",
			amqp_link_where(p->link), amqp_link_blocked(p->link));
	if (p->n && !p->blocked && now_ms() - p->moved_ms >= confirm_ms(p)) {
		error_set(e, ERR_NET, "%s: nothing was confirmed within %u ms",
			amqp_link_where(p->link), confirm_ms(p));
		return lost(p, ERR_NET);
	}
	return 0;
}

int amqp_publisher_settle(struct amqp_publisher *p, unsigned ms, struct error *e)
{
	int64_t began = now_ms();
	int r;

	/* Told by the one who sees it first. */
	if (p->refusal.code)
		return tell_refusal(p, e);
	while (p->n) {
		if ((r = turn(p, began, e)) < 0)
			return r;
		if (p->n && now_ms() - began >= ms)
			return 1;
	}
	return 0;
}

/* Taking. */

static bool has_room(const struct amqp_publisher *p, size_t bytes)
{
	return p->n < p->cap && (p->n == 0 || p->bytes + bytes <= WINDOW_BYTES);
}

/* Bytes of `s` up to `most`, without half a character at the end. */
static struct str shortened(struct str s, size_t most)
{
	if (s.n <= most)
		return s;
	while (most && ((unsigned char)s.p[most] & 0xc0) == 0x80)
		most--;
	return str_make(s.p, most);
}

static void fill_slot(struct slot *s, const struct amqp_outgoing *m)
{
	struct str key = shortened(m->key, AMQP_KEY_MAX), id = shortened(m->id, AMQP_KEY_MAX);
	struct str app = shortened(m->app.n ? m->app : STR("sawlog"), AMQP_KEY_MAX);

	assert(m->n_headers <= AMQP_HEADERS_MAX);
	s->published = s->returned = false;
	s->type = m->type;
	s->time_s = m->time_ns / 1000000000;
	s->n_key = (uint32_t)key.n;
	s->n_id = (uint32_t)id.n;
	s->n_app = (uint32_t)app.n;
	s->n_headers = (uint32_t)m->n_headers;
	buf_clear(&s->text);
	buf_str(&s->text, key);
	buf_str(&s->text, id);
	buf_str(&s->text, app);
	for (size_t i = 0; i < m->n_headers; i++) {
		struct str name = shortened(m->headers[i].name, 128);
		struct str value = shortened(m->headers[i].value, AMQP_HEADER_BYTES);

		buf_str(&s->text, name);
		buf_str(&s->text, value);
		s->headers[i].n_name = (uint32_t)name.n;
		s->headers[i].n_value = (uint32_t)value.n;
	}
	buf_str(&s->text, m->body);
}

/* Until there is room and nothing that was refused is left. */
static int wait_for_room(struct amqp_publisher *p, size_t bytes, struct error *e)
{
	int64_t began = now_ms();
	int r;

	if (p->refusal.code)
		return tell_refusal(p, e);
	if ((r = amqp_publisher_open(p, e)) < 0)
		return r;
	while (!has_room(p, bytes) || p->n_again || !is_open(p)) {
		if ((r = turn(p, began, e)) < 0)
			return r;
	}
	return 0;
}

int amqp_publisher_put(struct amqp_publisher *p, const struct amqp_outgoing *m, struct error *e)
{
	struct slot *s;
	int r;

	if (m->body.n > AMQP_BODY_MAX)
		return error_set(e, ERR_LIMIT, "a message of %zu bytes: at most %d", m->body.n,
			AMQP_BODY_MAX);
	if ((r = wait_for_room(p, m->body.n, e)) < 0)
		return r;
	s = nth(p, p->n++);
	assert(s->state == SLOT_FREE);
	fill_slot(s, m);
	p->bytes += s->text.n;
	s->state = SLOT_AGAIN;
	p->n_again++;
	/* It is taken, whatever comes now: what is wrong with the connection shows at the next
	 * call. */
	if (publish(p, s, NULL) == 0)
		(void)pump(p, 0, NULL);
	return 0;
}

int amqp_publisher_serve(struct amqp_publisher *p, struct error *e)
{
	int r;

	if (!p->link)
		return 0;
	r = pump(p, 0, e);
	return r < 0 && p->n ? r : 0;
}

unsigned amqp_publisher_beat_ms(const struct amqp_publisher *p)
{
	return p->link ? amqp_link_beat_ms(p->link) : CONFIRM_MS;
}

const char *amqp_publisher_differs(const struct amqp_publisher *p)
{
	return p->differs ? p->how.text : NULL;
}

struct amqp_publisher_stats amqp_publisher_stats(const struct amqp_publisher *p)
{
	struct amqp_publisher_stats s = p->stats;

	s.connected = p->link;
	for (size_t i = 0; i < p->n; i++)
		s.waiting += p->slots[(p->first + i) % p->cap].state != SLOT_FREE;
	return s;
}
