/* SPDX-License-Identifier: Apache-2.0 */
/* What a message says of itself beside host, app and text: its metadata. */
#include "input/syslog_input.h"

#include "codec/codec.h"

enum {
	META_MAX = 90, /* pairs, so that there is room for structured_data */
};

/* Sorted, for labels_write. */
static const struct str field_names[N_FIELDS] = {STR_INIT("appname"), STR_INIT("certificate"),
	STR_INIT("facility"), STR_INIT("hostname"), STR_INIT("msgid"), STR_INIT("peer"),
	STR_INIT("pid"), STR_INIT("sequence"), STR_INIT("severity"), STR_INIT("time"),
	STR_INIT("truncated_from")};

static struct str write_fields(struct syslog_input *in, const struct str fields[N_FIELDS])
{
	buf_clear(&in->meta);
	labels_write(&in->meta, field_names, fields, N_FIELDS);
	return buf_view(&in->meta);
}

/* Is it the parameter that holds our token?  "sawlog@32473.token" */
static bool is_token(struct str name)
{
	return str_starts(name, STR("sawlog@")) && str_ends(name, STR(".token"));
}

/* Begin a walk in the buffers of the last one. */
static void walk_data(struct syslog_input *in, struct str data)
{
	struct buf name = in->data.name, value = in->data.value;

	buf_clear(&name);
	buf_clear(&value);
	syslog_data_start(&in->data, data);
	in->data.name = name;
	in->data.value = value;
}

struct str syslog_find_token(struct syslog_input *in, struct str data)
{
	walk_data(in, data);
	while (syslog_data_next(&in->data))
		if (is_token(buf_view(&in->data.name)))
			return buf_view(&in->data.value);
	return STR_NONE;
}

/* The structured data as it came, with its tokens as stars: they do not get into the store. */
static void put_raw(struct syslog_input *in, struct str data, struct str secret)
{
	size_t at = 0;

	buf_clear(&in->raw);
	buf_str(&in->raw, str_sub(data, 0, LABEL_VALUE_MAX));
	while (secret.n) {
		ptrdiff_t i = str_find(str_sub(buf_view(&in->raw), at, in->raw.n), secret);
		if (i < 0)
			break;
		memset(in->raw.p + at + i, '*', secret.n);
		at += (size_t)i + secret.n;
	}
	labels_builder_set(&in->meta_builder, STR("structured_data"), buf_view(&in->raw), NULL);
}

static struct str write_with_data(
	struct syslog_input *in, const struct str fields[N_FIELDS], struct str data)
{
	struct labels_builder *b = &in->meta_builder;
	struct buf secret = {0};
	bool whole = true;
	struct str other;

	labels_builder_clear(b);
	b->names_free = true;
	for (size_t i = 0; i < N_FIELDS; i++)
		if (fields[i].n)
			labels_builder_set(
				b, field_names[i], str_sub(fields[i], 0, LABEL_VALUE_MAX), NULL);
	walk_data(in, data);
	while (syslog_data_next(&in->data)) {
		struct str name = buf_view(&in->data.name), value = buf_view(&in->data.value);
		if (is_token(name)) {
			buf_clear(&secret);
			buf_str(&secret, value);
		} else if (value.n == 0 || b->n >= META_MAX ||
			   labels_builder_get(b, name, &other) ||
			   labels_builder_set(b, name, value, NULL) < 0) {
			whole = false;
		}
	}
	/* What does not fit into pairs (a name twice, no value, too many) is kept as text. */
	if (!whole)
		put_raw(in, data, buf_view(&secret));
	buf_fini(&secret);
	buf_clear(&in->meta);
	if (b->n == 0)
		return STR_NONE;
	labels_builder_write(b, &in->meta);
	return buf_view(&in->meta);
}

struct str syslog_meta(struct syslog_input *in, const struct str fields[N_FIELDS], struct str data)
{
	return data.n ? write_with_data(in, fields, data) : write_fields(in, fields);
}
