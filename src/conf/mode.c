/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/mode.h"

enum { DIGITS_MAX = 5, MODE_MAX = 07777 };

bool mode_parse(struct str text, unsigned most, unsigned *out)
{
	unsigned v = 0;

	if (text.n == 0 || text.n > DIGITS_MAX)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '7')
			return false;
		v = v * 8 + (unsigned)(text.p[i] - '0');
	}
	if (v > most)
		return false;
	*out = v;
	return true;
}

int mode_check(struct str text, struct error *e)
{
	unsigned mode;

	if (!mode_parse(text, MODE_MAX, &mode))
		return error_set(e, ERR_ARG, "must be an octal mode, as 0640");
	return 0;
}
