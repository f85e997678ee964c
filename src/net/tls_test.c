/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "net/tls.h"

static char folder[] = "/tmp/sawlog-tls-XXXXXX";

/* Certificates, made here. */

struct identity {
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t cert;
};

static void write_file(const char *name, const gnutls_datum_t *text, mode_t mode)
{
	char path[100];
	int fd;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	unlink(path);
	fd = open(path, O_CREAT | O_WRONLY, mode);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text->data, text->size), text->size);
	close(fd);
	chmod(path, mode);
}

static void write_text(const char *name, const char *text, mode_t mode)
{
	gnutls_datum_t d = {(unsigned char *)text, (unsigned)strlen(text)};

	write_file(name, &d, mode);
}

/* <name>.crt and <name>.key, signed by `ca` (NULL: by itself). */
static struct identity identity_new(
	const char *name, const char *dns, const struct identity *ca, const char *purpose)
{
	static unsigned char serial = 1;
	struct identity id;
	gnutls_datum_t text;
	char file[64];

	gnutls_x509_privkey_init(&id.key);
	gnutls_x509_privkey_generate(
		id.key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	gnutls_x509_crt_init(&id.cert);
	gnutls_x509_crt_set_version(id.cert, 3);
	gnutls_x509_crt_set_serial(id.cert, &serial, 1);
	serial++;
	gnutls_x509_crt_set_key(id.cert, id.key);
	gnutls_x509_crt_set_dn_by_oid(
		id.cert, GNUTLS_OID_X520_COMMON_NAME, 0, name, (unsigned)strlen(name));
	gnutls_x509_crt_set_activation_time(id.cert, time(NULL) - 3600);
	gnutls_x509_crt_set_expiration_time(id.cert, time(NULL) + 3600);
	gnutls_x509_crt_set_basic_constraints(id.cert, ca == NULL, -1);
	if (dns)
		gnutls_x509_crt_set_subject_alt_name(
			id.cert, GNUTLS_SAN_DNSNAME, dns, (unsigned)strlen(dns), GNUTLS_FSAN_SET);
	if (purpose)
		gnutls_x509_crt_set_key_purpose_oid(id.cert, purpose, 0);
	assert_int_equal(gnutls_x509_crt_sign2(id.cert, ca ? ca->cert : id.cert,
				 ca ? ca->key : id.key, GNUTLS_DIG_SHA256, 0),
		0);
	snprintf(file, sizeof file, "%s.crt", name);
	gnutls_x509_crt_export2(id.cert, GNUTLS_X509_FMT_PEM, &text);
	write_file(file, &text, 0644);
	gnutls_free(text.data);
	snprintf(file, sizeof file, "%s.key", name);
	gnutls_x509_privkey_export2_pkcs8(id.key, GNUTLS_X509_FMT_PEM, NULL, 0, &text);
	write_file(file, &text, 0600);
	gnutls_free(text.data);
	return id;
}

static void identity_free(struct identity *id)
{
	gnutls_x509_crt_deinit(id->cert);
	gnutls_x509_privkey_deinit(id->key);
}

static struct identity ca, other_ca, server_id, client_id, server_as_client, stranger;

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	ca = identity_new("ca", NULL, NULL, NULL);
	other_ca = identity_new("otherca", NULL, NULL, NULL);
	server_id = identity_new("server", "localhost", &ca, NULL);
	client_id = identity_new("client", "web1.example", &ca, GNUTLS_KP_TLS_WWW_CLIENT);
	server_as_client = identity_new("nopurpose", NULL, &ca, GNUTLS_KP_TLS_WWW_SERVER);
	stranger = identity_new("stranger", NULL, &other_ca, NULL);
	return 0;
}

