// SPDX-License-Identifier: Apache-2.0
// Why only simdjson's first stage: its second one loses the text of numbers
// and where an error is.  The first is where the speed comes from.  No
// exception can leave: the library is used through its error codes alone.
#define SIMDJSON_EXCEPTIONS 0
#include "codec/json_index.h"

#include <memory>
#include <new>

#include <simdjson.h>

static_assert(JSON_PADDING >= simdjson::SIMDJSON_PADDING, "json.c pads too little");

struct json_index {
	std::unique_ptr<simdjson::internal::dom_parser_implementation> stage;
};

extern "C" struct json_index *json_index_new(void)
{
	return new (std::nothrow) json_index();
}

extern "C" void json_index_free(struct json_index *x)
{
	delete x;
}

extern "C" int json_index_run(struct json_index *x, const char *text, size_t n, size_t capacity,
	const uint32_t **tokens, size_t *n_tokens)
{
	simdjson::error_code code = simdjson::SUCCESS;

	if (!x->stage)
		code = simdjson::get_active_implementation()->create_dom_parser_implementation(
			capacity, 1, x->stage);
	else if (x->stage->capacity() < n)
		code = x->stage->set_capacity(capacity);
	if (code == simdjson::SUCCESS)
		code = x->stage->stage1(
			reinterpret_cast<const uint8_t *>(text), n, simdjson::stage1_mode::regular);
	if (code != simdjson::SUCCESS)
		return -1;
	*tokens = x->stage->structural_indexes.get();
	*n_tokens = x->stage->n_structural_indexes;
	return 0;
}
