/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The inside of a shape, for shape.c (settings, labels) and shaper.c (bytes to
 * records) alone.  A struct shape is made and freed in shape.c and constant
 * between.
 */
#include "codec/regex.h"
#include "input/rules.h"
#include "input/shape.h"

enum { ENCODING_NAME = 64 };

struct shape {
	const struct shape_settings *settings;
	struct rules *rules;
	struct zone *zone;
	struct regex *path_labels[2]; /* tried both */
	struct regex *first;          /* of multiline */
	unsigned traces;              /* rules of multiline */
	bool joins;
	size_t max_lines;
	int64_t timeout_ns;
	bool docker, cri;
	/* The encoding as iconv names it, empty for none; and the one for sources that begin with a
	 * mark of the other byte order. */
	char encoding[ENCODING_NAME], swapped[ENCODING_NAME];
	unsigned unit; /* bytes of a code unit: 1, 2, 4 */
	bool big;      /* its most significant byte is the first */
};
