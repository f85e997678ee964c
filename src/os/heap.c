/* SPDX-License-Identifier: Apache-2.0 */
#include "os/heap.h"

#include <malloc.h>

#include "os/process.h"

#ifdef __has_feature
#define BUILT_WITH(x) __has_feature(x)
#else
#define BUILT_WITH(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || BUILT_WITH(address_sanitizer)
#include <sanitizer/allocator_interface.h>
#define HAVE_ALLOCATED_BYTES
#endif

enum {
	TRIM_SHARE = 4,   /* of the ceiling: how much free memory malloc may keep */
	LARGE_SHARE = 16, /* 8 let a forwarder of 16 MiB reach 22; with 32 its batches are mapped */
	LARGE_MIN = 256 << 10,
	LARGE_MAX = 8 << 20,
};

/* Few arenas, and a trim of the heap's end that does not wait long.  Blocks from `large` on are
 * mapped, and go back at once; below it they are used again, which saves the faults of fresh pages:
 * the forwarder with batches of 1 MiB took 370 MB per CPU-second with them in the heap and 250 with
 * all from 256 KiB on mapped. */
void heap_tune(uint64_t ceiling)
{
	uint64_t large = ceiling / LARGE_SHARE;

	large = large < LARGE_MIN ? LARGE_MIN : large > LARGE_MAX ? LARGE_MAX : large;
	mallopt(M_ARENA_MAX, 2);
	mallopt(M_MMAP_THRESHOLD, (int)large);
	mallopt(M_TRIM_THRESHOLD, (int)large);
}

/* What there is besides the heap, and the heap itself.  A sanitizer's shadow and what it keeps from
 * being used again are none of ours: of such a build only what is allocated counts. */
static int measure(uint64_t *bytes)
{
#ifdef HAVE_ALLOCATED_BYTES
	*bytes = __sanitizer_get_current_allocated_bytes();
	return 0;
#else
	return process_rss_anon(bytes, NULL);
#endif
}

/* Measured at memory: 16MiB with 64 senders at once: peak RssAnon 22.7 MiB and 19 idle without;
 * 18 to 21 and 4 with it. */
void heap_guard(struct account *a)
{
	uint64_t rss, held;

	if (measure(&rss) < 0)
		return;
	held = account_held(a);
	if (rss > held + a->limit / TRIM_SHARE && malloc_trim(0) && measure(&rss) < 0)
		return;
	account_set_uncharged(a, rss > held ? rss - held : 0);
}
