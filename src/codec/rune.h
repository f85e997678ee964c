/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * UTF-8 as Go's strings and unicode packages see it: a byte that is none is a
 * rune of its own, U+FFFD.  Pure; any thread.
 */
#include "base/buf.h"

enum { RUNE_ERROR = 0xfffd };

/* The first rune of s, which is not empty, and the bytes it takes. */
uint32_t rune_first(struct str s, size_t *n);
/* The last one. */
uint32_t rune_last(struct str s, size_t *n);
/* Write the UTF-8 of c, which is how many bytes.  What is no character of Unicode, as half of a
 * surrogate pair, becomes U+FFFD. */
enum { RUNE_BYTES_MAX = 4 };
size_t rune_encode(char to[RUNE_BYTES_MAX], uint32_t c);
void rune_put(struct buf *out, uint32_t c);
size_t rune_count(struct str s);
/* The first n runes. */
struct str rune_prefix(struct str s, size_t n);
/* The longest prefix of at most `most` bytes that cuts no rune in two. */
struct str rune_fit(struct str s, size_t most);
bool rune_is_space(uint32_t c);
bool rune_is_letter(uint32_t c);
bool rune_is_digit(uint32_t c);
bool rune_is_print(uint32_t c);
uint32_t rune_upper(uint32_t c);
uint32_t rune_lower(uint32_t c);
