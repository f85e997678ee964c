/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first bytes choose a shape and how the rest, a text, is cut into chunks.
 * Whatever the text: its records are the same in one piece and in many, and make
 * the text again.
 */
#include "input/shape_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const encodings[] = {NULL, "utf-16", "utf-16be", "latin1", "utf-32le", "cp1252"};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct shape_settings s = {0};
	struct model *one = xmalloc(sizeof(*one)), *many = xmalloc(sizeof(*many));
	const char *drop[] = {"drop|[0-9]{5}"};
	struct str text;
	size_t chunk;

	if (size < 4 || size > 100000)
		goto done;
	s.format = data[0] & 3;
	s.multiline.rule = data[0] & 4 ? "all" : NULL;
	s.multiline.first = data[0] & 4 || !(data[0] & 8) ? NULL : "^[A-Z0-9]";
	s.multiline.max_lines = 2 + data[1] % 16;
	if (s.format == FORMAT_PLAIN)
		s.encoding = encodings[(data[0] >> 4) % 6];
	if (data[0] & 128)
		s.drop = (struct strings){drop, 1};
	chunk = data[2] + 1u;
	text = str_make(data + 4, size - 4);
	assert(model_init(one, &s, NULL) == 0 && model_init(many, &s, NULL) == 0);
	for (struct str rest = text; rest.n > 0;) {
		size_t n = rest.n < TAIL_CHUNK ? rest.n : TAIL_CHUNK;

		model_feed(one, str_sub(rest, 0, n), SHAPE_MORE);
		rest = str_sub(rest, n, rest.n);
	}
	model_text(one, STR(""), 1, 0);
	model_text(many, text, chunk, data[3]);
	assert(model_same(one, many));
	assert(s.drop.n || model_lost(one, text) == 0);
	model_fini(one);
	model_fini(many);
done:
	free(one);
	free(many);
	return 0;
}
