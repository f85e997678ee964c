/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Hashes.  hash_keyed is for tables whose keys come from a peer: SipHash-1-3
 * (Aumasson and Bernstein, 2012) under a key drawn once per process, so that
 * nobody can choose colliding keys.  hash_stable is for values that reach the
 * disk or the wire (XXH3, 64 bits, seed 0).
 */
#include "base/str.h"

uint64_t hash_keyed(struct str s);
uint64_t hash_stable(struct str s);
/* The same with 128 bits, where two that are equal are taken for the same bytes. */
void hash_stable_wide(uint64_t out[2], struct str s);
/* Fill with bytes of the kernel's random source; aborts when there is none. */
void hash_random(void *out, size_t n);
