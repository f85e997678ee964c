/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading is strict: a key that is not known is refused with its place, since a
 * misspelt `for` would make an alert that fires too early.  Writing is canonical,
 * so that what is read, written and read again is the same.
 */
#include "alert/rule.h"

#include <inttypes.h>

#include "alert/new_template.h"
#include "base/duration.h"
#include "conf/yaml.h"
#include "os/clock.h"
#include "query/query.h"
#include "record/labels.h"

#define OFFSET_MAX_NS (INT64_C(30) * 24 * 3600 * NS_PER_SEC)

/* --- reading -------------------------------------------------------------------------- */

static int bad(struct error *e, const struct yaml_node *at, const char *what, const char *why)
{
	return error_set(e, ERR_ARG, "line %d, column %d: %s: %s", at->place.line, at->place.column,
		what, why);
}

static int read_text(
	const struct yaml_node *node, const char *what, struct str *out, struct error *e)
{
	if (node->kind != NODE_SCALAR || node->null || node->text.n == 0)
		return bad(e, node, what, "must be a text");
	*out = node->text;
	return 0;
}

/* "5m", or 0. */
static int read_duration(
	const struct yaml_node *node, const char *what, int64_t *out, struct error *e)
{
	if (node->kind == NODE_SCALAR && str_eq(node->text, STR("0"))) {
		*out = 0;
		return 0;
	}
	if (node->kind != NODE_SCALAR || !duration_parse(node->text, out) || *out < 0)
		return bad(e, node, what, "must be a duration like 5m or 1h30m");
	return 0;
}

static int read_pairs(const struct yaml_node *node, const char *what, struct arena *a,
	struct rule_pair **out, size_t *n, struct error *e)
{
	if (node->kind == NODE_SCALAR && node->null)
		return 0;
	if (node->kind != NODE_MAP)
		return bad(e, node, what, "must be names with their values");
	if (node->n > RULE_PAIRS_MAX)
		return bad(e, node, what, "has more than 100 names");
	*out = ARENA_ARRAY(a, struct rule_pair, node->n);
	for (const struct yaml_node *m = node->first; m; m = m->next) {
		if (!label_name_valid(m->key))
			return bad(e, m, what, "a name has letters, digits and _");
		if (m->kind != NODE_SCALAR)
			return bad(e, m, what, "a value must be a text");
		(*out)[(*n)++] = (struct rule_pair){m->key, m->null ? STR_NONE : m->text};
	}
	return 0;
}

/* [a-zA-Z_:][a-zA-Z0-9_:]* */
static bool metric_name_valid(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i], low = (char)(c | 0x20);
		if (!(low >= 'a' && low <= 'z') && c != '_' && c != ':' &&
			!(i > 0 && c >= '0' && c <= '9'))
			return false;
	}
	return s.n > 0;
}

static int check_expr(const struct yaml_node *node, struct str expr, struct error *e)
{
	struct new_template fresh;
	struct error why;
	struct query *q;

	if (new_template_is(expr)) {
		if (new_template_parse(&fresh, expr, &why) < 0)
			return bad(e, node, "expr", why.text);
		new_template_fini(&fresh);
		return 0;
	}
	if (query_parse(&q, expr, &why) < 0)
		return bad(e, node, "expr", why.text);
	if (query_is_log(q)) {
		query_free(q);
		return bad(e, node, "expr",
			"must be a metric query, like sum(rate({app=\"a\"} |= \"error\" [5m])) > 1");
	}
	query_free(q);
	return 0;
}

static int check_rule(
	const struct yaml_node *node, const struct rule *r, const char *other, struct error *e)
{
	if (r->name.n == 0)
		return bad(e, node, "rule", "one of alert and record must be set");
	if (r->expr.n == 0)
		return bad(e, node, "rule", "expr must be set");
	if (r->alerts)
		return 0;
	if (!metric_name_valid(r->name))
		return bad(e, node, "record", "is no name of a metric");
	return other ? bad(e, node, other, "only alerts have it") : 0;
}

