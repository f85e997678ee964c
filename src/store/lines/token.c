/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tokeniser: every line that is stored passes here, so it is made for speed.
 *
 * One pass over 64 bytes at a time makes two masks of the line, a bit a byte:
 * decimal digits and letters.  From there only digit runs are visited: their
 * starts are found by a shift, their lengths by counting zeros.  A token
 * without a digit costs nothing at all, and one of digits alone is a slot at
 * once; only where a letter touches a digit the token's bytes are looked at one
 * by one.  Constant text is hashed on the way, a slot's text in steps of eight
 * bytes, the last of which takes the slot's kind and width with it.
 */
#include "store/lines/token.h"

#include <endian.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum {
	WORD = 64,
	WORDS_MAX = TOKEN_LINE_MAX / WORD + 1, /* one more, of zeros, ends every run */
	NUMBER_MAX = 9,
	LONG_MAX_DIGITS = 19,
	UUID_GROUP = 8, /* the first one */
	SHORT_HEX_MIN = 4,
	CHAIN_DIGITS = 4, /* of a group */
	CHAIN_MIN = 6,    /* groups */
	CHAIN_SHORT = 3,  /* with '::' */
	CHANGES_MAX = 4,
	CHANCE_MIN_BYTES = 8,
	CHANCE_MIN_CHANGES = 3,
	CHANCE_BYTES_PER_CHANGE = 4,
};

#define FACTOR UINT64_C(0xd6e8feb86659fd93)

/* Classes of bytes, for tokens that need the long look. */
enum {
	DIGIT = 1,
	LOWER = 2,
	UPPER = 4,
	LOWER_HEX = 8 | LOWER,
	UPPER_HEX = 16 | UPPER,
	NOT_HEX = 32,
	LOWER_REST = LOWER | NOT_HEX,
	UPPER_REST = UPPER | NOT_HEX,
};

static const uint8_t class_of[256] = {
	['0' ... '9'] = DIGIT,
	['a' ... 'f'] = LOWER_HEX,
	['g' ... 'z'] = LOWER_REST,
	['A' ... 'F'] = UPPER_HEX,
	['G' ... 'Z'] = UPPER_REST,
};

struct masks {
	uint64_t digit[WORDS_MAX + 1], letter[WORDS_MAX + 1];
};

static uint64_t load(const char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
	return le64toh(v);
}

static uint64_t mix(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Fewer than eight bytes, of which `before` and `after` around them may be read. */
static inline uint64_t load_short(const char *p, size_t n, size_t before, size_t after)
{
	uint64_t v = 0;

	if (__builtin_expect(n + after >= 8, 1))
		return load(p) & ((UINT64_C(1) << (8 * n)) - 1);
	if (n + before >= 8)
		return n ? load(p + n - 8) >> (8 * (8 - n)) : 0;
	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)(uint8_t)p[i] << (8 * i);
	return v;
}

/* The hash of n bytes at p and the slot behind them; of most, which are 16 bytes or less, it takes
 * one multiplication.  `before` and `after` bytes around them may be read. */
static inline uint64_t hash_step(
	uint64_t h, const char *p, size_t n, size_t before, size_t after, uint32_t slot)
{
	uint64_t first, last = FACTOR ^ (uint64_t)slot << 32 ^ n;

	for (; n > 16; p += 8, before += 8, n -= 8)
		h = mix(h ^ load(p), FACTOR);
	if (n < 8) {
		first = load_short(p, n, before, after);
	} else {
		/* The last eight may overlap the first. */
		first = load(p);
		last ^= load(p + n - 8) << 1;
	}
	return mix(h ^ first, last);
}

uint64_t token_hash(uint64_t hash, struct str text, uint8_t kind, uint8_t width)
{
	return hash_step(hash, text.p, text.n, 0, 0, (uint32_t)kind << 8 | width);
}

/* Masks of up to 64 bytes.  Kept beside the faster one for other machines, and to test that one. */
__attribute__((unused)) static inline void masks_scalar(
	const char *p, size_t n, uint64_t *digit, uint64_t *letter)
{
	uint64_t d = 0, l = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t class = class_of[(uint8_t)p[i]];
		d |= (uint64_t)(class & DIGIT) << i;
		l |= (uint64_t)((class & (LOWER | UPPER)) != 0) << i;
	}
	*digit = d;
	*letter = l;
}

#if defined(__SSE2__)
/* Which bytes are among the `n` that begin with `first`? */
static inline uint64_t among(__m128i bytes, char first, char n)
{
	__m128i x = _mm_sub_epi8(bytes, _mm_set1_epi8(first));
	__m128i in = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8((char)(n - 1))), x);

	return (uint64_t)(uint32_t)_mm_movemask_epi8(in);
}

