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

struct shape {
	const struct shape_settings *settings;
	struct rules *rules;
	struct zone *zone;
	struct regex *path_labels;
};
