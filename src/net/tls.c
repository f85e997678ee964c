/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  A session never touches a socket: GnuTLS pulls from the bytes of
 * the current tls_session_feed and pushes into its `wire`.  A pull beyond
 * these bytes says EAGAIN, and GnuTLS keeps what it has of a record that is
 * not whole, so each feed uses all of its bytes and nothing is kept here.
 *
 * Only forward secrecy with authenticated encryption is offered.  There are
 * no tickets: they would need keys that rotate, and connections of log
 * senders live long.
 */
#include "net/tls.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

enum {
	PEM_MAX = 1 << 20, /* of one file: a CA bundle of a distribution has 200 KiB */
	CHAIN_MAX = 16,    /* certificates of our own chain */
	RECORD_MAX = 16384,
	NAME_MAX_BYTES = 256,
};

const char tls_priority[] =
	"NONE:+VERS-TLS1.3:+VERS-TLS1.2:+ECDHE-ECDSA:+ECDHE-RSA:+AES-256-GCM:+CHACHA20-POLY1305:"
	"+AES-128-GCM:+AEAD:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:+GROUP-SECP521R1:"
	"+SIGN-ALL:-SIGN-RSA-SHA1:-SIGN-ECDSA-SHA1:+CTYPE-X509:%SERVER_PRECEDENCE:"
	"%PROFILE_MEDIUM";

const struct option tls_options[] = {
	OPTION(struct tls_settings, cert, .kind = OPT_PATH,
		.help = "Certificate of the server, PEM; the chain behind it."),
	OPTION(struct tls_settings, key, .kind = OPT_PATH,
		.help = "Its private key, PEM, without a password; readable by its owner alone "
			"(0600)."),
	OPTION(struct tls_settings, client_ca, .kind = OPT_PATH,
		.help = "Clients must show a certificate signed by one of these, PEM."),
	OPTION_END,
};

struct tls_server {
	/* Fixed after tls_server_new. */
	gnutls_certificate_credentials_t credentials;
	gnutls_priority_t priority;
	char *paths[3]; /* cert, key, client_ca (may be NULL) */
	struct stat stats[3];
	bool wants_clients;
	/* Atomic. */
	_Atomic unsigned refs;
};

struct tls_session {
	struct tls_server *server;
	gnutls_session_t session;
	bool ready, failed;
	/* Of the feed or send under way. */
	struct str in;
	struct buf *wire;
	char peer[NAME_MAX_BYTES];
	size_t peer_n;
};

/* Files. */

void tls_files_fini(struct tls_files *f)
{
	if (f->key.p)
		gnutls_memset(f->key.p, 0, f->key.cap);
	buf_fini(&f->cert);
	buf_fini(&f->key);
	buf_fini(&f->client_ca);
}