static int teardown(void **state)
{
	char command[64];

	(void)state;
	identity_free(&ca);
	identity_free(&other_ca);
	identity_free(&server_id);
	identity_free(&client_id);
	identity_free(&server_as_client);
	identity_free(&stranger);
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

static const char *path_of(const char *name)
{
	static char paths[8][100];
	static unsigned i;

	i = (i + 1) % 8;
	snprintf(paths[i], sizeof paths[i], "%s/%s", folder, name);
	return paths[i];
}

/* A client whose wire is two buffers. */
struct client {
	gnutls_session_t session;
	gnutls_certificate_credentials_t credentials;
	struct buf in, out;
	bool ready;
};

static ssize_t client_pull(gnutls_transport_ptr_t arg, void *p, size_t n)
{
	struct client *c = arg;

	if (c->in.n == 0) {
		gnutls_transport_set_errno(c->session, EAGAIN);
		return -1;
	}
	n = n < c->in.n ? n : c->in.n;
	memcpy(p, c->in.p, n);
	buf_shift(&c->in, n);
	return (ssize_t)n;
}

static ssize_t client_push(gnutls_transport_ptr_t arg, const void *p, size_t n)
{
	buf_put(&((struct client *)arg)->out, p, n);
	return (ssize_t)n;
}

static void client_init(struct client *c, const char *priority, const struct identity *id)
{
	*c = (struct client){0};
	gnutls_certificate_allocate_credentials(&c->credentials);
	if (id) {
		gnutls_x509_crt_t cert = id->cert;
		assert_int_equal(
			gnutls_certificate_set_x509_key(c->credentials, &cert, 1, id->key), 0);
	}
	gnutls_init(&c->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_FORCE_CLIENT_CERT);
	assert_int_equal(gnutls_priority_set_direct(c->session, priority, NULL), 0);
	gnutls_credentials_set(c->session, GNUTLS_CRD_CERTIFICATE, c->credentials);
	gnutls_transport_set_ptr(c->session, c);
	gnutls_transport_set_pull_function(c->session, client_pull);
	gnutls_transport_set_push_function(c->session, client_push);
}

static void client_fini(struct client *c)
{
	gnutls_deinit(c->session);
	gnutls_certificate_free_credentials(c->credentials);
	buf_fini(&c->in);
	buf_fini(&c->out);
}

/* Move bytes until neither side has any, `step` at a time; the server's result. */
static int exchange(
	struct client *c, struct tls_session *s, size_t step, struct buf *plain, struct error *e)
{
	int r = 0;

	for (int i = 0; i < 20000 && r == 0; i++) {
		if (!c->ready)
			c->ready = gnutls_handshake(c->session) == 0;
		if (c->out.n == 0)
			break;
		while (c->out.n && r == 0) {
			size_t n = c->out.n < step ? c->out.n : step;
			r = tls_session_feed(s, str_make(c->out.p, n), plain, &c->in, e);
			buf_shift(&c->out, n);
		}
	}
	return r;
}

static struct tls_server *server_new(bool client_ca)
{
	struct tls_settings t = {
		path_of("server.crt"), path_of("server.key"), client_ca ? path_of("ca.crt") : NULL};
	struct tls_server *server;
	struct error e;

	if (tls_server_new(&server, &t, &e) < 0)
		fail_msg("%s", e.text);
	return server;
}

/* Bytes go both ways, however they are cut, in both versions. */
static void test_session(void **state)
{
	static const char *const priorities[] = {"NORMAL", "NORMAL:-VERS-TLS1.3"};
	static const size_t steps[] = {1, 7, 100, 100000};
	struct tls_server *server = server_new(false);
	struct buf big = {0}, plain = {0};
	struct error e;
	char got[64];

	(void)state;
	for (int i = 0; i < 20000; i++)
		buf_printf(&big, "line %d\n", i);
	for (size_t p = 0; p < 2; p++)
		for (size_t k = 0; k < 4; k++) {
			struct tls_session *s = tls_session_new(server);
			struct client c;

			client_init(&c, priorities[p], NULL);
			assert_int_equal(exchange(&c, s, steps[k], &plain, &e), 0);
			assert_true(tls_session_ready(s));
			assert_int_equal(tls_session_peer(s).n, 0);
			for (size_t at = 0; at < big.n;) {
				ssize_t n = gnutls_record_send(c.session, big.p + at, big.n - at);
				assert_true(n > 0);
				at += (size_t)n;
			}
			assert_int_equal(exchange(&c, s, steps[k], &plain, &e), 0);
			assert_true(str_eq(buf_view(&plain), buf_view(&big)));
			assert_int_equal(tls_session_send(s, STR("hello"), &c.in, &e), 0);
			assert_int_equal(gnutls_record_recv(c.session, got, sizeof got), 5);
			assert_memory_equal(got, "hello", 5);
			gnutls_bye(c.session, GNUTLS_SHUT_WR);
			assert_int_equal(exchange(&c, s, steps[k], &plain, &e), ERR_CLOSED);
			tls_session_end(s, &c.in);
			client_fini(&c);
			tls_session_free(s);
			buf_clear(&plain);
		}
	tls_server_unref(server);
	buf_fini(&big);
	buf_fini(&plain);
}

/* One handshake; the server's result, its name of the client in `peer`. */
static int shake(bool client_ca, const char *priority, const struct identity *id, char peer[64],
	struct error *e)
{
	struct tls_server *server = server_new(client_ca);
	struct tls_session *s = tls_session_new(server);
	struct buf plain = {0};
	struct client c;
	int r;

	tls_server_unref(server); /* the session has its own reference */
	client_init(&c, priority, id);
	r = exchange(&c, s, 100000, &plain, e);
	assert_true(r < 0 || tls_session_ready(s));
	str_copy(tls_session_peer(s), peer, 64);
	if (r < 0) {
		/* The client is told, and nothing goes on. */
		assert_int_equal(tls_session_feed(s, STR("x"), &plain, &c.in, NULL), ERR_CLOSED);
		assert_int_equal(tls_session_send(s, STR("x"), &c.in, NULL), ERR_CLOSED);
	}
	client_fini(&c);
	tls_session_free(s);
	buf_fini(&plain);
	return r;
}

static void test_clients(void **state)
{
	static const char *const priorities[] = {"NORMAL", "NORMAL:-VERS-TLS1.3"};
	struct error e;
	char peer[64];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(shake(true, priorities[i], &client_id, peer, &e), 0);
		assert_string_equal(peer, "web1.example");
		assert_int_equal(shake(true, priorities[i], NULL, peer, &e), ERR_DENIED);
		assert_non_null(strstr(e.text, "no certificate"));
		assert_int_equal(shake(true, priorities[i], &stranger, peer, &e), ERR_DENIED);
		assert_non_null(strstr(e.text, "refused"));
		assert_int_equal(
			shake(true, priorities[i], &server_as_client, peer, &e), ERR_DENIED);
		assert_string_equal(peer, "");
		/* Nobody is asked: nobody is looked at. */
		assert_int_equal(shake(false, priorities[i], &stranger, peer, &e), 0);
		assert_string_equal(peer, "");
	}
}

