/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Errors: a negative code for the program, a sentence for the person.
 *
 * The place where something goes wrong says what (error_set); callers that
 * know more say where (error_wrap); only main and the loops print.  Functions
 * that can fail return 0 or one of these codes; a positive return is part of
 * that one function's contract.  Programmer errors are asserts, kept in
 * release builds.  Every function copes with e == NULL: the code alone.
 * Thread rule: an error belongs to one thread at a time.
 */
#include <stdarg.h>

enum error_code {
	ERR_ARG = -1,     /* what the peer or user sent makes no sense */
	ERR_LIMIT = -2,   /* larger than a named limit */
	ERR_IO = -3,      /* a system call failed */
	ERR_FULL = -4,    /* no space left on the disk */
	ERR_CORRUPT = -5, /* checksum or structure of stored bytes is wrong */
	ERR_NOT_FOUND = -6,
	ERR_EXISTS = -7,
	ERR_BUSY = -8,    /* try again later: a queue or the memory ceiling is full */
	ERR_GAP = -9,     /* a position starts behind the committed one: bytes are missing */
	ERR_CLOSED = -10, /* the other side or the object is going away */
	ERR_TIMEOUT = -11,
	ERR_UNSUPPORTED = -12,
	ERR_NET = -13, /* the peer cannot be reached or broke the protocol */
	ERR_DENIED = -14,
	ERR_CANCELLED = -15,
};

struct error {
	int code;
	char text[500]; /* one sentence, no newline, always terminated */
};

#define PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

/* Set code and sentence; returns `code`. */
int error_set(struct error *e, int code, const char *fmt, ...) PRINTF(3, 4);
/* As error_set, and add ": " and the text of errno value `number`;
 * ENOSPC and EDQUOT become ERR_FULL, ENOENT ERR_NOT_FOUND, else ERR_IO. */
int error_errno(struct error *e, int number, const char *fmt, ...) PRINTF(3, 4);
/* Put "<fmt>: " before the sentence; returns `code`. */
int error_wrap(struct error *e, int code, const char *fmt, ...) PRINTF(3, 4);
/* A word for the code, as used for the label `reason` in the metrics: "disk_full". */
const char *error_name(int code);
