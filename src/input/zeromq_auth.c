/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The context, keys, and who may connect to what is bound.
 *
 * One context for the process, so that a socket can go from one input to the
 * next.  libzmq asks about each peer by ZAP (rfc.zeromq.org/spec/27): requests
 * to inproc://zeromq.zap.01 that are answered here, on a thread of their own,
 * as a handshake waits for the answer and the loop may be busy.  A bound
 * socket names its rule by ZAP_DOMAIN; sockets without one ask nobody.
 */
#include "input/zeromq_input.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/lock.h"

enum {
	SOCKETS_MAX = 3 * ZEROMQ_ADDRESSES_MAX * 8, /* of the process: three an address */
	KEY_FILE_MAX = 4096,
	KEY_BYTES = 32,
	ZAP_FRAMES = 7, /* of a request whose mechanism is CURVE; NULL has one less */
	ZAP_FRAME_MAX = 256,
};

struct rule {
	struct list node;
	char *domain;
	struct cidr *allow;
	size_t n_allow;
	uint8_t (*keys)[KEY_BYTES];
	size_t n_keys;
};

static struct lock lock = LOCK_INIT;
/* Under `lock`. */
static struct list rules = {&rules, &rules};
static void *context;
static unsigned n_refs;
static pthread_t answerer;

/* Rules. */

static void rule_free(struct rule *r)
{
	list_remove(&r->node);
	free(r->domain);
	free(r->allow);
	free(r->keys);
	free(r);
}

static struct rule *find_rule(const char *domain) REQUIRES(lock)
{
	LIST_EACH (at, &rules) {
		struct rule *r = CONTAINER(at, struct rule, node);
		if (strcmp(r->domain, domain) == 0)
			return r;
	}
	return NULL;
}

void zeromq_rule_set(
	const char *domain, const struct cidr *allow, size_t n_allow, const struct strings *keys)
{
	struct rule *r = xcalloc(1, sizeof *r), *old;

	r->domain = xstrdup(domain);
	r->n_allow = n_allow;
	r->allow = xcalloc(n_allow + 1, sizeof *allow);
	memcpy(r->allow, allow, n_allow * sizeof *allow);
	r->keys = xcalloc(keys->n + 1, sizeof *r->keys);
	for (size_t i = 0; i < keys->n; i++)
		if (zmq_z85_decode(r->keys[r->n_keys], keys->items[i]))
			r->n_keys++;
	assert(r->n_keys == keys->n);
	lock_take(&lock);
	if ((old = find_rule(domain)))
		rule_free(old);
	list_append(&rules, &r->node);
	lock_drop(&lock);
}

void zeromq_rule_drop(const char *domain)
{
	struct rule *r;

	lock_take(&lock);
	if ((r = find_rule(domain)))
		rule_free(r);
	lock_drop(&lock);
}

static bool address_allowed(const struct rule *r, const char *text)
{
	return r->n_allow == 0 || cidr_has_text(r->allow, r->n_allow, text);
}

static bool key_allowed(const struct rule *r, const void *key, size_t n)
{
	for (size_t i = 0; i < r->n_keys; i++)
		if (n == KEY_BYTES && memcmp(r->keys[i], key, KEY_BYTES) == 0)
			return true;
	return r->n_keys == 0;
}

/* Answering. */

struct request {
	char frames[ZAP_FRAMES][ZAP_FRAME_MAX + 1]; /* version, id, domain, address, identity,
						     * mechanism, key */
	size_t sizes[ZAP_FRAMES], n;
};

/* False when the context ends. */
static bool receive(void *socket, struct request *q)
{
	zmq_msg_t frame;
	bool more = true;

	*q = (struct request){0};
	zmq_msg_init(&frame);
	while (more) {
		int r = zmq_msg_recv(&frame, socket, 0);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			break;
		more = zmq_msg_more(&frame);
		if (q->n < ZAP_FRAMES) {
			size_t n = zmq_msg_size(&frame);
			n = n < ZAP_FRAME_MAX ? n : ZAP_FRAME_MAX;
			memcpy(q->frames[q->n], zmq_msg_data(&frame), n);
			q->sizes[q->n++] = n;
		}
	}
	zmq_msg_close(&frame);
	return !more;
}

static bool is_allowed(const struct request *q)
{
	const struct rule *r;
	bool good;

	lock_take(&lock);
	r = q->n >= ZAP_FRAMES - 1 ? find_rule(q->frames[2]) : NULL;
	good = r && address_allowed(r, q->frames[3]) &&
	       key_allowed(r, q->frames[6], strcmp(q->frames[5], "CURVE") ? 0 : q->sizes[6]);
	lock_drop(&lock);
	return good;
}

