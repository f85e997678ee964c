/* SPDX-License-Identifier: Apache-2.0 */
/* From main's arguments to a command's run, and from its end to an exit status. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/manual.h"
#include "os/clock.h"

static int run_command(const struct command *c, char **argv)
{
	struct command_line cl;
	struct error e = {0};
	int code;

	if (command_line_parse(&cl, c, argv, clock_now_ns(clock_real()), &e) < 0) {
		code = command_usage(&cl, &e);
	} else if (cl.help) {
		struct buf text = {0};

		manual_help(c, &text);
		fwrite(text.p, 1, text.n, cl.out);
		buf_fini(&text);
		code = EXIT_OK;
	} else {
		code = c->run(&cl);
	}
	command_line_fini(&cl);
	return code;
}

/* Has whoever read our output left? */
static bool reader_left(void)
{
	struct pollfd p = {.fd = STDOUT_FILENO};

	return poll(&p, 1, 0) > 0 && p.revents & POLLERR;
}

/* A full disk behind stdout is an error of ours; `| head` that has enough is not. */
static int finish_output(int code)
{
	bool failed = fflush(stdout) != 0;
	int number = errno;

	if ((!failed && !ferror(stdout)) || (failed && number == EPIPE) || reader_left())
		return code;
	fprintf(stderr, "sawlog: standard output: %s\n",
		failed ? strerror(number) : "some of it could not be written");
	return code == EXIT_OK ? EXIT_IO : code;
}

int command_run(const struct command *c, char **argv)
{
	return finish_output(run_command(c, argv));
}

/* "token": `create` is the next word, or one asks for help. */
static int run_group(const struct command *group, char **argv)
{
	bool helps = argv[0] && (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h"));
	const struct command *c;
	struct buf text = {0};
	struct error e = {0};

	if (!argv[0] || helps) {
		manual_help(group, &text);
		fwrite(text.p, 1, text.n, helps ? stdout : stderr);
		buf_fini(&text);
		return helps ? EXIT_OK : EXIT_USAGE;
	}
	buf_printf(&text, "%s %s", group->name, argv[0]);
	c = command_find(buf_view(&text), &e);
	buf_fini(&text);
	if (c)
		return run_command(c, argv + 1);
	fprintf(stderr, "sawlog: %s\nTry: sawlog help %s\n", e.text, group->name);
	return EXIT_USAGE;
}

int command_main(int argc, char **argv)
{
	char *help[] = {argc > 2 ? argv[2] : NULL, NULL};
	const char *name = argc > 1 ? argv[1] : NULL;
	const struct command *c;
	struct error e = {0};

	/* A write to a peer or a pipe that has gone returns EPIPE instead of killing us. */
	signal(SIGPIPE, SIG_IGN);
	if (!name) {
		struct buf text = {0};

		manual_overview(&text);
		fwrite(text.p, 1, text.n, stderr);
		buf_fini(&text);
		return EXIT_USAGE;
	}
	if (!strcmp(name, "--version") || !strcmp(name, "-V"))
		return finish_output(run_command(&command_version, help + 1));
	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		return finish_output(run_command(&command_help, help));
	c = command_find(str_c(name), &e);
	/* "token create" is two words. */
	if (c && strchr(name, ' ')) {
		error_set(&e, ERR_ARG, "unknown command \"%s\"", name);
		c = NULL;
	}
	if (!c) {
		fprintf(stderr, "sawlog: %s\nTry: sawlog help\n", e.text);
		return EXIT_USAGE;
	}
	return finish_output(c->subs ? run_group(c, argv + 2) : run_command(c, argv + 2));
}
