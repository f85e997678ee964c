/* SPDX-License-Identifier: Apache-2.0 */
/* POST /api/v1/forward: batches between sawlogs; see proto/frame.h for body and answers. */
#include "api/internal.h"

#include "proto/frame.h"

static void answer_forward(struct http_request *r, const struct sink_result *result, void *arg)
{
	struct buf body = {0};
	int status;

	/* Other refusals are told as those of every push. */
	if (result->code < 0 && result->code != ERR_GAP) {
		api_fail(r, &result->error);
		return;
	}
	status = frame_answer(&body, result);
	buf_char(&body, '\n');
	http_reply_buf(r, status, "application/json", &body);
}

/* Routers that name each other, or themselves, would send a record round for ever, acknowledged and
 * stored nowhere.  Not taken it waits with its sender, whose log tells why. */
static bool is_from_router(struct api *a, struct http_request *r)
{
	struct str value;

	if (!a->o.servers || !http_param(r, "router", &value))
		return false;
	http_replyf(r, 508,
		"this is a router, and takes nothing from routers: their route.zones must name its "
		"servers, %s\n",
		a->o.servers);
	return true;
}

void forward_push(struct http_request *r, void *ctx)
{
	struct api *a = ctx;
	struct room room = {.account = a->o.account};
	struct batch *b;
	struct buf body;
	struct str tenant, elsewhere;
	struct error e;

	if (!api_tenant(r, &tenant) || is_from_router(a, r))
		return;
	body = http_take_body(r);
	/* Only until it is submitted: then the sink charges the batch itself. */
	if (room_take(&room, frame_length(buf_view(&body)), &e) < 0 ||
		frame_take(&b, &body, &e) < 0) {
		buf_fini(&body);
		room_fini(&room);
		api_reject(a, tenant, "forward", error_name(e.code), 1);
		api_fail(r, &e);
		return;
	}
	room_fini(&room);
	if (!str_eq(batch_tenant(b), tenant)) {
		api_reject(a, tenant, "forward", error_name(ERR_DENIED), batch_count(b));
		http_replyf(r, 403,
			"the batch is for tenant \"%.*s\", the request for \"%.*s\": "
			"they must agree (X-Scope-OrgID)\n",
			STR_ARG(batch_tenant(b)), STR_ARG(tenant));
		batch_unref(b);
		return;
	}
	if (http_param(r, "elsewhere", &elsewhere) && str_eq(elsewhere, STR("1")))
		batch_set_jump(b);
	api_submit(a, r, b, answer_forward, NULL);
}