/* Not fs_read_all: the mode must be that of the file that is read. */
static int read_pem(
	const char *what, const char *path, bool secret, struct buf *out, struct error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), r = 0;
	struct stat st;
	ssize_t n = 0;

	if (fd < 0)
		return error_set(e, ERR_ARG, "%s: %s cannot be read: %s", what, path,
			strerrordesc_np(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		r = error_set(e, ERR_ARG, "%s: %s is not a file", what, path);
	else if (st.st_size > PEM_MAX)
		r = error_set(e, ERR_ARG, "%s: %s is over 1 MiB, which no PEM file is", what, path);
	else if (secret && (st.st_mode & 077))
		r = error_set(e, ERR_DENIED,
			"%s: others than its owner may use %s (mode %04o): chmod 600 %s", what,
			path, (unsigned)st.st_mode & 07777, path);
	/* Once, large enough: a buffer that grows would leave copies of the key behind. */
	if (r == 0)
		buf_reserve(out, (size_t)st.st_size + 1);
	while (r == 0 && out->n < (size_t)st.st_size &&
		(n = read(fd, out->p + out->n, (size_t)st.st_size - out->n)) > 0)
		out->n += (size_t)n;
	if (r == 0 && n < 0)
		r = error_set(e, ERR_ARG, "%s: %s cannot be read: %s", what, path,
			strerrordesc_np(errno));
	close(fd);
	if (r == 0)
		buf_cstr(out);
	return r;
}

static gnutls_datum_t datum(const struct buf *b)
{
	return (gnutls_datum_t){.data = (unsigned char *)b->p, .size = (unsigned)b->n};
}

/* Certificates of a PEM text; the caller frees them. */
static int parse_certificates(const char *what, const char *path, const struct buf *pem,
	gnutls_x509_crt_t **out, unsigned *n, struct error *e)
{
	gnutls_datum_t d = datum(pem);
	int r = pem->n ? gnutls_x509_crt_list_import2(out, n, &d, GNUTLS_X509_FMT_PEM, 0)
		       : GNUTLS_E_NO_CERTIFICATE_FOUND;

	if (r < 0)
		return error_set(e, ERR_ARG,
			"%s: %s holds no certificate in PEM form (-----BEGIN CERTIFICATE-----): %s",
			what, path, gnutls_strerror(r));
	return 0;
}

static void free_certificates(gnutls_x509_crt_t *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		gnutls_x509_crt_deinit(list[i]);
	gnutls_free(list);
}

static int parse_key(
	const char *path, const struct buf *pem, gnutls_x509_privkey_t key, struct error *e)
{
	gnutls_datum_t d = datum(pem);
	int r = pem->n ? gnutls_x509_privkey_import2(key, &d, GNUTLS_X509_FMT_PEM, NULL, 0)
		       : GNUTLS_E_BASE64_DECODING_ERROR;

	if (r == GNUTLS_E_DECRYPTION_FAILED)
		return error_set(e, ERR_ARG,
			"tls.key: %s is protected by a password: store it without (openssl pkey "
			"-in %s -out FILE)",
			path, path);
	if (r < 0)
		return error_set(e, ERR_ARG,
			"tls.key: %s holds no private key in PEM form (-----BEGIN PRIVATE KEY-----): %s",
			path, gnutls_strerror(r));
	return 0;
}

/* Key and certificate are of one pair when their public halves have one identifier. */
static bool is_pair(gnutls_x509_crt_t cert, gnutls_x509_privkey_t key)
{
	unsigned char a[64], b[64];
	size_t n_a = sizeof a, n_b = sizeof b;

	return gnutls_x509_crt_get_key_id(cert, GNUTLS_KEYID_USE_SHA256, a, &n_a) == 0 &&
	       gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, b, &n_b) == 0 &&
	       str_eq(str_make(a, n_a), str_make(b, n_b));
}

static int check_pair(const struct tls_files *f, const struct tls_settings *s, struct error *e)
{
	gnutls_x509_crt_t *chain = NULL;
	gnutls_x509_privkey_t key = NULL;
	unsigned n = 0;
	int r;

	if ((r = parse_certificates("tls.cert", s->cert, &f->cert, &chain, &n, e)) < 0)
		return r;
	gnutls_x509_privkey_init(&key);
	if (n > CHAIN_MAX)
		r = error_set(e, ERR_ARG,
			"tls.cert: %s holds %u certificates, at most %d make a chain", s->cert, n,
			CHAIN_MAX);
	else if ((r = parse_key(s->key, &f->key, key, e)) == 0 && !is_pair(chain[0], key))
		r = error_set(e, ERR_ARG,
			"tls.key: %s is not the key of the first certificate in %s", s->key,
			s->cert);
	gnutls_x509_privkey_deinit(key);
	free_certificates(chain, n);
	return r;
}

static int check_client_ca(const struct tls_files *f, const struct tls_settings *s, struct error *e)
{
	gnutls_x509_crt_t *list = NULL;
	unsigned n = 0;
	int r = parse_certificates("tls.client_ca", s->client_ca, &f->client_ca, &list, &n, e);

	if (r == 0)
		free_certificates(list, n);
	return r;
}

