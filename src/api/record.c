/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One record by its sequence number: an address that stays, whatever the store
 * does with its parts.  context=N adds the records around it of its stream.
 */
#include <inttypes.h>

#include "api/internal.h"
#include "query/record.h"

static void write_record(struct buf *out, const struct query_entry *en)
{
	buf_printf(out, "{\"seq\":%" PRIu64 ",\"time\":\"%" PRId64 "\",\"labels\":", en->seq,
		en->timestamp);
	labels_json(out, en->labels);
	buf_c(out, ",\"metadata\":");
	if (en->meta.n)
		labels_json(out, en->meta);
	else
		buf_c(out, "{}");
	buf_c(out, ",\"line\":");
	buf_json(out, en->line);
	buf_char(out, '}');
}

static void write_list(struct buf *out, const char *name, const struct query_result *res)
{
	buf_printf(out, ",\"%s\":[", name);
	for (size_t i = 0; i < res->n_entries; i++) {
		if (i)
			buf_char(out, ',');
		write_record(out, &res->entries[i]);
	}
	buf_char(out, ']');
}

static int run_record(struct job *j, struct error *e)
{
	struct str segment = http_segment(j->request, "seq");
	struct query_params p = {0};
	struct query_record found;
	struct view *v;
	uint64_t seq, context;
	int r;

	api_query_params(j, &p);
	if (!str_u64(segment, &seq))
		return error_set(e, ERR_ARG,
			"a record's number is a whole number, as \"seq\" in answers with "
			"sequence=true, got \"%.*s\"",
			STR_ARG(str_sub(segment, 0, 100)));
	if ((r = api_param_u64(j->request, "context", 0, &context, e)) < 0)
		return r;
	if (context > RECORD_CONTEXT_MAX)
		return error_set(
			e, ERR_ARG, "context: at most %d records on each side", RECORD_CONTEXT_MAX);
	v = api_view(j);
	r = source_record(view_source(v), seq, context, &p, &found, e);
	api_query_count(r == ERR_NOT_FOUND ? 0 : r);
	if (r == 0) {
		buf_c(&j->body, "{\"status\":\"success\",\"data\":{\"record\":");
		write_record(&j->body, found.self.entries);
		if (context) {
			write_list(&j->body, "before", &found.before);
			write_list(&j->body, "after", &found.after);
		}
		buf_char(&j->body, '}');
		api_write_all_warnings(&j->body,
			(const struct query_result *const[]){
				&found.self, &found.before, &found.after},
			3);
		buf_c(&j->body, "}\n");
		query_record_fini(&found);
	}
	view_close(v);
	return r;
}

void record_answer(struct http_request *r, void *ctx)
{
	api_read_job(ctx, r, run_record);
}
