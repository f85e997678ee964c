/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The inside of drains, for drains.c (the set and its thread), drain_target.c
 * (URLs), drain_urls.c (those of messages), drain_file.c (what is kept) and
 * drain_notes.c (what is told).
 */
#include "base/lock.h"
#include "output/drains.h"
#include "record/labels.h"

enum drain_content { DRAIN_LOGS, DRAIN_METRICS, DRAIN_ALL };

/* drain_target.c: what a URL asks for. */
struct drain_target {
	const struct output_type *type;
	char *url; /* for the kind */
	enum drain_content content;
	bool tags;
	bool odd;   /* the query wants a content that nobody knows: taken for logs */
	char *host; /* without port and [] */
};

/* ERR_ARG, ERR_LIMIT.  drain_target_fini in any case. */
int drain_target_parse(struct drain_target *out, struct str url, struct error *e);
void drain_target_fini(struct drain_target *t);
/* ERR_ARG: a content that nobody knows, which is a mistake where a person wrote the URL; messages
 * are taken as they are. */
int drain_target_check_words(const struct drain_target *t, struct error *e);
/* ERR_DENIED: the host is written as an address that is private or of this machine.  Names are
 * looked at when they are connected to. */
int drain_target_check_host(const struct drain_target *t, struct error *e);

struct binding {
	/* Fixed. */
	char id[DRAIN_ID_SIZE];
	char *tenant, *app, *url;
	/* Under drains.lock. */
	unsigned origins; /* 0: to be ended */
	bool was_kept;    /* it had an origin other than the configuration */
	uint64_t after_seq;
	uint64_t running;  /* the settings that its output runs with; 0: none runs */
	bool runs_private; /* they allow private addresses */
	char problem[300];
	/* Notes. */
	struct {
		bool failing;
		int64_t next_mono;  /* before it nothing is told of a failure */
		int64_t wait_ns;    /* between the next two */
		int64_t works_mono; /* since when it works again; 0: it never failed */
		int64_t counts_mono;
		uint64_t missed, refused; /* to be told */
		unsigned own; /* notes that were said: when it refuses them, that is not told */
	} notes;
};

/* When an application was last told that one of its URLs is no drain; those of one slot share it.
 */
struct drain_refusal {
	uint64_t app; /* hash */
	int64_t mono;
};

enum { DRAIN_REFUSALS = 256 };

struct drains {
	/* Fixed. */
	struct drains_env env;
	pthread_t thread;
	char *path;
	/* Main loop's. */
	bool started;
	/* Held while the file is written; before `lock`. */
	struct lock file;
	/* Under `lock`, which is held for moments alone. */
	struct lock lock;
	struct cond wake;
	bool changed, stopping;
	bool unsaved;      /* the thread is to save the file */
	bool follows;      /* the output that reads drain urls runs */
	uint64_t settings; /* the number of those that outputs are made of; 0: none yet */
	struct arena arena;
	const struct drains_settings *s;
	struct discover discover;
	char app_label[LABEL_NAME_MAX + 1];
	struct binding **items;
	size_t n, cap;
	struct drain_refusal refusals[DRAIN_REFUSALS];
	uint64_t unsaid; /* refusals that were not told */
};

struct binding *drains_find(struct drains *d, struct str id) REQUIRES(d->lock);
/* Bindings of the file; the lock need not be held yet. */
struct binding *drains_insert(struct drains *d, struct str tenant, struct str app, struct str url)
	REQUIRES(d->lock);

/* Give a binding the origin.  1 when it had it.  ERR_LIMIT. */
int drains_bind(struct drains *d, struct str tenant, struct str app, struct str url,
	enum drain_origin origin, uint64_t after_seq, struct error *e) REQUIRES(d->lock);
/* Take these origins from it; without any it ends. */
void drains_unbind(struct drains *d, struct binding *b, unsigned origins) REQUIRES(d->lock);

/* What an output that is added lives in. */
struct drain_memory {
	struct arena arena;
	struct kind_entry entry;
};

void drain_memory_free(void *memory);

/* drain_urls.c.  Begin or end to follow them, as the settings want; lets go of the lock meanwhile.
 */
void drains_follow(struct drains *d) REQUIRES(d->lock);

/* drain_file.c.  ERR_IO, ERR_CORRUPT. */
int drain_file_load(struct drains *d, struct error *e);
int drain_file_save(struct drains *d, struct error *e);

/* drain_notes.c */
/* An output tells something: output_note's receiver; arg is the drains. */
void drain_notes_told(void *arg, const struct output_note *n);
/* Tell what was counted and had to wait. */
void drain_notes_flush(struct drains *d);
/* A line into the application's stream, from now. */
void drain_notes_say(struct drains *d, struct str tenant, struct str app, struct str line);
