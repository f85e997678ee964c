/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses in a line are found by what every one of them has: a v4 address
 * around its dots, a v6 address around its colons, so most of a line is skipped
 * by memchr.  What is found must not be a piece of a longer run: 1.2.3.4.5 holds
 * no address, 12:30:45 neither.  Octets are written without leading zeros.
 */
#include "query/ip.h"

#include <arpa/inet.h>

enum {
	V6_TEXT_MAX = 45, /* "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255" */
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* The address at the head of s: its length, 0 when there is none. */
static size_t read_v4(struct str s, unsigned char *out)
{
	size_t i = 0;

	for (int k = 0; k < 4; k++) {
		unsigned v = 0;
		size_t from;
		if (k && (i == s.n || s.p[i++] != '.'))
			return 0;
		for (from = i; i < s.n && i - from < 3 && is_digit(s.p[i]); i++)
			v = v * 10 + (unsigned)(s.p[i] - '0');
		if (i == from || v > 255 || (i - from > 1 && s.p[from] == '0'))
			return 0;
		out[k] = (unsigned char)v;
	}
	return i;
}

static bool parse_v4(struct str s, unsigned char *out)
{
	return s.n && read_v4(s, out) == s.n;
}

static bool parse_v6(struct str s, unsigned char *out)
{
	char text[V6_TEXT_MAX + 1];

	if (s.n == 0 || s.n > V6_TEXT_MAX || memchr(s.p, 0, s.n))
		return false;
	str_copy(s, text, sizeof text);
	return inet_pton(AF_INET6, text, out) == 1;
}

/* 4, 6, or 0 when it is no address. */
static int parse_any(struct str s, unsigned char *out)
{
	return parse_v4(s, out) ? 4 : parse_v6(s, out) ? 6 : 0;
}

static int refuse(struct str text, struct error *e)
{
	return error_set(e, ERR_ARG,
		"ip: \"%.*s\" is no address (192.168.0.1), range (192.168.0.1-192.168.0.9) or "
		"network (192.168.0.0/16)",
		(int)(text.n > 128 ? 128 : text.n), text.p ? text.p : "");
}

static int parse_range(struct ip_pattern *out, struct str from, struct str to)
{
	int family = parse_any(from, out->from);

	if (family == 0 || parse_any(to, out->to) != family)
		return 0;
	return memcmp(out->from, out->to, family == 6 ? 16 : 4) <= 0 ? family : 0;
}

static int parse_network(struct ip_pattern *out, struct str address, struct str bits_text)
{
	int family = parse_any(address, out->from);
	size_t n = family == 6 ? 16 : 4;
	uint64_t bits;

	if (family == 0 || !str_u64(bits_text, &bits) || bits > 8 * n ||
		(bits_text.n > 1 && bits_text.p[0] == '0'))
		return 0;
	for (size_t i = 0; i < n; i++) {
		unsigned kept = bits >= 8 * (i + 1) ? 8 : bits <= 8 * i ? 0 : (unsigned)bits % 8;
		unsigned host = 0xffu >> kept;
		out->from[i] = (unsigned char)(out->from[i] & ~host);
		out->to[i] = (unsigned char)(out->from[i] | host);
	}
	return family;
}

int ip_parse(struct ip_pattern *out, struct str text, struct error *e)
{
	struct ip_pattern p = {.text = text};
	ptrdiff_t dash = str_chr(text, '-'), slash = str_chr(text, '/');
	int family;

	if (dash >= 0) {
		family = parse_range(&p, str_trim(str_sub(text, 0, (size_t)dash)),
			str_trim(str_sub(text, (size_t)dash + 1, text.n)));
	} else if (slash >= 0) {
		family = parse_network(&p, str_sub(text, 0, (size_t)slash),
			str_sub(text, (size_t)slash + 1, text.n));
	} else {
		family = parse_any(text, p.from);
		memcpy(p.to, p.from, sizeof p.to);
	}
	if (family == 0)
		return refuse(text, e);
	p.v6 = family == 6;
	*out = p;
	return 0;
}

static bool lies_in(const struct ip_pattern *p, const unsigned char *address)
{
	size_t n = p->v6 ? 16 : 4;

	return memcmp(p->from, address, n) <= 0 && memcmp(address, p->to, n) <= 0;
}

/* An IPv4 address in the dress of IPv6, ::ffff:1.2.3.4, is that IPv4 address. */
static bool v6_lies_in(const struct ip_pattern *p, const unsigned char *address)
{
	static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

	if (p->v6)
		return lies_in(p, address);
	return memcmp(address, mapped, sizeof mapped) == 0 && lies_in(p, address + 12);
}

bool ip_matches(const struct ip_pattern *p, struct str address, bool *valid)
{
	unsigned char bytes[16];
	ptrdiff_t zone;

	*valid = true;
	if (parse_v4(address, bytes))
		return !p->v6 && lies_in(p, bytes);
	zone = str_chr(address, '%');
	if (zone >= 0 && (size_t)zone + 1 < address.n)
		address = str_sub(address, 0, (size_t)zone);
	if (parse_v6(address, bytes))
		return v6_lies_in(p, bytes);
	*valid = false;
	return false;
}

static bool v4_in_line(const struct ip_pattern *p, struct str line)
{
	size_t from = 0;

	while (from < line.n) {
		const char *dot = memchr(line.p + from, '.', line.n - from);
		unsigned char bytes[4];
		size_t start, n;
		if (!dot)
			return false;
		start = (size_t)(dot - line.p);
		from = start + 1;
		for (int k = 0; k < 3 && start && is_digit(line.p[start - 1]); k++)
			start--;
		if (start + 1 == from ||
			(start && (is_digit(line.p[start - 1]) || line.p[start - 1] == '.')))
			continue;
		n = read_v4(str_sub(line, start, line.n), bytes);
		if (n == 0)
			continue;
		from = start + n;
		if (from < line.n && is_digit(line.p[from]))
			continue;
		if (from + 1 < line.n && line.p[from] == '.' && is_digit(line.p[from + 1]))
			continue;
		if (lies_in(p, bytes))
			return true;
	}
	return false;
}

/* The run of an address's bytes without the punctuation around it: "to ::1." and "at:fe80::1:". */
static struct str trim_run(struct str s)
{
	while (s.n && s.p[s.n - 1] == '.')
		s.n--;
	if (s.n > 1 && s.p[s.n - 1] == ':' && s.p[s.n - 2] != ':')
		s.n--;
	if (s.n > 1 && (s.p[0] == '.' || (s.p[0] == ':' && s.p[1] != ':')))
		s = str_make(s.p + 1, s.n - 1);
	return s;
}

static bool in_run(char c)
{
	return is_hex(c) || c == ':' || c == '.';
}

/* Without the tail of a word that happens to be made of hexadecimal digits: the c of "src:fe80::1".
 */
static struct str whole_words(struct str line, struct str run)
{
	ptrdiff_t colon = str_chr(run, ':');

