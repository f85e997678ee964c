/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/listen.h"

#include <arpa/inet.h>

/* An address taken apart.  Views into the text. */
struct address {
	struct str scheme; /* empty when none is written */
	struct str host, port;
	struct str path; /* of http and https, from its "/" on; empty when there is none */
};

static bool is_scheme(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = (char)(s.p[i] | 0x20);
		if (!(c >= 'a' && c <= 'z') && s.p[i] != '-' && s.p[i] != '+' &&
			!(s.p[i] >= '0' && s.p[i] <= '9'))
			return false;
	}
	return s.n > 0;
}

static bool is_unix(struct str scheme)
{
	return str_eq_nocase(scheme, STR("unix")) || str_eq_nocase(scheme, STR("unix-dgram")) ||
	       str_eq_nocase(scheme, STR("ipc")) || str_ends(scheme, STR("+unix"));
}

static bool is_http(struct str scheme)
{
	return str_eq_nocase(scheme, STR("http")) || str_eq_nocase(scheme, STR("https"));
}

/* The standard input, where an input can listen to it. */
static bool is_stdin(struct str text)
{
	return str_eq_nocase(text, STR("stdin:"));
}

/* Split at the scheme and at the last colon; brackets of IPv6 stay on the host. */
static struct address split(struct str text)
{
	struct address a = {.host = text};
	ptrdiff_t at = str_find(text, STR("://"));
	size_t i;

	if (at >= 0) {
		a.scheme = str_sub(text, 0, (size_t)at);
		a.host = str_sub(text, (size_t)at + 3, text.n);
	}
	if (is_unix(a.scheme))
		return a;
	while (str_ends(a.host, STR("/")))
		a.host.n--;
	if (is_http(a.scheme) && str_chr(a.host, '/') >= 0) {
		a.path = a.host;
		a.host = str_cut(&a.path, '/');
		a.path = str_make(a.host.p + a.host.n, a.path.n + 1);
	}
	for (i = a.host.n; i > 0 && a.host.p[i - 1] != ':' && a.host.p[i - 1] != ']'; i--)
		;
	if (i > 0 && a.host.p[i - 1] == ':') {
		a.port = str_sub(a.host, i, a.host.n);
		a.host.n = i - 1;
	}
	return a;
}

static bool is_host_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = (char)(s.p[i] | 0x20);
		if (!(c >= 'a' && c <= 'z') && !(s.p[i] >= '0' && s.p[i] <= '9') && s.p[i] != '.' &&
			s.p[i] != '-' && s.p[i] != '_')
			return false;
	}
	return s.n > 0 && s.n <= 253;
}

static int put_host(struct str host, struct buf *out, struct error *e)
{
	char text[64], normal[INET6_ADDRSTRLEN];
	unsigned char raw[16];

	if (host.n == 0 || str_eq(host, STR("*"))) {
		buf_c(out, "0.0.0.0");
		return 0;
	}
	if (str_starts(host, STR("[")) && str_ends(host, STR("]")) && host.n < sizeof text) {
		str_copy(str_sub(host, 1, host.n - 1), text, sizeof text);
		if (inet_pton(AF_INET6, text, raw) != 1)
			return error_set(e, ERR_ARG, "[%s] is not an IPv6 address", text);
		buf_printf(out, "[%s]", inet_ntop(AF_INET6, raw, normal, sizeof normal));
		return 0;
	}
	if (str_chr(host, ':') >= 0)
		return error_set(e, ERR_ARG, "an IPv6 address needs brackets: [::1]:3100");
	if (!is_host_name(host))
		return error_set(e, ERR_ARG, "\"%.*s\" is not a host", STR_ARG(host));
	for (size_t i = 0; i < host.n; i++)
		buf_char(out, host.p[i] >= 'A' && host.p[i] <= 'Z' ? (char)(host.p[i] | 0x20)
								   : host.p[i]);
	return 0;
}

/* `udp:127.0.0.1:514`: the scheme without its slashes.  A name before nothing but a port is a host.
 */