/* Old versions, and what has no forward secrecy or no authenticated encryption. */
static void test_weak(void **state)
{
	static const char *const weak[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.1:+VERS-TLS1.0:%COMPAT",
		"NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-CBC",
		"NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA:+DHE-RSA"};
	struct error e;
	char peer[64];

	(void)state;
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(shake(false, weak[i], NULL, peer, &e), ERR_NET);
}

/* No TLS at all, and TLS that breaks. */
static void test_garbage(void **state)
{
	struct tls_server *server = server_new(false);
	struct buf plain = {0};
	struct error e;

	(void)state;
	srand(1);
	for (int i = 0; i < 300; i++) {
		struct tls_session *s = tls_session_new(server);
		struct client c;
		char junk[600];

		client_init(&c, "NORMAL", NULL);
		if (i % 3) {
			gnutls_handshake(c.session);
			if (i % 3 == 2)
				exchange(&c, s, 1000, &plain, &e);
			else
				c.out.p[(size_t)rand() % c.out.n] ^= (char)(1 + rand() % 255);
			tls_session_feed(s, buf_view(&c.out), &plain, &c.in, &e);
		}
		for (size_t k = 0; k < sizeof junk; k++)
			junk[k] = (char)rand();
		junk[0] = i & 1 ? 22 : 23;
		for (size_t k = 0; k < 4; k++)
			tls_session_feed(s, str_make(junk + k * 100, 100), &plain, &c.in, &e);
		assert_int_equal(plain.n, 0);
		client_fini(&c);
		tls_session_free(s);
	}
	tls_server_unref(server);
	buf_fini(&plain);
}

