/* SPDX-License-Identifier: Apache-2.0 */
/* Any file: refused with a sentence, or translated into a text that is YAML again. */
#include <stdlib.h>

#include "conf/yaml.h"
#include "nowcast/nowcast.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *no_env(void *arg, const char *name)
{
	return name[0] == 'A' ? "a$b" : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nowcast_options o = {.cwd = "/tmp",
		.secrets_dir = "/s",
		.multiline = "raw",
		.file_mode = 0644,
		.env = no_env};
	struct conf_errors errors = {0}, again = {0};
	struct arena arena;
	struct nowcast n;
	int r;

	arena_init(&arena, NULL);
	r = nowcast_translate(&n, str_make(data, size), "nowcast.yaml", &o, &arena, &errors);
	if (r < 0 && !errors.n)
		abort();
	if (r == 0 && (!yaml_read(n.yaml, "out.yaml", &arena, &again) || again.n))
		abort();
	buf_fini(&errors.text);
	buf_fini(&again.text);
	arena_fini(&arena);
	return 0;
}