static inline void masks_sse2(const char *p, uint64_t *digit, uint64_t *letter)
{
	const __m128i small = _mm_set1_epi8(0x20); /* 'A' | 0x20 is 'a', and no other byte's */
	uint64_t d = 0, l = 0;

	for (int i = 0; i < WORD; i += 16) {
		__m128i x = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
		d |= among(x, '0', 10) << i;
		l |= among(_mm_or_si128(x, small), 'a', 26) << i;
	}
	*digit = d;
	*letter = l;
}

/* The masks of a line, ended by words of zeros.  Nothing beyond the line is read: the last window
 * of a line is taken so that it ends with it. */
static size_t make_masks(struct masks *m, struct str line)
{
	size_t i = 0, n = line.n;

	for (; n - i * WORD >= WORD; i++)
		masks_sse2(line.p + i * WORD, &m->digit[i], &m->letter[i]);
	if (n % WORD) {
		char window[WORD] = {0};
		const char *p = window;
		size_t skip = 0;
		if (n >= WORD) {
			p = line.p + n - WORD;
			skip = WORD - n % WORD;
		} else {
			memcpy(window, line.p, n);
		}
		masks_sse2(p, &m->digit[i], &m->letter[i]);
		m->digit[i] >>= skip;
		m->letter[i++] >>= skip;
	}
	m->digit[i] = m->letter[i] = 0;
	return i;
}
#else
static size_t make_masks(struct masks *m, struct str line)
{
	size_t i = 0;

	for (size_t at = 0; at < line.n; at += WORD, i++)
		masks_scalar(line.p + at, line.n - at < WORD ? line.n - at : WORD, &m->digit[i],
			&m->letter[i]);
	m->digit[i] = m->letter[i] = 0;
	return i;
}
#endif

/* How many bits in a row are set from `at` on, in a or b? */
static inline size_t run_of(const uint64_t *a, const uint64_t *b, size_t at)
{
	size_t word = at / WORD, bit = at % WORD;
	uint64_t clear = ~((a[word] | b[word]) >> bit);
	size_t n = clear ? (size_t)__builtin_ctzll(clear) : WORD;

	/* The bits shifted in are zeros: they end a run that goes on in the next word. */
	if (bit + n < WORD)
		return n;
	n = WORD - bit;
	for (word++; (clear = ~(a[word] | b[word])) == 0; word++)
		n += WORD;
	return n + (size_t)__builtin_ctzll(clear);
}

static inline bool bit_at(const uint64_t *a, size_t at)
{
	return a[at / WORD] >> (at % WORD) & 1;
}

/* How many letters in a row stand before `at`? */
static size_t letters_before(const struct masks *m, size_t at)
{
	size_t n = 0;

	while (n < at && bit_at(m->letter, at - n - 1))
		n++;
	return n;
}

/* The tokens of a line as they are made. */
struct cut {
	struct str line;
	struct token *out;
	uint32_t n;
	uint32_t done; /* bytes of the line that are in the hash or in a slot */
	uint64_t hash;
	/* Chains (rule 2) are rare: a line is cut again, looking at them, when the first one is
	 * seen, as numbers in front of that may belong to it. */
	bool chains, again;
	uint32_t no_chain; /* none begins before */
};

static inline bool emit(struct cut *c, size_t at, size_t n, uint8_t kind, uint8_t width)
{
	if (c->n == TOKEN_SLOTS_MAX)
		return false;
	c->hash = hash_step(c->hash, c->line.p + c->done, at - c->done, c->done, c->line.n - at,
		(uint32_t)kind << 8 | width);
	c->out[c->n++] = (struct token){(uint32_t)at, (uint16_t)n, kind, width};
	c->done = (uint32_t)(at + n);
	return true;
}

static bool emit_text(struct cut *c, size_t at, size_t n)
{
	for (; n > TOKEN_TEXT_MAX; at += TOKEN_TEXT_MAX, n -= TOKEN_TEXT_MAX)
		if (!emit(c, at, TOKEN_TEXT_MAX, SLOT_TEXT, 0))
			return false;
	return emit(c, at, n, SLOT_TEXT, 0);
}

/* A run of decimal digits. */
static inline bool emit_digits(struct cut *c, size_t at, size_t n)
{
	if (n <= NUMBER_MAX)
		return emit(c, at, n, SLOT_NUMBER, 0);
	if (n <= LONG_MAX_DIGITS)
		return emit(c, at, n, SLOT_LONG, (uint8_t)n);
	return emit_text(c, at, n);
}

/* The kind of hexadecimal digits that have these classes, 0 when they are none or of both cases. */
static uint8_t hex_kind(unsigned classes, uint8_t lower, uint8_t upper)
{
	if (classes & NOT_HEX || (classes & LOWER && classes & UPPER))
		return 0;
	return classes & UPPER ? upper : lower;
}

