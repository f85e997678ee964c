/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Design.  fork and exec by hand: between the two only calls that are safe
 * after a fork of a process with threads.  All that allocates is done before.
 * Why it failed comes back through a pipe that a successful exec closes.
 */
#include "input/child.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"

extern char **environ;

enum {
	FILES_USUAL = 1024, /* programs that use select cannot cope with more */
	WAIT_MS = 200,      /* for the end of a process that was killed */
};

struct pipes {
	int in[2], out[2], err[2], report[2];
};

static void close_pair(int pair[2])
{
	for (int i = 0; i < 2; i++) {
		if (pair[i] >= 0)
			close(pair[i]);
		pair[i] = -1;
	}
}

static void close_pipes(struct pipes *p)
{
	close_pair(p->in);
	close_pair(p->out);
	close_pair(p->err);
	close_pair(p->report);
}

static bool names(const char *variable, const char *name)
{
	size_t n = strlen(name);

	return strncmp(variable, name, n) == 0 && variable[n] == '=';
}

/* Ours, but for what is set anew. */
static char **make_environment(const struct string_map *env)
{
	size_t n_ours = 0, n = 0;
	char **out;

	while (environ[n_ours])
		n_ours++;
	out = xcalloc(n_ours + (env ? env->n : 0) + 1, sizeof *out);
	for (size_t i = 0; i < n_ours; i++) {
		bool replaced = false;

		for (size_t k = 0; env && k < env->n; k++)
			replaced |= names(environ[i], env->items[k].name);
		if (!replaced)
			out[n++] = xstrdup(environ[i]);
	}
	for (size_t k = 0; env && k < env->n; k++) {
		struct buf text = {0};

		buf_printf(&text, "%s=%s", env->items[k].name, env->items[k].value);
		out[n++] = str_dup(buf_view(&text));
		buf_fini(&text);
	}
	return out;
}

static void free_environment(char **env)
{
	for (size_t i = 0; env[i]; i++)
		free(env[i]);
	free(env);
}

/* The child.  `step` tells the parent where it failed. */
struct report {
	int step, number;
};

enum { STEP_PIPES = 1, STEP_CWD, STEP_EXEC };

static void give_up(int fd, int step)
{
	struct report r = {step, errno};

	if (write(fd, &r, sizeof r) < 0)
		_exit(126);
	_exit(127);
}

static void become(const struct child_options *o, const struct pipes *p, char **env, pid_t parent)
{
	struct rlimit files;
	sigset_t none;
	/* Not close-on-exec: it may be descriptor 0 already, which dup2 leaves as it is. */
	int null = open("/dev/null", O_RDONLY);

	setsid();
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(127);
	/* What we ignore and block would be inherited. */
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(o->stdin_pipe ? p->in[0] : null, STDIN_FILENO) < 0 ||
		dup2(p->out[1], STDOUT_FILENO) < 0 ||
		dup2(o->merge ? p->out[1] : p->err[1], STDERR_FILENO) < 0 ||
		close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		give_up(p->report[1], STEP_PIPES);
	if (o->cwd && chdir(o->cwd) < 0)
		give_up(p->report[1], STEP_CWD);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur > FILES_USUAL) {
		files.rlim_cur = FILES_USUAL;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	execvpe(o->argv[0], (char *const *)o->argv, env);
	give_up(p->report[1], STEP_EXEC);
}

static int make_pipes(struct pipes *p, const struct child_options *o, struct error *e)
{
	if (pipe2(p->report, O_CLOEXEC) < 0 || pipe2(p->out, O_CLOEXEC) < 0 ||
		(o->stdin_pipe && pipe2(p->in, O_CLOEXEC) < 0) ||
		(!o->merge && pipe2(p->err, O_CLOEXEC) < 0))
		return error_errno(e, errno, "%s: pipe", o->argv[0]);
	/* Descriptors 0 to 2 of ours may be closed; the child's must not be among them. */
	for (int *fd = &p->in[0]; fd <= &p->report[1]; fd++) {
		int high = *fd >= 0 && *fd < 3 ? fcntl(*fd, F_DUPFD_CLOEXEC, 3) : *fd;

		if (*fd >= 0 && high < 0)
			return error_errno(e, errno, "%s: pipe", o->argv[0]);
		if (high != *fd)
			close(*fd);
		*fd = high;
	}
	return 0;
}

/* Signals wait until the child has dropped our handlers: one of them that ran there would write to
 * descriptors that are still ours. */
static pid_t fork_quietly(void)
{
	sigset_t all, old;
	pid_t pid;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = fork();
	if (pid != 0)
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	return pid;
}

static int read_report(const struct child_options *o, int fd, struct error *e)
{
	struct report r;
	ssize_t n;

	while ((n = read(fd, &r, sizeof r)) < 0 && errno == EINTR)
		;
	if (n == 0)
		return 0;
	if (n != sizeof r)
		return error_set(e, ERR_IO, "%s: it could not be started", o->argv[0]);
	error_errno(e, r.number, "%s: %s", o->argv[0],
		r.step == STEP_CWD    ? o->cwd
		: r.step == STEP_EXEC ? "cannot be run"
				      : "its descriptors");
	return r.number == EACCES ? ERR_DENIED : r.number == ENOENT ? ERR_NOT_FOUND : ERR_IO;
}

static int take_end(int pair[2], int which)
{
	int fd = pair[which];

	pair[which] = -1;
	if (fd >= 0)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	return fd;
}

int child_start(struct child *c, const struct child_options *o, struct error *e)
{
	struct pipes p = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
	char **env = make_environment(o->env);
	pid_t parent = getpid();
	int r;

	*c = (struct child){.exit_fd = -1, .in = -1, .out = -1, .err = -1};
	if ((r = make_pipes(&p, o, e)) < 0)
		goto done;
	c->pid = fork_quietly();
	if (c->pid == 0)
		become(o, &p, env, parent);
	if (c->pid < 0) {
		r = error_errno(e, errno, "%s: fork", o->argv[0]);
		goto done;
	}
	close(p.report[1]);
	p.report[1] = -1;
	r = read_report(o, p.report[0], e);
	if (r == 0 && (c->exit_fd = pidfd_open(c->pid, 0)) < 0)
		r = error_errno(e, errno, "%s: pidfd_open", o->argv[0]);
	if (r < 0) {
		child_close(c);
		goto done;
	}
	c->in = take_end(p.in, 1);
	c->out = take_end(p.out, 0);
	c->err = take_end(p.err, 0);
done:
	close_pipes(&p);
	free_environment(env);
	return r;
}

void child_signal(const struct child *c, int number)
{
	if (c->pid > 0)
		kill(-c->pid, number);
}

bool child_ended(const struct child *c, int *result)
{
	siginfo_t info = {0};

	/* WNOWAIT: it stays a zombie, so that its number and group are nobody else's. */
	if (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
		return false;
	*result = info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
	return true;
}

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void child_close(struct child *c)
{
	if (c->pid <= 0)
		return;
	child_signal(c, SIGKILL);
	/* It may not have come to setsid. */
	kill(c->pid, SIGKILL);
	/* One that hangs in the kernel is not waited for; it stays a zombie of ours when it ends.
	 */
	for (int i = 0; i < WAIT_MS && waitpid(c->pid, NULL, WNOHANG) == 0; i++)
		usleep(1000);
	c->pid = 0;
	close_end(&c->exit_fd);
	close_end(&c->in);
	close_end(&c->out);
	close_end(&c->err);
}
