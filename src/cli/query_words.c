/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/query_words.h"

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>

static const char *const starts[] = {"{", "absent_over_time(", "approx_topk(", "avg(",
	"avg_over_time(", "bottomk(", "bytes_over_time(", "bytes_rate(", "count(",
	"count_over_time(", "first_over_time(", "label_replace(", "last_over_time(", "max(",
	"max_over_time(", "min(", "min_over_time(", "quantile_over_time(", "rate(", "rate_counter(",
	"sort(", "sort_desc(", "stddev(", "stddev_over_time(", "stdvar(", "stdvar_over_time(",
	"sum(", "sum_over_time(", "topk(", "vector(", NULL};
static const char *const stages[] = {"context ", "decolorize", "drop ", "json", "keep ",
	"label_format ", "line_format ", "logfmt", "pattern ", "regexp ", "sample ", "sort by (",
	"top ", "uniq", "unpack", "unroll ", "unwrap ", NULL};
static const char *const none[] = {NULL};

const char *const *query_words(enum query_place place)
{
	return place == PLACE_START ? starts : place == PLACE_STAGE ? stages : none;
}

/* Where the text before the place leaves off. */
struct state {
	char quote;          /* of the string that is open; 0 for none */
	size_t string;       /* where its text begins */
	bool braces;         /* within a selector */
	bool grouping;       /* within the parentheses of by, without, on, ignoring … */
	size_t name, name_n; /* the last word */
	bool value;          /* `=` or the like stands between that word and here */
	char last;           /* the last character that is no blank, outside of strings */
};

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static bool takes_labels(struct str word)
{
	static const char *const words[] = {
		"by", "without", "on", "ignoring", "group_left", "group_right", NULL};

	for (size_t i = 0; words[i]; i++)
		if (str_eq_c(word, words[i]))
			return true;
	return false;
}

static void see(struct state *s, struct str text, size_t i)
{
	char c = text.p[i];

	if (s->quote) {
		if (c == s->quote)
			s->quote = 0;
		return;
	}
	if (is_word(c)) {
		if (i == 0 || !is_word(text.p[i - 1]))
			s->name = i;
		s->name_n = i + 1 - s->name;
		s->value = false;
	} else if (c == '"' || c == '`') {
		s->quote = c;
		s->string = i + 1;
	} else if (c == '{' || c == '}') {
		s->braces = c == '{';
	} else if (c == '(') {
		s->grouping = s->name_n &&
			      takes_labels(str_sub(text, s->name, s->name + s->name_n)) &&
			      (is_word(s->last));
	} else if (c == ')') {
		s->grouping = false;
	} else if (c == '=' || c == '~') {
		s->value = true;
	} else if (c == ',') {
		s->value = false;
	}
	if (c != ' ')
		s->last = c;
}

struct query_spot query_spot(struct str before)
{
	struct query_spot spot = {.word = str_sub(before, before.n, before.n)};
	struct state s = {0};
	size_t start = before.n;

	for (size_t i = 0; i < before.n; i++) {
		see(&s, before, i);
		/* An escaped character within quotes is not the end of them. */
		if (s.quote == '"' && before.p[i] == '\\')
			i++;
	}
	if (s.quote) {
		if (!s.braces || !s.value)
			return spot;
		spot.place = PLACE_VALUE;
		spot.word = str_sub(before, s.string, before.n);
		spot.label = str_sub(before, s.name, s.name + s.name_n);
		return spot;
	}
	while (start > 0 && is_word(before.p[start - 1]))
		start--;
	spot.word = str_sub(before, start, before.n);
	while (start > 0 && before.p[start - 1] == ' ')
		start--;
	s.last = start ? before.p[start - 1] : 0;
	if (s.braces)
		spot.place = s.last == '{' || s.last == ',' ? PLACE_LABEL : PLACE_NONE;
	else if (s.grouping)
		spot.place = PLACE_LABEL;
	else if (s.last == '|')
		spot.place = PLACE_STAGE;
	else if (s.last == 0 || s.last == '(' || s.last == ',')
		spot.place = PLACE_START;
	return spot;
}
