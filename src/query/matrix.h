/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * A matrix: series by label set, each with one value per step of the axis or
 * none.  What metric expressions make and take; charged to the run.  Internal
 * to src/query; one thread.
 */
#include "query/run.h"

struct matrix_series {
	struct str labels; /* canonical, the series' own */
	double *values;    /* axis.n of them */
};

struct matrix {
	struct run *run;
	struct axis axis;
	struct matrix_series *series;
	size_t n, cap;
	struct map index; /* labels to index */
	bool ordered;     /* the series of an instant are as sort put them */
	uint64_t charged;
};

/* No value at this step: a NaN of its own, told apart by its bits. */
double value_absent(void);
bool value_is_absent(double v);

void matrix_init(struct matrix *m, struct run *run, const struct axis *axis);
void matrix_fini(struct matrix *m); /* a zeroed one is fine */
/* The index of the series with these labels, added with absent values when new. ERR_LIMIT. */
int matrix_series(struct matrix *m, struct str labels, size_t *out, struct error *e);
/* By labels_order; the index is not to be asked from then on. */
void matrix_sort(struct matrix *m);
/* Move the values that are there into the run's result, and empty the matrix.  ERR_ARG for more
 * series than the query may have. */
int matrix_to_result(struct matrix *m, enum result_type type, struct error *e);