static int read_rule(
	const struct yaml_node *node, struct arena *a, struct rule *out, struct error *e)
{
	const char *other = NULL; /* that only alerts have */
	int r = 0;

	if (node->kind != NODE_MAP)
		return bad(e, node, "rule", "must be a map with alert or record, and expr");
	for (const struct yaml_node *m = node->first; m && r == 0; m = m->next) {
		if (str_eq_c(m->key, "alert") || str_eq_c(m->key, "record")) {
			if (out->name.n)
				return bad(e, m, "rule", "only one of alert and record can be set");
			out->alerts = str_eq_c(m->key, "alert");
			r = read_text(m, "the name", &out->name, e);
		} else if (str_eq_c(m->key, "expr")) {
			if ((r = read_text(m, "expr", &out->expr, e)) == 0)
				r = check_expr(m, out->expr, e);
		} else if (str_eq_c(m->key, "for")) {
			other = "for";
			r = read_duration(m, other, &out->for_ns, e);
		} else if (str_eq_c(m->key, "keep_firing_for")) {
			other = "keep_firing_for";
			r = read_duration(m, other, &out->keep_firing_ns, e);
		} else if (str_eq_c(m->key, "labels")) {
			r = read_pairs(m, "labels", a, &out->labels, &out->n_labels, e);
		} else if (str_eq_c(m->key, "annotations")) {
			other = m->n ? "annotations" : other;
			r = read_pairs(
				m, "annotations", a, &out->annotations, &out->n_annotations, e);
		} else {
			return bad(e, m, "rule",
				"an unknown key: a rule has alert or record, expr, for, "
				"keep_firing_for, labels, annotations");
		}
	}
	return r < 0 ? r : check_rule(node, out, other, e);
}

static int read_rules(
	const struct yaml_node *node, struct arena *a, struct rule_group *out, struct error *e)
{
	int r = 0;

	if (node->kind != NODE_LIST)
		return node->null ? 0 : bad(e, node, "rules", "must be a list");
	if (node->n > RULES_PER_GROUP_MAX)
		return bad(e, node, "rules", "a group has at most 1000 rules");
	out->rules = ARENA_ARRAY(a, struct rule, node->n);
	for (const struct yaml_node *m = node->first; m && r == 0; m = m->next)
		r = read_rule(m, a, &out->rules[out->n++], e);
	return r;
}

static int read_offset(const struct yaml_node *node, int64_t *out, struct error *e)
{
	int r = read_duration(node, "query_offset", out, e);

	return r == 0 && *out > OFFSET_MAX_NS ? bad(e, node, "query_offset", "must be at most 30d")
					      : r;
}

static bool has_pair(const struct rule_pair *pairs, size_t n, struct str name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(pairs[i].name, name))
			return true;
	return false;
}

/* The labels of its group, but for those that it has itself. */
static int inherit(struct rule *r, const struct rule_pair *labels, size_t n, struct arena *a)
{
	struct rule_pair *all = ARENA_ARRAY(a, struct rule_pair, r->n_labels + n);
	size_t n_all = 0;

	for (size_t i = 0; i < n; i++)
		if (!has_pair(r->labels, r->n_labels, labels[i].name))
			all[n_all++] = labels[i];
	for (size_t i = 0; i < r->n_labels; i++)
		all[n_all++] = r->labels[i];
	r->labels = all;
	r->n_labels = n_all;
	return n_all > RULE_PAIRS_MAX ? ERR_LIMIT : 0;
}

