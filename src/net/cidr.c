/* SPDX-License-Identifier: Apache-2.0 */
#include "net/cidr.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>

static const unsigned char v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* Are the bits from `from` on all zero? */
static bool is_zero_from(const unsigned char address[16], unsigned from)
{
	for (unsigned i = from; i < 128; i++)
		if (address[i / 8] >> (7 - i % 8) & 1)
			return false;
	return true;
}

int cidr_parse(struct cidr *out, struct str text, struct error *e)
{
	struct str rest = text, name = str_cut(&rest, '/');
	char host[INET6_ADDRSTRLEN + 1];
	uint64_t bits, most = 128;

	str_copy(name, host, sizeof host);
	if (name.n < sizeof host && inet_pton(AF_INET, host, out->address + 12) == 1) {
		memcpy(out->address, v4_prefix, sizeof v4_prefix);
		most = 32;
	} else if (name.n >= sizeof host || inet_pton(AF_INET6, host, out->address) != 1) {
		return error_set(e, ERR_ARG,
			"\"%.*s\" is not a network: write 10.0.0.0/8, fd00::/8 or one address",
			STR_ARG(text));
	}
	bits = most;
	if (rest.p && (!str_u64(rest, &bits) || bits > most))
		return error_set(e, ERR_ARG, "\"%.*s\": the prefix must be 0 to %u bits",
			STR_ARG(text), (unsigned)most);
	out->bits = (unsigned)(128 - most + bits);
	if (!is_zero_from(out->address, out->bits))
		return error_set(e, ERR_ARG,
			"\"%.*s\" has bits set behind its prefix: is it a network or one address?",
			STR_ARG(text));
	return 0;
}

static bool has(const struct cidr *c, const unsigned char address[16])
{
	unsigned whole = c->bits / 8, rest = c->bits % 8;

	if (memcmp(c->address, address, whole) != 0)
		return false;
	return rest == 0 || (c->address[whole] ^ address[whole]) >> (8 - rest) == 0;
}

bool cidr_has(const struct cidr *list, size_t n, const struct sockaddr *address)
{
	unsigned char bytes[16];

	if (address->sa_family == AF_INET) {
		memcpy(bytes, v4_prefix, sizeof v4_prefix);
		memcpy(bytes + 12, &((const struct sockaddr_in *)address)->sin_addr, 4);
	} else if (address->sa_family == AF_INET6) {
		memcpy(bytes, &((const struct sockaddr_in6 *)address)->sin6_addr, 16);
	} else {
		return false;
	}
	for (size_t i = 0; i < n; i++)
		if (has(&list[i], bytes))
			return true;
	return false;
}

bool cidr_has_text(const struct cidr *list, size_t n, const char *ip)
{
	struct sockaddr_in a4 = {.sin_family = AF_INET};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6};

	if (inet_pton(AF_INET, ip, &a4.sin_addr) == 1)
		return cidr_has(list, n, (const struct sockaddr *)&a4);
	return inet_pton(AF_INET6, ip, &a6.sin6_addr) == 1 &&
	       cidr_has(list, n, (const struct sockaddr *)&a6);
}

bool cidr_is_private(const struct sockaddr *address)
{
	static const char *const texts[] = {"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10",
		"169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16",
		"198.18.0.0/15", "224.0.0.0/3", "::/128", "fc00::/7", "fe80::/10", "ff00::/8"};
	struct cidr net;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		int r = cidr_parse(&net, str_c(texts[i]), NULL);

		assert(r == 0);
		if (cidr_has(&net, 1, address))
			return true;
	}
	return false;
}
