/* SPDX-License-Identifier: Apache-2.0 */
#include "store/appcount.h"

#include <stdlib.h>

#include "base/metric.h"
#include "store/bytes.h"

enum { APPS_MAX = 2000, APP_NAME_MAX = 128 };

struct app {
	struct series_value *records, *bytes;
};

void appcount_fini(struct appcount *a)
{
	const struct map_slot *slot;
	size_t at = 0;

	while ((slot = map_next(&a->apps, &at)))
		free(slot->value.p);
	map_fini(&a->apps);
}

static struct str app_of(struct str labels)
{
	struct str app;

	if (!labels_get(labels, STR("app"), &app) && !labels_get(labels, STR("service_name"), &app))
		return STR("-");
	return str_sub(app, 0, APP_NAME_MAX);
}

/* Names come from peers: beyond APPS_MAX they share one series. */
static const struct app *get(struct appcount *a, struct str name, struct str input)
{
	struct buf key = {0}, labels = {0};
	union map_value *v;
	struct app *app;

	bytes_put_str(&key, input);
	buf_str(&key, name);
	v = map_get(&a->apps, buf_view(&key));
	if (!v && a->apps.n >= APPS_MAX && !str_eq(name, STR("(others)"))) {
		buf_fini(&key);
		return get(a, STR("(others)"), input);
	}
	if (!v) {
		metric_label(&labels, "app", name);
		metric_label(&labels, "input", input);
		app = xcalloc(1, sizeof *app);
		app->records = metric_series(METRIC_app_records_total, buf_cstr(&labels));
		app->bytes = metric_series(METRIC_app_bytes_total, buf_cstr(&labels));
		v = map_put(&a->apps, buf_view(&key), NULL);
		v->p = app;
	}
	buf_fini(&key);
	buf_fini(&labels);
	return v->p;
}

void appcount_batch(struct appcount *a, const struct batch *b)
{
	struct sums {
		uint64_t records, bytes;
	} *sums = xcalloc(batch_n_streams(b), sizeof *sums);

	for (size_t i = 0; i < batch_count(b); i++) {
		struct record r = batch_record(b, i);

		sums[r.stream].records++;
		sums[r.stream].bytes += r.body.n;
	}
	for (size_t i = 0; i < batch_n_streams(b); i++) {
		const struct app *app;

		if (sums[i].records == 0)
			continue;
		app = get(a, app_of(batch_stream(b, i)), batch_input(b));
		atomic_fetch_add_explicit(
			&app->records->v, (int64_t)sums[i].records, memory_order_relaxed);
		atomic_fetch_add_explicit(
			&app->bytes->v, (int64_t)sums[i].bytes, memory_order_relaxed);
	}
	free(sums);
}