static void *answer(void *arg)
{
	struct request q;

	while (receive(arg, &q)) {
		bool good = is_allowed(&q);

		zmq_send(arg, "1.0", 3, ZMQ_SNDMORE);
		zmq_send(arg, q.frames[1], q.sizes[1], ZMQ_SNDMORE);
		zmq_send(arg, good ? "200" : "400", 3, ZMQ_SNDMORE);
		zmq_send(arg, good ? "" : "not allowed", good ? 0 : 11, ZMQ_SNDMORE);
		zmq_send(arg, "", 0, ZMQ_SNDMORE);
		zmq_send(arg, "", 0, 0);
	}
	zmq_close(arg);
	return NULL;
}

/* The context. */

static int begin(struct error *e) REQUIRES(lock)
{
	void *socket;

	if (!(context = zmq_ctx_new()))
		return error_errno(e, errno, "libzmq");
	zmq_ctx_set(context, ZMQ_MAX_SOCKETS, SOCKETS_MAX);
	socket = zmq_socket(context, ZMQ_REP);
	if (!socket || zmq_bind(socket, "inproc://zeromq.zap.01") < 0) {
		int number = errno;
		if (socket)
			zmq_close(socket);
		zmq_ctx_term(context);
		context = NULL;
		return error_errno(e, number, "libzmq");
	}
	answerer = thread_start("zeromq-auth", answer, socket);
	return 0;
}

void *zeromq_context_ref(struct error *e)
{
	void *got;

	lock_take(&lock);
	if (n_refs > 0 || begin(e) == 0)
		n_refs++;
	got = context;
	lock_drop(&lock);
	return got;
}

void zeromq_context_unref(void)
{
	void *last = NULL;
	pthread_t thread;

	lock_take(&lock);
	assert(n_refs > 0);
	thread = answerer;
	if (--n_refs == 0) {
		last = context;
		context = NULL;
	}
	lock_drop(&lock);
	if (!last)
		return;
	zmq_ctx_shutdown(last);
	pthread_join(thread, NULL);
	zmq_ctx_term(last);
}

/* Keys. */

bool zeromq_key_valid(struct str key)
{
	uint8_t raw[KEY_BYTES];
	char text[ZEROMQ_KEY + 1];

	return key.n == ZEROMQ_KEY && !memchr(key.p, 0, key.n) &&
	       zmq_z85_decode(raw, str_copy(key, text, sizeof text)) != NULL;
}

/* A key alone, or a certificate of pyzmq's zmq.auth: `secret-key = "…"`. */
static struct str find_key(struct str text)
{
	ptrdiff_t at = str_find(text, STR("secret-key"));

	if (at < 0)
		return str_trim(text);
	text = str_sub(text, (size_t)at, text.n);
	str_cut(&text, '"');
	return str_cut(&text, '"');
}

/* The mode must be that of the file that is read; `text` holds KEY_FILE_MAX. */
static int read_private(const char *path, char *text, size_t *n, struct error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), r = 0;
	struct stat st;
	ssize_t got;

	if (fd < 0)
		return error_errno(e, errno, "%s", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > KEY_FILE_MAX)
		r = error_set(
			e, ERR_ARG, "%s is not a file of at most %d bytes", path, KEY_FILE_MAX);
	else if (st.st_mode & 077)
		r = error_set(e, ERR_DENIED,
			"others than its owner may use %s (mode %04o): chmod 600 %s", path,
			(unsigned)st.st_mode & 07777, path);
	else if ((got = read(fd, text, KEY_FILE_MAX)) < 0)
		r = error_errno(e, errno, "%s", path);
	else
		*n = (size_t)got;
	close(fd);
	return r;
}

static int read_secret(const char *path, struct zeromq_keys *out, struct error *e)
{
	char text[KEY_FILE_MAX];
	size_t n = 0;
	struct str key;
	int r;

	if ((r = read_private(path, text, &n, e)) < 0)
		return r;
	key = find_key(str_make(text, n));
	if (zeromq_key_valid(key))
		str_copy(key, out->secret, sizeof out->secret);
	else
		r = error_set(e, ERR_ARG,
			"%s: there is no key in it: %d characters of Z85, alone or as in a certificate of "
			"zmq.auth",
			path, ZEROMQ_KEY);
	explicit_bzero(text, sizeof text);
	return r;
}

int zeromq_keys_read(const struct zeromq_settings *s, struct zeromq_keys *out, struct error *e)
{
	int r;

	*out = (struct zeromq_keys){0};
	if (!s->curve.server_key && !s->curve.secret_key_file)
		return 0;
	if (s->curve.server_key)
		str_copy(str_c(s->curve.server_key), out->server, sizeof out->server);
	if (!s->curve.secret_key_file)
		return zmq_curve_keypair(out->public, out->secret) == 0
			       ? 0
			       : error_errno(e, errno, "curve: a pair of keys");
	if ((r = read_secret(s->curve.secret_key_file, out, e)) < 0)
		return error_wrap(e, r, "curve.secret_key_file");
	if (zmq_curve_public(out->public, out->secret) < 0)
		return error_errno(e, errno, "curve.secret_key_file: the public key of it");
	return 0;
}
