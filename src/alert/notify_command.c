/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The notifier `command`: a program gets the message on its standard input, and
 * its exit code decides: 0 is told, 65 (EX_DATAERR) is refused for good, what
 * else there is is tried again.
 *
 * No shell is in between, and no text of an alert is an argument or a variable
 * of the environment, so that no label can become a command.  The environment
 * is ours by a short list and what is configured.  The program runs in a
 * process group of its own; when its time is up, or it leaves others behind,
 * all of the group are killed.
 *
 * The input is a file in memory, written before the program starts: nobody
 * waits for a program that does not read.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alert/notify_json.h"
#include "base/memory.h"

enum {
	OUTPUT_SHOWN = 300,
	ASK_MS = 200, /* how often it is asked whether the process ends */
	KILL_WAIT_MS = 1000,
	EXIT_REFUSED = 65,
};

struct command_settings {
	struct notifier_settings common;
	struct strings command;
	struct string_map env;
	const char *cwd;
	int64_t timeout;
};

struct command {
	const struct command_settings *s;
	struct notifier_env env;
};

/* A program that runs. */
struct child {
	pid_t pid;
	int exit_fd, out; /* -1: none */
	struct buf words; /* of its output, the first */
};

/* --- the environment ------------------------------------------------------------------- */

static char *variable(const char *name, const char *value)
{
	struct buf text = {0};

	buf_printf(&text, "%s=%s", name, value);
	buf_cstr(&text);
	return buf_take(&text).p;
}

static bool is_configured(const struct string_map *env, const char *name)
{
	for (size_t i = 0; i < env->n; i++)
		if (strcmp(env->items[i].name, name) == 0)
			return true;
	return false;
}

static char **make_environment(const struct command *c)
{
	static const char *const kept[] = {
		"PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR"};
	const struct string_map *env = &c->s->env;
	char **out = xcalloc(sizeof kept / sizeof *kept + env->n + 2, sizeof *out);
	size_t n = 0;

	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
		const char *value = getenv(kept[i]);

		if (value && !is_configured(env, kept[i]))
			out[n++] = variable(kept[i], value);
	}
	if (!is_configured(env, "SAWLOG_NOTIFIER"))
		out[n++] = variable("SAWLOG_NOTIFIER", c->env.name);
	for (size_t i = 0; i < env->n; i++)
		out[n++] = variable(env->items[i].name, env->items[i].value);
	return out;
}

static void free_environment(char **env)
{
	for (size_t i = 0; env[i]; i++)
		free(env[i]);
	free(env);
}

/* --- starting -------------------------------------------------------------------------- */

/* A file in memory that holds the text, to be read from its beginning. */
static int make_input(struct str text, int *out, struct error *e)
{
	int fd = memfd_create("sawlog-alerts", MFD_CLOEXEC);
	size_t done = 0;

	if (fd < 0)
		return error_errno(e, errno, "memfd_create");
	while (done < text.n) {
		ssize_t n = write(fd, text.p + done, text.n - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int r = error_errno(e, n < 0 ? errno : ENOSPC, "the input of the command");

			close(fd);
			return r;
		}
		done += (size_t)n;
	}
	lseek(fd, 0, SEEK_SET);
	*out = fd;
	return 0;
}

/* Out of the way of 0 to 2, where the program's own are put: those of ours may be closed. */
static int move_up(int fd)
{
	int high = fd < 3 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : fd;

	if (high != fd)
		close(fd);
	return high;
}

static int spawn(const struct command *c, int in, int out, pid_t *pid)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t how;
	const char **argv = xcalloc(c->s->command.n + 1, sizeof *argv);
	char **env = make_environment(c);
	sigset_t all, none;
	int r;

	memcpy(argv, c->s->command.items, c->s->command.n * sizeof *argv);
	sigfillset(&all);
	sigemptyset(&none);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&files, out, STDERR_FILENO);
	posix_spawn_file_actions_addclosefrom_np(&files, 3);
	if (c->s->cwd)
		posix_spawn_file_actions_addchdir_np(&files, c->s->cwd);
	posix_spawnattr_init(&how);
	posix_spawnattr_setflags(
		&how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setpgroup(&how, 0);
	posix_spawnattr_setsigdefault(&how, &all);
	posix_spawnattr_setsigmask(&how, &none);
	r = posix_spawnp(pid, argv[0], &files, &how, (char *const *)argv, env);
	posix_spawnattr_destroy(&how);
	posix_spawn_file_actions_destroy(&files);
	free_environment(env);
	free(argv);
	return r;
}

static int start(const struct command *c, struct str input, struct child *child, struct error *e)
{
	int in = -1, pipes[2], r;

	if ((r = make_input(input, &in, e)) < 0)
		return r;
	in = move_up(in);
	if (pipe2(pipes, O_CLOEXEC) < 0) {
		r = error_errno(e, errno, "pipe");
		close(in);
		return r;
	}
	pipes[1] = move_up(pipes[1]);
	r = spawn(c, in, pipes[1], &child->pid);
	close(in);
	close(pipes[1]);
	child->out = pipes[0];
	fcntl(child->out, F_SETFL, O_NONBLOCK);
	if (r != 0) {
		child->pid = 0;
		error_errno(e, r, "%s: cannot be run", c->s->command.items[0]);
		return r == EACCES ? ERR_DENIED : r == ENOENT ? ERR_NOT_FOUND : ERR_IO;
	}
	if ((child->exit_fd = pidfd_open(child->pid, 0)) < 0)
		return error_errno(e, errno, "pidfd_open");
	return 0;
}

