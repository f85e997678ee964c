/* SPDX-License-Identifier: Apache-2.0 */
#include "os/clock.h"

#include <time.h>

#include "os/clock_ops.h"

static int64_t read_clock(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return t.tv_sec * NS_PER_SEC + t.tv_nsec;
}

static int64_t real_now_ns(struct clock *c)
{
	return read_clock(CLOCK_REALTIME);
}

static int64_t real_mono_ns(struct clock *c)
{
	return read_clock(CLOCK_MONOTONIC);
}

struct clock *clock_real(void)
{
	static struct clock real = {real_now_ns, real_mono_ns};

	return &real;
}

int64_t clock_now_ns(struct clock *c)
{
	return c->now_ns(c);
}

int64_t clock_mono_ns(struct clock *c)
{
	return c->mono_ns(c);
}

int64_t clock_thread_ns(void)
{
	return read_clock(CLOCK_THREAD_CPUTIME_ID);
}
