/* SPDX-License-Identifier: Apache-2.0 */
#include "api/loggregator_core.h"

#include "query/quote.h"
#include "record/severity.h"

static void put_events(struct buf *out, unsigned kinds)
{
	const char *between = "";

	for (unsigned k = LOGGREGATOR_LOG + 1; k <= LOGGREGATOR_ERROR; k++) {
		if (!(kinds & 1u << k))
			continue;
		buf_printf(out, "%s%s", between, loggregator_events[k]);
		between = "|";
	}
}

/* Records of other inputs are logs, also those that have a label `event` of their own. */
void loggregator_query(struct buf *out, const char *app_label, struct str app, unsigned kinds)
{
	bool logs = kinds & KINDS_LOG;

	kinds &= KINDS_ALL;
	buf_printf(out, "{%s%s", app_label, app.n ? "=" : "!=");
	quote_go(out, app);
	if (!logs) {
		buf_c(out, ",input=\"loggregator\",event=~\"");
		put_events(out, kinds);
		buf_char(out, '"');
	}
	buf_char(out, '}');
	if (logs && kinds != KINDS_ALL) {
		buf_c(out, " | input!=\"loggregator\" or event!~\"");
		put_events(out, ~kinds);
		buf_char(out, '"');
	}
}

/* The next piece begins behind its last entry, and sees no more than the first did. */
static void go_on(struct query_params *p, const struct query_result *res)
{
	const struct query_entry *last = &res->entries[res->n_entries - 1];

	p->resume = true;
	p->resume_ns = last->timestamp;
	p->resume_seq = last->seq;
	p->resume_nth = last->nth;
	p->until_seq = p->until_seq ? p->until_seq : res->last_seq;
}

int loggregator_walk(struct job *j, struct view *v, const struct query *q, struct query_params *p,
	uint64_t at_once, int (*each)(void *arg, const struct query_entry *x, struct error *e),
	void *arg, struct error *e)
{
	struct query_result res;
	bool more = true;
	int r = 0;

	api_query_params(j, p);
	p->strict = false;
	p->limit = at_once;
	while (more && r == 0) {
		if ((r = view_query(v, q, p, &res, e)) == ERR_LIMIT && p->limit > 1) {
			p->limit /= 2;
			r = 0;
			continue;
		}
		if (r < 0)
			break;
		more = res.n_entries == p->limit;
		for (size_t i = 0; i < res.n_entries && r == 0; i++)
			r = each(arg, &res.entries[i], e);
		if (more)
			go_on(p, &res);
		query_result_fini(&res);
	}
	return r < 0 ? r : 0;
}

/* It is sawlog's own: an envelope comes back with the tags that it came with. */
static void drop_tag(struct loggregator *x, struct str name)
{
	size_t n = 0;

	for (size_t i = 0; i < x->n_tags; i++)
		if (!str_eq(x->tags[i].name, name))
			x->tags[n++] = x->tags[i];
	x->n_tags = n;
}

void loggregator_of_entry(
	struct loggregator *out, const struct query_entry *en, const char *app_label)
{
	struct str level = STR_NONE;

	if (en->meta.n)
		labels_get(en->meta, STR("detected_level"), &level);
	loggregator_of(
		out, en->timestamp, en->labels, en->meta, en->line, severity_from_word(level));
	labels_get(en->labels, str_c(app_label), &out->source_id);
	drop_tag(out, STR("detected_level"));
}

void loggregator_notice(
	struct loggregator *out, struct str app, int64_t timestamp, struct str sentence)
{
	loggregator_clear(out);
	out->kind = LOGGREGATOR_LOG;
	out->timestamp = timestamp;
	out->source_id = app;
	out->source_type = STR("LGR");
	out->err = true;
	out->payload = sentence;
}

bool loggregator_is_head(struct http_request *r)
{
	return str_eq(http_method(r), STR("HEAD"));
}
