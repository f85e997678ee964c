/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The time: wall clock and monotonic.  Any thread. */
#include <stdint.h>

#define NS_PER_SEC INT64_C(1000000000)
#define NS_PER_MS  INT64_C(1000000)

struct clock;

struct clock *clock_real(void);
int64_t clock_now_ns(struct clock *c);  /* since 1970-01-01 UTC */
int64_t clock_mono_ns(struct clock *c); /* never jumps; unknown origin */
int64_t clock_thread_ns(void);          /* processor time that the calling thread has used */
