/* SPDX-License-Identifier: Apache-2.0 */
/* Any text is a query or refused with a sentence; and what is one runs at any time. */
#include "api/promql.h"
#include "os/clock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct promql_sample samples[] = {{INT64_MIN, 1}, {0, 2}, {5, -3}, {INT64_MAX, 4}};
	static const char none[] = {0};
	const struct promql_series series = {
		.labels = {none, 1}, .samples = samples, .n = sizeof samples / sizeof *samples};
	static const int64_t times[] = {INT64_MIN, -1, 5, INT64_MAX};
	struct promql_result res;
	struct promql *q;
	struct error e;
	size_t n_selectors;

	if (promql_parse(&q, str_make(data, n), &e) < 0)
		return 0;
	struct promql_selector *s = promql_selectors(q, &n_selectors);
	for (size_t i = 0; i < n_selectors; i++) {
		s[i].series = &series;
		s[i].n_series = 1;
	}
	for (size_t i = 0; i < sizeof times / sizeof *times; i++)
		if (promql_run(q, times[i], times[i], 0, NULL, NULL, &res, &e) == 0)
			promql_result_fini(&res);
	promql_free(q);
	return 0;
}
