/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The servers of an uplink, in order of preference: which one is used now,
 * when to try the next, and when to come back.
 *
 * One server is used at a time.  When every try for `failover_after` failed, the next one is
 * used; one that does not answer at all right after a change is left sooner.  Meanwhile the ones
 * before it are asked every few seconds whether they are ready: one that was without a break
 * for `return_after` is used again.  One that fails again soon after has to be ready for twice
 * as long the next time.
 *
 * One thread uses it; servers_cancel and servers_url may come from any other.
 */
#include "net/client.h"
#include "proto/frame.h"

enum { SERVERS_MAX = 8 };

struct servers;

struct servers_options {
	const char *const *urls; /* 1 to SERVERS_MAX */
	size_t n_urls;
	const char *tenant;          /* NULL: none */
	const char *token_file;      /* NULL: none; read again when it changes */
	const char *ca, *cert, *key; /* PEM files, NULL for none */
	bool insecure;               /* do not check the server's certificate */
	int64_t failover_after_ns, return_after_ns;
	bool router; /* posts say that a router sends them: no other one takes them */
};

/* Copies the options.  ERR_ARG with the setting at fault. */
int servers_open(struct servers **out, const struct servers_options *o, struct error *e);
void servers_close(struct servers *s); /* NULL is fine */
/* The tenant of the next posts, copied; empty: that of the options. */
void servers_set_tenant(struct servers *s, struct str tenant);
/* POST a frame to the one in use; as http_client_call. */
int servers_post(struct servers *s, struct str frame, bool elsewhere, struct http_answer *out,
	struct error *e);
/* What became of it: an answer that settles the batch, or a failure that may pass.  True: another
 * server is used from now on. */
bool servers_settled(struct servers *s);
bool servers_failed(struct servers *s);
size_t servers_count(const struct servers *s);
size_t servers_current(const struct servers *s);
/* Of the n-th, in order of preference. */
const char *servers_url(const struct servers *s, size_t n);
/* The call under way fails with ERR_CANCELLED, and each later one. */
void servers_cancel(struct servers *s);
/* Is it on this machine?  Then bytes are cheaper than packing them. */
bool servers_loopback(struct str url);
