/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes choose a template, lines of it, needles and expressions; the verdict and the places
 * agree with the spelled lines. */
#include "store/lines/match_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct input {
	const uint8_t *p;
	size_t n;
};

static unsigned draw(void *ctx, unsigned n)
{
	struct input *in = ctx;

	if (in->n == 0)
		return 0;
	in->n--;
	return *in->p++ % n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct model m;
	struct input in = {data, n};

	m.draw = draw;
	m.ctx = &in;
	model_template(&m);
	model_lines(&m);
	for (int i = 0; i < 8 && in.n; i++) {
		char needle[64], pattern[100];
		struct regex *r = NULL;
		struct line_test test = {.text = model_needle(&m, needle, sizeof needle)};
		struct line_filter f = {.tests = &test, .n = 1, .negate = i % 2};
		if (!model_check(&m, &f))
			abort();
		if (regex_new(&r, model_pattern(&m, pattern, sizeof pattern), false, NULL) < 0)
			continue;
		test.regex = r;
		if (!model_check(&m, &f))
			abort();
		regex_free(r);
	}
	return 0;
}