static int read_group(
	const struct yaml_node *node, struct arena *a, struct rule_group *out, struct error *e)
{
	struct rule_pair *labels = NULL;
	size_t n_labels = 0;
	int r = 0;

	*out = (struct rule_group){0};
	if (node->kind != NODE_MAP)
		return bad(e, node, "group", "must be a map with name and rules");
	for (const struct yaml_node *m = node->first; m && r == 0; m = m->next) {
		if (str_eq_c(m->key, "name"))
			r = read_text(m, "name", &out->name, e);
		else if (str_eq_c(m->key, "interval"))
			r = read_duration(m, "interval", &out->interval_ns, e);
		else if (str_eq_c(m->key, "query_offset"))
			r = read_offset(m, &out->offset_ns, e);
		else if (str_eq_c(m->key, "labels"))
			r = read_pairs(m, "labels", a, &labels, &n_labels, e);
		else if (str_eq_c(m->key, "limit"))
			r = m->kind == NODE_SCALAR && str_u64(m->text, &out->limit)
				    ? 0
				    : bad(e, m, "limit", "must be a whole number from 0 on");
		else if (str_eq_c(m->key, "rules"))
			r = read_rules(m, a, out, e);
		else
			r = bad(e, m, "group",
				"an unknown key: a group has name, interval, query_offset, limit, "
				"labels and rules");
	}
	for (size_t i = 0; i < out->n && r == 0 && n_labels > 0; i++)
		if (inherit(&out->rules[i], labels, n_labels, a) < 0)
			r = bad(e, node, "labels",
				"a rule has more than 100 names with those of its group");
	if (r == 0 && (out->name.n == 0 || out->name.n > GROUP_NAME_MAX))
		r = bad(e, node, "group", "name must be set, with at most 256 bytes");
	return r;
}

static int read_yaml(struct yaml_node **out, struct str yaml, struct arena *a, struct error *e)
{
	struct conf_errors problems = {0};
	struct str all, first;
	int r = 0;

	*out = yaml_read_literal(yaml, "rules", a, &problems);
	all = buf_view(&problems.text);
	first = str_cut(&all, '\n');
	if (problems.n)
		r = error_set(e, ERR_ARG, "%.*s", STR_ARG(str_sub(first, 0, 300)));
	else if (!*out)
		r = error_set(e, ERR_ARG, "there is nothing in it: a group has a name and rules");
	buf_fini(&problems.text);
	return r;
}

int rule_group_parse(struct rule_group *out, struct str yaml, struct arena *a, struct error *e)
{
	struct yaml_node *root;
	int r = read_yaml(&root, yaml, a, e);

	return r < 0 ? r : read_group(root, a, out, e);
}

/* Beside groups there may be a namespace, as in files for Loki's tools; ours is the file's. */
static const struct yaml_node *find_groups(const struct yaml_node *root)
{
	const struct yaml_node *found = NULL;

	for (const struct yaml_node *m = root->kind == NODE_MAP ? root->first : NULL; m;
		m = m->next)
		if (str_eq_c(m->key, "groups"))
			found = m;
		else if (!str_eq_c(m->key, "namespace") || m->kind != NODE_SCALAR)
			return NULL;
	return found;
}

int rule_groups_parse(
	struct rule_group **out, size_t *n, struct str yaml, struct arena *a, struct error *e)
{
	const struct yaml_node *list;
	struct yaml_node *root;
	int r = read_yaml(&root, yaml, a, e);

	if (r < 0)
		return r;
	list = find_groups(root);
	if (!list || list->kind != NODE_LIST)
		return bad(e, root, "rules", "must be groups: with a list behind it");
	*n = 0;
	*out = ARENA_ARRAY(a, struct rule_group, list->n ? list->n : 1);
	for (const struct yaml_node *m = list->first; m; m = m->next)
		if ((r = read_group(m, a, &(*out)[(*n)++], e)) < 0)
			return r;
	return 0;
}

/* --- writing -------------------------------------------------------------------------- */

/* Words that YAML reads as something else than a text. */
static bool is_word_of_yaml(struct str s)
{
	static const char *const words[] = {
		"null", "true", "false", "yes", "no", "on", "off", "y", "n"};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (str_eq_nocase(s, str_c(words[i])))
			return true;
	return false;
}

/* How many bytes a character has that stands in JSON as it is, and in YAML would be the end of a
 * line (U+0085, U+2028, U+2029) or is not allowed; 0: others. */
