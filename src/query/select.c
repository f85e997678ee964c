/* SPDX-License-Identifier: Apache-2.0 */
#include "query/select.h"

static const struct str level_name = STR_INIT("detected_level");

int select_stream(const struct log_expr *log, struct str labels, bool strict)
{
	int all = SELECT_SOME | SELECT_BARE;

	for (size_t i = 0; i < log->n_matchers; i++) {
		const struct matcher *m = &log->matchers[i];
		struct str value = STR("");
		bool open = !labels_get(labels, m->name, &value) && !strict;
		int hit;

		if (open && str_eq(m->name, level_name)) {
			all |= SELECT_LEVEL;
			continue;
		}
		if ((hit = matcher_match(m, value)) < 0)
			return hit;
		if (hit == 0 && !open)
			return SELECT_NONE;
		if (open)
			all |= SELECT_META;
		if (hit == 0)
			all &= ~SELECT_BARE;
	}
	return all;
}

int select_level(const struct log_expr *log, struct str labels, const char *level)
{
	struct str known;
	int hit = 1;

	if (labels_get(labels, level_name, &known))
		return 1;
	for (size_t i = 0; i < log->n_matchers && hit > 0; i++)
		if (str_eq(log->matchers[i].name, level_name))
			hit = matcher_match(&log->matchers[i], str_c(level));
	return hit;
}

int select_record(const struct log_expr *log, struct str labels, struct str meta, const char *level)
{
	for (size_t i = 0; i < log->n_matchers; i++) {
		const struct matcher *m = &log->matchers[i];
		struct str value = STR("");
		int hit;

		if (labels_get(labels, m->name, &value))
			continue;
		if ((!meta.n || !labels_get(meta, m->name, &value)) && level &&
			str_eq(m->name, level_name))
			value = str_c(level);
		if ((hit = matcher_match(m, value)) <= 0)
			return hit;
	}
	return 1;
}
