/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times.  The zone of the server is UTC here, whatever the host's is, so that a
 * query says the same everywhere.
 * Sources: Loki's documentation of template functions,
 * masterminds.github.io/sprig/date.html.
 */
#include <time.h>

#include "query/template_time.h"
#include "query/template_tree.h"

#define FUNCTION(name)                                                                             \
	static int name(                                                                           \
		struct template_run *r, const struct datum *args, size_t n, struct datum *out)

static const int64_t second_ns = 1000000000;

static struct datum time_of_ns(int64_t ns)
{
	int64_t s = ns / second_ns, rest = ns % second_ns;

	if (rest < 0) {
		s--;
		rest += second_ns;
	}
	return (struct datum){.kind = DATUM_TIME, .t = {.s = s, .ns = (int32_t)rest}};
}

FUNCTION(timestamp)
{
	*out = time_of_ns(template_timestamp(r));
	return 0;
}

FUNCTION(now)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	*out = (struct datum){.kind = DATUM_TIME, .t = {.s = t.tv_sec, .ns = (int32_t)t.tv_nsec}};
	return 0;
}

/* date LAYOUT TIME, where an integer is a time in seconds. */
FUNCTION(date)
{
	struct buf *b = template_scratch(r);
	struct datum_time t = {0};

	/* Beyond, years have more digits than int64 has seconds for. */
	const int64_t limit = INT64_MAX / 4;

	if (args[1].kind == DATUM_TIME)
		t = args[1].t;
	else if (args[1].kind == DATUM_INT && args[1].i < limit && args[1].i > -limit)
		t.s = args[1].i;
	else
		return template_fail(r, "wrong type for value; expected time.Time; got %s",
			datum_type(&args[1]));
	t.offset = 0;
	time_layout_put(b, &t, args[0].s);
	return template_keep(r, b, out);
}

/* The time of a text that follows the layout; the zero time, of year 1, for others. */
static int parsed(struct template_run *r, struct str layout, struct str zone, struct str text,
	struct datum *out)
{
	struct time_read read;
	struct datum_time t = {.s = -62135596800};

	if (time_layout_get(layout, text, &read)) {
		t.s = time_seconds(&read.parts);
		t.ns = read.parts.ns;
		t.offset = read.has_offset ? read.offset : template_zone(r, zone, t.s);
		t.s -= t.offset;
	}
	*out = (struct datum){.kind = DATUM_TIME, .t = t};
	return 0;
}

FUNCTION(to_date)
{
	return parsed(r, args[0].s, STR(""), args[1].s, out);
}

FUNCTION(to_date_in_zone)
{
	return parsed(r, args[0].s, args[1].s, args[2].s, out);
}

/* Days, seconds, ms, us or ns since 1970, told apart by the number of digits. */
FUNCTION(unix_to_time)
{
	struct str s = args[0].s;
	int64_t v;

	if (str_i64(s, &v)) {
		switch (s.n) {
		case 5: *out = time_of_ns(v * 86400 * second_ns); return 0;
		case 10: *out = time_of_ns(v * second_ns); return 0;
		case 13: *out = time_of_ns(v * 1000000); return 0;
		case 16: *out = time_of_ns(v * 1000); return 0;
		case 19: *out = time_of_ns(v); return 0;
		default: break;
		}
	}
	return template_fail(r, "unable to parse time '%.*s'", STR_ARG(str_sub(s, 0, 100)));
}

static int put_number(struct template_run *r, int64_t v, struct datum *out)
{
	struct buf *b = template_scratch(r);

	buf_printf(b, "%lld", (long long)v);
	return template_keep(r, b, out);
}

FUNCTION(unix_epoch)
{
	return put_number(r, args[0].t.s, out);
}

/* Times far from now wrap around, as Go's do. */
FUNCTION(unix_epoch_millis)
{
	return put_number(
		r, (int64_t)((uint64_t)args[0].t.s * 1000 + (uint64_t)args[0].t.ns / 1000000), out);
}

FUNCTION(unix_epoch_nanos)
{
	return put_number(r,
		(int64_t)((uint64_t)args[0].t.s * (uint64_t)second_ns + (uint64_t)args[0].t.ns),
		out);
}

const struct template_function template_times[] = {
	{"__timestamp__", "", timestamp, CALL_PLAIN},
	{"now", "", now, CALL_PLAIN},
	{"date", "sa", date, CALL_PLAIN},
	{"toDate", "ss", to_date, CALL_PLAIN},
	{"toDateInZone", "sss", to_date_in_zone, CALL_PLAIN},
	{"unixToTime", "s", unix_to_time, CALL_PLAIN},
	{"unixEpoch", "t", unix_epoch, CALL_PLAIN},
	{"unixEpochMillis", "t", unix_epoch_millis, CALL_PLAIN},
	{"unixEpochNanos", "t", unix_epoch_nanos, CALL_PLAIN},
	{0},
};
