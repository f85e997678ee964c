/* SPDX-License-Identifier: Apache-2.0 */
#include "store/deletion.h"

#include <stdlib.h>

#include "base/log.h"
#include "store/bytes.h"

enum {
	FILE_BYTES_MAX = 128 << 20,
	ENTRY_BYTES_MIN = 9,
};

static const char magic[MAGIC_BYTES] = "SLDEL001";
static const char *const file_names[] = {"DELETIONS", "DELETIONS.2"};

void deletion_entry_fini(struct deletion_entry *x)
{
	free((char *)x->d.tenant.p);
	free((char *)x->d.selector.p);
	hide_unref(x->hide);
}

void deletions_fini(struct deletions *ds)
{
	for (size_t i = 0; i < ds->n; i++)
		deletion_entry_fini(&ds->all[i]);
	free(ds->all);
	*ds = (struct deletions){0};
}

static struct str copy(struct str s)
{
	return str_make(str_dup(s), s.n);
}

static void make_room(struct deletions *ds)
{
	if (ds->n < ds->cap)
		return;
	ds->cap = ds->cap ? ds->cap * 2 : 16;
	ds->all = xrealloc(ds->all, ds->cap * sizeof *ds->all);
}

static struct deletion_entry *append(struct deletions *ds, const struct deletion *d)
{
	struct deletion_entry *x;

	make_room(ds);
	x = &ds->all[ds->n++];
	*x = (struct deletion_entry){.d = *d};
	x->d.tenant = copy(d->tenant);
	x->d.selector = copy(d->selector);
	return x;
}

struct deletion_entry *deletions_add(
	struct deletions *ds, const struct deletion *d, struct hide *hide)
{
	struct deletion_entry *x = append(ds, d);

	x->d.id = ds->next_id++;
	x->hide = hide;
	return x;
}

struct deletion_entry deletions_take(struct deletions *ds, struct deletion_entry *x)
{
	struct deletion_entry taken = *x;

	ds->n--;
	memmove(x, x + 1, (size_t)(ds->all + ds->n - x) * sizeof *x);
	return taken;
}

void deletions_put_back(struct deletions *ds, const struct deletion_entry *x)
{
	size_t i = ds->n;

	make_room(ds);
	while (i > 0 && ds->all[i - 1].d.id > x->d.id)
		i--;
	memmove(&ds->all[i + 1], &ds->all[i], (ds->n - i) * sizeof *x);
	ds->all[i] = *x;
	ds->n++;
}

void deletions_remove(struct deletions *ds, size_t i)
{
	struct deletion_entry taken = deletions_take(ds, &ds->all[i]);

	deletion_entry_fini(&taken);
}

struct deletion_entry *deletions_find(struct deletions *ds, struct str tenant, uint64_t id)
{
	for (size_t i = 0; i < ds->n; i++)
		if (ds->all[i].d.id == id && str_eq(ds->all[i].d.tenant, tenant))
			return &ds->all[i];
	return NULL;
}

void deletions_forget(struct deletions *ds)
{
	size_t done = 0;

	for (size_t i = 0; i < ds->n; i++)
		done += ds->all[i].d.state == DELETION_DONE;
	for (size_t i = 0; done > DELETIONS_DONE && i < ds->n;) {
		if (ds->all[i].d.state == DELETION_DONE) {
			deletions_remove(ds, i);
			done--;
		} else {
			i++;
		}
	}
}

/* The files */

void deletions_encode(const struct deletions *ds, struct buf *out)
{
	size_t start = out->n;

	buf_put(out, magic, sizeof magic);
	varint_put(out, ds->generation);
	varint_put(out, ds->next_id);
	varint_put(out, ds->n);
	for (size_t i = 0; i < ds->n; i++) {
		const struct deletion *d = &ds->all[i].d;

		varint_put(out, d->id);
		bytes_put_str(out, d->tenant);
		bytes_put_str(out, d->selector);
		varint_put(out, zigzag(d->from_ns));
		varint_put(out, zigzag(d->to_ns));
		varint_put(out, zigzag(d->created_ns));
		varint_put(out, d->until_seq);
		varint_put(out, d->state == DELETION_DONE);
		varint_put(out, ds->all[i].begun);
	}
	bytes_seal(out, start);
}

