/* SPDX-License-Identifier: Apache-2.0 */
#include "forward/verdict.h"

static uint64_t number_of(const struct json *j, const char *key)
{
	size_t i = json_get(j, 0, key);
	uint64_t v = 0;

	if (i && j->nodes[i].type == JSON_NUMBER)
		str_u64(j->nodes[i].text, &v);
	return v;
}

/* The server's sentence: the field error of a JSON object, or the text itself. */
static struct str sentence_of(const struct json *j, bool is_json, struct str body)
{
	size_t i = is_json ? json_get(j, 0, "error") : 0;

	if (i && j->nodes[i].type == JSON_STRING)
		return j->nodes[i].text;
	return str_sub(str_trim(body), 0, 300);
}

enum verdict verdict_of(struct json_parser *parser, const char *where, const struct http_answer *a,
	struct sink_result *result, struct error *e)
{
	struct json j = {0};
	bool is_json = json_parse(parser, buf_view(&a->body), &j, NULL) == 0 && j.n > 0 &&
		       j.nodes[0].type == JSON_OBJECT;
	struct str text = sentence_of(&j, is_json, buf_view(&a->body));

	*result = (struct sink_result){0};
	switch (a->status) {
	case 200:
		if (!is_json || !json_get(&j, 0, "committed")) {
			error_set(e, ERR_NET, "%s answered 200 but not as sawlog does", where);
			return VERDICT_AGAIN;
		}
		result->n_committed = number_of(&j, "committed");
		result->n_duplicates = number_of(&j, "duplicates");
		result->first_seq = number_of(&j, "seq");
		return VERDICT_DELIVERED;
	case 409:
		if (!is_json || !json_get(&j, 0, "mark")) {
			error_set(e, ERR_NET, "%s answered 409 without a mark", where);
			return VERDICT_AGAIN;
		}
		result->mark = number_of(&j, "mark");
		result->code = error_set(&result->error, ERR_GAP, "%.*s", STR_ARG(text));
		return VERDICT_REFUSED;
	case 413:
		result->code = error_set(&result->error, ERR_LIMIT, "%.*s", STR_ARG(text));
		return VERDICT_REFUSED;
	case 400:
	case 415:
	case 422:
		result->code = error_set(&result->error, ERR_ARG, "%.*s", STR_ARG(text));
		return VERDICT_REFUSED;
	case 401:
	case 403:
		error_set(e, ERR_DENIED, "%s denies access (%d): %.*s", where, a->status,
			STR_ARG(text));
		return VERDICT_AGAIN;
	default:
		error_set(e, a->status == 429 || a->status == 503 ? ERR_BUSY : ERR_NET,
			"%s answered %d: %.*s", where, a->status, STR_ARG(text));
		return VERDICT_AGAIN;
	}
}

uint64_t verdict_pause_ms(
	struct backoff *b, const struct http_answer *a, const struct error *why, unsigned most_s)
{
	uint64_t ms = backoff_next(b);

	if (!a || a->retry_after_s <= 0 || why->code == ERR_BUSY)
		return ms;
	return 1000 * ((uint64_t)a->retry_after_s < most_s ? (uint64_t)a->retry_after_s : most_s);
}
