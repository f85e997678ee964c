/* SPDX-License-Identifier: Apache-2.0 */
#include "net/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <netdb.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	BACKLOG = 1024,
	KEEP_IDLE_S = 15,
	KEEP_STEP_S = 5,
	KEEP_STEPS = 3,
};

bool socket_kind_of(struct str address, enum socket_kind *out, struct str *rest)
{
	static const struct {
		struct str scheme;
		enum socket_kind kind;
	} kinds[] = {{STR_INIT("udp://"), SOCKET_UDP}, {STR_INIT("tcp://"), SOCKET_TCP},
		{STR_INIT("tls://"), SOCKET_TLS}, {STR_INIT("unix://"), SOCKET_UNIX},
		{STR_INIT("unix-dgram://"), SOCKET_UNIX_DGRAM}};

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (!str_starts(address, kinds[i].scheme))
			continue;
		*out = kinds[i].kind;
		*rest = str_sub(address, kinds[i].scheme.n, address.n);
		return true;
	}
	return false;
}

static int cannot(struct error *e, int number, const char *address)
{
	if (number == EADDRINUSE)
		return error_set(e, ERR_NET, "cannot listen on %s: somebody else does", address);
	if (number == EACCES)
		return error_set(e, ERR_NET,
			"cannot listen on %s: permission denied (ports below 1024 need "
			"CAP_NET_BIND_SERVICE; a socket file needs a folder one may write to)",
			address);
	return error_set(e, ERR_NET, "cannot listen on %s: %s", address, strerrordesc_np(number));
}

/* Internet. */

static int resolve(
	struct str host_port, int type, struct addrinfo **out, const char *address, struct error *e)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = type};
	char host[256], port[8];
	struct str name = host_port, number = STR_NONE;
	int r;

	for (size_t i = host_port.n; i > 0; i--) {
		if (host_port.p[i - 1] != ':')
			continue;
		name = str_sub(host_port, 0, i - 1);
		number = str_sub(host_port, i, host_port.n);
		break;
	}
	if (str_starts(name, STR("[")) && str_ends(name, STR("]")))
		name = str_sub(name, 1, name.n - 1);
	if (name.n == 0 || name.n >= sizeof host || number.n == 0 || number.n >= sizeof port)
		return error_set(
			e, ERR_ARG, "%s has no host and port: write udp://127.0.0.1:514", address);
	str_copy(name, host, sizeof host);
	str_copy(number, port, sizeof port);
	if ((r = getaddrinfo(host, port, &hints, out)) != 0)
		return error_set(e, ERR_ARG, "%s: %s", address, gai_strerror(r));
	return 0;
}

