/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What stands behind a `struct clock`: the system's (clock.c) or a fake.  Inside os/ only. */
#include "os/clock.h"

struct clock {
	int64_t (*now_ns)(struct clock *c);
	int64_t (*mono_ns)(struct clock *c);
};
