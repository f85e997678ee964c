/* SPDX-License-Identifier: Apache-2.0 */
/*
 * | sample N: one row of N, chosen by its sequence number alone, so that the
 * same query gives the same rows again, on any thread and in any order of
 * reading.  Sequence numbers are consecutive; mixing their bits keeps the
 * choice apart from whatever repeats in the lines every N rows.
 */
#include "query/ast.h"

struct sample_stage {
	struct stage stage;
	uint64_t one_in;
};

/* A bijection of 64 bits in which each bit of v turns over half of the others (the finaliser of
 * MurmurHash3). */
static uint64_t mix(uint64_t v)
{
	v = (v ^ v >> 33) * 0xff51afd7ed558ccd;
	v = (v ^ v >> 33) * 0xc4ceb9fe1a85ec53;
	return v ^ v >> 33;
}

static int run(const struct stage *s, void *state, struct pipe_row *row)
{
	(void)state;
	return mix(row->seq) % ((const struct sample_stage *)s)->one_in == 0;
}

static void format(const struct stage *s, struct buf *out)
{
	buf_c(out, "| sample ");
	buf_u64(out, ((const struct sample_stage *)s)->one_in);
}

static const struct stage_type sample_type = {
	.name = "sample",
	.run = run,
	.format = format,
};

bool stage_is_sample(const struct stage *s)
{
	return s->type == &sample_type;
}

int sample_new(struct query *q, uint64_t one_in, struct stage **out, struct error *e)
{
	struct sample_stage *s;

	if (one_in == 0)
		return error_set(e, ERR_ARG, "sample: one row in how many?  At least 1, not 0");
	s = ARENA_NEW(&q->arena, struct sample_stage);
	*s = (struct sample_stage){{&sample_type, NULL}, one_in};
	*out = &s->stage;
	return 0;
}
