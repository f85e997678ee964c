/* SPDX-License-Identifier: Apache-2.0 */
/* | unwrap: the value of a field as the number that a range aggregation works on. */
#include "query/number.h"
#include "query/stages.h"

static bool convert(enum unwrap_conversion conversion, struct str value, double *out)
{
	int64_t ns;
	uint64_t bytes;

	switch (conversion) {
	case UNWRAP_NUMBER: return number_float(value, out);
	case UNWRAP_DURATION:
	case UNWRAP_DURATION_SECONDS:
		if (!number_duration(value, &ns))
			return false;
		/* Whole seconds and the rest apart, so that 2^53 ns and more lose nothing. */
		*out = (double)(ns / 1000000000) + (double)(ns % 1000000000) / 1e9;
		return true;
	case UNWRAP_BYTES:
		if (!number_bytes(value, &bytes))
			return false;
		*out = (double)bytes;
		return true;
	}
	return false;
}

static const char *why_not(enum unwrap_conversion conversion, struct str value, char *out)
{
	switch (conversion) {
	case UNWRAP_NUMBER: break;
	case UNWRAP_DURATION:
	case UNWRAP_DURATION_SECONDS: return number_duration_why(value, out);
	case UNWRAP_BYTES: return number_bytes_why(value, out);
	}
	return number_float_why(value, out);
}

bool unwrap_take(const struct unwrap *u, struct fields *f, double *out)
{
	char why[NUMBER_WHY_MAX];
	struct str value;

	if (!fields_get(f, u->name, &value))
		return false;
	if (!convert(u->conversion, value, out)) {
		*out = 0;
		fields_fail(f, "SampleExtractionErr", "%s", why_not(u->conversion, value, why));
	}
	fields_remove(f, u->name);
	return true;
}

void unwrap_format(const struct unwrap *u, struct buf *out)
{
	static const char *const functions[] = {
		[UNWRAP_NUMBER] = "",
		[UNWRAP_DURATION] = "duration(",
		[UNWRAP_DURATION_SECONDS] = "duration_seconds(",
		[UNWRAP_BYTES] = "bytes(",
	};

	buf_c(out, "| unwrap ");
	buf_c(out, functions[u->conversion]);
	buf_str(out, u->name);
	buf_c(out, u->conversion == UNWRAP_NUMBER ? "" : ")");
}
