/* SPDX-License-Identifier: Apache-2.0 */
/* A request target and a form body, separated by the first NUL byte. */
#include <assert.h>

#include "net/client.h"
#include "net/router.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void handle(struct http_request *r, void *ctx) {}

static const struct http_route routes[] = {
	{"/", HTTP_GET, handle, ""},
	{"/a/{name}/values", HTTP_GET | HTTP_CORS, handle, ""},
	{"/a/b/{name}", HTTP_POST | HTTP_FORM, handle, ""},
	{"/{x}/{y}/{z}", HTTP_PUT | HTTP_DELETE, handle, ""},
	{0},
};

static void check_path(struct str raw)
{
	struct router *router = router_new(routes);
	struct url_path path = {0};
	struct route_match m;

	if (url_path_parse(&path, raw, NULL) == 0) {
		assert(path.n >= 1 && path.text.n <= raw.n);
		m = router_find(router, &path, HTTP_GET);
		assert(!m.route || m.allowed & HTTP_GET);
		if (m.route && m.route == &routes[1])
			assert(route_segment(m.route, &path, "name").n > 0);
	}
	url_path_fini(&path);
	router_free(router);
}

/* What is decoded, encoded again and decoded once more is the same. */
static void check_value(struct str value)
{
	struct buf encoded = {0}, decoded = {0};
	int r;

	url_encode(&encoded, value);
	r = url_decode(&decoded, buf_view(&encoded), true, NULL);
	assert(r == 0 && str_eq(buf_view(&decoded), value));
	buf_fini(&encoded);
	buf_fini(&decoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str form = str_make(data, n), target = str_cut(&form, 0), path, query;
	struct url_params p = {0};
	struct error e;

	url_split(target, &path, &query);
	check_path(path);
	url_params_add(&p, form, &e);
	url_params_add(&p, query, &e);
	assert(p.n <= URL_MAX_PARAMS);
	for (size_t i = 0; i < p.n && i < 50; i++) {
		check_value(p.list[i].name);
		check_value(p.list[i].value);
	}
	url_params_fini(&p);
	return 0;
}
