/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The inside of notifications, for notify.c (the set), notify_run.c (the thread
 * of one) and notebook.c (what it knows and was told).
 */
#include <stdatomic.h>

#include "alert/notify.h"
#include "base/lock.h"
#include "base/map.h"
#include "loop/loop.h"

/* --- notebook.c: pure but for book_load and book_save; one thread at a time ---------- */

enum told { TOLD_NOTHING, TOLD_FIRING, TOLD_RESOLVED };

/* An alert as it was last put, and what was told of it. */
struct entry {
	struct buf text; /* holds the texts of `alert` and `note` */
	struct alert alert;
	struct alert_note note;
	struct buf group; /* of messages */
	int64_t put_ns;
	enum told told;
	int64_t told_ns, told_fired_ns;
	int64_t owed_ns;  /* since when; 0: not */
	int64_t tried_ns; /* and in vain */
	bool silenced;    /* when it was looked at last */
};

struct notebook {
	struct map entries;  /* key -> struct entry */
	uint64_t bytes;      /* of their texts */
	uint64_t n_too_many; /* not remembered: NOTIFIED_ALERTS_MAX, BOOK_BYTES_MAX */
	bool dirty;          /* the disk is behind in what matters */
	const struct notifier_settings *settings;
	bool by_group;
	struct account *account; /* charged for `bytes`; NULL: none */
};

enum { BOOK_BYTES_MAX = 64 << 20 };

/* A message under way: copies, so that nothing is held while it is sent. */
struct message {
	struct arena arena;
	struct alert_note *notes;
	struct str *keys; /* of their entries */
	size_t n;
	size_t n_owed; /* of them, those that are new to the receiver */
};

void notebook_init(struct notebook *b, const struct notifier_settings *s, bool by_group,
	struct account *account);
void notebook_fini(struct notebook *b);
/* Is it this notifier's to tell? */
bool notebook_wants(const struct notebook *b, const struct alert_note *note);
void notebook_put(struct notebook *b, const struct alert_note *note, bool speak, int64_t now_ns);
/* What is owed, and for whom silences hold; forgets what is over.  Returns when to look again
 * without a put (INT64_MAX: never); *ready_ns is when the next message may go (INT64_MAX: none
 * waits).  `hurry`: nothing is gathered any more. */
int64_t notebook_look(struct notebook *b, struct silences *silences, int64_t now_ns, bool hurry,
	int64_t *ready_ns);
/* The next message that may go, after notebook_look; false when there is none. */
bool notebook_message(struct notebook *b, int64_t now_ns, bool hurry, struct message *out);
void message_fini(struct message *m);
/* It was taken (or never will be), or it was not. */
void notebook_told(struct notebook *b, const struct message *m, int64_t now_ns);
void notebook_failed(struct notebook *b, const struct message *m, int64_t now_ns);
void notebook_count(const struct notebook *b, uint64_t *waiting, uint64_t *silenced);
/* Append what is kept on disk. */
void notebook_write(const struct notebook *b, struct buf *out);
/* ERR_CORRUPT, ERR_ARG: then the book is empty. */
int notebook_read(struct notebook *b, struct str text, int64_t now_ns, struct error *e);

/* --- notify_run.c ------------------------------------------------------------------------ */

struct teller {
	/* Fixed before the thread starts. */
	struct notify_env env;
	const struct notifier_type *type;
	const void *settings; /* a copy, in the arena */
	const struct notifier_settings *common;
	struct arena arena;
	char *name, *path, *external_url;
	/* The main thread's. */
	pthread_t thread;
	bool kept;
	/* The thread's. */
	void *notifier; /* NULL: not open */
	struct backoff backoff;
	int64_t failing_mono, told_mono; /* 0: all is well; when it was last logged */
	int64_t unsaved_mono;            /* the same of the disk */
	int64_t too_many_mono;           /* the same of alerts that are not remembered */
	uint64_t too_many_told;
	int64_t saved_mono, save_ns;  /* when, and how long it took */
	int64_t looked_mono, look_ns; /* the same of the last look */
	/* Under `lock`, which is held for moments alone. */
	struct lock lock;
	struct cond wake, rest;
	struct notebook book;
	bool changed; /* since the thread looked */
	bool hurry, stopping, idle;
	int64_t retry_mono; /* 0: all is well */
	uint64_t sent, failed, skipped;
	char error[512];
	/* Atomic. */
	_Atomic bool ending;
};

/* Takes a copy of all it is given; loads what it was told. */
struct teller *teller_new(const struct notify_env *env, const struct notifier_type *type,
	const void *settings, const char *external_url);
void teller_start(struct teller *t);
void teller_put(struct teller *t, const struct alert_note *note, bool speak);
/* From now on nothing is gathered or waits to be tried again. */
void teller_hurry(struct teller *t);
/* After teller_hurry: wait until nothing is owed or it fails, until `until_mono` at most. */
void teller_finish(struct teller *t, int64_t until_mono);
/* End the thread, save, free. */
void teller_free(struct teller *t);
void teller_status(struct teller *t, struct notifier_status *out, char *error, size_t size);