static int open_internet(
	int *out, struct str host_port, int type, const char *address, struct error *e)
{
	struct addrinfo *found;
	int r, fd, on = 1;

	if ((r = resolve(host_port, type, &found, address, e)) < 0)
		return r;
	fd = socket(found->ai_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		goto fail;
	if (type == SOCK_STREAM)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	/* So that 0.0.0.0:514 and [::]:514 can be listened on together. */
	if (found->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	if (bind(fd, found->ai_addr, found->ai_addrlen) < 0 ||
		(type == SOCK_STREAM && listen(fd, BACKLOG) < 0))
		goto fail;
	freeaddrinfo(found);
	*out = fd;
	return 0;
fail:
	r = errno;
	if (fd >= 0)
		close(fd);
	freeaddrinfo(found);
	return cannot(e, r, address);
}

/* Unix. */

/* Remove the file of a listener that is gone; one that somebody listens on stays. */
static int remove_stale(const struct sockaddr_un *a, int type, const char *address, struct error *e)
{
	struct stat st;
	int fd, r;

	if (lstat(a->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : cannot(e, errno, address);
	if (!S_ISSOCK(st.st_mode))
		return error_set(e, ERR_NET,
			"cannot listen on %s: there is something else that is no socket", address);
	if ((fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0)
		return cannot(e, errno, address);
	r = connect(fd, (const struct sockaddr *)a, sizeof *a) < 0 ? errno : 0;
	close(fd);
	/* EPROTOTYPE: a socket of the other type, which may be alive. */
	if (r != ECONNREFUSED)
		return cannot(e, r == EACCES ? EACCES : EADDRINUSE, address);
	return unlink(a->sun_path) < 0 && errno != ENOENT ? cannot(e, errno, address) : 0;
}

static int open_unix(
	int *out, struct str path, int type, unsigned mode, const char *address, struct error *e)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd, r;

	if (path.n == 0 || path.p[0] != '/' || path.n >= sizeof a.sun_path)
		return error_set(e, ERR_ARG,
			"%s: a socket needs its whole path, of at most %zu bytes", address,
			sizeof a.sun_path - 1);
	str_copy(path, a.sun_path, sizeof a.sun_path);
	if ((r = remove_stale(&a, type, address, e)) < 0)
		return r;
	if ((fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0)
		return cannot(e, errno, address);
	/* Before bind: the file is never there with a wider mode than this. */
	if (fchmod(fd, mode) < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 ||
		chmod(a.sun_path, mode) < 0 || (type == SOCK_STREAM && listen(fd, BACKLOG) < 0)) {
		r = errno;
		close(fd);
		return cannot(e, r, address);
	}
	*out = fd;
	return 0;
}

int socket_listen(int *out, const char *address, unsigned mode, struct error *e)
{
	enum socket_kind kind;
	struct str rest;
	int type;

	if (!socket_kind_of(str_c(address), &kind, &rest))
		return error_set(e, ERR_ARG,
			"%s: the address must begin with udp://, tcp://, tls://, unix:// or "
			"unix-dgram://",
			address);
	type = socket_is_datagram(kind) ? SOCK_DGRAM : SOCK_STREAM;
	if (kind == SOCKET_UNIX || kind == SOCKET_UNIX_DGRAM)
		return open_unix(out, rest, type, mode, address, e);
	return open_internet(out, rest, type, address, e);
}

/* Options. */

unsigned socket_port(int fd)
{
	struct sockaddr_storage a = {0};
	socklen_t n = sizeof a;

	if (getsockname(fd, (struct sockaddr *)&a, &n) < 0)
		return 0;
	if (a.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&a)->sin6_port);
	return a.ss_family == AF_INET ? ntohs(((struct sockaddr_in *)&a)->sin_port) : 0;
}

uint64_t socket_set_receive_buffer(int fd, uint64_t bytes)
{
	/* The kernel doubles what it is asked for. */
	int n = bytes > 1 << 30 ? 1 << 29 : (int)(bytes / 2);
	socklen_t size = sizeof n;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &n, sizeof n) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &n, sizeof n);
	return getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &n, &size) == 0 ? (uint64_t)n : bytes;
}

uint32_t socket_drops(int fd)
{
	uint32_t info[SK_MEMINFO_VARS] = {0};
	socklen_t n = sizeof info;

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &n) < 0 ||
		n < (SK_MEMINFO_DROPS + 1) * sizeof *info)
		return 0;
	return info[SK_MEMINFO_DROPS];
}

uint64_t socket_received(int fd)
{
	struct tcp_info info = {0};
	socklen_t n = sizeof info;

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) == 0 ? info.tcpi_bytes_received : 0;
}

void socket_no_delay(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void socket_keep_alive(int fd)
{
	int on = 1, idle = KEEP_IDLE_S, step = KEEP_STEP_S, steps = KEEP_STEPS;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &step, sizeof step);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &steps, sizeof steps);
}

void socket_peer_text(const struct sockaddr *a, char out[SOCKET_PEER_MAX])
{
	char host[INET6_ADDRSTRLEN] = "";

	out[0] = 0;
	if (a->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)a;
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
		snprintf(out, SOCKET_PEER_MAX, "%s:%u", host, ntohs(in->sin_port));
	} else if (a->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)a;
		inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
		snprintf(out, SOCKET_PEER_MAX, "[%s]:%u", host, ntohs(in->sin6_port));
	}
}