int tls_files_read(struct tls_files *out, const struct tls_settings *s, struct error *e)
{
	int r;

	*out = (struct tls_files){0};
	if (!s->cert || !s->key)
		return error_set(e, ERR_ARG,
			"tls.%s is missing: TLS needs a certificate and its key",
			s->cert ? "key" : "cert");
	if ((r = read_pem("tls.cert", s->cert, false, &out->cert, e)) < 0 ||
		(r = read_pem("tls.key", s->key, true, &out->key, e)) < 0 ||
		(r = check_pair(out, s, e)) < 0)
		goto fail;
	if (s->client_ca &&
		((r = read_pem("tls.client_ca", s->client_ca, false, &out->client_ca, e)) < 0 ||
			(r = check_client_ca(out, s, e)) < 0))
		goto fail;
	return 0;
fail:
	tls_files_fini(out);
	return r;
}

/* The server's half. */

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void server_free(struct tls_server *t)
{
	if (t->credentials)
		gnutls_certificate_free_credentials(t->credentials);
	if (t->priority)
		gnutls_priority_deinit(t->priority);
	for (size_t i = 0; i < 3; i++)
		free(t->paths[i]);
	free(t);
}

static int server_load(struct tls_server *t, const struct tls_files *f, struct error *e)
{
	gnutls_datum_t cert = datum(&f->cert), key = datum(&f->key), ca = datum(&f->client_ca);
	int r;

	if ((r = gnutls_certificate_allocate_credentials(&t->credentials)) < 0 ||
		(r = gnutls_priority_init(&t->priority, tls_priority, NULL)) < 0 ||
		(r = gnutls_certificate_set_x509_key_mem2(
			 t->credentials, &cert, &key, GNUTLS_X509_FMT_PEM, NULL, 0)) < 0)
		return error_set(e, ERR_ARG, "tls: %s", gnutls_strerror(r));
	if (f->client_ca.n && (r = gnutls_certificate_set_x509_trust_mem(
				       t->credentials, &ca, GNUTLS_X509_FMT_PEM)) < 0)
		return error_set(e, ERR_ARG, "tls.client_ca: %s", gnutls_strerror(r));
	return 0;
}

int tls_server_new(struct tls_server **out, const struct tls_settings *s, struct error *e)
{
	const char *const paths[3] = {s->cert, s->key, s->client_ca};
	struct tls_server *t = xcalloc(1, sizeof *t);
	struct tls_files files;
	int r;

	t->refs = 1;
	t->wants_clients = s->client_ca != NULL;
	/* Before they are read: a change in between is seen as one, and they are read again. */
	for (size_t i = 0; i < 3; i++) {
		t->paths[i] = xstrdup(paths[i]);
		if (paths[i])
			stat(paths[i], &t->stats[i]);
	}
	if ((r = tls_files_read(&files, s, e)) == 0) {
		r = server_load(t, &files, e);
		tls_files_fini(&files);
	}
	if (r < 0) {
		server_free(t);
		return r;
	}
	*out = t;
	return 0;
}

