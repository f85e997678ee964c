/* SPDX-License-Identifier: Apache-2.0 */
#include "input/answer.h"

#include <stdlib.h>

struct answer {
	struct grpc_call *call; /* NULL: it is over */
	struct buf message;
	size_t n_waits;
	bool ended, lost;
};

struct answer *answer_new(struct grpc_call *call)
{
	struct answer *a = xcalloc(1, sizeof *a);

	a->call = call;
	return a;
}

/* It goes with the call or with the last wait, whichever is later. */
static void answer_unref(struct answer *a)
{
	if (a->call || a->n_waits)
		return;
	buf_fini(&a->message);
	free(a);
}

static void reply(struct answer *a)
{
	if (!a->call || !a->ended || a->n_waits)
		return;
	if (a->lost)
		grpc_fail(a->call, GRPC_UNAVAILABLE, "the server is stopping: send it again");
	else
		grpc_reply(a->call, buf_view(&a->message));
}

static void on_told(void *arg, bool durable)
{
	struct answer *a = arg;

	a->n_waits--;
	a->lost |= !durable;
	reply(a);
	answer_unref(a);
}

void answer_wait(struct answer *a, struct outlet *o)
{
	a->n_waits++;
	outlet_tell(o, on_told, a);
}

void answer_end(struct answer *a, struct str message)
{
	buf_str(&a->message, message);
	a->ended = true;
	reply(a);
}

void answer_closed(struct answer *a)
{
	a->call = NULL;
	answer_unref(a);
}