static void expect(
	int code, const char *cert, const char *key, const char *client_ca, const char *word)
{
	struct tls_settings t = {cert ? path_of(cert) : NULL, key ? path_of(key) : NULL,
		client_ca ? path_of(client_ca) : NULL};
	struct tls_server *server;
	struct error e;

	assert_int_equal(tls_server_new(&server, &t, &e), code);
	if (!strstr(e.text, word))
		fail_msg("'%s' does not tell '%s'", e.text, word);
}

static void test_files(void **state)
{
	struct tls_files files = {0};
	struct tls_settings t;

	(void)state;
	write_text("empty", "", 0600);
	write_text("text", "no certificate at all\n", 0600);
	write_text("cut", "-----BEGIN CERTIFICATE-----\nMIIB\n", 0600);
	expect(ERR_ARG, NULL, NULL, NULL, "tls.cert is missing");
	expect(ERR_ARG, "server.crt", NULL, NULL, "tls.key is missing");
	expect(ERR_ARG, "none", "server.key", NULL, "No such file");
	expect(ERR_ARG, "", "server.key", NULL, "is not a file");
	expect(ERR_ARG, "empty", "server.key", NULL, "no certificate in PEM");
	expect(ERR_ARG, "text", "server.key", NULL, "no certificate in PEM");
	expect(ERR_ARG, "cut", "server.key", NULL, "no certificate in PEM");
	expect(ERR_ARG, "server.crt", "text", NULL, "no private key in PEM");
	expect(ERR_ARG, "server.crt", "empty", NULL, "no private key in PEM");
	expect(ERR_ARG, "server.crt", "client.key", NULL, "is not the key of");
	expect(ERR_ARG, "server.crt", "server.key", "text", "tls.client_ca");
	expect(ERR_ARG, "server.crt", "server.key", "none", "tls.client_ca");
	chmod(path_of("server.key"), 0640);
	expect(ERR_DENIED, "server.crt", "server.key", NULL, "chmod 600");
	chmod(path_of("server.key"), 0604);
	expect(ERR_DENIED, "server.crt", "server.key", NULL, "mode 0604");
	chmod(path_of("server.key"), 0400);
	t = (struct tls_settings){path_of("server.crt"), path_of("server.key"), path_of("ca.crt")};
	assert_int_equal(tls_files_read(&files, &t, NULL), 0);
	assert_true(str_starts(str_c(files.key.p), STR("-----BEGIN PRIVATE KEY")));
	assert_true(str_starts(str_c(files.cert.p), STR("-----BEGIN CERTIFICATE")));
	tls_files_fini(&files);
	chmod(path_of("server.key"), 0600);
}

static void test_stale(void **state)
{
	struct tls_server *server = server_new(true);
	struct identity fresh;

	(void)state;
	assert_false(tls_server_stale(server));
	usleep(20000);
	fresh = identity_new("server", "localhost", &ca, NULL);
	assert_true(tls_server_stale(server));
	tls_server_unref(server);
	server = server_new(true);
	assert_false(tls_server_stale(server));
	/* Gone is no change: a renewal may be under way. */
	rename(path_of("ca.crt"), path_of("ca.away"));
	assert_false(tls_server_stale(server));
	rename(path_of("ca.away"), path_of("ca.crt"));
	tls_server_unref(server);
	identity_free(&fresh);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_session),
		cmocka_unit_test(test_clients),
		cmocka_unit_test(test_weak),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_stale),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
