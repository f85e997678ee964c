/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/client.h"
#include "net/router.h"

static void handle(struct http_request *r, void *ctx) {}

static const struct http_route routes[] = {
	{"/", HTTP_GET, handle, ""},
	{"/loki/api/v1/label/{name}/values", HTTP_GET, handle, ""},
	{"/loki/api/v1/label/{other}/values", HTTP_DELETE, handle, ""},
	{"/loki/api/v1/label/app/values", HTTP_GET, handle, ""},
	{"/push", HTTP_POST | HTTP_CORS, handle, ""},
	{"/push", HTTP_GET, handle, ""},
	{"/{a}/x", HTTP_GET, handle, ""},
	{"/tail/", HTTP_GET, handle, ""},
	{"/read/{source=**}", HTTP_GET, handle, ""},
	{"/read/all", HTTP_GET, handle, ""},
	{0},
};

static struct route_match find(const char *target, unsigned method, char *segment, const char *name)
{
	struct router *r = router_new(routes);
	struct url_path path = {0};
	struct route_match found = {0};

	if (url_path_parse(&path, str_c(target), NULL) == 0)
		found = router_find(r, &path, method);
	if (segment)
		str_copy(route_segment(found.route, &path, name), segment, 64);
	url_path_fini(&path);
	router_free(r);
	return found;
}

static void finds_routes(void **state)
{
	char text[64];

	assert_ptr_equal(find("/", HTTP_GET, NULL, NULL).route, &routes[0]);
	assert_ptr_equal(find("/push", HTTP_POST, NULL, NULL).route, &routes[4]);
	assert_ptr_equal(find("/push", HTTP_GET, NULL, NULL).route, &routes[5]);
	assert_ptr_equal(find("/tail/", HTTP_GET, NULL, NULL).route, &routes[7]);
	assert_null(find("/tail", HTTP_GET, NULL, NULL).route);
	assert_null(find("/push/", HTTP_GET, NULL, NULL).route);
	assert_null(find("//", HTTP_GET, NULL, NULL).route);
	/* A literal segment goes first, wherever it stands in the table. */
	assert_ptr_equal(
		find("/loki/api/v1/label/app/values", HTTP_GET, NULL, NULL).route, &routes[3]);
	assert_ptr_equal(find("/loki/api/v1/label/app/values", HTTP_DELETE, text, "other").route,
		&routes[2]);
	assert_string_equal(text, "app");
}

static void takes_the_rest_of_a_path(void **state)
{
	char text[64];

	assert_ptr_equal(find("/read/a", HTTP_GET, text, "source").route, &routes[8]);
	assert_string_equal(text, "a");
	assert_ptr_equal(find("/read/a/b%2fc/d", HTTP_GET, text, "source").route, &routes[8]);
	assert_string_equal(text, "a/b/c/d");
	assert_ptr_equal(find("/read/all", HTTP_GET, NULL, NULL).route, &routes[9]);
	assert_ptr_equal(find("/read/all/x", HTTP_GET, NULL, NULL).route, &routes[8]);
	assert_null(find("/read/", HTTP_GET, NULL, NULL).route);
	assert_null(find("/read", HTTP_GET, NULL, NULL).route);
}

static void decodes_segments_once(void **state)
{
	char text[64];

	find("/loki/api/v1/label/a%2Fb%2541+c/values", HTTP_GET, text, "name");
	assert_string_equal(text, "a/b%41+c");
	find("/loki/api/v1/label/x/values", HTTP_GET, text, "nope");
	assert_string_equal(text, "");
	assert_ptr_equal(find("/%70ush", HTTP_GET, NULL, NULL).route, &routes[5]);
	/* An encoded slash is no separator, and a name is never empty. */
	assert_null(find("/loki%2Fapi/v1/label/x/values", HTTP_GET, NULL, NULL).route);
	assert_null(find("/loki/api/v1/label//values", HTTP_GET, NULL, NULL).route);
	assert_int_equal(find("/a%zz/x", HTTP_GET, NULL, NULL).allowed, 0);
}

