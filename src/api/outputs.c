/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outputs: GET /api/v1/outputs lists them, POST /api/v1/outputs/{name}/{action} pauses,
 * resumes, rewinds (?to=begin|now|seq:N or a time) or reopens one.
 */
#include "output/outputs.h"

#include <inttypes.h>

#include "api/internal.h"
#include "record/time.h"

static const char *const states[] = {"running", "paused", "failing"};

struct listing {
	struct buf *out;
	size_t n;
};

static void put_output(void *arg, const struct output_status *s)
{
	struct listing *l = arg;
	struct buf *out = l->out;

	buf_c(out, l->n++ ? ",{\"name\":" : "{\"name\":");
	buf_json(out, str_c(s->name));
	buf_c(out, ",\"kind\":");
	buf_json(out, str_c(s->kind));
	buf_printf(out,
		",\"state\":\"%s\",\"seq\":%" PRIu64 ",\"behind\":%" PRIu64
		",\"behind_seconds\":%.3f,\"delivered\":%" PRIu64 ",\"skipped\":%" PRIu64
		",\"missed\":%" PRIu64 ",\"error\":",
		states[s->state], s->seq, s->behind, (double)s->behind_ns / 1e9, s->delivered,
		s->skipped, s->missed);
	buf_json(out, str_c(s->error));
	if (s->retry_ns) {
		buf_c(out, ",\"retry\":\"");
		time_format(out, s->retry_ns);
		buf_char(out, '"');
	}
	buf_char(out, '}');
}

static int list(struct job *j, struct error *e)
{
	struct listing l = {.out = &j->body};

	buf_c(&j->body, "{\"outputs\":[");
	if (j->api->o.outputs)
		outputs_list(j->api->o.outputs, put_output, &l);
	buf_c(&j->body, "]}\n");
	return 0;
}

void outputs_answer(struct http_request *r, void *ctx)
{
	if (!api_is_router(ctx, r))
		api_job(ctx, r, STR_NONE, list);
}

static int read_target(struct http_request *r, struct output_rewind *to, struct error *e)
{
	struct str text = STR_NONE;

	http_param(r, "to", &text);
	if (str_eq(text, STR("begin")))
		to->to = REWIND_BEGIN;
	else if (str_eq(text, STR("now")))
		to->to = REWIND_NOW;
	else if (str_starts(text, STR("seq:")) && str_u64(str_sub(text, 4, text.n), &to->seq))
		to->to = REWIND_SEQ;
	else if (text.n > 0 && time_parse_api(text, &to->time_ns))
		to->to = REWIND_TIME;
	else
		return error_set(e, ERR_ARG,
			"to: must be begin, now, seq:N, or a time as RFC 3339 or seconds or nanoseconds "
			"since 1970; got \"%.*s\"",
			STR_ARG(str_sub(text, 0, 100)));
	return 0;
}

static int control(struct job *j, struct error *e)
{
	static const struct {
		struct str word;
		enum output_action action;
	} actions[] = {{STR_INIT("pause"), OUTPUT_PAUSE}, {STR_INIT("resume"), OUTPUT_RESUME},
		{STR_INIT("rewind"), OUTPUT_REWIND}, {STR_INIT("reopen"), OUTPUT_REOPEN}};
	struct str word = http_segment(j->request, "action");
	struct output_rewind to = {0};
	size_t i = 0;
	int r;

	while (i < 4 && !str_eq(word, actions[i].word))
		i++;
	if (i == 4)
		return error_set(e, ERR_ARG,
			"an output can be told to pause, resume, rewind and reopen; got \"%.*s\"",
			STR_ARG(str_sub(word, 0, 100)));
	if (actions[i].action == OUTPUT_REWIND && (r = read_target(j->request, &to, e)) < 0)
		return r;
	if (!j->api->o.outputs)
		return error_set(e, ERR_NOT_FOUND, "there are no outputs");
	r = outputs_control(
		j->api->o.outputs, http_segment(j->request, "name"), actions[i].action, &to, e);
	if (r == 0)
		j->status = 204;
	return r;
}

void outputs_control_answer(struct http_request *r, void *ctx)
{
	if (!api_is_router(ctx, r))
		api_job(ctx, r, STR_NONE, control);
}
