/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes: no crash, and a text that is taken keeps its promises: counts that add up, valid
 * UTF-8, and the same nodes when it is written out and read again. */
#include <stdlib.h>

#include "codec/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void write_value(const struct json *j, size_t at, struct buf *out)
{
	static const char *const words[] = {"null", "false", "true"};
	const struct json_node *node = &j->nodes[at];
	bool object = node->type == JSON_OBJECT, first = true;

	if (node->type <= JSON_TRUE) {
		buf_c(out, words[node->type]);
	} else if (node->type == JSON_NUMBER) {
		buf_str(out, node->text);
	} else if (node->type == JSON_STRING) {
		if (str_utf8_valid(node->text) != node->text.n)
			abort();
		buf_json(out, node->text);
	} else {
		buf_char(out, object ? '{' : '[');
		for (size_t i = json_first(j, at); i < json_end(j, at); i = json_next(j, i)) {
			if (!first)
				buf_char(out, ',');
			first = false;
			if (object) {
				if (j->nodes[i].type != JSON_STRING)
					abort();
				buf_json(out, j->nodes[i++].text);
				buf_char(out, ':');
			}
			write_value(j, i, out);
		}
		buf_char(out, object ? '}' : ']');
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct json_parser *parser = json_parser_new();
	struct buf once = {0}, twice = {0};
	struct json j;

	if (json_parse(parser, str_make(data, n), &j, NULL) == 0) {
		if (json_end(&j, 0) != j.n)
			abort();
		write_value(&j, 0, &once);
		if (json_parse(parser, buf_view(&once), &j, NULL) < 0)
			abort();
		write_value(&j, 0, &twice);
		if (!str_eq(buf_view(&once), buf_view(&twice)))
			abort();
	}
	buf_fini(&once);
	buf_fini(&twice);
	json_parser_free(parser);
	return 0;
}
