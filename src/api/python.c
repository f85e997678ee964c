/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /python: records of Python's HTTPHandler, in the query of a GET or the form
 * of a POST.  The application waits for the answer and ignores what it says:
 * 200 once the record is synced, a sentence for who tries by hand.
 */
#include "api/push.h"

#include "input/python.h"

static int add(
	struct push *p, struct pylog_record *record, struct batch_builder *into, struct error *e)
{
	struct python_shaper shaper = {
		.own_host = str_c(p->api->o.host),
		.fixed[PYTHON_APP] = STR("python"),
		.max_line = p->options.max_line,
	};
	struct python_sender from = {.ip = str_c(http_peer(p->request))};
	struct str values[PYTHON_KEYS];
	struct labels_builder labels = {0};
	struct buf stream = {0};
	int r;

	p->report.n_cut += python_shape(&shaper, &from, record, values);
	for (size_t i = 0; i < PYTHON_KEYS; i++)
		labels_builder_set(&labels, str_c(python_keys[i]), values[i], NULL);
	labels_builder_set(&labels, STR("input"), STR("python"), NULL);
	discover_service_name(&p->options.discover, &labels);
	labels_builder_write(&labels, &stream);
	python_set_level(&p->options.discover, buf_view(&stream), &record->record);
	record->record.stream = batch_builder_stream(into, buf_view(&stream));
	r = batch_builder_add(into, &record->record, e);
	labels_builder_fini(&labels);
	buf_fini(&stream);
	python_shaper_fini(&shaper);
	return r;
}

static int decode(struct push *p, struct batch_builder *into, struct error *e)
{
	bool post = str_eq(http_method(p->request), STR("POST"));
	struct pylog *reader = pylog_new();
	struct pylog_record record;
	int r = pylog_form(reader, post ? p->body : http_query(p->request), p->options.observed_ns,
		&record, e);

	if (r == 0)
		r = add(p, &record, into, e);
	pylog_free(reader);
	return r;
}

static void answer(
	struct http_request *r, const struct sink_result *result, const struct push_report *report)
{
	if (result->code < 0)
		api_fail(r, &result->error);
	else
		http_reply(r, 200, NULL, STR("ok\n"));
}

void python_push(struct http_request *r, void *ctx)
{
	static const struct push_kind kind = {
		.input = "python", .decode = decode, .answer = answer};

	/* Whoever looks whether something is here stores nothing. */
	if (str_eq(http_method(r), STR("HEAD"))) {
		http_reply(r, 200, NULL, STR_NONE);
		return;
	}
	push_run(ctx, r, &kind);
}