struct tls_server *tls_server_ref(struct tls_server *t)
{
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

void tls_server_unref(struct tls_server *t)
{
	if (t && atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1)
		server_free(t);
}

bool tls_server_stale(const struct tls_server *t)
{
	struct stat now;

	for (size_t i = 0; i < 3; i++)
		if (t->paths[i] && stat(t->paths[i], &now) == 0 && !same_file(&now, &t->stats[i]))
			return true;
	return false;
}

/* Sessions. */

static ssize_t pull(gnutls_transport_ptr_t arg, void *p, size_t n)
{
	struct tls_session *s = arg;

	if (s->in.n == 0) {
		gnutls_transport_set_errno(s->session, EAGAIN);
		return -1;
	}
	if (n > s->in.n)
		n = s->in.n;
	memcpy(p, s->in.p, n);
	s->in.p += n;
	s->in.n -= n;
	return (ssize_t)n;
}

static ssize_t push(gnutls_transport_ptr_t arg, const void *p, size_t n)
{
	struct tls_session *s = arg;

	if (s->wire)
		buf_put(s->wire, p, n);
	return (ssize_t)n;
}

/* Asked by GnuTLS before a pull that may wait; ours never does. */
static int pull_timeout(gnutls_transport_ptr_t arg, unsigned ms)
{
	const struct tls_session *s = arg;

	(void)ms;
	return s->in.n > 0;
}

void tls_server_attach(struct tls_server *t, gnutls_session_t session)
{
	int r = gnutls_priority_set(session, t->priority);

	assert(r >= 0); /* memory alone could be missing */
	r = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, t->credentials);
	assert(r >= 0);
	(void)r;
	if (t->wants_clients) {
		/* Static: the session keeps the pointer. */
		static gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
			.data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT};
		gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
		gnutls_session_set_verify_cert2(session, &purpose, 1, 0);
	} else {
		gnutls_certificate_server_set_request(session, GNUTLS_CERT_IGNORE);
	}
}

struct tls_session *tls_session_new(struct tls_server *t)
{
	struct tls_session *s = xcalloc(1, sizeof *s);
	int r;

	s->server = tls_server_ref(t);
	r = gnutls_init(&s->session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS);
	assert(r >= 0);
	(void)r;
	tls_server_attach(t, s->session);
	gnutls_transport_set_ptr(s->session, s);
	gnutls_transport_set_pull_function(s->session, pull);
	gnutls_transport_set_push_function(s->session, push);
	gnutls_transport_set_pull_timeout_function(s->session, pull_timeout);
	/* The owner has a deadline for the handshake. */
	gnutls_handshake_set_timeout(s->session, GNUTLS_INDEFINITE_TIMEOUT);
	return s;
}

void tls_session_alpn(struct tls_session *s, const char *protocol)
{
	gnutls_datum_t d = {(unsigned char *)protocol, (unsigned)strlen(protocol)};
	int r = gnutls_alpn_set_protocols(s->session, &d, 1, GNUTLS_ALPN_MANDATORY);

	assert(r >= 0);
	(void)r;
}

void tls_session_free(struct tls_session *s)
{
	if (!s)
		return;
	gnutls_deinit(s->session);
	tls_server_unref(s->server);
	free(s);
}

/* The first DNS name of the certificate, else its common name. */
static void note_peer(struct tls_session *s)
{
	unsigned n_list = 0, n_names = 0;
	const gnutls_datum_t *list = gnutls_certificate_get_peers(s->session, &n_list);
	gnutls_x509_crt_t cert;
	size_t n;

	if (!list || n_list == 0 || gnutls_x509_crt_init(&cert) < 0)
		return;
	if (gnutls_x509_crt_import(cert, &list[0], GNUTLS_X509_FMT_DER) >= 0) {
		int r = 0;
		while (r >= 0 && s->peer_n == 0) {
			n = sizeof s->peer;
			r = gnutls_x509_crt_get_subject_alt_name(
				cert, n_names++, s->peer, &n, NULL);
			if (r == GNUTLS_SAN_DNSNAME)
				s->peer_n = n;
			else if (r == GNUTLS_E_SHORT_MEMORY_BUFFER)
				r = 0;
		}
		n = sizeof s->peer;
		if (s->peer_n == 0 && gnutls_x509_crt_get_dn_by_oid(cert,
					      GNUTLS_OID_X520_COMMON_NAME, 0, 0, s->peer, &n) >= 0)
			s->peer_n = n;
	}
	gnutls_x509_crt_deinit(cert);
}

static int not_verified(struct tls_session *s, struct error *e)
{
	unsigned status = gnutls_session_get_verify_cert_status(s->session);
	gnutls_datum_t text = {0};
	struct str why = STR("it is not signed by one of client_ca");

	if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) >= 0)
		why = str_trim(str_make(text.data, text.size));
	error_set(e, ERR_DENIED, "the client's certificate is refused: %.*s", STR_ARG(why));
	gnutls_free(text.data);
	return ERR_DENIED;
}

