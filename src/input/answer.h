/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Answers to calls of gRPC that are given once what the call brought is
 * durable, and not before.
 *
 *   answer_new           when the call begins
 *   answer_wait          behind each message of it that went to an outlet
 *   answer_end           the client is done
 *   answer_closed        the call is over; waits that are left do no harm
 *
 * Input's loop alone.
 */
#include "input/outlet.h"
#include "net/grpc.h"

struct answer;

struct answer *answer_new(struct grpc_call *call);
void answer_wait(struct answer *a, struct outlet *o);
/* Reply with `message`, copied, when all is durable; UNAVAILABLE when it will not be. */
void answer_end(struct answer *a, struct str message);
void answer_closed(struct answer *a);