/* Does a token of eight bytes begin a UUID?  0 or its kind. */
static uint8_t uuid_at(struct str line, size_t at)
{
	static const uint8_t dash[] = {8, 13, 18, 23};
	const char *p = line.p + at;
	unsigned classes = 0;

	if (line.n - at < TOKEN_UUID)
		return 0;
	for (size_t i = 0; i < sizeof dash; i++)
		if (p[dash[i]] != '-')
			return 0;
	for (size_t i = 0; i < TOKEN_UUID; i++) {
		uint8_t class = class_of[(uint8_t)p[i]];
		if (class == 0 && i != 8 && i != 13 && i != 18 && i != 23)
			return 0;
		classes |= class;
	}
	if (line.n - at > TOKEN_UUID && class_of[(uint8_t)p[TOKEN_UUID]])
		return 0;
	return hex_kind(classes, SLOT_UUID, SLOT_UUID_UPPER);
}

/* What the bytes of a token are: the classes of all, and how often they change. */
static unsigned look_at(const char *p, size_t n, size_t *changes)
{
	unsigned classes = 0, last = class_of[(uint8_t)p[0]];

	*changes = 0;
	for (size_t i = 0; i < n; i++) {
		unsigned class = class_of[(uint8_t)p[i]];
		unsigned differ = (class ^ last) & (DIGIT | LOWER | UPPER);
		/* A small letter behind a capital is how words begin. */
		*changes += differ != 0 && !(last & UPPER && class & LOWER);
		classes |= class;
		last = class;
	}
	return classes;
}

static bool by_chance(size_t changes, size_t n)
{
	return changes > CHANGES_MAX || (n >= CHANCE_MIN_BYTES && changes >= CHANCE_MIN_CHANGES &&
						changes * CHANCE_BYTES_PER_CHANGE >= n);
}

/* Behind "0x": nothing but hexadecimal digits?  *done says whether the rule fits. */
static bool emit_address(struct cut *c, size_t at, size_t n, bool *done)
{
	const char *p = c->line.p + at;
	unsigned classes = 0;
	uint8_t kind;

	*done = false;
	if (n < 3 || p[0] != '0' || p[1] != 'x')
		return true;
	for (size_t i = 2; i < n; i++)
		classes |= class_of[(uint8_t)p[i]];
	if (classes & NOT_HEX)
		return true;
	*done = true;
	kind = hex_kind(classes, SLOT_HEX, SLOT_HEX_UPPER);
	n -= 2;
	if (kind && n >= TOKEN_HEX_MIN && n <= TOKEN_HEX_MAX)
		return emit(c, at + 2, n, kind, (uint8_t)n);
	return emit_text(c, at + 2, n);
}

/* The bytes of the group of a chain at `at`, 0 when there is none. */
static size_t group_at(struct str line, size_t at, unsigned *classes)
{
	unsigned all = 0;
	size_t n = 0;

	for (; at + n < line.n && class_of[(uint8_t)line.p[at + n]]; n++)
		all |= class_of[(uint8_t)line.p[at + n]];
	if (n > CHAIN_DIGITS || all & NOT_HEX)
		return 0;
	*classes = all;
	return n;
}

/* How many bytes join two groups at `at`: ':' or '::', and a group follows. */
static size_t joint_at(struct str line, size_t at)
{
	size_t n = 0;
	unsigned classes;

	while (n < 2 && at + n < line.n && line.p[at + n] == ':')
		n++;
	return n && group_at(line, at + n, &classes) ? n : 0;
}

/* Where the chain begins whose group is at `at`. */
static size_t chain_start(struct str line, size_t at)
{
	for (;;) {
		size_t joint = 0, n = 0;
		unsigned classes;
		while (joint < 2 && joint < at && line.p[at - joint - 1] == ':')
			joint++;
		while (n <= CHAIN_DIGITS && joint + n < at &&
			class_of[(uint8_t)line.p[at - joint - n - 1]])
			n++;
		if (!joint || !n || !group_at(line, at - joint - n, &classes))
			return at;
		at -= joint + n;
	}
}

