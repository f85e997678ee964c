/* SPDX-License-Identifier: Apache-2.0 */
#include "base/metric.h"

#include <assert.h>
#include <stdlib.h>

#include "base/lock.h"
#include "base/map.h"
#include "base/memory.h"

static const struct {
	const char *name, *type, *help;
} families[METRIC_COUNT] = {
#define METRIC(id, type, help) {"sawlog_" #id, #type, help},
#include "base/metrics.def"
#undef METRIC
};

/* Under `lock`. */
static struct lock lock = LOCK_INIT;
static struct map series[METRIC_COUNT];

struct series_value *metric_series(enum metric m, const char *labels)
{
	union map_value *v;
	bool added;

	assert(m < METRIC_COUNT);
	lock_take(&lock);
	v = map_put(&series[m], str_c(labels), &added);
	if (added)
		v->p = xcalloc(1, sizeof(struct series_value));
	struct series_value *s = v->p;
	lock_drop(&lock);
	return s;
}

void metric_add(enum metric m, const char *labels, int64_t by)
{
	atomic_fetch_add(&metric_series(m, labels)->v, by);
}

void metric_set(enum metric m, const char *labels, int64_t value)
{
	atomic_store(&metric_series(m, labels)->v, value);
}

int64_t metric_get(enum metric m, const char *labels)
{
	union map_value *v;
	int64_t value = 0;

	lock_take(&lock);
	v = map_get(&series[m], str_c(labels));
	if (v)
		value = atomic_load(&((struct series_value *)v->p)->v);
	lock_drop(&lock);
	return value;
}

void metric_each(
	enum metric m, void (*each)(void *arg, struct str labels, int64_t value), void *arg)
{
	const struct map_slot *slot;
	size_t at = 0;

	lock_take(&lock);
	while ((slot = map_next(&series[m], &at)))
		each(arg, slot->key, atomic_load(&((struct series_value *)slot->value.p)->v));
	lock_drop(&lock);
}

static void put_escaped(struct buf *labels, struct str value)
{
	for (size_t i = 0; i < value.n; i++) {
		char c = value.p[i];
		if (c == '\n')
			buf_c(labels, "\\n");
		else if (c == '"' || c == '\\')
			buf_printf(labels, "\\%c", c);
		else if (c)
			buf_char(labels, c);
	}
}

void metric_label(struct buf *labels, const char *name, struct str value)
{
	if (labels->n)
		buf_char(labels, ',');
	buf_printf(labels, "%s=\"", name);
	while (value.n) {
		size_t valid = str_utf8_valid(value);
		put_escaped(labels, str_sub(value, 0, valid));
		if (valid < value.n)
			buf_c(labels, "\xef\xbf\xbd");
		value = str_sub(value, valid + 1, value.n);
	}
	buf_char(labels, '"');
}

static int by_key(const void *a, const void *b)
{
	const struct map_slot *const *x = a, *const *y = b;

	return str_cmp((*x)->key, (*y)->key);
}

static void render_family(struct buf *out, enum metric m)
{
	const struct map_slot **sorted, *slot;
	size_t at = 0, n = 0;

	if (series[m].n == 0)
		return;
	sorted = xcalloc(series[m].n, sizeof *sorted);
	while ((slot = map_next(&series[m], &at)))
		sorted[n++] = slot;
	qsort(sorted, n, sizeof *sorted, by_key);
	buf_printf(out, "# HELP %s %s.\n# TYPE %s %s\n", families[m].name, families[m].help,
		families[m].name, families[m].type);
	for (size_t i = 0; i < n; i++) {
		struct str key = sorted[i]->key;
		buf_printf(out, key.n ? "%s{%.*s}" : "%s%.*s", families[m].name, STR_ARG(key));
		buf_printf(
			out, " %lld\n", (long long)((struct series_value *)sorted[i]->value.p)->v);
	}
	free(sorted);
}

void metric_render(struct buf *out)
{
	lock_take(&lock);
	for (int m = 0; m < METRIC_COUNT; m++)
		render_family(out, (enum metric)m);
	lock_drop(&lock);
}
