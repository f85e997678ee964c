/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The first stage of simdjson alone, behind a C interface (private to json.c):
 * it checks UTF-8, finds the ends of strings, and lists where each token
 * begins.  Thread rule: an index belongs to one thread at a time.
 */
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes that must be readable, whatever they hold, behind the text. */
#define JSON_PADDING 64

struct json_index;

struct json_index *json_index_new(void);    /* NULL when memory is short */
void json_index_free(struct json_index *x); /* NULL is fine */
/* The first byte of every bracket, comma, colon, string, number and word outside strings, in
 * order; valid until the next call.  0, or -1: not UTF-8, a control character in a string, a
 * string without end, no token at all, or no memory; the caller finds out which.  `capacity`,
 * at least n, is what to be ready for when memory must be had anyway. */
int json_index_run(struct json_index *x, const char *text, size_t n, size_t capacity,
	const uint32_t **tokens, size_t *n_tokens);

#ifdef __cplusplus
}
#endif