/* Is the token of n bytes at `at` a group of a chain?  Then from *start to *end. */
static bool find_chain(struct cut *c, size_t at, size_t n, size_t *start, size_t *end)
{
	struct str line = c->line;
	unsigned classes = 0, all = 0;
	size_t groups = 0, joint;
	bool twice = false, mixed = false;

	if (at < c->no_chain || n > CHAIN_DIGITS ||
		!((at && line.p[at - 1] == ':') || (at + n < line.n && line.p[at + n] == ':')) ||
		!group_at(line, at, &classes))
		return false;
	at = *start = chain_start(line, at);
	do {
		n = group_at(line, at, &classes);
		all |= classes;
		mixed |= classes & DIGIT && classes & (LOWER | UPPER);
		groups++;
		*end = at + n;
		joint = joint_at(line, *end);
		twice |= joint == 2;
		at = *end + joint;
	} while (joint);
	if ((!c->chains || *start >= c->done) && mixed && hex_kind(all, 1, 1) &&
		groups >= (twice ? CHAIN_SHORT : CHAIN_MIN))
		return true;
	c->no_chain = (uint32_t)*end;
	return false;
}

static bool emit_chain(struct cut *c, size_t at, size_t end)
{
	unsigned classes;

	for (; at < end; at += joint_at(c->line, at)) {
		size_t n = group_at(c->line, at, &classes);
		if (!emit(c, at, n, SLOT_TEXT, 0))
			return false;
		at += n;
	}
	return true;
}

/* A token of letters and digits at `at`. */
static bool emit_mixed(struct cut *c, const struct masks *m, size_t at, size_t n)
{
	size_t changes, end = at + n;
	unsigned classes;
	uint8_t kind;
	bool done;

	if (!emit_address(c, at, n, &done))
		return false;
	if (done)
		return true;
	classes = look_at(c->line.p + at, n, &changes);
	kind = hex_kind(classes, SLOT_HEX, SLOT_HEX_UPPER);
	if (kind && n >= TOKEN_HEX_MIN && n <= TOKEN_HEX_MAX)
		return emit(c, at, n, kind, (uint8_t)n);
	if ((kind && n >= SHORT_HEX_MIN) || by_chance(changes, n))
		return emit_text(c, at, n);
	while (at < end) {
		size_t digits = run_of(m->digit, m->digit, at);
		if (digits && !emit_digits(c, at, digits))
			return false;
		at += digits;
		at += run_of(m->letter, m->letter, at);
	}
	return true;
}

/* A run of n digits at `at`, not yet cut: with its token when letters touch it.  *next is where
 * looking goes on. */
static inline bool emit_run(
	struct cut *c, const struct masks *m, size_t at, size_t n, bool letter_before, size_t *next)
{
	bool mixed = letter_before || bit_at(m->letter, at + n);
	uint8_t uuid;
	size_t start;

	if (__builtin_expect(mixed, 0)) {
		size_t before = letter_before ? letters_before(m, at) : 0;
		at -= before;
		n = before + run_of(m->digit, m->letter, at + before);
	}
	*next = at + n;
	if (__builtin_expect(n == UUID_GROUP, 0) && (uuid = uuid_at(c->line, at)) != 0) {
		*next = at + TOKEN_UUID;
		return emit(c, at, TOKEN_UUID, uuid, 0);
	}
	if (__builtin_expect(mixed || c->chains, 0) && find_chain(c, at, n, &start, next)) {
		c->again = !c->chains;
		return c->chains && emit_chain(c, start, *next);
	}
	*next = at + n;
	return __builtin_expect(mixed, 0) ? emit_mixed(c, m, at, n) : emit_digits(c, at, n);
}

static bool cut_line(struct cut *c, const struct masks *m, size_t words)
{
	uint64_t digit = 0, letter = 0; /* the words before */
	size_t next = 0;

	for (size_t i = 0; i < words; i++) {
		uint64_t starts = m->digit[i] & ~(m->digit[i] << 1 | digit >> (WORD - 1));
		uint64_t before = m->letter[i] << 1 | letter >> (WORD - 1);
		digit = m->digit[i];
		letter = m->letter[i];
		for (; starts; starts &= starts - 1) {
			size_t bit = (size_t)__builtin_ctzll(starts), at = i * WORD + bit;
			if (at < next)
				continue;
			if (!emit_run(c, m, at, run_of(m->digit, m->digit, at), before >> bit & 1,
				    &next))
				return false;
		}
	}
	return true;
}

int tokens_of(struct str line, struct token *out, uint64_t *hash)
{
	struct masks m;
	struct cut c = {.line = line, .out = out, .hash = TOKEN_HASH};
	size_t words;

	if (line.n > TOKEN_LINE_MAX)
		return -1;
	words = make_masks(&m, line);
	if (!cut_line(&c, &m, words)) {
		if (!c.again)
			return -1;
		c = (struct cut){.line = line, .out = out, .hash = TOKEN_HASH, .chains = true};
		if (!cut_line(&c, &m, words))
			return -1;
	}
	*hash = hash_step(c.hash, line.p ? line.p + c.done : NULL, line.n - c.done, c.done, 0, 0);
	return (int)c.n;
}
