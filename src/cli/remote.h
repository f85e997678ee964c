/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The server that a command talks to: its flags, its environment, its answers.
 * One thread at a time.
 */
#include "base/map.h"
#include "cli/command.h"
#include "codec/json.h"
#include "net/client.h"

extern const struct flag_group remote_flags; /* --addr, --retries */
extern const struct flag_group access_flags; /* --tenant, --token, --verbose … */
extern const struct flag_group window_flags; /* --since, --until */

struct remote;

/* Reads the flags of remote_flags and access_flags; no connection is made yet.  Borrows cl. */
int remote_open(struct remote **out, struct command_line *cl, struct error *e);
/* The same for a given URL: access_flags alone.  Borrows url. */
int remote_open_url(struct remote **out, struct command_line *cl, const char *url, struct error *e);
void remote_close(struct remote *r); /* NULL is fine */
/* For clients of one's own; valid as long as r. */
const struct http_client_options *remote_options(const struct remote *r);
/* GET `path` with its query and parse the answer; *out is valid until the next call.  The server's
 * own sentence with ERR_ARG (400), ERR_DENIED (401, 403), ERR_BUSY (429, 503), ERR_TIMEOUT (504),
 * ERR_LIMIT (413), ERR_NET (other); ERR_LIMIT too when the answer is larger than REMOTE_ANSWER_MAX.
 */
int remote_get(struct remote *r, const char *path, struct json *out, struct error *e);
/* The same for an answer that is no JSON: *out is valid until the next call. */
int remote_get_raw(struct remote *r, const char *path, struct str *out, struct error *e);
/* POST a JSON body; the answer is dropped.  Codes as remote_get; no retries. */
int remote_post(
	struct remote *r, const char *path, struct str body, int *retry_after_s, struct error *e);
/* POST a JSON body and parse the answer; *out is valid until the next call.  No retries. */
int remote_post_json(
	struct remote *r, const char *path, struct str body, struct json *out, struct error *e);
int remote_delete(struct remote *r, const char *path, struct error *e);
/* The HTTP status of the last answer; 0 when there was none. */
int remote_status(const struct remote *r);
/* The code for an HTTP status that is no success. */
int remote_status_error(int status, struct str body, struct error *e);
/* Append "name=value" to a path, after '?' or '&'. */
void remote_param(struct buf *path, const char *name, struct str value);
void remote_param_i64(struct buf *path, const char *name, int64_t value);
/* from and until of window_flags. */
void remote_window(const struct command_line *cl, int64_t *from_ns, int64_t *until_ns);
/* Print the error; for one with a place in the query, the query and a caret under the place. */
int remote_fail(struct command_line *cl, const char *query, const struct error *e);
/* Print the answer's "warnings" to cl->err. */
void remote_warnings(struct command_line *cl, const struct json *answer);
/* The same without those that are in `told`, to which they are added; true: there were any. */
bool remote_warnings_once(struct command_line *cl, const struct json *answer, struct map *told);

enum { REMOTE_ANSWER_MAX = 256 << 20 };
