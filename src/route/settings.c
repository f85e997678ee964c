/* SPDX-License-Identifier: Apache-2.0 */
/* `route` of the configuration: its options and the rules between them. */
#include <stdlib.h>

#include "base/memory.h"
#include "net/client.h"
#include "route/route.h"

static const char *const schemes[] = {"rendezvous", "modulo", NULL};
static const char *const keys[] = {"stream", "app", NULL};

const struct option route_options[] = {
	OPTION(struct route_settings, zone, .kind = OPT_STRING,
		.help = "The zone of this router: one of `zones`, whose servers get the records. Needed "
			"where there are several."),
	OPTION(struct route_settings, zones, .kind = OPT_GROUPS,
		.help = "Zones with the URLs of their servers: {z1: [http://a:3100, http://b:3100], "
			"z2: http://c:3100}. Answers come from all of them."),
	OPTION(struct route_settings, scheme, .kind = OPT_ENUM, .values = schemes,
		.fallback = "rendezvous",
		.help = "Which server a stream belongs to. rendezvous: one more server moves only the "
			"streams that it gets. modulo: the app's bytes as a number, modulo how many "
			"servers there are, as Loggregator had it."),
	OPTION(struct route_settings, by, .kind = OPT_ENUM, .values = keys, .fallback = "stream",
		.help = "rendezvous of each stream, or of its label app: then an app's streams are on "
			"one server."),
	OPTION(struct route_settings, buffer, .kind = OPT_SIZE, .fallback = "1GiB", .min = 16 << 20,
		.max = INT64_C(1) << 46,
		.help = "Bytes on disk for each server that is away. When they are full, what is for "
			"that server is refused until it is back."),
	OPTION(struct route_settings, spill_after, .kind = OPT_DURATION, .fallback = "2s", .min = 0,
		.max = INT64_C(3600) * 1000000000,
		.help = "Records that their server has not taken for so long go to the buffer on disk "
			"and are acknowledged."),
	OPTION(struct route_settings, token_file, .kind = OPT_PATH,
		.help = "File with the token that servers ask for, with the scopes ingest and read; for "
			"several tenants one of tenant \"*\". A change in it counts within a second."),
	OPTION(struct route_settings, ca, .kind = OPT_PATH,
		.help = "File of the certificates that sign those of the servers, PEM. Default: the "
			"system's."),
	OPTION(struct route_settings, cert, .kind = OPT_PATH,
		.help = "Certificate that the servers ask for, PEM."),
	OPTION(struct route_settings, key, .kind = OPT_PATH, .help = "Its key."),
	OPTION_END,
};

const struct string_group *route_zone(const struct route_settings *s)
{
	for (size_t i = 0; i < s->zones.n; i++)
		if (s->zone ? str_same(s->zones.items[i].name, s->zone) : s->zones.n == 1)
			return &s->zones.items[i];
	return NULL;
}

static void append_servers(
	struct strings *urls, struct strings *zones, const struct string_group *zone)
{
	size_t n = urls->n + zone->values.n;

	urls->items = xrealloc(urls->items, n * sizeof *urls->items);
	zones->items = xrealloc(zones->items, n * sizeof *zones->items);
	for (size_t i = 0; i < zone->values.n; i++) {
		urls->items[urls->n++] = zone->values.items[i];
		zones->items[zones->n++] = zone->name;
	}
}

void route_servers(const struct route_settings *s, struct strings *urls, struct strings *zones)
{
	const struct string_group *own = route_zone(s);

	*urls = *zones = (struct strings){0};
	if (own)
		append_servers(urls, zones, own);
	for (size_t i = 0; i < s->zones.n; i++)
		if (&s->zones.items[i] != own)
			append_servers(urls, zones, &s->zones.items[i]);
}

static int check_url(const char *zone, const char *url, struct error *e)
{
	struct http_client *client;
	int r = http_client_new(&client, &(struct http_client_options){.url = url}, e);

	if (r < 0)
		return error_wrap(e, ERR_ARG, "route.zones.%s", zone);
	http_client_free(client);
	return 0;
}

static struct str without_slash(const char *url)
{
	struct str s = str_c(url);

	while (s.n && s.p[s.n - 1] == '/')
		s.n--;
	return s;
}

/* One server in two zones would tell its records twice, and get what two say. */
static int check_twice(
	const struct route_settings *s, const struct string_group *zone, size_t n, struct error *e)
{
	const char *url = zone->values.items[n];

	for (const struct string_group *z = s->zones.items; z <= zone; z++)
		for (size_t i = 0; i < (z == zone ? n : z->values.n); i++)
			if (str_eq(without_slash(z->values.items[i]), without_slash(url)))
				return error_set(e, ERR_ARG,
					"route.zones.%s: %s is named twice (also in %s)",
					zone->name, url, z->name);
	return 0;
}

static int check_zone(
	const struct route_settings *s, const struct string_group *zone, struct error *e)
{
	int r;

	if (zone->values.n > ROUTE_SERVERS_MAX)
		return error_set(e, ERR_ARG, "route.zones.%s: %zu servers, %d are possible",
			zone->name, zone->values.n, ROUTE_SERVERS_MAX);
	for (size_t i = 0; i < zone->values.n; i++)
		if ((r = check_url(zone->name, zone->values.items[i], e)) < 0 ||
			(r = check_twice(s, zone, i, e)) < 0)
			return r;
	return 0;
}

int route_check(const struct route_settings *s, struct error *e)
{
	size_t n = 0;
	int r;

	if (s->zones.n == 0)
		return error_set(e, ERR_ARG,
			"route.zones is missing: name the servers, as zones: {z1: "
			"[http://127.0.0.1:3100]}");
	if (s->zones.n > ROUTE_ZONES_MAX)
		return error_set(e, ERR_ARG, "route.zones: %zu zones, %d are possible", s->zones.n,
			ROUTE_ZONES_MAX);
	if (!s->zone && s->zones.n > 1)
		return error_set(e, ERR_ARG,
			"route.zone is missing: which of the %zu zones is this router's?",
			s->zones.n);
	if (!route_zone(s))
		return error_set(
			e, ERR_ARG, "route.zone: there is no zone \"%s\" in route.zones", s->zone);
	if (!s->cert != !s->key)
		return error_set(e, ERR_ARG,
			"route.%s is missing: a certificate and its key go "
			"together",
			s->cert ? "key" : "cert");
	for (size_t i = 0; i < s->zones.n; i++) {
		if ((r = check_zone(s, &s->zones.items[i], e)) < 0)
			return r;
		n += s->zones.items[i].values.n;
	}
	/* As many as may be asked for answers. */
	if (n > ROUTE_SERVERS_MAX)
		return error_set(e, ERR_ARG, "route.zones: %zu servers, %d are possible", n,
			ROUTE_SERVERS_MAX);
	return 0;
}
