/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main of a fuzz target where libFuzzer is off: runs the target over each
 * file of the folders named on the command line, then over every prefix of
 * each file of at most 4 KiB, as a plain test.
 */
#include <assert.h>
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	if (!f) {
		perror(path);
		exit(1);
	}
	size_t cap = 16 << 20, n;
	uint8_t *all = malloc(cap);
	assert(all);
	n = fread(all, 1, cap, f);
	fclose(f);
	for (size_t cut = 0; cut <= n; cut++) {
		if (cut != n && n > 4096)
			cut = n;
		/* An exact copy, so that a read past the end is caught. */
		uint8_t *p = malloc(cut ? cut : 1);
		assert(p);
		memcpy(p, all, cut);
		LLVMFuzzerTestOneInput(p, cut);
		free(p);
	}
	free(all);
}

int main(int argc, char **argv)
{
	int files = 0;
	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++) {
		DIR *d = opendir(argv[i]);
		struct dirent *entry;
		if (!d) {
			perror(argv[i]);
			return 1;
		}
		while ((entry = readdir(d))) {
			char path[4096];
			if (entry->d_name[0] == '.')
				continue;
			snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
			run_file(path);
			files++;
		}
		closedir(d);
	}
	printf("%d corpus files replayed\n", files);
	return files == 0;
}
