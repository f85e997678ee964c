/* SPDX-License-Identifier: Apache-2.0 */
#include "os/process.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#ifdef SAWLOG_HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "os/fs.h"

enum {
	STATUS_MAX = 64 << 10, /* /proc/self/status has about 1.5 KiB */
	/* A share of 1/28 beside a thread at 0.  Not 19: who holds a lock that others need must get
	 * to its end soon. */
	WAY_NICE = 15,
};

char *process_hostname(char *out, size_t size)
{
	char name[256];

	/* The kernel cuts without a terminator. */
	if (gethostname(name, sizeof name) < 0)
		name[0] = 0;
	name[sizeof name - 1] = 0;
	return str_copy(name[0] ? str_c(name) : STR("localhost"), out, size);
}

bool process_is_tty(int fd)
{
	return isatty(fd) == 1;
}

void process_state_folder(struct buf *out)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	/* A relative one is to be ignored, says the specification. */
	if (state && state[0] == '/')
		buf_printf(out, "%s/sawlog", state);
	else
		buf_printf(out, "%s/.local/state/sawlog", home ? home : ".");
}

/* "RssAnon:	     128 kB" among the lines of `status`. */
static bool find_rss_anon(struct str status, uint64_t *bytes)
{
	uint64_t kib;

	while (status.n) {
		struct str value = str_cut(&status, '\n');
		struct str name = str_cut(&value, ':');
		if (!str_eq(name, STR("RssAnon")))
			continue;
		value = str_trim(value);
		if (!str_ends(value, STR(" kB")) ||
			!str_u64(str_trim(str_sub(value, 0, value.n - 3)), &kib) ||
			kib > UINT64_MAX / 1024)
			return false;
		*bytes = kib * 1024;
		return true;
	}
	return false;
}

int process_rss_anon(uint64_t *bytes, struct error *e)
{
	static const char path[] = "/proc/self/status";
	struct buf status = {0};
	int r = fs_read_all(fs_real(), path, STATUS_MAX, &status, e);

	if (r == 0 && !find_rss_anon(buf_view(&status), bytes))
		r = error_set(e, ERR_UNSUPPORTED, "%s: this kernel does not say RssAnon", path);
	buf_fini(&status);
	return r;
}

static _Thread_local bool gives_way;

bool thread_give_way(void)
{
	if (gives_way)
		return false;
	gives_way = true;
	setpriority(PRIO_PROCESS, 0, WAY_NICE); /* of this thread alone, on Linux */
	return true;
}

bool thread_gives_way(void)
{
	return gives_way;
}

bool process_notify(const char *state)
{
#ifdef SAWLOG_HAVE_SYSTEMD
	return sd_notify(0, state) > 0;
#else
	return false;
#endif
}
