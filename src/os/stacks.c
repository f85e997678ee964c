/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One slot is handed from thread to thread.  Its state holds the number of the
 * question, so that an answer that comes too late finds that nobody waits:
 *
 *   IDLE -- dumper --> ASKED(n) -- handler of thread --> WRITING(n) --> DONE(n)
 *                        \-- dumper, after ANSWER_MS --> IDLE
 *
 * In WRITING the dumper waits on: the handler takes no lock and allocates
 * nothing (glibc's backtrace finds the unwind tables without one since 2.35),
 * so it ends as soon as its thread runs.  If that does not happen within
 * STUCK_MS, the dump ends there, and the next one begins when it has.
 *
 * Names of functions come out of the symbol table of the program's own file
 * when it has one, as static functions are in no dynamic table.  Else an offset
 * is told, which addr2line takes.
 */
#include "os/stacks.h"

#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/memory.h"

enum {
	FRAMES_MAX = 64,
	THREADS_MAX = 4096,
	ANSWER_MS = 100,
	SILENT_MS = 1500, /* for all that do not answer together */
	STUCK_MS = 1000,
	TEXT_MAX = 4096,
};

enum phase { IDLE, ASKED, WRITING, DONE, PHASES };

static struct {
	_Atomic uint64_t state; /* question * PHASES + phase */
	_Atomic pid_t thread;
	int n;
	void *frames[FRAMES_MAX];
	void *back; /* where the handler returns to: the frame of the thread's own is behind it */
} slot;

static struct lock dump_lock = LOCK_INIT;

static void answer(int signum)
{
	uint64_t state = atomic_load(&slot.state);
	int saved = errno;

	if (state % PHASES == ASKED && atomic_load(&slot.thread) == (pid_t)syscall(SYS_gettid) &&
		atomic_compare_exchange_strong(&slot.state, &state, state - ASKED + WRITING)) {
		slot.n = backtrace(slot.frames, FRAMES_MAX);
		slot.back = __builtin_return_address(0);
		atomic_store(&slot.state, state - ASKED + DONE);
	}
	errno = saved;
}

void stacks_init(void)
{
	struct sigaction action = {.sa_handler = answer, .sa_flags = SA_RESTART};
	void *frames[4];

	/* The first call loads the unwinder. */
	backtrace(frames, 4);
	sigfillset(&action.sa_mask);
	sigaction(THREAD_STACK_SIGNAL, &action, NULL);
}

/* --- names ---------------------------------------------------------------------------------- */

/* The program's file, mapped; an ELF of this machine's own word size. */
struct program {
	const uint8_t *bytes;
	size_t n;
	const ElfW(Sym) * symbols;
	size_t n_symbols;
	const char *names;
	size_t n_names;
	uintptr_t base;
};

static const void *within(const struct program *p, uint64_t at, uint64_t n)
{
	return at <= p->n && n <= p->n - at ? p->bytes + at : NULL;
}

static void find_symbols(struct program *p)
{
	const ElfW(Ehdr) *head = within(p, 0, sizeof *head);
	const ElfW(Shdr) * sections, *names;

	if (!head || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 ||
		head->e_shentsize != sizeof *sections)
		return;
	sections = within(p, head->e_shoff, (uint64_t)head->e_shnum * sizeof *sections);
	for (size_t i = 0; sections && i < head->e_shnum; i++) {
		const ElfW(Shdr) *s = &sections[i];
		if (s->sh_type != SHT_SYMTAB || s->sh_link >= head->e_shnum)
			continue;
		names = &sections[s->sh_link];
		p->symbols = within(p, s->sh_offset, s->sh_size);
		p->names = within(p, names->sh_offset, names->sh_size);
		p->n_symbols = p->symbols && p->names ? s->sh_size / sizeof *p->symbols : 0;
		p->n_names = names->sh_size;
	}
}

static void program_open(struct program *p)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	Dl_info own;
	struct stat st;
	void *bytes;

	*p = (struct program){0};
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_size > 0) {
		bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (bytes != MAP_FAILED) {
			p->bytes = bytes;
			p->n = (size_t)st.st_size;
			find_symbols(p);
		}
	}
	close(fd);
	if (dladdr((void *)stacks_dump, &own))
		p->base = (uintptr_t)own.dli_fbase;
}

static void program_close(struct program *p)
{
	if (p->bytes)
		munmap((void *)p->bytes, p->n);
}

/* The function that an address of the program lies in; NULL when it is not known. */
static const char *function_of(const struct program *p, uintptr_t at, uintptr_t *from)
{
	uintptr_t offset = at - p->base;

	for (size_t i = 0; i < p->n_symbols; i++) {
		const ElfW(Sym) *s = &p->symbols[i];
		if (ELF64_ST_TYPE(s->st_info) != STT_FUNC || offset < s->st_value ||
			offset - s->st_value >= s->st_size || s->st_name >= p->n_names ||
			!memchr(p->names + s->st_name, 0, p->n_names - s->st_name))
			continue;
		*from = p->base + s->st_value;
		return p->names + s->st_name;
	}
	return NULL;
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* An address to which a call returns is behind it: the call's own is one byte before. */
static void put_frame(struct buf *out, const struct program *p, size_t number, void *frame)
{
	uintptr_t at = (uintptr_t)frame, from = 0;
	const char *name = NULL;
	Dl_info info = {0};

	if (dladdr((void *)(at - 1), &info) && (uintptr_t)info.dli_fbase == p->base)
		name = function_of(p, at - 1, &from);
	if (!name && info.dli_sname) {
		name = info.dli_sname;
		from = (uintptr_t)info.dli_saddr;
	}
	buf_printf(out, "    #%zu ", number);
	if (name)
		buf_printf(out, "%s+0x%zx", name, (size_t)(at - from));
	else
		buf_printf(out, "0x%zx", (size_t)(at - (uintptr_t)info.dli_fbase));
	buf_printf(out, " (%s)\n", info.dli_fname ? last_part(info.dli_fname) : "?");
}

/* --- one thread ------------------------------------------------------------------------------ */

/* A small file of /proc/self/task/ID; false when the thread is gone. */
static bool read_of(pid_t thread, const char *name, char out[TEXT_MAX])
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "/proc/self/task/%d/%s", (int)thread, name);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return false;
	n = read(fd, out, TEXT_MAX - 1);
	close(fd);
	out[n > 0 ? n : 0] = 0;
	return n >= 0;
}