static bool lacks_slashes(struct str text, struct str *scheme, struct str *rest)
{
	static const char *const schemes[] = {
		"udp", "tcp", "tls", "unix", "unix-dgram", "http", "https"};
	uint64_t port;

	*rest = text;
	*scheme = str_cut(rest, ':');
	while (str_starts(*rest, STR("/")) && !str_starts(*scheme, STR("unix")))
		*rest = str_sub(*rest, 1, rest->n);
	if (rest->n == 0 || str_u64(*rest, &port))
		return false;
	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
		if (str_eq(*scheme, str_c(schemes[i])))
			return true;
	return false;
}

int listen_normal(struct str text, struct buf *out, struct error *e)
{
	struct address a = split(text);
	struct str scheme, rest;
	uint64_t port;
	int r;

	if (is_stdin(text)) {
		buf_c(out, "stdin:");
		return 0;
	}
	if (!a.scheme.p && lacks_slashes(text, &scheme, &rest))
		return error_set(e, ERR_ARG, "\"%.*s\" is not an address: write %.*s://%.*s",
			STR_ARG(text), STR_ARG(scheme), STR_ARG(rest));
	if (a.scheme.p && !is_scheme(a.scheme))
		return error_set(e, ERR_ARG, "\"%.*s\" is not a scheme", STR_ARG(a.scheme));
	for (size_t i = 0; i < a.scheme.n; i++)
		buf_char(out,
			(char)(a.scheme.p[i] >= 'A' && a.scheme.p[i] <= 'Z' ? a.scheme.p[i] | 0x20
									    : a.scheme.p[i]));
	if (a.scheme.p)
		buf_c(out, "://");
	if (is_unix(a.scheme)) {
		buf_str(out, a.host);
		return str_starts(a.host, STR("/"))
			       ? 0
			       : error_set(e, ERR_ARG,
					 "a socket needs its whole path: unix:///run/x");
	}
	/* A number alone is a port of this machine, not of all its networks. */
	if (!a.port.p && str_u64(a.host, &port)) {
		a.port = a.host;
		a.host = STR("127.0.0.1");
	}
	if (!a.port.p || !str_u64(a.port, &port) || port > 65535)
		return error_set(e, ERR_ARG,
			"\"%.*s\" is not an address: write 127.0.0.1:3100, with a port up to 65535",
			STR_ARG(text));
	if ((r = put_host(a.host, out, e)) < 0)
		return r;
	buf_printf(out, ":%u", (unsigned)port);
	buf_str(out, a.path);
	return 0;
}

static bool is_any(struct str host)
{
	return str_eq(host, STR("0.0.0.0")) || str_eq(host, STR("[::]"));
}

static bool is_loopback_name(struct str host)
{
	return str_eq(host, STR("localhost")) || str_eq(host, STR("127.0.0.1")) ||
	       str_eq(host, STR("[::1]"));
}

/* localhost may become either loopback address. */
static bool same_host(struct str a, struct str b)
{
	if (str_eq(a, b) || is_any(a) || is_any(b))
		return true;
	return (str_eq(a, STR("localhost")) && is_loopback_name(b)) ||
	       (str_eq(b, STR("localhost")) && is_loopback_name(a));
}

static bool is_udp(struct str scheme)
{
	return str_starts(scheme, STR("udp")) || str_ends(scheme, STR("+udp"));
}

bool listen_clash(const char *a, const char *b)
{
	struct address x = split(str_c(a)), y = split(str_c(b));

	if (is_stdin(str_c(a)) || is_stdin(str_c(b)))
		return is_stdin(str_c(a)) && is_stdin(str_c(b));
	if (is_unix(x.scheme) || is_unix(y.scheme))
		return is_unix(x.scheme) && is_unix(y.scheme) && str_eq(x.host, y.host);
	return is_udp(x.scheme) == is_udp(y.scheme) && str_eq(x.port, y.port) &&
	       !str_eq(x.port, STR("0")) && same_host(x.host, y.host);
}
