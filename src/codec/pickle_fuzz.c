/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a pickle and as a literal.  Values have to be of their kinds,
 * texts UTF-8, printing has to end within its limit, and what is read twice
 * has to be the same: a reader remembers nothing of the pickle before.
 */
#include <assert.h>

#include "codec/pickle.h"

enum { MEMORY = 4 << 20, PRINTED = 5000, DEPTH = 50 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static size_t n_walked;

static void walk(const struct pickle_value *v, int depth)
{
	double f;

	if (depth == DEPTH || ++n_walked > 10000)
		return;
	assert(pickle_type(v).n > 0 || v->kind == PICKLE_OBJECT);
	assert(v->kind != PICKLE_TEXT || str_utf8_valid(v->text) == v->text.n);
	assert(v->kind != PICKLE_OBJECT || str_utf8_valid(v->text) == v->text.n);
	assert(v->kind != PICKLE_DICT || v->n % 2 == 0);
	assert(v->kind >= PICKLE_LIST || v->n == 0);
	pickle_number(v, &f);
	pickle_state(v);
	pickle_get(v, STR("msg"));
	for (size_t i = 0; i < v->n; i++)
		walk(v->items[i], depth + 1);
}

static void print(const struct pickle_value *v, struct buf *out)
{
	buf_clear(out);
	pickle_str(v, PRINTED, out);
	assert(out->n <= PRINTED + 3);
	pickle_repr(v, PRINTED, out);
	assert(out->n <= 2 * (PRINTED + 3));
	assert(str_utf8_valid(buf_view(out)) == out->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct pickle *p;
	struct pickle *fresh = pickle_new(MEMORY);
	const struct pickle_value *v;
	struct buf first = {0}, second = {0};
	struct error e;
	size_t used = 0, again = 0;
	int r;

	if (!p)
		p = pickle_new(MEMORY);
	r = pickle_read(p, str_make(data, n), &v, &used, &e);
	assert(r == 0 || r == ERR_CORRUPT || r == ERR_LIMIT);
	if (r == 0) {
		assert(used > 0 && used <= n && data[used - 1] == '.');
		n_walked = 0;
		walk(v, 0);
		print(v, &first);
	}
	assert(pickle_read(fresh, str_make(data, n), &v, &again, NULL) == r && again == used);
	if (r == 0)
		print(v, &second);
	assert(str_eq(buf_view(&first), buf_view(&second)));
	r = pickle_literal(p, str_make(data, n), &v, &e);
	if (r == 0) {
		n_walked = 0;
		walk(v, 0);
		print(v, &first);
	}
	buf_fini(&first);
	buf_fini(&second);
	pickle_free(fresh);
	return 0;
}
