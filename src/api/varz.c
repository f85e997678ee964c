/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /varz, as Loggregator's collectors read it: the figures of /metrics under the
 * names that they know, by Basic authentication where that is set.
 */
#include "api/internal.h"

#include <gnutls/crypto.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/metric.h"
#include "codec/codec.h"
#include "os/process.h"
#include "os/secret.h"

enum { DIGEST = 32 };

/* Compared by their hashes, so that the time it takes says nothing of the password. */
static bool same_secret(struct str a, struct str b)
{
	uint8_t x[DIGEST], y[DIGEST];

	return gnutls_hash_fast(GNUTLS_DIG_SHA256, a.p, a.n, x) == 0 &&
	       gnutls_hash_fast(GNUTLS_DIG_SHA256, b.p, b.n, y) == 0 &&
	       gnutls_memcmp(x, y, DIGEST) == 0;
}

/* Does the request show user and password of the settings?  A file that cannot be read lets nobody
 * in: ERR with why. */
static int check_password(const struct varz_settings *s, struct http_request *r, struct error *e)
{
	struct buf both = {0}, expected = {0};
	struct str value = STR_NONE;
	int code;

	buf_printf(&both, "%s:", s->user);
	if ((code = secret_read(s->password_file, &both, e)) == 0) {
		base64_put(&expected, buf_view(&both));
		http_header(r, "Authorization", &value);
		value = str_trim(value);
		if (!str_eq_nocase(str_cut(&value, ' '), STR("Basic")) ||
			!same_secret(str_trim(value), buf_view(&expected)))
			code = error_set(e, ERR_DENIED, "/varz asks for user and password");
	}
	secret_fini(&both);
	secret_fini(&expected);
	return code;
}

struct total {
	const char *part; /* of the labels */
	int64_t n;
};

static void add_series(void *arg, struct str labels, int64_t value)
{
	struct total *t = arg;

	if (str_find(labels, str_c(t->part)) >= 0)
		t->n += value;
}

static int64_t total(enum metric m, const char *part)
{
	struct total t = {.part = part};

	metric_each(m, add_series, &t);
	return t.n;
}

struct list_out {
	struct buf *out;
	const char *between;
};

static void put_metric(struct list_out *l, const char *name, struct str about, int64_t value)
{
	struct buf text = {0};

	buf_c(&text, name);
	buf_str(&text, about);
	buf_c(l->out, l->between);
	buf_c(l->out, "{\"name\":");
	buf_json(l->out, buf_view(&text));
	buf_printf(l->out, ",\"value\":%lld}", (long long)value);
	l->between = ",";
	buf_fini(&text);
}

static void begin_context(struct list_out *l, const char *name)
{
	buf_printf(l->out, "%s{\"name\":\"%s\",\"metrics\":[", *l->between ? "]}," : "", name);
	l->between = "";
}

/* "app=\"a\",input=…" of app_records_total. */
static void put_app(void *arg, struct str labels, int64_t value)
{
	static const struct str app = STR_INIT("app=\"");
	struct list_out *l = arg;
	ptrdiff_t at = str_find(labels, app);
	struct str id;

	if (at < 0 || str_find(labels, STR("input=\"loggregator\"")) < 0)
		return;
	id = str_sub(labels, (size_t)at + app.n, labels.n);
	id = str_cut(&id, '"');
	put_metric(l, "receivedMessageCount:", id, value);
}

/* What came in by Loggregator's formats and is neither kept nor refused yet. */
static int64_t under_way(int64_t received)
{
	static const enum metric done[] = {METRIC_committed_records_total,
		METRIC_deduplicated_records_total, METRIC_rejected_records_total,
		METRIC_dropped_records_total};

	for (size_t i = 0; i < sizeof done / sizeof *done; i++)
		received -= total(done[i], "input=\"loggregator\"");
	return received > 0 ? received : 0;
}

static void put_contexts(struct api *a, struct buf *out)
{
	struct list_out l = {.out = out, .between = ""};
	int64_t received = total(METRIC_received_records_total, "input=\"loggregator\"");
	unsigned tails;

	lock_take(&a->lock);
	tails = a->n_tails;
	lock_drop(&a->lock);
	begin_context(&l, "agentListener");
	put_metric(&l, "currentBufferCount", STR_NONE, under_way(received));
	put_metric(&l, "receivedMessageCount", STR_NONE, received);
	put_metric(&l, "receivedByteCount", STR_NONE,
		total(METRIC_committed_bytes_total, "input=\"loggregator\""));
	metric_each(METRIC_app_records_total, put_app, &l);
	begin_context(&l, "messageRouter");
	put_metric(&l, "numberOfWebsocketSinks", STR_NONE, tails);
	put_metric(&l, "numberOfDumpSinks", STR_NONE, 0);
	begin_context(&l, "httpServer");
	put_metric(&l, "receivedRequests", STR_NONE, total(METRIC_http_requests_total, ""));
	buf_c(out, "]}");
}

static unsigned n_threads(void)
{
	struct buf status = {0};
	struct str rest;
	uint64_t n = 0;

	if (fs_read_all(fs_real(), "/proc/self/status", 64 << 10, &status, NULL) == 0) {
		rest = buf_view(&status);
		while (rest.n) {
			struct str value = str_cut(&rest, '\n');
			if (str_eq(str_cut(&value, ':'), STR("Threads")))
				str_u64(str_trim(value), &n);
		}
	}
	buf_fini(&status);
	return (unsigned)n;
}

void loggregator_varz(struct http_request *r, void *ctx)
{
	struct api *a = ctx;
	const struct varz_settings *s = &a->loggregator->varz;
	struct buf out = {0};
	uint64_t rss = 0;
	struct error e;

	if (s->user && check_password(s, r, &e) < 0) {
		if (e.code != ERR_DENIED)
			error_wrap(&e, ERR_IO, "loggregator.varz.password_file");
		http_set_header(r, "WWW-Authenticate", "Basic realm=\"sawlog\"");
		http_replyf(r, e.code == ERR_DENIED ? 401 : 500, "%s\n", e.text);
		return;
	}
	process_rss_anon(&rss, NULL);
	buf_printf(&out,
		"{\"name\":\"LoggregatorServer\",\"numCPUS\":%ld,\"numGoRoutines\":%u,"
		"\"memoryStats\":{\"numBytesAllocatedHeap\":%llu,\"numBytesAllocatedStack\":0,"
		"\"numBytesAllocated\":%llu,\"numMallocs\":0,\"numFrees\":0,"
		"\"lastGCPauseTimeNS\":0},\"tags\":{\"ip\":",
		sysconf(_SC_NPROCESSORS_ONLN), n_threads(), (unsigned long long)rss,
		(unsigned long long)account_held(a->o.account));
	buf_json(&out, str_c(a->o.host));
	buf_c(&out, "},\"contexts\":[");
	put_contexts(a, &out);
	buf_c(&out, "]}\n");
	http_reply_buf(r, 200, "application/json", &out);
}
