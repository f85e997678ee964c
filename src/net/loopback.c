/* SPDX-License-Identifier: Apache-2.0 */
#include "net/loopback.h"

#include <arpa/inet.h>

bool loopback_host(struct str host)
{
	char text[INET_ADDRSTRLEN];
	struct in_addr ip;

	if (str_eq(host, STR("localhost")) || str_eq(host, STR("::1")) ||
		str_eq(host, STR("[::1]")))
		return true;
	return host.n < sizeof text &&
	       inet_pton(AF_INET, str_copy(host, text, sizeof text), &ip) == 1 &&
	       ntohl(ip.s_addr) >> 24 == 127;
}

bool loopback_host_port(struct str text)
{
	for (size_t i = text.n; i-- > 0;)
		if (text.p[i] == ':')
			return loopback_host(str_sub(text, 0, i));
	return false;
}

bool loopback_peer(struct str ip)
{
	return ip.n == 0 || loopback_host(ip);
}
