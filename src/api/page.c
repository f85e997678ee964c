/* SPDX-License-Identifier: Apache-2.0 */
/* `/` and its parts: files of web/ that are built into the binary.  `/api`: the routes. */
#include "api/internal.h"

#include "web/web.h"

static void serve(struct http_request *r, struct str content, const char *type)
{
	http_set_header(r, "Content-Security-Policy",
		"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
		"img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'");
	http_set_header(r, "Cache-Control", "no-cache");
	http_reply(r, 200, type, content);
}

void page_index(struct http_request *r, void *ctx)
{
	serve(r, web_page_html, "text/html; charset=utf-8");
}

void page_script(struct http_request *r, void *ctx)
{
	serve(r, web_page_js, "text/javascript; charset=utf-8");
}

void page_style(struct http_request *r, void *ctx)
{
	serve(r, web_page_css, "text/css; charset=utf-8");
}

void page_routes(struct http_request *r, void *ctx)
{
	static const struct {
		unsigned flag;
		const char *name;
	} methods[] = {
		{HTTP_GET, "GET"}, {HTTP_POST, "POST"}, {HTTP_PUT, "PUT"}, {HTTP_DELETE, "DELETE"}};
	struct buf text = {0}, taken = {0};

	for (const struct http_route *route = api_routes(); route->path; route++) {
		buf_clear(&taken);
		for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
			if (route->flags & methods[i].flag)
				buf_printf(&taken, "%s%s", taken.n ? "," : "", methods[i].name);
		buf_printf(&text, "%-19s %-41s  %s\n", buf_cstr(&taken), route->path, route->help);
	}
	buf_fini(&taken);
	http_reply_buf(r, 200, "text/plain; charset=utf-8", &text);
}
