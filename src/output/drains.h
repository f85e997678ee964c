/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Drain bindings: which application's lines go to which URL.  A binding makes
 * an output (name "drain-…") of the kind that the URL's scheme names:
 *
 *   syslog://  syslog-tls://           output `syslog`
 *   https://                           output `https`, or with ?batch=true
 *   https-batch://                     output `https-batch`
 *
 * They come from the configuration (`drains: {apps: {APP: [URL…]}}`), from the
 * API (/api/v1/drains, `sawlog drain add`), kept in <data>/outputs/drains, and
 * where `drains: {from_envelopes: true}` from the drain urls of Loggregator's
 * messages, which the input puts into the records' metadata `drain_urls`.
 * What a drain has to tell (that it cannot connect, that retention overtook
 * it) is put into the application's own stream, source LGR.
 * Thread rule: drains_list, _add and _remove from any thread; the rest from
 * the main loop's.
 */
#include "output/outputs.h"

struct drains;

enum drain_origin { DRAIN_CONFIG, DRAIN_API, DRAIN_ENVELOPE };

struct drain {
	const char *id; /* "drain-" and 12 hex digits of the hash of tenant, app and url */
	const char *app, *url, *tenant;
	enum drain_origin origin;
};

struct drains_settings { /* `drains` of the configuration */
	bool from_envelopes;
	bool allow_private; /* of those that are not in the configuration */
	uint64_t max_per_app, max;
	struct string_groups apps; /* application: URLs */
};

int drains_check_url(struct str url, struct error *e);
void drains_id(struct str tenant, struct str app, struct str url, char out[32]);