static size_t foreign_to_yaml(struct str s, unsigned *c)
{
	const unsigned char *p = (const unsigned char *)s.p;

	if (p[0] == 0x7f) {
		*c = 0x7f;
		return 1;
	}
	if (s.n >= 2 && p[0] == 0xc2 && p[1] < 0xa0) {
		*c = p[1];
		return 2;
	}
	if (s.n < 3 || (p[0] != 0xe2 && p[0] != 0xef))
		return 0;
	*c = (p[0] & 0xfU) << 12 | (p[1] & 0x3fU) << 6 | (p[2] & 0x3fU);
	return *c == 0x2028 || *c == 0x2029 || *c == 0xfeff || *c >= 0xfffe ? 3 : 0;
}

/* A JSON string is a YAML one, but for those. */
static void put_quoted(struct str s, struct buf *out)
{
	struct buf json = {0};
	struct str rest;
	unsigned c;

	buf_json(&json, s);
	for (rest = buf_view(&json); rest.n > 0;) {
		size_t n = foreign_to_yaml(rest, &c);

		if (n > 0)
			buf_printf(out, "\\u%04x", c);
		else
			buf_char(out, rest.p[0]);
		rest = str_sub(rest, n > 0 ? n : 1, rest.n);
	}
	buf_fini(&json);
}

void rule_text_write(struct str s, struct buf *out)
{
	bool plain = s.n > 0 && !is_word_of_yaml(s);

	for (size_t i = 0; i < s.n && plain; i++) {
		char c = s.p[i], low = (char)(c | 0x20);
		plain = (low >= 'a' && low <= 'z') || c == '_' ||
			(i > 0 && ((c >= '0' && c <= '9') || c == '-' || c == '.')) ||
			(i > 0 && i + 1 < s.n && c == ':');
	}
	if (plain)
		buf_str(out, s);
	else
		put_quoted(s, out);
}

static void put_line(struct buf *out, unsigned indent, const char *key, struct str text)
{
	buf_printf(out, "%*s%s: ", (int)indent, "", key);
	rule_text_write(text, out);
	buf_char(out, '\n');
}

static void put_duration(struct buf *out, unsigned indent, const char *key, int64_t ns)
{
	if (ns == 0)
		return;
	buf_printf(out, "%*s%s: ", (int)indent, "", key);
	duration_put(out, ns);
	buf_char(out, '\n');
}

static void put_pairs(
	struct buf *out, unsigned indent, const char *key, const struct rule_pair *pairs, size_t n)
{
	if (n == 0)
		return;
	buf_printf(out, "%*s%s:\n", (int)indent, "", key);
	for (size_t i = 0; i < n; i++) {
		buf_printf(out, "%*s", (int)indent + 4, "");
		rule_text_write(pairs[i].name, out);
		buf_c(out, ": ");
		rule_text_write(pairs[i].value, out);
		buf_char(out, '\n');
	}
}

static void put_rule(struct buf *out, unsigned indent, const struct rule *r)
{
	buf_printf(out, "%*s- ", (int)indent - 2, "");
	put_line(out, 0, r->alerts ? "alert" : "record", r->name);
	put_line(out, indent, "expr", r->expr);
	put_duration(out, indent, "for", r->for_ns);
	put_duration(out, indent, "keep_firing_for", r->keep_firing_ns);
	put_pairs(out, indent, "labels", r->labels, r->n_labels);
	put_pairs(out, indent, "annotations", r->annotations, r->n_annotations);
}

void rule_group_write(const struct rule_group *g, unsigned indent, bool item, struct buf *out)
{
	if (item)
		buf_printf(out, "%*s- ", (int)indent - 2, "");
	put_line(out, item ? 0 : indent, "name", g->name);
	put_duration(out, indent, "interval", g->interval_ns);
	put_duration(out, indent, "query_offset", g->offset_ns);
	if (g->limit)
		buf_printf(out, "%*slimit: %" PRIu64 "\n", (int)indent, "", g->limit);
	buf_printf(out, "%*srules:%s\n", (int)indent, "", g->n ? "" : " []");
	for (size_t i = 0; i < g->n; i++)
		put_rule(out, indent + 6, &g->rules[i]);
}
