/* SPDX-License-Identifier: Apache-2.0 */
/* The classes of handlers, and what becomes of each of their arguments. */
#include "nowcast/translation.h"

enum { SMTP_PORT = 25 };

/* --- files ---------------------------------------------------------------------------- */

static void check_encoding(struct translation *t, const struct yaml_node *node, const char *key)
{
	static const char *const good[] = {"utf-8", "utf8", "utf_8", "u8", "ascii", "us-ascii"};
	const struct yaml_node *encoding = member(node, "encoding");

	if (!encoding)
		return;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		if (str_eq_nocase(encoding->text, str_c(good[i])))
			return;
	problem_add(t->errors, &encoding->place, key, "encoding must be utf-8, as messages come");
}

static void read_path(
	struct translation *t, const struct yaml_node *node, const char *key, struct handler *h)
{
	const struct yaml_node *filename = member(node, "filename");
	struct str path;

	if (!filename) {
		problem_add(t->errors, &node->place, key, "filename is missing");
		return;
	}
	path = substitute(t, filename, arena_printf(t->arena, "%s.filename", key));
	if (path.n == 0) {
		problem_add(t->errors, &filename->place, key, "filename is empty");
		return;
	}
	if (str_find(path, STR("%(")) >= 0 || str_find(path, STR("{{")) >= 0)
		problem_add(t->errors, &filename->place, key,
			"filename holds %%( or {{, which would be read as a template");
	else if (path.p[path.n - 1] == '/')
		problem_add(t->errors, &filename->place, key, "filename is a folder");
	h->path =
		path.p[0] == '/'
			? path
			: str_c(arena_printf(t->arena, "%s/%.*s", t->options->cwd, STR_ARG(path)));
}

static void read_file(
	struct translation *t, const struct yaml_node *node, const char *key, struct handler *h)
{
	const struct yaml_node *mode = member(node, "mode"), *class = member(node, "class");
	bool rotating = str_ends(class->text, STR(".RotatingFileHandler"));

	read_path(t, node, key, h);
	check_encoding(t, node, key);
	h->watched = rotating || str_ends(class->text, STR(".WatchedFileHandler"));
	if (rotating && member(node, "maxBytes"))
		note(t, &node->place,
			"%s: maxBytes has no effect: the file is reopened when it is moved away, not "
			"rotated",
			key);
	if (mode && mode->text.n && mode->text.p[0] == 'w')
		note(t, &mode->place,
			"%s: mode %.*s: the file is appended to, not emptied at the start", key,
			STR_ARG(mode->text));
	else if (mode && (mode->text.n == 0 || !strchr("ax", mode->text.p[0])))
		problem_add(t->errors, &mode->place, key, "mode must be a or w");
}

static int64_t count_of(
	struct translation *t, const struct yaml_node *node, const char *name, int64_t absent)
{
	const struct yaml_node *n = member(node, name);
	int64_t v = absent;

	if (n && (n->kind != NODE_SCALAR || !str_i64(n->text, &v) || v < 0 || v > 1000000))
		problem_add(t->errors, &n->place, name, "must be a number");
	return v;
}

static void read_when(struct translation *t, const struct yaml_node *node, const char *key,
	const struct yaml_node *when, struct handler *h)
{
	struct str w = when ? when->text : STR("h");

	if (str_eq_nocase(w, STR("h")))
		h->rotation = ROTATION_HOUR;
	else if (str_eq_nocase(w, STR("d")) || str_eq_nocase(w, STR("midnight")))
		h->rotation = ROTATION_DAY;
	else if (w.n == 2 && (w.p[0] | 0x20) == 'w' && w.p[1] >= '0' && w.p[1] <= '6')
		h->rotation = ROTATION_WEEK;
	else
		problem_add(t->errors, when ? &when->place : &node->place, key,
			"when must be H, D, midnight or W0 to W6");
	h->weekday = h->rotation == ROTATION_WEEK ? (unsigned)(w.p[1] - '0') : 0;
}

static void read_timed(
	struct translation *t, const struct yaml_node *node, const char *key, struct handler *h)
{
	const struct yaml_node *utc = member(node, "utc");

	read_path(t, node, key, h);
	check_encoding(t, node, key);
	read_when(t, node, key, member(node, "when"), h);
	h->watched = true;
	h->keep = count_of(t, node, "backupCount", 0);
	if (count_of(t, node, "interval", 1) != 1)
		problem_add(t->errors, &member(node, "interval")->place, key,
			"interval must be 1: a file for each hour, day or week");
	note(t, &node->place,
		"%s: rotated by the hour or day of the clock, and called .1, .2 … instead of by "
		"their time%s",
		key, h->keep ? "" : "; 999 are kept");
	if (truth(utc, false))
		note(t, &utc->place, "%s: utc: the hours and days are those of local time", key);
}

/* --- streams -------------------------------------------------------------------------- */

static void read_stream(
	struct translation *t, const struct yaml_node *node, const char *key, struct handler *h)
{
	const struct yaml_node *stream = member(node, "stream");

	if (!stream || str_eq_c(stream->text, "ext://sys.stderr"))
		return;
	h->to_stdout = str_eq_c(stream->text, "ext://sys.stdout");
	if (!h->to_stdout)
		problem_add(t->errors, &stream->place, key,
			"stream must be ext://sys.stdout or ext://sys.stderr");
}

/* --- mail ----------------------------------------------------------------------------- */

