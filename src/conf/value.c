/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/value.h"

#include "base/duration.h"
#include "conf/place.h"

static const struct size_unit {
	struct str name;
	uint64_t bytes;
} size_units[] = {
	{STR_INIT("KiB"), UINT64_C(1) << 10},
	{STR_INIT("MiB"), UINT64_C(1) << 20},
	{STR_INIT("GiB"), UINT64_C(1) << 30},
	{STR_INIT("TiB"), UINT64_C(1) << 40},
	{STR_INIT("PiB"), UINT64_C(1) << 50},
	{STR_INIT("KB"), 1000},
	{STR_INIT("MB"), 1000000},
	{STR_INIT("GB"), 1000000000},
	{STR_INIT("TB"), UINT64_C(1000000000000)},
	{STR_INIT("PB"), UINT64_C(1000000000000000)},
	{STR_INIT("K"), UINT64_C(1) << 10},
	{STR_INIT("M"), UINT64_C(1) << 20},
	{STR_INIT("G"), UINT64_C(1) << 30},
	{STR_INIT("T"), UINT64_C(1) << 40},
	{STR_INIT("B"), 1},
	{STR_INIT(""), 1},
};

static bool find_size_unit(struct str name, uint64_t *bytes)
{
	for (size_t i = 0; i < sizeof size_units / sizeof size_units[0]; i++)
		if (str_eq_nocase(name, size_units[i].name)) {
			*bytes = size_units[i].bytes;
			return true;
		}
	return false;
}

bool size_parse(struct str s, uint64_t *out)
{
	uint64_t whole, unit, fraction = 0, scale = 1;
	size_t n = 0, digits;

	while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
		n++;
	if (!str_u64(str_sub(s, 0, n), &whole))
		return false;
	if (n < s.n && s.p[n] == '.') {
		for (digits = 0, n++; n < s.n && s.p[n] >= '0' && s.p[n] <= '9'; n++, digits++)
			if (digits < 9) {
				fraction = fraction * 10 + (uint64_t)(s.p[n] - '0');
				scale *= 10;
			}
		if (digits == 0)
			return false;
	}
	if (!find_size_unit(str_trim(str_sub(s, n, s.n)), &unit) || (scale > 1 && unit == 1))
		return false;
	fraction = (uint64_t)((unsigned __int128)fraction * unit / scale);
	return !__builtin_mul_overflow(whole, unit, &whole) &&
	       !__builtin_add_overflow(whole, fraction, out);
}

void size_format(struct buf *out, uint64_t bytes)
{
	for (int i = 4; i >= 0; i--) {
		uint64_t unit = size_units[i].bytes;
		if (bytes < unit)
			continue;
		buf_u64(out, bytes / unit);
		uint64_t tenth = (uint64_t)((unsigned __int128)(bytes % unit) * 10 / unit);
		if (bytes % unit)
			buf_printf(out, ".%u", (unsigned)tenth);
		buf_str(out, size_units[i].name);
		return;
	}
	buf_u64(out, bytes);
	if (bytes)
		buf_char(out, 'B');
}

/* An exact size: in the largest unit that divides it. */
static void size_put(struct buf *out, uint64_t bytes)
{
	for (int i = 4; i >= 0; i--)
		if (bytes && bytes % size_units[i].bytes == 0) {
			buf_printf(out, "%llu%.*s",
				(unsigned long long)(bytes / size_units[i].bytes),
				STR_ARG(size_units[i].name));
			return;
		}
	buf_u64(out, bytes);
}

static void number_put(enum option_kind kind, int64_t v, struct buf *out)
{
	if (kind == OPT_SIZE)
		size_put(out, (uint64_t)v);
	else if (kind == OPT_DURATION)
		duration_put(out, v);
	else
		buf_printf(out, "%lld", (long long)v);
}

static int check_bounds(const struct option *o, int64_t v, struct error *e)
{
	struct buf low = {0}, high = {0};
	int r;

	if ((o->min == 0 && o->max == 0) || (v >= o->min && (v <= o->max || o->max == 0)))
		return 0;
	number_put(o->kind, o->min, &low);
	number_put(o->kind, o->max, &high);
	if (o->max == 0)
		r = error_set(e, ERR_ARG, "must be at least %s", buf_cstr(&low));
	else
		r = error_set(
			e, ERR_ARG, "must be between %s and %s", buf_cstr(&low), buf_cstr(&high));
	buf_fini(&low);
	buf_fini(&high);
	return r;
}

