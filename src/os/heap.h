/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * malloc, kept to a ceiling of memory: what it holds for later and what nobody
 * charges (stacks, connections) is memory too.
 */
#include "base/memory.h"

/* Before the first thread. */
void heap_tune(uint64_t ceiling);
/* Give back to the system what malloc keeps when that is much, and take what is left beyond the
 * charges off the ceiling of `a`, the process's account.  A few times a second; any thread, one
 * at a time.  At least half of the ceiling can be charged whatever is measured. */
void heap_guard(struct account *a);
