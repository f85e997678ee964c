/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The promises of store.h, scan.h, cursor.h and retain.h as a test that any
 * engine can be put to.  One promise, one function; each gets a store of its
 * own on a fake disk, and is asked in the head, in parts and after a restart.
 */
#include "store/store.h"

/* Opens a store with the engine under test. */
typedef int conformance_open(struct store **out, const struct store_options *o, struct error *e);

/* Each promise that is broken is told: its name and what was seen.  Returns how many are. */
size_t store_conformance(
	conformance_open *open, void (*broken)(const char *name, const char *what));