static struct str field_of(const char *status, const char *name)
{
	struct str rest = str_c(status);

	while (rest.n) {
		struct str value = str_cut(&rest, '\n');
		if (str_eq_c(str_cut(&value, ':'), name))
			return str_trim(value);
	}
	return STR_NONE;
}

static bool takes_signal(const char *status)
{
	char *mask = str_dup(field_of(status, "SigBlk"));
	bool taken = !(strtoull(mask, NULL, 16) & UINT64_C(1) << (THREAD_STACK_SIGNAL - 1));

	free(mask);
	return taken;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

enum asked { ANSWERED, SILENT, STUCK };

/* Have the thread write down its stack. */
static enum asked ask(pid_t thread)
{
	uint64_t question = atomic_load(&slot.state) / PHASES + 1, state;
	struct timespec pause = {.tv_nsec = 50000};
	int64_t begun = now_ms();

	atomic_store(&slot.thread, thread);
	atomic_store(&slot.state, question * PHASES + ASKED);
	if (syscall(SYS_tgkill, getpid(), thread, THREAD_STACK_SIGNAL) < 0)
		begun -= ANSWER_MS; /* it is gone */
	for (;;) {
		state = atomic_load(&slot.state);
		if (state % PHASES == DONE)
			return ANSWERED;
		if (state % PHASES == ASKED && now_ms() - begun >= ANSWER_MS &&
			atomic_compare_exchange_strong(
				&slot.state, &state, question * PHASES + IDLE))
			return SILENT;
		if (now_ms() - begun >= ANSWER_MS + STUCK_MS)
			return STUCK;
		nanosleep(&pause, NULL);
	}
}

static void put_frames(struct buf *out, const struct program *p)
{
	int from = 0;

	for (int i = 0; i < slot.n; i++)
		if (slot.back && slot.frames[i] == slot.back)
			from = i + 1;
	for (int i = from; i < slot.n; i++)
		put_frame(out, p, (size_t)(i - from), slot.frames[i]);
}

/* As the kernel sees a thread that says nothing itself. */
static void put_silent(struct buf *out, pid_t thread, const char *status, const char *why)
{
	struct str state = field_of(status, "State");
	char text[TEXT_MAX];

	buf_printf(out, "    %s: %.*s", why, STR_ARG(state));
	if (read_of(thread, "wchan", text) && text[0] && strcmp(text, "0") != 0)
		buf_printf(out, ", in the kernel at %s", text);
	buf_char(out, '\n');
}

struct dump {
	struct buf *out;
	struct program program;
	int64_t silent_ms;
};

static bool put_thread(struct dump *d, pid_t thread)
{
	char name[TEXT_MAX], status[TEXT_MAX];
	int64_t begun = now_ms();

	if (!read_of(thread, "comm", name) || !read_of(thread, "status", status))
		return true;
	buf_printf(d->out, "  %d %.*s\n", (int)thread, STR_ARG(str_trim(str_c(name))));
	if (thread == (pid_t)syscall(SYS_gettid)) {
		slot.n = backtrace(slot.frames, FRAMES_MAX);
		slot.back = NULL;
		put_frames(d->out, &d->program);
		return true;
	}
	if (!takes_signal(status)) {
		put_silent(d->out, thread, status, "takes no signals");
		return true;
	}
	if (d->silent_ms >= SILENT_MS) {
		put_silent(d->out, thread, status, "not asked, as others did not answer");
		return true;
	}
	switch (ask(thread)) {
	case ANSWERED: put_frames(d->out, &d->program); return true;
	case SILENT:
		d->silent_ms += now_ms() - begun;
		put_silent(d->out, thread, status, "does not answer");
		return true;
	case STUCK: break;
	}
	put_silent(d->out, thread, status, "has not finished its answer, the dump ends here");
	return false;
}

static int by_number(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

static size_t list_threads(pid_t *out, size_t most)
{
	DIR *dir = opendir("/proc/self/task");
	const struct dirent *entry;
	size_t n = 0;

	while (dir && n < most && (entry = readdir(dir))) {
		uint64_t number;
		if (str_u64(str_c(entry->d_name), &number))
			out[n++] = (pid_t)number;
	}
	if (dir)
		closedir(dir);
	qsort(out, n, sizeof *out, by_number);
	return n;
}

void stacks_dump(struct buf *out)
{
	struct dump d = {.out = out};
	pid_t *threads = xcalloc(THREADS_MAX, sizeof *threads);
	size_t n;

	lock_take(&dump_lock);
	n = list_threads(threads, THREADS_MAX);
	buf_printf(out, "threads: %zu\n", n);
	if (atomic_load(&slot.state) % PHASES == WRITING) {
		buf_c(out, "  a thread has not finished its answer to the last dump\n");
	} else {
		program_open(&d.program);
		for (size_t i = 0; i < n && put_thread(&d, threads[i]); i++)
			;
		program_close(&d.program);
	}
	lock_drop(&dump_lock);
	free(threads);
}
