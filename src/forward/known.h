/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What of each source is known to be durable, and at which server: so that an
 * uplink with several servers can tell "this server lost something" from "the
 * rest is at another one".  Of the sources not used for long the least recent
 * are forgotten.  One thread.
 */
#include "record/batch.h"

enum { KNOWN_SERVERS = 8 };

struct known;

struct known *known_new(void);
void known_free(struct known *k);
/* The batch is about to be sent: of a source that is not known yet, all before its `from` is
 * durable somewhere, as an input begins where it was acknowledged. */
void known_meet(struct known *k, const struct batch *b);
/* `server` (below KNOWN_SERVERS) has acknowledged the batch. */
void known_acked(struct known *k, const struct batch *b, unsigned server);
/* `server` has less than the batch's `from`, up to `mark` alone.  True: all that is missing was
 * acknowledged, and not by this server.  False: this server lost it, or nobody has it, or the
 * batch must be split by source to tell. */
bool known_elsewhere(struct known *k, const struct batch *b, unsigned server, uint64_t mark);
/* Another server has this number from now on. */
void known_forget_server(struct known *k, unsigned server);
