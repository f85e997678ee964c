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

void loggregator_query(struct buf *out, const char *app_label, struct str app, unsigned kinds)
{
	buf_printf(out, "{%s", app_label);
	buf_c(out, app.n ? "=" : "!=");
	quote_go(out, app);
	if ((kinds & KINDS_ALL) != KINDS_ALL) {
		buf_c(out, kinds & KINDS_LOG ? ",event!~\"" : ",event=~\"");
		put_events(out, kinds & KINDS_LOG ? ~kinds : kinds);
		buf_char(out, '"');
	}
	buf_char(out, '}');
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
