/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first line is a format, the rest a value.  What is cut off a format has
 * to be the format, widths have to be kept, and nothing may be appended when a
 * conversion fails.
 */
#include <assert.h>

#include "codec/percent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void convert(struct percent_spec *spec, struct str value)
{
	struct buf out = {0};
	double f = 0;
	int64_t i = 0;
	int r[4];

	memcpy(&f, value.p, value.n < sizeof f ? value.n : sizeof f);
	memcpy(&i, value.p, value.n < sizeof i ? value.n : sizeof i);
	if (spec->star_width && percent_set_width(spec, i, NULL) < 0)
		spec->width = 0;
	if (spec->star_precision && percent_set_precision(spec, i, NULL) < 0)
		spec->precision = 0;
	assert(spec->width >= 0 && spec->width <= PERCENT_WIDTH_MAX);
	assert(spec->precision >= -1 && spec->precision <= PERCENT_WIDTH_MAX);
	for (int k = 0; k < 4; k++) {
		buf_clear(&out);
		r[k] = k == 0   ? percent_text(&out, spec, value, NULL)
		       : k == 1 ? percent_int(&out, spec, i, NULL)
		       : k == 2 ? percent_float(&out, spec, f, NULL)
				: percent_decimal(&out, spec, value, NULL);
		assert(r[k] < 0 ? out.n == 0 : out.n >= (size_t)spec->width);
	}
	buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str value = str_make(data, n), format = str_cut(&value, '\n'), rest = format;
	struct percent_spec spec;
	struct str literal;
	size_t seen = 0;
	int r;

	if (!value.p)
		value = STR("");
	while ((r = percent_next(&rest, &literal, &spec, NULL)) == 1) {
		assert(literal.p == format.p + seen && spec.type);
		seen = format.n - rest.n;
		if (spec.type != '%')
			convert(&spec, value);
	}
	assert(r < 0 ? rest.p[0] == '%' : seen + literal.n == format.n);
	return 0;
}
