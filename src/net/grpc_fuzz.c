/* SPDX-License-Identifier: Apache-2.0 */
/* A connection of a gRPC server, fed with any bytes behind HTTP/2's preface. */
#include <stdlib.h>

#include "base/memory.h"
#include "net/grpc_session.h"

static int on_begin(
	void *arg, struct grpc_call *c, struct str authorization, void **state, struct error *e)
{
	(void)arg;
	*state = c;
	return authorization.n == 3 ? error_set(e, ERR_DENIED, "no") : 0;
}

static int on_message(struct grpc_call *c, void *state, struct str bytes, struct error *e)
{
	(void)c;
	if (state != c)
		abort();
	return bytes.n == 3 ? error_set(e, ERR_ARG, "three") : 0;
}

static void on_end(struct grpc_call *c, void *state)
{
	(void)state;
	grpc_reply(c, STR("done"));
}

static void on_closed(struct grpc_call *c, void *state)
{
	if (state != c)
		abort();
}

static void wants_write(void *arg)
{
	(void)arg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct grpc_method methods[] = {
		{"/a.B/C", on_begin, on_message, on_end, on_closed}, {0}};
	struct account account;
	struct grpc_session_options o = {.methods = methods,
		.max_message = 1000,
		.max_streams = 4,
		.account = &account,
		.peer = "",
		.wants_write = wants_write};
	struct str rest = str_make(data, size);
	struct grpc_session *s;
	struct error e;
	size_t slice;

	if (size == 0)
		return 0;
	slice = data[0] ? data[0] : SIZE_MAX;
	rest = str_sub(rest, 1, rest.n);
	account_init(&account, "fuzz", 1 << 20, NULL);
	s = grpc_session_new(&o);
	grpc_session_feed(s, STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 0, &e);
	for (uint64_t now = 0; rest.n; now += 10) {
		if (grpc_session_feed(s, str_sub(rest, 0, slice), now, &e) < 0)
			break;
		rest = str_sub(rest, slice, rest.n);
		while (grpc_session_next(s).n)
			;
		if (grpc_session_over(s, &e))
			break;
	}
	grpc_session_expire(s, 1 << 20, 1);
	grpc_session_stop(s, "over");
	while (grpc_session_next(s).n)
		;
	grpc_session_free(s);
	if (account_held(&account))
		abort();
	return 0;
}
