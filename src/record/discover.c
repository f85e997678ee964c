/* SPDX-License-Identifier: Apache-2.0 */
#include "record/discover.h"

#include "record/severity.h"

void discover_service_name(const struct discover *d, struct labels_builder *labels)
{
	static const struct str from[] = {STR_INIT("service"), STR_INIT("app"),
		STR_INIT("application"), STR_INIT("name"), STR_INIT("app_kubernetes_io_name"),
		STR_INIT("container"), STR_INIT("container_name"), STR_INIT("k8s_container_name"),
		STR_INIT("component"), STR_INIT("workload"), STR_INIT("job"),
		STR_INIT("k8s_job_name")};
	struct str name;

	if (!d->service_name || labels_builder_get(labels, STR("service_name"), &name))
		return;
	name = STR("unknown_service");
	for (size_t i = 0; i < sizeof from / sizeof *from; i++)
		if (labels_builder_get(labels, from[i], &name))
			break;
	/* Without room for one more label the stream goes as it came; a copy of the value, as
	 * setting moves the builder's text. */
	struct buf copy = {0};
	buf_str(&copy, name);
	labels_builder_set(labels, STR("service_name"), buf_view(&copy), NULL);
	buf_fini(&copy);
}

/* The names that tell a level, best first; case does not matter. */
static const struct str level_names[] = {STR_INIT("detected_level"), STR_INIT("level"),
	STR_INIT("severity"), STR_INIT("severity_text"), STR_INIT("lvl"), STR_INIT("log_level"),
	STR_INIT("loglevel"), STR_INIT("log.level"), STR_INIT("severity_number")};

enum {
	N_LEVEL_NAMES = sizeof level_names / sizeof *level_names,
	SEVERITY_NUMBER = N_LEVEL_NAMES - 1,
};

static size_t level_rank(struct str name)
{
	/* Most names fail here, without a call; the loop is for the few. */
	if (name.n < 3 || name.n > 15)
		return N_LEVEL_NAMES;
	switch (name.p[0]) {
	case 'd':
	case 'D':
	case 'l':
	case 'L':
	case 's':
	case 'S': break;
	default: return N_LEVEL_NAMES;
	}
	for (size_t i = 0; i < N_LEVEL_NAMES; i++)
		if (str_eq_nocase(level_names[i], name))
			return i;
	return N_LEVEL_NAMES;
}

static uint8_t severity_of(size_t rank, struct str value)
{
	uint64_t number;

	if (rank == SEVERITY_NUMBER)
		return str_u64(value, &number) && number <= 24 ? (uint8_t)number : SEV_UNKNOWN;
	return severity_from_word(value);
}

/* The level that the best of the names in the set tells. */
static uint8_t from_labels(struct str set)
{
	size_t best = N_LEVEL_NAMES;
	uint8_t severity = SEV_UNKNOWN;
	struct label l;

	labels_start(&set);
	while (labels_next(&set, &l)) {
		size_t rank = level_rank(l.name);
		uint8_t told;
		if (rank >= best || !(told = severity_of(rank, l.value)))
			continue;
		best = rank;
		severity = told;
	}
	return severity;
}

uint8_t discover_labels(const struct discover *d, struct str labels)
{
	return d->level ? from_labels(labels) : SEV_UNKNOWN;
}

void discover_level_told(const struct discover *d, uint8_t told, struct record *r)
{
	struct str own;

	if (!d->level)
		return;
	if (r->severity == SEV_UNKNOWN && r->meta.n)
		r->severity = from_labels(r->meta);
	if (r->severity == SEV_UNKNOWN)
		r->severity = told;
	if (r->severity == SEV_UNKNOWN)
		r->severity = severity_detect(r->body);
	/* What the sender itself calls detected_level already shows. */
	if (r->meta.n == 0 || !labels_get(r->meta, STR("detected_level"), &own))
		r->flags |= RECORD_LEVEL_DETECTED;
}

void discover_level(const struct discover *d, struct str labels, struct record *r)
{
	discover_level_told(d, discover_labels(d, labels), r);
}
