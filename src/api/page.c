/* SPDX-License-Identifier: Apache-2.0 */
/* `/` and its parts: files of web/ that are built into the binary. */
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
