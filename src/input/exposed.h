/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Which addresses anyone beyond this machine may reach: refused, unless the
 * configuration names them in insecure_allow.  Pure functions.
 */
#include "input/input.h"

/* Is the address, in its normal form, for this machine alone? */
bool exposed_loopback(const char *address);
/* May it be open to anyone: for this machine alone, or named? */
bool exposed_allowed(const char *address, const struct strings *insecure_allow);
/* Tell a sentence for each address of these inputs that takes records from anyone. */
void exposed_inputs(const struct kinds *inputs, const struct strings *insecure_allow,
	void (*tell)(void *arg, const char *sentence), void *arg);