	if (run.p == line.p || !is_alnum(run.p[-1]) || colon < 0 ||
		str_starts(str_sub(run, (size_t)colon, run.n), STR("::")))
		return run;
	return str_sub(run, (size_t)colon + 1, run.n);
}

static bool v6_in_line(const struct ip_pattern *p, struct str line)
{
	size_t from = 0;

	while (from < line.n) {
		const char *colon = memchr(line.p + from, ':', line.n - from);
		unsigned char bytes[16];
		size_t start, end;
		struct str run;
		if (!colon)
			return false;
		start = end = (size_t)(colon - line.p);
		/* A run holds one address at most, so what lies behind `from` was seen. */
		while (start > from && in_run(line.p[start - 1]))
			start--;
		while (end < line.n && in_run(line.p[end]))
			end++;
		from = end;
		run = trim_run(whole_words(line, str_sub(line, start, end)));
		start = (size_t)(run.p - line.p);
		end = start + run.n;
		if (run.n < 2 || (start && is_alnum(line.p[start - 1])) ||
			(end < line.n && is_alnum(line.p[end])))
			continue;
		if (parse_v6(run, bytes) && lies_in(p, bytes))
			return true;
	}
	return false;
}

bool ip_in_line(const struct ip_pattern *p, struct str line)
{
	return p->v6 ? v6_in_line(p, line) : v4_in_line(p, line);
}

struct str ip_needle(const struct ip_pattern *p, char *text)
{
	size_t n = 0;

	for (int k = 0; !p->v6 && k < 4 && p->from[k] == p->to[k]; k++) {
		unsigned v = p->from[k];
		if (v >= 100)
			text[n++] = (char)('0' + v / 100);
		if (v >= 10)
			text[n++] = (char)('0' + v / 10 % 10);
		text[n++] = (char)('0' + v % 10);
		if (k < 3)
			text[n++] = '.';
	}
	return str_make(text, n);
}
