/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Lines as Loggregator's datagrams, for `sawlog emit loggregator=udp://HOST:PORT`:
 * LogMessages of 2013, or dropsonde's Envelopes with --form dropsonde, signed
 * where there is a secret.  Nothing answers: what the network takes counts as
 * sent.  One thread.
 */
#include "cli/command.h"

struct emit_loggregator;

/* Reads the flags app, severity, form and secret-file of `cl`, which is borrowed.  ERR_ARG,
 * ERR_NET.
 */
int emit_loggregator_open(
	struct emit_loggregator **out, struct command_line *cl, const char *url, struct error *e);
void emit_loggregator_close(struct emit_loggregator *l); /* NULL is fine */
/* Append a line to the batch; a blank one is left out, as the original emitters do. */
void emit_loggregator_line(struct emit_loggregator *l, struct str line);
size_t emit_loggregator_bytes(const struct emit_loggregator *l); /* of the batch */
/* Send the batch: 0 when all of it is on its way.  After ERR_BUSY, call again to go on where it
 * stopped. */
int emit_loggregator_send(struct emit_loggregator *l, struct error *e);
/* The batch is over: how many of its lines went. */
size_t emit_loggregator_finish(struct emit_loggregator *l);