/* A session that cannot go on: tell the peer, and the person. */
static int fail(struct tls_session *s, int code, struct error *e)
{
	s->failed = true;
	gnutls_alert_send_appropriate(s->session, code);
	switch (code) {
	case GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR: return not_verified(s, e);
	case GNUTLS_E_CERTIFICATE_REQUIRED:
	case GNUTLS_E_NO_CERTIFICATE_FOUND:
		return error_set(e, ERR_DENIED,
			"the client showed no certificate, and client_ca asks for one");
	case GNUTLS_E_FATAL_ALERT_RECEIVED:
	case GNUTLS_E_WARNING_ALERT_RECEIVED:
		return error_set(e, ERR_NET, "TLS: the client says: %s",
			gnutls_alert_get_strname(gnutls_alert_get(s->session)));
	default: return error_set(e, ERR_NET, "TLS: %s", gnutls_strerror(code));
	}
}

static int handshake(struct tls_session *s, struct error *e)
{
	int r;

	do
		r = gnutls_handshake(s->session);
	while (r == GNUTLS_E_INTERRUPTED || r == GNUTLS_E_WARNING_ALERT_RECEIVED);
	if (r == GNUTLS_E_AGAIN)
		return 0;
	if (r < 0)
		return fail(s, r, e);
	s->ready = true;
	note_peer(s);
	return 0;
}

static int receive(struct tls_session *s, struct buf *plain, struct error *e)
{
	for (;;) {
		ssize_t n =
			gnutls_record_recv(s->session, buf_reserve(plain, RECORD_MAX), RECORD_MAX);
		if (n > 0)
			plain->n += (size_t)n;
		else if (n == 0)
			return error_set(e, ERR_CLOSED, "the client closed the connection");
		else if (n == GNUTLS_E_AGAIN)
			return 0;
		else if (n == GNUTLS_E_REHANDSHAKE)
			return fail(s, GNUTLS_E_UNSAFE_RENEGOTIATION_DENIED, e);
		else if (gnutls_error_is_fatal((int)n))
			return fail(s, (int)n, e);
	}
}

int tls_session_feed(struct tls_session *s, struct str bytes, struct buf *plain, struct buf *wire,
	struct error *e)
{
	int r = 0;

	if (s->failed)
		return error_set(e, ERR_CLOSED, "the TLS session has failed before");
	s->in = bytes;
	s->wire = wire;
	if (!s->ready)
		r = handshake(s, e);
	if (r == 0 && s->ready)
		r = receive(s, plain, e);
	s->in = STR_NONE;
	s->wire = NULL;
	return r;
}

int tls_session_send(struct tls_session *s, struct str plain, struct buf *wire, struct error *e)
{
	int r = 0;

	if (s->failed || !s->ready)
		return error_set(e, ERR_CLOSED, "the TLS session is not open");
	s->wire = wire;
	while (plain.n && r == 0) {
		ssize_t n = gnutls_record_send(s->session, plain.p, plain.n);
		if (n < 0 && n != GNUTLS_E_AGAIN && n != GNUTLS_E_INTERRUPTED)
			r = fail(s, (int)n, e);
		else if (n > 0)
			plain = str_sub(plain, (size_t)n, plain.n);
	}
	s->wire = NULL;
	return r;
}

void tls_session_end(struct tls_session *s, struct buf *wire)
{
	if (s->failed || !s->ready)
		return;
	s->wire = wire;
	gnutls_bye(s->session, GNUTLS_SHUT_WR);
	s->wire = NULL;
}

bool tls_session_ready(const struct tls_session *s)
{
	return s->ready;
}

struct str tls_session_peer(const struct tls_session *s)
{
	return str_make(s->peer, s->peer_n);
}