static int parse_bool(struct str text, bool *out, struct error *e)
{
	static const struct {
		struct str word;
		bool value;
	} words[] = {{STR_INIT("true"), true}, {STR_INIT("false"), false}, {STR_INIT("yes"), true},
		{STR_INIT("no"), false}, {STR_INIT("on"), true}, {STR_INIT("off"), false}};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (str_eq_nocase(text, words[i].word)) {
			*out = words[i].value;
			return 0;
		}
	return error_set(e, ERR_ARG, "must be true or false");
}

static int parse_enum(const struct option *o, struct str text, int *out, struct error *e)
{
	struct buf list = {0};
	int r;

	for (int i = 0; o->values[i]; i++) {
		if (str_eq_c(text, o->values[i])) {
			*out = i;
			buf_fini(&list);
			return 0;
		}
		buf_printf(&list, "%s%s", i ? ", " : "", o->values[i]);
	}
	nearest_put(&list, text, o->values);
	r = error_set(e, ERR_ARG, "must be one of %s", buf_cstr(&list));
	buf_fini(&list);
	return r;
}

static int parse_number(const struct option *o, struct str text, int64_t *out, struct error *e)
{
	uint64_t size;

	if (o->kind == OPT_INT && !str_i64(text, out))
		return error_set(e, ERR_ARG, "must be a whole number");
	if (o->kind == OPT_DURATION && !duration_parse(text, out))
		return error_set(
			e, ERR_ARG, "must be a duration with its unit, as 500ms, 30s, 5m, 30d");
	if (o->kind == OPT_SIZE) {
		if (!size_parse(text, &size) || size > INT64_MAX)
			return error_set(e, ERR_ARG, "must be a size, as 64KiB, 256MiB, 1GB, 512");
		*out = (int64_t)size;
	}
	return check_bounds(o, *out, e);
}

int value_parse(
	const struct option *o, struct str text, void *field, struct arena *arena, struct error *e)
{
	int64_t number = 0;
	int r;

	switch (o->kind) {
	case OPT_BOOL: return parse_bool(text, field, e);
	case OPT_ENUM: return parse_enum(o, text, field, e);
	case OPT_INT:
	case OPT_SIZE:
	case OPT_DURATION:
		if ((r = parse_number(o, text, &number, e)) == 0)
			memcpy(field, &number, sizeof number);
		return r;
	default: *(const char **)field = arena_c(arena, text); return 0;
	}
}

void value_put(const struct option *o, const void *field, struct buf *out)
{
	int64_t number;

	switch (o->kind) {
	case OPT_BOOL: buf_c(out, *(const bool *)field ? "true" : "false"); break;
	case OPT_ENUM: buf_c(out, o->values[*(const int *)field]); break;
	case OPT_INT:
	case OPT_SIZE:
	case OPT_DURATION:
		memcpy(&number, field, sizeof number);
		number_put(o->kind, number, out);
		break;
	default: buf_c(out, *(const char *const *)field); break;
	}
}

const char *value_word(enum option_kind kind)
{
	static const char *const words[] = {[OPT_BOOL] = "true|false",
		[OPT_INT] = "NUMBER",
		[OPT_SIZE] = "SIZE",
		[OPT_DURATION] = "DURATION",
		[OPT_STRING] = "TEXT",
		[OPT_PATH] = "PATH",
		[OPT_ENUM] = "WORD",
		[OPT_STRINGS] = "TEXT,...",
		[OPT_PATHS] = "PATH,...",
		[OPT_LISTEN] = "ADDRESS,...",
		[OPT_MAP] = "NAME=TEXT,...",
		[OPT_GROUPS] = "NAME=TEXT,...",
		[OPT_OBJECT] = "",
		[OPT_LIST] = "",
		[OPT_KINDS] = ""};

	return words[kind];
}
