/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One easy handle, run by a multi handle: that keeps the connection between
 * calls, and its curl_multi_wakeup is what lets another thread cancel at once.
 */
#include "net/client.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/memory.h"
#include "net/target.h"

enum { ENDING_ASK_MS = 200 };

struct http_client {
	struct target target;
	CURLM *multi;
	bool (*ending)(void *arg);
	void *ending_arg;
	struct buf tenant; /* X-Scope-OrgID of the next calls; empty: that of the target */
	_Atomic bool cancelled;
};

struct reception {
	struct buf *body;
	size_t max;
	bool too_large;
};

int http_client_new(struct http_client **out, const struct http_client_options *o, struct error *e)
{
	struct http_client *c = xcalloc(1, sizeof *c);
	int r = target_init(&c->target, o, e);

	c->ending = o->ending;
	c->ending_arg = o->ending_arg;
	c->multi = curl_multi_init();
	assert(c->multi);
	if (r < 0) {
		http_client_free(c);
		return r;
	}
	*out = c;
	return 0;
}

void http_client_free(struct http_client *c)
{
	if (!c)
		return;
	target_fini(&c->target);
	buf_fini(&c->tenant);
	curl_multi_cleanup(c->multi);
	free(c);
}

void http_client_set_tenant(struct http_client *c, struct str tenant)
{
	buf_clear(&c->tenant);
	buf_str(&c->tenant, tenant);
}

void http_client_cancel(struct http_client *c)
{
	c->cancelled = true;
	curl_multi_wakeup(c->multi);
}

void http_answer_fini(struct http_answer *a)
{
	buf_fini(&a->body);
	*a = (struct http_answer){0};
}

static size_t receive(char *p, size_t size, size_t n, void *arg)
{
	struct reception *to = arg;

	n *= size;
	if (n > to->max - to->body->n) {
		to->too_large = true;
		return 0;
	}
	buf_put(to->body, p, n);
	return n;
}

/* Reserve what the server announces, when it is within the bound. */
static size_t receive_header(char *p, size_t size, size_t n, void *arg)
{
	struct reception *to = arg;
	struct str value = str_make(p, n * size), name = str_cut(&value, ':');
	uint64_t length;

	if (str_eq_nocase(name, STR("Content-Length")) && str_u64(str_trim(value), &length) &&
		length <= to->max && to->body->n == 0)
		buf_reserve(to->body, length);
	return n * size;
}

/* Method and body.  All that a former call may have set is set again. */
static void set_request(CURL *curl, const char *method, struct str body)
{
	bool has_body = body.n || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0;

	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, NULL);
	curl_easy_setopt(curl, CURLOPT_NOBODY, 0L);
	curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
	if (has_body) {
		curl_easy_setopt(curl, CURLOPT_POST, 1L);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.p ? body.p : "");
	} else if (strcmp(method, "HEAD") == 0) {
		curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
	}
	if (strcmp(method, has_body ? "POST" : "GET") != 0 && strcmp(method, "HEAD") != 0)
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
}

static struct curl_slist *add_line(struct curl_slist *list, const char *name, const char *value)
{
	struct buf line = {0};
	struct curl_slist *longer;

	buf_printf(&line, "%s%s", name, value);
	longer = curl_slist_append(list, buf_cstr(&line));
	assert(longer);
	buf_fini(&line);
	return longer;
}

static struct curl_slist *make_headers(
	struct http_client *c, const char *content_type, const char *encoding)
{
	/* Without "Expect:" libcurl waits a second for a "100 Continue" before a larger body. */
	struct curl_slist *list = add_line(NULL, "Expect:", "");

	for (const struct curl_slist *at = c->target.headers; at; at = at->next)
		list = add_line(list, at->data, "");
	if (c->tenant.n)
		list = add_line(list, "X-Scope-OrgID: ", buf_cstr(&c->tenant));
	/* "Content-Type:" keeps libcurl from calling each body a form. */
	list = add_line(list, content_type ? "Content-Type: " : "Content-Type:",
		content_type ? content_type : "");
	if (encoding)
		list = add_line(list, "Content-Encoding: ", encoding);
	return list;
}

static bool call_done(struct http_client *c, CURLcode *code)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(c->multi, &left))) {
		if (m->msg == CURLMSG_DONE) {
			*code = m->data.result;
			return true;
		}
	}
	return false;
}

/* False when it was cancelled. */
static bool run_call(struct http_client *c, CURLcode *code)
{
	CURLMcode r = curl_multi_add_handle(c->multi, c->target.curl);
	int running;
	bool done = false;

	assert(r == CURLM_OK);
	while (!c->cancelled && !(c->ending && c->ending(c->ending_arg))) {
		curl_multi_perform(c->multi, &running);
		if ((done = call_done(c, code)))
			break;
		curl_multi_poll(c->multi, NULL, 0, c->ending ? ENDING_ASK_MS : 1000, NULL);
	}
	curl_multi_remove_handle(c->multi, c->target.curl);
	return done;
}

static int call_result(struct http_client *c, CURLcode code, const struct reception *to,
	struct http_answer *out, struct error *e)
{
	curl_off_t retry = 0;
	long status = 0;

	curl_easy_getinfo(c->target.curl, CURLINFO_RESPONSE_CODE, &status);
	out->status = (int)status;
	if (to->too_large)
		return error_set(e, ERR_LIMIT, "%s: answer is larger than the limit of %zu bytes",
			c->target.where, to->max);
	if (code != CURLE_OK)
		return target_error(&c->target, code, e);
	curl_easy_getinfo(c->target.curl, CURLINFO_RETRY_AFTER, &retry);
	out->retry_after_s = retry > 86400 ? 86400 : (int)retry;
	return 0;
}

int http_client_call(struct http_client *c, const char *method, const char *path, struct str body,
	const char *content_type, const char *encoding, size_t max_body, struct http_answer *out,
	struct error *e)
{
	struct reception to = {.body = &out->body, .max = max_body};
	struct curl_slist *headers = make_headers(c, content_type, encoding);
	CURL *curl = c->target.curl;
	CURLcode code = CURLE_OK;
	struct buf url = {0};
	bool done;
	int r;

	*out = (struct http_answer){0};
	buf_printf(&url, "%s%s", c->target.base, path);
	c->target.reason[0] = 0;
	c->target.refused_private = false;
	set_request(curl, method, body);
	curl_easy_setopt(curl, CURLOPT_URL, buf_cstr(&url));
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)c->target.timeout_ms);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &to);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, receive_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, &to);
	done = run_call(c, &code);
	r = done ? call_result(c, code, &to, out, e)
		 : error_set(e, ERR_CANCELLED, "%s: cancelled", c->target.where);
	/* The handle outlives what these point to. */
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, NULL);
	curl_slist_free_all(headers);
	buf_fini(&url);
	if (r == ERR_LIMIT)
		buf_fini(&out->body);
	else if (r < 0)
		http_answer_fini(out);
	return r;
}