static void tells_what_is_allowed(void **state)
{
	struct route_match m = find("/push", HTTP_PUT, NULL, NULL);
	struct buf allow = {0};

	assert_null(m.route);
	route_allow(&allow, m.allowed, m.cors);
	assert_string_equal(buf_cstr(&allow), "GET, HEAD, POST, OPTIONS");
	buf_fini(&allow);
	assert_int_equal(find("/nope", HTTP_GET, NULL, NULL).allowed, 0);
	assert_int_equal(route_method(STR("HEAD")), HTTP_GET);
	assert_int_equal(route_method(STR("DELETE")), HTTP_DELETE);
	assert_int_equal(route_method(STR("get")), 0);
	assert_int_equal(route_method(STR("PATCH")), 0);
}

static void parses_params(void **state)
{
	struct url_params p = {0};
	struct error e;

	assert_int_equal(url_params_add(&p, STR("a=1&b&a=%32+x&&=v&c=d=e&a="), &e), 0);
	assert_int_equal(p.n, 6);
	assert_true(str_eq_c(url_params_get(&p, STR("a"), 0)->value, "1"));
	assert_true(str_eq_c(url_params_get(&p, STR("a"), 1)->value, "2 x"));
	assert_int_equal(url_params_get(&p, STR("a"), 2)->value.n, 0);
	assert_null(url_params_get(&p, STR("a"), 3));
	assert_int_equal(url_params_get(&p, STR("b"), 0)->value.n, 0);
	assert_true(str_eq_c(url_params_get(&p, STR(""), 0)->value, "v"));
	assert_true(str_eq_c(url_params_get(&p, STR("c"), 0)->value, "d=e"));
	assert_int_equal(url_params_add(&p, STR("q={app}|=%"), &e), ERR_ARG);
	assert_string_equal(
		e.text, "parameter 'q': '%' is no percent-encoded byte: write % as %25");
	url_params_fini(&p);
}

static void bounds_params(void **state)
{
	struct url_params p = {0};
	struct buf many = {0};
	struct error e;

	for (int i = 0; i < URL_MAX_PARAMS; i++)
		buf_c(&many, "a&");
	assert_int_equal(url_params_add(&p, buf_view(&many), &e), 0);
	assert_int_equal(url_params_add(&p, STR("b"), &e), ERR_LIMIT);
	assert_int_equal(p.n, URL_MAX_PARAMS);
	buf_fini(&many);
	url_params_fini(&p);
}

static void bounds_segments(void **state)
{
	struct url_path path = {0};

	assert_int_equal(
		url_path_parse(&path, STR("/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16"), NULL), 0);
	url_path_fini(&path);
	assert_int_equal(
		url_path_parse(&path, STR("/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/"), NULL),
		ERR_LIMIT);
	url_path_fini(&path);
	assert_int_equal(url_path_parse(&path, STR("x/y"), NULL), ERR_ARG);
	url_path_fini(&path);
}

static void check_split(const char *target, const char *path, const char *query)
{
	struct str p, q;

	url_split(str_c(target), &p, &q);
	assert_true(str_eq_c(p, path));
	assert_true(str_eq_c(q, query));
}

static void splits_targets(void **state)
{
	check_split("/a/b?x=1?2", "/a/b", "x=1?2");
	check_split("/a?u=http://h/p", "/a", "u=http://h/p");
	check_split("http://h:1/a?b", "/a", "b");
	check_split("http://h", "/", "");
	check_split("http://h?q", "/", "q");
	check_split("", "/", "");
	check_split("*", "*", "");
}

static void encodes(void **state)
{
	struct buf b = {0}, back = {0};
	char all[256];

	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	url_encode(&b, STR("a b/{x=\"\xc3\xbc\"}~-._+%"));
	assert_string_equal(buf_cstr(&b), "a%20b%2F%7Bx%3D%22%C3%BC%22%7D~-._%2B%25");
	buf_clear(&b);
	url_encode(&b, str_make(all, sizeof all));
	assert_int_equal(url_decode(&back, buf_view(&b), true, NULL), 0);
	assert_true(str_eq(buf_view(&back), str_make(all, sizeof all)));
	buf_fini(&b);
	buf_fini(&back);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_routes),
		cmocka_unit_test(takes_the_rest_of_a_path),
		cmocka_unit_test(decodes_segments_once),
		cmocka_unit_test(tells_what_is_allowed),
		cmocka_unit_test(parses_params),
		cmocka_unit_test(bounds_params),
		cmocka_unit_test(bounds_segments),
		cmocka_unit_test(splits_targets),
		cmocka_unit_test(encodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
