/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast Python's records are read: `pylog_bench [-n RECORDS] FILE`, where
 * FILE is one pickle as tests/corpus/pylog_fuzz/socket is, or a form when it
 * begins with a letter.  Prints records per second of CPU.  Not a test.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "proto/pylog.h"

enum { FILE_MAX = 1 << 20 };

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	static char bytes[FILE_MAX];
	long n = 1000000, i = 0;
	struct pylog *p = pylog_new();
	struct pylog_record out;
	struct error e;
	size_t size, sum = 0;
	double started;
	FILE *f;
	int c, r = 0;

	while ((c = getopt(argc, argv, "n:")) == 'n')
		n = atol(optarg);
	if (c != -1 || optind + 1 != argc || !(f = fopen(argv[optind], "re"))) {
		fprintf(stderr, "usage: pylog_bench [-n RECORDS] FILE\n");
		return 2;
	}
	size = fread(bytes, 1, sizeof bytes, f);
	fclose(f);
	started = cpu_seconds();
	for (; i < n && r == 0; i++) {
		struct str s = str_make(bytes, size);
		bool form = bytes[0] >= 'a' && bytes[0] <= 'z' && bytes[0] != 'c';
		r = form ? pylog_form(p, s, 1, &out, &e) : pylog_pickle(p, s, 1, &out, &e);
		sum += r < 0 ? 0 : out.record.body.n + out.record.meta.n;
	}
	if (r < 0)
		printf("%s\n", e.text);
	else
		printf("%.0f records a second of CPU, %zu bytes each, %zu bytes of line and metadata\n",
			(double)n / (cpu_seconds() - started), size, sum / (size_t)n);
	pylog_free(p);
	return r < 0;
}
