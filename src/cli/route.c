/* SPDX-License-Identifier: Apache-2.0 */
/* sawlog route: a server whose records go to other servers, and whose answers come from them. */
#include "cli/input_flags.h"
#include "cli/serve.h"

static const struct flag flags[] = {
	{.name = "config",
		.letter = 'c',
		.kind = FLAG_STRING,
		.value = "FILE",
		.env = "SAWLOG_CONFIG",
		.help = "Configuration file, YAML: as of `sawlog serve`, with `route`. Every key of "
			"it is also a flag (--route.zone) and an environment variable "
			"(SAWLOG_ROUTE_ZONE)."},
	{.name = "http",
		.kind = FLAG_STRING,
		.value = "ADDR",
		.setting = "http.listen",
		.help = "Address of the API and the page, default 127.0.0.1:3100."},
	INPUT_FLAG,
	FLAG_END,
};

static int run(struct command_line *cl)
{
	return serve_run(cl, config_load_route);
}

const struct command command_route = {
	.name = "route",
	.args = "",
	.summary = "hand records to the servers of a zone, answer from all zones",
	.description =
		"Runs a router: takes all inputs and pushes of `sawlog serve`, hands each stream to one "
		"of the servers of its zone, and answers every query by asking the servers of all "
		"zones.\n\n"
		"A record is acknowledged when its server has it on disk, or, while that server is "
		"away, when it is in the router's own buffer on disk. Routers share nothing: any "
		"number of them may run beside each other. Outputs, drains and alerts run at the "
		"servers. SIGHUP reads the inputs again, SIGUSR1 prints the state, SIGTERM stops "
		"within 10 seconds.",
	.examples = "sawlog route -c route.yaml\n"
		    "sawlog route --route.zones z1=http://a:3100,z1=http://b:3100 --input "
		    "loggregator=udp://127.0.0.1:3456\n  two servers, one zone\n",
	.flags = flags,
	.settings = true,
	.options = serve_options,
	.run = run,
};
