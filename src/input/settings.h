/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Settings of the inputs that are also started without a config file: `sawlog
 * forward PATH…` fills them in.  What each means is in the option tables.
 */
#include "input/shape.h"

enum file_start { FILE_START_BEGIN, FILE_START_END };

struct file_settings {
	struct strings paths, exclude;
	struct string_map labels;
	const char *app;
	int start; /* enum file_start */
	bool detect_time;
	int64_t rotate_wait;
	bool once;
	struct shape_settings shape;
};

struct stdin_settings {
	const char *app;
	struct string_map labels;
	bool detect_time;
	struct shape_settings shape;
};
