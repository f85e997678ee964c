/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The settings of a forwarder with what follows from them: its servers and its
 * inputs, files and stdin of `paths` being inputs as well.  A reload makes a
 * second plan and exchanges the two.  Pure but for the environment and the
 * working folder; any thread.
 */
#include "forward/forward.h"
#include "forward/uplink.h"
#include "input/set.h"

struct plan {
	struct generation *generation; /* holds what was made; a reference of the plan's owner */
	const struct forward_options *o;
	struct servers_options servers;
	struct kinds kinds; /* o->inputs, and files and stdin of o->paths */
	const char *host;
};

/* `o` and what it points to live as long as the plan, or in its generation, which is `g` also on
 * failure.  ERR_ARG with the setting at fault. */
int plan_make(
	struct plan *p, struct generation *g, const struct forward_options *o, struct error *e);
/* Does any input go on, in its next life, where this one ends? */
bool plan_keeps_positions(const struct plan *p);
/* Would an uplink do the same with both? */
bool plan_same_servers(const struct plan *a, const struct plan *b);
/* ERR_ARG when something changed that needs a restart. */
int plan_check_fixed(
	const struct forward_options *old, const struct forward_options *fresh, struct error *e);
