/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/record.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/memory.h"

/* {"seq", "time", "labels", "metadata", "line"}; metadata shows among the labels, as it does in
 * the answers of queries. */
struct record_reader {
	struct labels_builder builder;
	struct buf labels;
	struct print_entry *list;
	size_t *label_at; /* in labels: n + 1 of them */
	size_t n;
};

static void add_labels(struct labels_builder *b, const struct json *j, size_t at)
{
	if (!at || j->nodes[at].type != JSON_OBJECT)
		return;
	for (size_t i = json_first(j, at); i < json_end(j, at); i = json_next(j, i + 1))
		if (j->nodes[i + 1].type == JSON_STRING)
			labels_builder_set(b, j->nodes[i].text, j->nodes[i + 1].text, NULL);
}

static int read_record(struct record_reader *r, const struct json *j, size_t at, struct error *e)
{
	size_t time = json_get(j, at, "time"), line = json_get(j, at, "line");
	struct print_entry *en = &r->list[r->n];

	if (!time || !line || !str_i64(j->nodes[time].text, &en->timestamp) ||
		j->nodes[line].type != JSON_STRING)
		return error_set(e, ERR_NET, "the answer has a record without time or line");
	en->line = j->nodes[line].text;
	labels_builder_clear(&r->builder);
	r->builder.names_free = true;
	add_labels(&r->builder, j, json_get(j, at, "metadata"));
	add_labels(&r->builder, j, json_get(j, at, "labels"));
	labels_builder_write(&r->builder, &r->labels);
	r->label_at[++r->n] = r->labels.n;
	return 0;
}

static int read_list(struct record_reader *r, const struct json *j, size_t list, struct error *e)
{
	int code = 0;

	if (!list || j->nodes[list].type != JSON_ARRAY)
		return 0;
	for (size_t i = json_first(j, list); i < json_end(j, list) && code == 0;
		i = json_next(j, i))
		code = read_record(r, j, i, e);
	return code;
}

static int read_answer(struct record_reader *r, const struct json *j, struct error *e)
{
	size_t data = json_get(j, 0, "data"), record = data ? json_get(j, data, "record") : 0;
	int code;

	if (!record)
		return error_set(e, ERR_NET, "the answer holds no record: is this a sawlog?");
	/* A record takes some nodes of its own: there cannot be more of them than nodes. */
	r->list = xcalloc(j->n, sizeof *r->list);
	r->label_at = xcalloc(j->n + 1, sizeof *r->label_at);
	if ((code = read_list(r, j, json_get(j, data, "before"), e)) < 0 ||
		(code = read_record(r, j, record, e)) < 0)
		return code;
	return read_list(r, j, json_get(j, data, "after"), e);
}

static void print_all(struct record_reader *r, struct printer *p)
{
	for (size_t i = 0; i < r->n; i++)
		r->list[i].labels =
			str_make(r->labels.p + r->label_at[i], r->label_at[i + 1] - r->label_at[i]);
	/* Of a single record all labels are of interest. */
	if (r->n > 1)
		printer_common(p, r->list, r->n);
	for (size_t i = 0; i < r->n; i++)
		printer_entry(p, &r->list[i]);
}

int record_print(struct command_line *cl, struct remote *remote, struct printer *p, bool *missing,
	struct error *e)
{
	struct record_reader r = {0};
	struct buf path = {0};
	struct json j;
	int code;

	buf_printf(&path, "/api/v1/record/%" PRIi64, flag_int(cl, "record"));
	if (flag_int(cl, "context"))
		remote_param_i64(&path, "context", flag_int(cl, "context"));
	code = remote_get(remote, buf_cstr(&path), &j, e);
	*missing = code < 0 && remote_status(remote) == 404;
	if (code == 0) {
		remote_warnings(cl, &j);
		if ((code = read_answer(&r, &j, e)) == 0)
			print_all(&r, p);
	}
	free(r.list);
	free(r.label_at);
	labels_builder_fini(&r.builder);
	buf_fini(&r.labels);
	buf_fini(&path);
	return code;
}
