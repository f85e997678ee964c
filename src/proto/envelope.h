/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * What lies around a line in a file, and how to get the file's bytes back.
 *
 * A record's body is the line as people read it.  The bytes of the file
 * differ from it by the newline (LF, CRLF or none, which the distance between
 * positions tells) and, for some, by an envelope: Docker's JSON, the CRI
 * prefix, another encoding.  The metadata `envelope` then holds a recipe out
 * of which envelope_rebuild makes the original bytes.  Whoever writes a recipe
 * has rebuilt it once and compared.
 * Pure functions.
 */
#include "record/batch.h"

/* Name of the metadata. */
#define ENVELOPE_META "envelope"

/* A piece of the file: `bytes` begin at `offset`. */
typedef int envelope_piece(void *arg, uint64_t offset, struct str bytes, struct error *e);

/* Call `piece` for each piece of the record's unit of the file, in order of offsets.  `before` is
 * the position of the record before it of the same source, 0 for the first.
 * ERR_CORRUPT when recipe and record do not fit. */
int envelope_rebuild(
	const struct record *r, uint64_t before, envelope_piece *piece, void *arg, struct error *e);
