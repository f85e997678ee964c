/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Lines as messages to an exchange of RabbitMQ, for `sawlog emit amqp=URL`:
 * what aggregator C's services publish, but persistent and confirmed.
 * One thread.
 */
#include "cli/command.h"

struct emit_amqp;

/* Reads the flags app, severity, label, exchange, routing-key, form, and ca, cert, key, insecure of
 * `cl`, which is borrowed, as is url.  No connection is made yet.  `ending` true ends waits.
 * ERR_ARG. */
int emit_amqp_open(struct emit_amqp **out, struct command_line *cl, const char *url,
	bool (*ending)(void *arg), struct error *e);
void emit_amqp_close(struct emit_amqp *a); /* NULL is fine */
/* Append a line to the batch. */
void emit_amqp_line(struct emit_amqp *a, struct str line);
size_t emit_amqp_bytes(const struct emit_amqp *a); /* of the batch */
/* Publish the batch and wait for the confirms: 0 when all are there.  After an error, call again to
 * go on where it stopped; the codes are those of net/amqp_publisher.h. */
int emit_amqp_send(struct emit_amqp *a, struct error *e);
/* The batch is over: how many of its lines were confirmed.  What was not is given up. */
size_t emit_amqp_finish(struct emit_amqp *a);
