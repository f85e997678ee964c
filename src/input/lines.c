/* SPDX-License-Identifier: Apache-2.0 */
#include "input/lines.h"

#include "input/shape.h"
#include "record/time.h"
#include "record/zone.h"

/* The file of a container is named after its instance: app would be another with each restart. */
static int name_by_container(const struct line_labels *l, struct labels_builder *b, struct error *e)
{
	struct str app, container;
	struct buf copy = {0};
	int r;

	if (!l->app_guessed || !labels_builder_get(b, STR("container"), &container) ||
		!labels_builder_get(b, STR("app"), &app) || !str_eq_c(app, l->app))
		return 0;
	buf_str(&copy, container); /* setting moves the builder's text */
	r = labels_builder_set(b, STR("app"), buf_view(&copy), e);
	buf_fini(&copy);
	return r;
}

int line_labels_write(
	const struct line_labels *l, const struct input_env *env, struct buf *out, struct error *e)
{
	struct labels_builder b = {0};
	int r;

	if ((r = labels_builder_set(&b, STR("host"), str_c(env->host), e)) < 0 ||
		(r = labels_builder_set(&b, STR("app"), str_c(l->app), e)) < 0 ||
		(r = labels_builder_set(&b, STR("file"), str_c(l->file), e)) < 0 ||
		(r = labels_builder_set(&b, STR("input"), str_c(l->input), e)) < 0 ||
		(r = shape_labels(l->shape, l->file, &b, e)) < 0)
		goto done;
	for (size_t i = 0; l->extra && i < l->extra->n; i++) {
		r = labels_builder_set(
			&b, str_c(l->extra->items[i].name), str_c(l->extra->items[i].value), e);
		if (r < 0)
			goto done;
	}
	if ((r = name_by_container(l, &b, e)) < 0)
		goto done;
	discover_service_name(&env->discover, &b);
	labels_builder_write(&b, out);
done:
	labels_builder_fini(&b);
	return r;
}

void line_reader_init(struct line_reader *l, const struct input_env *env, bool detect_time)
{
	*l = (struct line_reader){.env = env, .detect_time = detect_time, .last_ns = INT64_MIN};
	line_reader_now(l);
}

void line_reader_now(struct line_reader *l)
{
	l->observed_ns = clock_now_ns(l->env->clock);
	/* Zones change on the quarter of an hour at most; localtime is not cheap. */
	if (l->observed_ns >= l->zone_until_ns ||
		l->observed_ns < l->zone_until_ns - 900 * NS_PER_SEC) {
		l->zone_seconds = l->zone ? zone_offset(l->zone, l->observed_ns)
					  : time_local_zone(l->observed_ns);
		l->zone_until_ns =
			l->observed_ns - l->observed_ns % (900 * NS_PER_SEC) + 900 * NS_PER_SEC;
	}
}

int64_t line_reader_observe(struct line_reader *l)
{
	int64_t t = l->observed_ns;

	/* Reading takes far longer than 1 ns a line, so this never runs ahead of the clock for
	 * long; more than a second ahead means that the clock was set back, and is followed. */
	if (l->last_ns >= t && l->last_ns - t < NS_PER_SEC)
		t = l->last_ns + 1;
	return l->last_ns = t;
}

/* The time in a line.  One that names no zone was written when the clock may have been set
 * otherwise than it is now: by the named zone's offset of that time. */
static bool find_time(const struct line_reader *l, struct str line, int64_t *out)
{
	int then;

	if (!l->detect_time || !time_detect(line, l->observed_ns, l->zone_seconds, out))
		return false;
	if (l->zone && (then = zone_offset(l->zone, *out)) != l->zone_seconds)
		time_detect(line, l->observed_ns, then, out);
	return true;
}

void line_reader_zone(struct line_reader *l, const struct zone *zone)
{
	l->zone = zone;
	l->zone_until_ns = 0;
	line_reader_now(l);
}

void line_reader_time(struct line_reader *l, struct str line, struct record *out)
{
	*out = (struct record){.body = line};
	if (!find_time(l, line, &out->timestamp)) {
		out->timestamp = line_reader_observe(l);
		out->flags |= RECORD_TIME_OBSERVED;
	}
}

void line_reader_record(struct line_reader *l, struct str line, uint8_t told, struct record *out)
{
	line_reader_time(l, line, out);
	discover_level_told(&l->env->discover, told, out);
}

void line_fragment_meta(struct buf *out, uint64_t n)
{
	struct labels_builder b = {.names_free = true};
	struct buf number = {0};

	buf_u64(&number, n);
	labels_builder_set(&b, STR("fragment"), buf_view(&number), NULL);
	buf_clear(out);
	labels_builder_write(&b, out);
	labels_builder_fini(&b);
	buf_fini(&number);
}