/* --- waiting --------------------------------------------------------------------------- */

/* What it prints is thrown away but for the first of it. */
static void read_output(struct child *child)
{
	char room[4096];
	ssize_t n;

	while ((n = read(child->out, room, sizeof room)) > 0)
		buf_str(&child->words,
			str_sub(str_make(room, (size_t)n), 0, OUTPUT_SHOWN - child->words.n));
	if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		close(child->out);
		child->out = -1;
	}
}

static bool is_ending(const struct command *c)
{
	return c->env.ending && c->env.ending(c->env.ending_arg);
}

static int wait_for(const struct command *c, struct child *child, struct error *e)
{
	int64_t until = clock_mono_ns(c->env.clock) + c->s->timeout;

	for (;;) {
		struct pollfd fds[] = {{.fd = child->exit_fd, .events = POLLIN},
			{.fd = child->out, .events = POLLIN}};

		poll(fds, 2, ASK_MS);
		if (child->out >= 0)
			read_output(child);
		if (fds[0].revents)
			return 0;
		if (is_ending(c))
			return error_set(e, ERR_CANCELLED, "%s: given up, as the process ends",
				c->s->command.items[0]);
		if (clock_mono_ns(c->env.clock) >= until)
			return error_set(e, ERR_TIMEOUT,
				"%s: killed, as it ran for longer than "
				"`timeout`",
				c->s->command.items[0]);
	}
}

/* Kill what is left of its group and reap it: its exit code, or minus the signal that ended it. */
static int finish(struct child *child)
{
	int status = 0;

	/* While it is not reaped, its number and group are nobody else's. */
	kill(-child->pid, SIGKILL);
	for (int i = 0; i < KILL_WAIT_MS; i++) {
		pid_t r = waitpid(child->pid, &status, WNOHANG);

		if (r == child->pid || (r < 0 && errno != EINTR))
			break;
		usleep(1000);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int judge(const struct command *c, const struct child *child, int result, struct error *e)
{
	struct buf words = {0};
	int r = result == EXIT_REFUSED ? ERR_ARG : ERR_IO;

	if (result == 0)
		return 0;
	notify_put_words(&words, buf_view(&child->words));
	error_set(e, r, "%s: %s %d%s%s", c->s->command.items[0],
		result > 0 ? "it ended with exit code" : "it was ended by signal",
		result > 0 ? result : -result, words.n ? ": " : "", buf_cstr(&words));
	buf_fini(&words);
	return r;
}

static int send_notes(void *notifier, const struct alert_note *notes, size_t n, struct error *e)
{
	struct command *c = notifier;
	struct child child = {.exit_fd = -1, .out = -1};
	struct buf json = {0};
	int r, result;

	notify_json_message(&json, notes, n, &c->s->common, &c->env);
	buf_char(&json, '\n');
	r = start(c, buf_view(&json), &child, e);
	if (r == 0)
		r = wait_for(c, &child, e);
	if (child.pid > 0) {
		result = finish(&child);
		if (r == 0)
			r = judge(c, &child, result, e);
	}
	if (child.exit_fd >= 0)
		close(child.exit_fd);
	if (child.out >= 0)
		close(child.out);
	buf_fini(&child.words);
	buf_fini(&json);
	return r;
}

/* --- life ------------------------------------------------------------------------------ */

static int open_command(
	void **out, const void *settings, const struct notifier_env *env, struct error *e)
{
	struct command *c = xcalloc(1, sizeof *c);

	c->s = settings;
	c->env = *env;
	*out = c;
	return 0;
}

static int check(const void *settings, struct error *e)
{
	const struct command_settings *s = settings;

	if (s->command.n == 0 || !*s->command.items[0])
		return error_set(e, ERR_ARG,
			"command: name a program and its arguments: [/usr/local/bin/page, --urgent]");
	for (size_t i = 0; i < s->env.n; i++)
		if (!*s->env.items[i].name || strchr(s->env.items[i].name, '='))
			return error_set(e, ERR_ARG, "env: \"%s\" is no name of a variable",
				s->env.items[i].name);
	return 0;
}

static const struct option options[] = {
	OPTION(struct command_settings, command, .kind = OPT_STRINGS, .required = true,
		.help = "A program and its arguments, [/usr/local/bin/page, --urgent], run without "
			"a shell. It gets the message on its standard input, as JSON like that of "
			"`webhook`. Exit code 0: told; 65: never will be taken; others: it is run "
			"again."),
	OPTION(struct command_settings, env, .kind = OPT_MAP, .secret = true,
		.help = "Variables of its environment, besides PATH, HOME, USER, LANG, LC_ALL, TZ, "
			"TMPDIR and SAWLOG_NOTIFIER, the name of the notifier."),
	OPTION(struct command_settings, cwd, .kind = OPT_PATH, .help = "The folder it runs in."),
	OPTION(struct command_settings, timeout, .kind = OPT_DURATION, .fallback = "30s",
		.min = 100 * NS_PER_MS, .max = 3600 * NS_PER_SEC,
		.help = "How long it may run; then it is killed, and run again later."),
	NOTIFIER_OPTIONS(struct command_settings, "4h"),
	NOTIFIER_GROUPING(struct command_settings, "0s"),
	OPTION_END,
};

const struct notifier_type notifier_command = {
	.name = "command",
	.summary = "a program that gets JSON on its standard input",
	.size = sizeof(struct command_settings),
	.by_group = true,
	.options = options,
	.check = check,
	.open = open_command,
	.send = send_notes,
	.close = free,
};