/* "host", or [host, port]. */
static void read_mailhost(
	struct translation *t, const struct yaml_node *node, const char *key, struct handler *h)
{
	const struct yaml_node *mailhost = member(node, "mailhost"), *host = mailhost, *port = NULL;
	uint64_t number = SMTP_PORT;

	if (mailhost && mailhost->kind == NODE_LIST) {
		host = mailhost->first;
		port = host ? host->next : NULL;
	}
	if (!host || host->kind != NODE_SCALAR || host->null || host->text.n == 0 ||
		strpbrk(host->text.p, "/@ \t\r\n") ||
		(mailhost->kind == NODE_LIST && mailhost->n > 2) ||
		(port && (!str_u64(port->text, &number) || number == 0 || number > 65535))) {
		problem_add(t->errors, mailhost ? &mailhost->place : &node->place, key,
			"mailhost must be a host, or [host, port]");
		return;
	}
	h->smtp = str_c(
		arena_printf(t->arena, "smtp://%.*s:%u", STR_ARG(host->text), (unsigned)number));
}

/* Python takes one address, or a list of them. */
static void read_toaddrs(
	struct translation *t, const struct yaml_node *node, const char *key, struct handler *h)
{
	const struct yaml_node *to = member(node, "toaddrs");
	const struct yaml_node *first = to && to->kind == NODE_LIST ? to->first : to;

	h->to = ARENA_ARRAY(t->arena, struct str, first && to->kind == NODE_LIST ? to->n : 1);
	for (const struct yaml_node *a = first; a; a = to->kind == NODE_LIST ? a->next : NULL)
		h->to[h->n_to++] = scalar(t, a, key);
	if (h->n_to == 0)
		problem_add(t->errors, &node->place, key, "toaddrs is missing");
}

static void read_credentials(
	struct translation *t, const struct yaml_node *node, const char *key, struct handler *h)
{
	const struct yaml_node *c = member(node, "credentials");
	struct nowcast *out = t->out;
	const char *path;

	if (!c)
		return;
	if (c->kind != NODE_LIST || c->n != 2 || c->first->kind != NODE_SCALAR ||
		c->first->next->kind != NODE_SCALAR) {
		problem_add(t->errors, &c->place, key, "credentials must be [user, password]");
		return;
	}
	path = arena_printf(
		t->arena, "%s/%.*s.password", t->options->secrets_dir, STR_ARG(h->name));
	h->user = c->first->text;
	h->password_file = str_c(path);
	out->secrets[out->n_secrets++] = (struct nowcast_secret){path, c->first->next->text};
}

static void read_email(
	struct translation *t, const struct yaml_node *node, const char *key, struct handler *h)
{
	const struct yaml_node *from = member(node, "fromaddr");
	const struct yaml_node *subject = member(node, "subject"), *secure = member(node, "secure");

	read_mailhost(t, node, key, h);
	read_toaddrs(t, node, key, h);
	read_credentials(t, node, key, h);
	if (from)
		h->from = scalar(t, from, key);
	else
		problem_add(t->errors, &node->place, key, "fromaddr is missing");
	if (subject)
		h->subject = scalar(t, subject, key);
	else
		problem_add(t->errors, &node->place, key, "subject is missing");
	if (h->user.n && !secure)
		note(t, &node->place,
			"%s: the password goes over an encrypted line only, but to this machine itself",
			key);
	if (secure && secure->kind == NODE_LIST && secure->n)
		problem_add(t->errors, &secure->place, key,
			"secure with a key and a certificate is not supported: write secure: []");
}

/* --- the table ------------------------------------------------------------------------ */

static const char *const no_keys[] = {NULL};
static const char *const stream_keys[] = {"stream", NULL};
static const char *const file_keys[] = {"filename", "mode", "encoding", "delay", "errors", NULL};
static const char *const rotating_keys[] = {
	"filename", "mode", "encoding", "delay", "errors", "backupCount", "maxBytes", NULL};
static const char *const timed_keys[] = {
	"filename", "encoding", "delay", "errors", "backupCount", "when", "interval", "utc", NULL};
static const char *const email_keys[] = {
	"mailhost", "fromaddr", "toaddrs", "subject", "credentials", "secure", "timeout", NULL};

/* The aggregator makes a WatchedFileHandler of a RotatingFileHandler: its worker rotate_logs moves
 * the files. */
static const struct handler_class classes[] = {
	{"logging.handlers.RotatingFileHandler", HANDLER_FILE, read_file, rotating_keys},
	{"logging.handlers.WatchedFileHandler", HANDLER_FILE, read_file, file_keys},
	{"logging.FileHandler", HANDLER_FILE, read_file, file_keys},
	{"logging.handlers.TimedRotatingFileHandler", HANDLER_FILE, read_timed, timed_keys},
	{"logging.StreamHandler", HANDLER_STREAM, read_stream, stream_keys},
	{"logging.handlers.SMTPHandler", HANDLER_EMAIL, read_email, email_keys},
	{"logging.NullHandler", HANDLER_NONE, NULL, no_keys},
	/* The publishers' own, in a `logging` that is for all programs. */
	{"zmq.log.handlers.PUBHandler", HANDLER_NONE, NULL, NULL},
};

const struct handler_class *handler_class_find(struct str name)
{
	for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
		if (str_eq_c(name, classes[i].name))
			return &classes[i];
	return NULL;
}
