/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dictConfig dictionary of the aggregator: which handlers get what comes in,
 * and what each of them is here.
 *
 * The aggregator logs everything by one logger, LOGGER, which inherits from root;
 * so what counts is root, and LOGGER where `loggers` has it.  Handlers that
 * neither names get nothing in the original, and are no outputs here.
 *
 * Refused is what would need Python (classes and filters of one's own) or would
 * lose records silently; passed over with a note is what has no meaning here.
 */
#include "nowcast/translation.h"

#define LOGGER "log_aggregator"

enum { LEVEL_WARNING = 30, SMTP_PORT = 25 };

struct class
{
	const char *name;
	enum handler_kind kind;
	void (*read)(struct translation *t, const struct yaml_node *node, const char *key,
		struct handler *h);
	const char *const *keys; /* besides class, level, formatter, filters */
};

static void read_file(
	struct translation *t, const struct yaml_node *node, const char *key, struct handler *h);
static void read_timed(
	struct translation *t, const struct yaml_node *node, const char *key, struct handler *h);
static void read_stream(
	struct translation *t, const struct yaml_node *node, const char *key, struct handler *h);
static void read_email(
	struct translation *t, const struct yaml_node *node, const char *key, struct handler *h);

static const char *const no_keys[] = {NULL};
static const char *const stream_keys[] = {"stream", NULL};
static const char *const file_keys[] = {"filename", "mode", "encoding", "delay", "errors", NULL};
static const char *const rotating_keys[] = {
	"filename", "mode", "encoding", "delay", "errors", "backupCount", "maxBytes", NULL};
static const char *const timed_keys[] = {
	"filename", "encoding", "delay", "errors", "backupCount", "when", "interval", "utc", NULL};
static const char *const email_keys[] = {
	"mailhost", "fromaddr", "toaddrs", "subject", "credentials", "secure", "timeout", NULL};
static const char *const common_keys[] = {"class", "level", "formatter", "filters", NULL};

/* The aggregator makes a WatchedFileHandler of a RotatingFileHandler: its worker rotate_logs moves
 * the files. */
static const struct class classes[] = {
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

int level_read(struct translation *t, const struct yaml_node *node, const char *key)
{
	static const struct {
		const char *name;
		int level;
	} names[] = {{"NOTSET", 0}, {"DEBUG", 10}, {"INFO", 20}, {"WARNING", 30}, {"WARN", 30},
		{"ERROR", 40}, {"CRITICAL", 50}, {"FATAL", 50}};
	static const char *const words[] = {
		"NOTSET", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", NULL};
	struct str text = node->kind == NODE_SCALAR ? node->text : STR_NONE;
	struct buf near = {0};
	int64_t number;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (str_eq_c(text, names[i].name))
			return names[i].level;
	if (str_i64(text, &number) && number >= 0 && number <= 1000000)
		return (int)number;
	nearest_put(&near, text, words);
	problem_add(t->errors, &node->place, key,
		"unknown level \"%.*s\": DEBUG, INFO, WARNING, ERROR, CRITICAL or a number%.*s",
		STR_ARG(text), STR_ARG(buf_view(&near)));
	buf_fini(&near);
	return -1;
}

/* False after a problem. */
static bool no_filters(struct translation *t, const struct yaml_node *node, const char *key)
{
	const struct yaml_node *filters = member(node, "filters");

	if (!filters || (filters->kind != NODE_SCALAR && !filters->first))
		return true;
	problem_add(t->errors, &filters->place, key,
		"filters are Python code, which sawlog does not run: take them out and narrow the "
		"output's `match` in a sawlog.yaml of your own (sawlog nowcast --print)");
	return false;
}

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

/* --- handlers ------------------------------------------------------------------------- */

/* An output's name is a folder's; what is no letter of one becomes '-'. */
static struct str name_of(struct translation *t, const struct handlers *all, struct str name)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
	struct str plain = arena_str(t->arena, str_sub(name, 0, 56));
	char *p = (char *)plain.p;

	if (plain.n == 0)
		return str_c(arena_printf(t->arena, "handler-%zu", all->n + 1));
	for (size_t i = 0; i < plain.n; i++)
		if (!p[i] || !strchr(letters, p[i]) || (i == 0 && p[i] == '.'))
			p[i] = '-';
	for (size_t i = 0; i < all->n; i++)
		if (str_eq(all->items[i].name, plain))
			return str_c(
				arena_printf(t->arena, "%.*s-%zu", STR_ARG(plain), all->n + 1));
	return plain;
}

static void check_keys(struct translation *t, const struct yaml_node *node, const char *key,
	const struct class *class)
{
	struct buf near = {0};

	for (const struct yaml_node *m = node->first; m && class->keys; m = m->next) {
		bool known = false;
		for (size_t i = 0; common_keys[i] && !known; i++)
			known = str_eq_c(m->key, common_keys[i]);
		for (size_t i = 0; class->keys[i] && !known; i++)
			known = str_eq_c(m->key, class->keys[i]);
		if (known)
			continue;
		buf_clear(&near);
		nearest_put(&near, m->key, class->keys);
		problem_add(t->errors, &m->key_place, key, "%s has no argument %.*s%.*s",
			class->name, STR_ARG(m->key), STR_ARG(buf_view(&near)));
	}
	buf_fini(&near);
}

static const struct class *class_of(
	struct translation *t, const struct yaml_node *node, const char *key)
{
	const struct yaml_node *class = member(node, "class"), *factory = member(node, "()");

	if (factory)
		class = factory;
	for (size_t i = 0; class && !factory && i < sizeof classes / sizeof *classes; i++)
		if (str_eq_c(class->text, classes[i].name))
			return &classes[i];
	if (!class)
		problem_add(t->errors, &node->place, key, "class is missing");
	else
		problem_add(t->errors, &class->place, key,
			"sawlog has no handler %.*s, and runs no Python: take it out of the "
			"aggregator's handlers, or start with --without %.*s",
			STR_ARG(class->text), STR_ARG(node->key));
	return NULL;
}

/* Who moves the file, and which of them is behind, could not be told apart. */
static void check_same_file(
	struct translation *t, const char *key, const struct handlers *all, const struct handler *h)
{
	for (size_t i = 0; i < all->n && h->kind == HANDLER_FILE; i++)
		if (h->path.n && str_eq(all->items[i].path, h->path))
			problem_add(t->errors, &h->place, key,
				"writes to the file of another handler, on line %d: give one of them "
				"a file of its own",
				all->items[i].place.line);
}

static void read_handler(struct translation *t, const struct yaml_node *config,
	const struct yaml_node *node, const char *key, struct handlers *out)
{
	const struct class *class = class_of(t, node, key);
	const struct yaml_node *level = member(node, "level");
	struct handler h = {.place = node->place};

	if (!class || !no_filters(t, node, key))
		return;
	check_keys(t, node, key, class);
	h.kind = class->kind;
	h.name = name_of(t, out, node->key);
	if (level)
		h.level = level_read(t, level, arena_printf(t->arena, "%s.level", key));
	formatter_read(t, config, node, key, &h);
	if (class->read)
		class->read(t, node, key, &h);
	check_same_file(t, key, out, &h);
	if (h.kind != HANDLER_NONE)
		out->items[out->n++] = h;
}

static bool left_out(const struct translation *t, struct str name)
{
	const char *const *w = t->options->without;

	for (; w && *w; w++)
		if (str_eq_c(name, *w))
			return true;
	return false;
}

/* The handlers that a logger names. */
static void attach(struct translation *t, const struct yaml_node *config,
	const struct yaml_node *logger, const char *key, const struct yaml_node **seen,
	size_t *n_seen, struct handlers *out)
{
	const struct yaml_node *names = member(logger, "handlers");
	const struct yaml_node *all = member(config, "handlers"), *h;

	for (const struct yaml_node *n = names && names->kind == NODE_LIST ? names->first : NULL; n;
		n = n->next) {
		bool known = false;
		if (left_out(t, n->text))
			continue;
		for (h = all && all->kind == NODE_MAP ? all->first : NULL; h; h = h->next)
			if (n->kind == NODE_SCALAR && str_eq(h->key, n->text))
				break;
		if (!h) {
			problem_add(t->errors, &n->place, key, "there is no handler \"%.*s\"",
				STR_ARG(n->text));
			continue;
		}
		for (size_t i = 0; i < *n_seen && !known; i++)
			known = seen[i] == h;
		if (known)
			continue;
		if (*n_seen == HANDLERS_MAX) {
			problem_add(
				t->errors, &n->place, key, "more than %d handlers", HANDLERS_MAX);
			return;
		}
		seen[(*n_seen)++] = h;
		read_handler(t, config, h, arena_printf(t->arena, "handlers.%.*s", STR_ARG(h->key)),
			out);
	}
}

static void check_version(struct translation *t, const struct yaml_node *config, const char *key)
{
	const struct yaml_node *version = member(config, "version");
	const struct yaml_node *incremental = member(config, "incremental");

	if (!version)
		problem_add(t->errors, &config->place, key, "version is missing: write version: 1");
	else if (!str_eq_c(version->text, "1"))
		problem_add(t->errors, &version->place, key, "version must be 1");
	if (truth(incremental, false))
		problem_add(t->errors, &incremental->place, key,
			"incremental changes loggers that are there already: here are none");
}

static bool check_unknown_left_out(struct translation *t, const struct yaml_node *config)
{
	const struct yaml_node *all = member(config, "handlers");
	const char *const *w = t->options->without;
	bool good = true;

	for (; w && *w; w++) {
		const struct yaml_node *h = all && all->kind == NODE_MAP ? all->first : NULL;
		while (h && !str_eq_c(h->key, *w))
			h = h->next;
		if (!h)
			problem_add(t->errors, &config->place, "--without",
				"there is no handler \"%s\"", *w);
		good = good && h;
	}
	return good;
}

void handlers_read(struct translation *t, const struct yaml_node *config, const char *key,
	struct handlers *out)
{
	const struct yaml_node *root = member(config, "root"), *loggers = member(config, "loggers");
	const struct yaml_node *own = member(loggers, LOGGER), *level;
	const struct yaml_node *seen[HANDLERS_MAX];
	size_t n_seen = 0;

	*out = (struct handlers){.items = ARENA_ARRAY(t->arena, struct handler, HANDLERS_MAX),
		.level = LEVEL_WARNING};
	t->out->secrets = ARENA_ARRAY(t->arena, struct nowcast_secret, HANDLERS_MAX);
	check_version(t, config, key);
	check_unknown_left_out(t, config);
	if ((level = member(root, "level")))
		out->level = level_read(t, level, arena_printf(t->arena, "%s.root.level", key));
	if ((level = member(own, "level")) && !str_eq_c(level->text, "NOTSET"))
		out->level = level_read(
			t, level, arena_printf(t->arena, "%s.loggers." LOGGER ".level", key));
	no_filters(t, root, arena_printf(t->arena, "%s.root", key));
	no_filters(t, own, arena_printf(t->arena, "%s.loggers." LOGGER, key));
	attach(t, config, own, arena_printf(t->arena, "%s.loggers." LOGGER ".handlers", key), seen,
		&n_seen, out);
	if (truth(member(own, "propagate"), true))
		attach(t, config, root, arena_printf(t->arena, "%s.root.handlers", key), seen,
			&n_seen, out);
	if (out->n == 0)
		note(t, &config->place,
			"%s: no handler gets what comes in: it is stored, and nothing is written",
			key);
}

void handlers_check_variables(
	struct translation *t, const struct yaml_node *config, const char *key)
{
	const struct yaml_node *all = member(config, "handlers"), *filename;

	for (const struct yaml_node *h = all && all->kind == NODE_MAP ? all->first : NULL; h;
		h = h->next)
		if ((filename = member(h, "filename")))
			substitute(t, filename,
				arena_printf(t->arena, "%s.handlers.%.*s.filename", key,
					STR_ARG(h->key)));
}
