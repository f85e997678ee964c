/* SPDX-License-Identifier: Apache-2.0 */
/* The first line of the input is a pattern, the rest a line of a log. */
#include <assert.h>

#include "query/ip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str rest = str_make(data, n), text = str_cut(&rest, '\n');
	struct ip_pattern p, all4, all6;
	struct error e = {0};
	char needle[IP_NEEDLE_MAX];
	bool valid, any;

	assert(ip_parse(&all4, STR("0.0.0.0/0"), NULL) == 0);
	assert(ip_parse(&all6, STR("::/0"), NULL) == 0);
	any = ip_in_line(&all4, rest) || ip_in_line(&all6, rest);
	/* What is an address as a whole is one of the two kinds. */
	if (ip_matches(&all4, rest, &valid))
		assert(valid);
	if (ip_matches(&all6, rest, &valid))
		assert(valid);
	if (ip_parse(&p, text, &e) < 0) {
		assert(e.code == ERR_ARG && e.text[0]);
		return 0;
	}
	if (ip_in_line(&p, rest)) {
		assert(any);
		assert(str_find(rest, ip_needle(&p, needle)) >= 0);
	}
	(void)ip_matches(&p, rest, &valid);
	return 0;
}
