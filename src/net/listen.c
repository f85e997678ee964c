/* SPDX-License-Identifier: Apache-2.0 */
#include "net/listen.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"

enum { BACKLOG = 1024 };

static int split_address(
	const char *address, char *host, size_t size, char port[8], struct error *e)
{
	struct str all = str_c(address), name;
	const char *colon = strrchr(address, ':');
	uint64_t number;

	if (!colon)
		return error_set(e, ERR_ARG,
			"http: listen address '%s' has no port: write host:port", address);
	name = str_sub(all, 0, (size_t)(colon - address));
	if (!str_u64(str_c(colon + 1), &number) || number > 65535)
		return error_set(
			e, ERR_ARG, "http: listen address '%s': port must be 0 to 65535", address);
	if (name.n > 2 && name.p[0] == '[' && name.p[name.n - 1] == ']')
		name = str_sub(name, 1, name.n - 1);
	else if (str_chr(name, ':') >= 0)
		return error_set(e, ERR_ARG,
			"http: listen address '%s': an IPv6 address stands in brackets: [::1]:3100",
			address);
	if (name.n == 0 || name.n >= size)
		return error_set(e, ERR_ARG,
			"http: listen address '%s' has no host: write 127.0.0.1 for this machine "
			"alone, 0.0.0.0 or [::] for all",
			address);
	str_copy(name, host, size);
	snprintf(port, 8, "%u", (unsigned)number);
	return 0;
}

static int cannot_listen(const char *address, int number, struct error *e)
{
	char reason[128];

	if (number == EADDRINUSE)
		return error_set(e, ERR_NET,
			"http: cannot listen on %s: address already in use (another sawlog? choose "
			"another with --http)",
			address);
	str_copy(str_c(strerrordesc_np(number)), reason, sizeof reason);
	reason[0] = (char)tolower((unsigned char)reason[0]);
	return error_set(e, ERR_NET, "http: cannot listen on %s: %s", address, reason);
}

static unsigned port_of(int fd)
{
	struct sockaddr_storage a;
	socklen_t n = sizeof a;

	if (getsockname(fd, (struct sockaddr *)&a, &n) < 0)
		return 0;
	return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
					     : ((struct sockaddr_in *)&a)->sin_port);
}

int listen_open(int *out, unsigned *port, const char *address, struct error *e)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
				.ai_socktype = SOCK_STREAM},
			*found;
	char host[256], service[8];
	int r, fd, on = 1;

	if ((r = split_address(address, host, sizeof host, service, e)) < 0)
		return r;
	if ((r = getaddrinfo(host, service, &hints, &found)) != 0)
		return error_set(
			e, ERR_ARG, "http: listen address '%s': %s", address, gai_strerror(r));
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		goto fail;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	/* So that 0.0.0.0:3100 and [::]:3100 can be listened on together. */
	if (found->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	if (bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
		goto fail;
	freeaddrinfo(found);
	*port = port_of(fd);
	*out = fd;
	return 0;
fail:
	r = errno;
	if (fd >= 0)
		close(fd);
	freeaddrinfo(found);
	return cannot_listen(address, r, e);
}