int deletions_decode(struct deletions *ds, struct str bytes, struct error *e)
{
	struct reader in = {0};
	uint64_t n, last = 0;

	*ds = (struct deletions){0};
	if (!bytes_unseal(bytes, magic, &in.at))
		return error_set(e, ERR_CORRUPT, "bad checksum");
	ds->generation = reader_varint(&in);
	ds->next_id = reader_varint(&in);
	n = reader_number(&in, bytes.n / ENTRY_BYTES_MIN);
	for (uint64_t i = 0; i < n && !in.bad; i++) {
		struct deletion d = {.id = reader_varint(&in)};
		struct deletion_entry *x;

		d.tenant = reader_str(&in, TENANT_MAX);
		d.selector = reader_str(&in, SELECTOR_MAX);
		d.from_ns = reader_signed(&in);
		d.to_ns = reader_signed(&in);
		d.created_ns = reader_signed(&in);
		d.until_seq = reader_varint(&in);
		d.state = reader_number(&in, 1) ? DELETION_DONE : DELETION_ACTIVE;
		x = append(ds, &d);
		x->begun = reader_number(&in, 1) != 0;
		if (d.id <= last || d.id >= ds->next_id)
			in.bad = true;
		last = d.id;
	}
	if (!in.bad && in.at.n == 0)
		return 0;
	deletions_fini(ds);
	return error_set(e, ERR_CORRUPT, "bad structure");
}

/* 1 when there is such a file and it can be read, 0 when there is none. */
static int read_one(struct deletions *out, struct fs *fs, const char *dir, int i, struct error *e)
{
	struct buf path = {0}, bytes = {0};
	int r;

	buf_printf(&path, "%s/%s", dir, file_names[i]);
	if ((r = fs_read_all(fs, buf_cstr(&path), FILE_BYTES_MAX, &bytes, e)) == 0)
		r = deletions_decode(out, buf_view(&bytes), e);
	buf_fini(&path);
	buf_fini(&bytes);
	return r == ERR_NOT_FOUND ? 0 : r < 0 ? r : 1;
}

static void read_selectors(struct deletions *ds, const struct store_selectors *fns)
{
	for (size_t i = 0; i < ds->n; i++) {
		struct deletion_entry *x = &ds->all[i];
		struct error e;

		if (x->d.state == DELETION_ACTIVE &&
			hide_new(&x->hide, fns, x->d.tenant, x->d.selector, &e) < 0)
			log_error("store", "deletion %llu (%.*s) is not in force: %s",
				(unsigned long long)x->d.id, STR_ARG(x->d.selector), e.text);
	}
}

void deletions_load(struct deletions *ds, struct fs *fs, const char *dir,
	const struct store_selectors *fns, uint64_t above)
{
	struct deletions other;
	struct error e[2];
	int first = read_one(ds, fs, dir, 0, &e[0]), second = read_one(&other, fs, dir, 1, &e[1]);

	if (second > 0 && (first <= 0 || other.generation > ds->generation)) {
		if (first > 0)
			deletions_fini(ds);
		*ds = other;
	} else if (second > 0) {
		deletions_fini(&other);
	}
	if (first < 0 || second < 0)
		log_warn("store", "%s/%s: %s; %s", dir, file_names[first < 0 ? 0 : 1],
			e[first < 0 ? 0 : 1].text,
			first > 0 || second > 0
				? "its copy is used"
				: "its copy cannot be read either: deletions that were asked for "
				  "and not carried out are lost, ask for them again");
	if (ds->next_id <= above)
		ds->next_id = above + 1;
	read_selectors(ds, fns);
}

int deletions_save(struct deletions *ds, struct fs *fs, const char *dir, struct error *e)
{
	struct buf path = {0}, bytes = {0};
	int r = 0;

	ds->generation++;
	deletions_encode(ds, &bytes);
	for (int i = 0; i < 2 && r == 0; i++) {
		struct error second;

		buf_clear(&path);
		buf_printf(&path, "%s/%s", dir, file_names[i]);
		if ((r = fs_write_all(
			     fs, buf_cstr(&path), buf_view(&bytes), i == 0 ? e : &second)) < 0 &&
			i == 1) {
			log_warn("store", "the second copy of the deletions: %s", second.text);
			r = 0;
		}
	}
	buf_fini(&path);
	buf_fini(&bytes);
	return r;
}
