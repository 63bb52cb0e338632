#include "simulate/read.h"

#include <stdlib.h>

#include "codes.h"

enum { CORRECT, MISMATCH, INSERTED, AFTER_GAP, IN_RUN, LONG_RUN = 4, UNITS = 6, COPIES = 3, LARGEST_TRACT = 255 };

/* ---- random numbers: xoshiro256++ (Blackman and Vigna, public domain), started by splitmix64 ---- */

static uint64_t turned(uint64_t x, int k) { return x << k | x >> (64 - k); }

uint64_t c3_sim_next(c3_sim_random *r)
{
    uint64_t *s = r->state, result = turned(s[0] + s[3], 23) + s[0], t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = turned(s[3], 45);
    return result;
}

void c3_sim_start(c3_sim_random *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        r->state[i] = z ^ z >> 31;
    }
}

/* A number in [0, 1) with 24 bits, so that it is exact as float on every machine. */
static float uniform(c3_sim_random *r) { return (float)(c3_sim_next(r) >> 40) * 0x1p-24f; }

/* Nearly normal, mean 0 and variance 1: the sum of four 16-bit numbers. */
static float normal(c3_sim_random *r)
{
    uint64_t x = c3_sim_next(r);
    int32_t sum = 0;
    for (int k = 0; k < 4; k++) sum += (int32_t)(x >> 16 * k & 0xffff);
    return (float)(sum - 131070) * (1.7320508f / 65536);
}

/* Index of the first of n cumulative chances that is above u; the last one when none is. */
static int chosen(const float *cumulative, int n, float u)
{
    int i = 0;
    while (i < n - 1 && u >= cumulative[i]) i++;
    return i;
}

/* ---- short tandem repeats ---- */

static int is_primitive(const uint8_t *bases, int unit)
{
    for (int part = 1; part < unit; part++) {
        if (unit % part) continue;
        int same = 1;
        for (int i = part; i < unit && same; i++) same = bases[i] == bases[i - part];
        if (same) return 0;
    }
    return 1;
}

void c3_sim_find_tracts(const uint8_t *bases, int64_t n, uint16_t *first, uint16_t *last)
{
    for (int64_t i = 0; i < n; i++) first[i] = last[i] = 0;
    for (int unit = 2; unit <= UNITS; unit++) {
        int64_t same = 0; /* bases that repeat the one a unit before */
        for (int64_t i = unit; i <= n; i++) {
            if (i < n && bases[i] == bases[i - unit]) {
                same++;
                continue;
            }
            int64_t length = same + unit, start = i - length;
            if (same >= (COPIES - 1) * unit && is_primitive(bases + start, unit)) {
                uint16_t tract = (uint16_t)(unit << 8 | (length < LARGEST_TRACT ? length : LARGEST_TRACT));
                first[start] = last[i - 1] = tract;
            }
            same = 0;
        }
    }
}

/* ---- the columns of a read ---- */

typedef struct {
    const c3_sim_profile *profile;
    const uint8_t *bases; /* of the haplotype, in its own direction */
    int64_t start, n;
    int reverse;
    const uint16_t *tracts;
    const uint8_t *sites, *run_class;
    c3_sim_random *random;
    c3_sim_columns *columns;
    int after_gap; /* the next base follows a deletion */
} walk;

/* Base i of the template in the direction of sequencing. */
static inline uint8_t template_base(const walk *w, int64_t i)
{
    return w->reverse ? 3 - w->bases[w->start + w->n - 1 - i] : w->bases[w->start + i];
}

static inline void put(walk *w, uint8_t op, uint8_t base, uint8_t state)
{
    c3_sim_columns *c = w->columns;
    if (op == SIM_MATCH && w->after_gap) {
        if (state == CORRECT || state == IN_RUN) state = AFTER_GAP;
        w->after_gap = 0;
    }
    c->op[c->n] = op;
    c->base[c->n] = base;
    c->state[c->n] = state;
    c->n++;
}

/* Leave n bases of the template out. The base behind a gap has a quality of its own; behind means to the right on the
 * reference, which in a reverse read is the base that was put last. */
static void leave_out(walk *w, int64_t n)
{
    c3_sim_columns *c = w->columns;
    if (w->reverse && c->n && c->op[c->n - 1] == SIM_MATCH && c->state[c->n - 1] != MISMATCH)
        c->state[c->n - 1] = AFTER_GAP;
    for (int64_t i = 0; i < n; i++) put(w, SIM_DELETE, 0, CORRECT);
    w->after_gap = !w->reverse;
}

/* Insert n bases: the unit that starts at base `from`, again and again. */
static void put_copies(walk *w, int64_t from, int unit, int64_t n)
{
    for (int64_t i = 0; i < n; i++) put(w, SIM_INSERT, template_base(w, from + i % unit), INSERTED);
}

/* The change of length of a run of n bases from base i: -3 .. 3. */
static int run_change(const walk *w, uint8_t base, int64_t i, int64_t n, float errors, const float *factors)
{
    int64_t first = w->reverse ? w->start + w->n - i - n : w->start + i;
    int group = (n >= C3_SIM_MIDDLE_RUN) + (n >= C3_SIM_LONG_RUN);
    errors *= w->profile->run_factor[group * C3_SIM_FACTORS + w->run_class[first]];
    int64_t row = (base == 1 || base == 2) * (C3_SIM_RUN + 1) + (n < C3_SIM_RUN ? n : C3_SIM_RUN);
    const float *chance = w->profile->run + row * (2 * C3_SIM_CHANGE + 1);
    float u = uniform(w->random), below = 0;
    for (int change = -C3_SIM_CHANGE; change <= C3_SIM_CHANGE; change++) {
        if (!change) continue;
        below += chance[change + C3_SIM_CHANGE] * errors * factors[change < 0 ? 2 : 1];
        if (u < below) return change < -n ? (int)-n : change;
    }
    return 0;
}

/* Lose or gain a unit of the tract that starts at base i: the number of template bases that are left out. */
static int64_t stutter(walk *w, int64_t i, float errors)
{
    int64_t place = w->reverse ? w->start + w->n - 1 - i : w->start + i;
    int unit = w->tracts[place] >> 8, length = w->tracts[place] & 255;
    if (!unit || i + length > w->n) return 0;
    const float *chance = w->profile->tract + 2 * (length < C3_SIM_TRACT ? length : C3_SIM_TRACT);
    float u = uniform(w->random);
    if (u < chance[0] * errors) {
        leave_out(w, unit);
        return unit;
    }
    if (u < (chance[0] + chance[1]) * errors) put_copies(w, i, unit, unit);
    return 0;
}

static int reserve(c3_sim_columns *c, int64_t n)
{
    c->n = c->n_bases = 0;
    if (n <= c->capacity) return C3_OK;
    c3_sim_columns_free(c);
    uint8_t *memory = malloc((size_t)n * 4);
    if (!memory) return C3_NO_MEMORY;
    c->op = memory;
    c->base = memory + n;
    c->quality = memory + 2 * n;
    c->state = memory + 3 * n;
    c->capacity = n;
    return C3_OK;
}

void c3_sim_columns_free(c3_sim_columns *c)
{
    free(c->op);
    *c = (c3_sim_columns){0};
}

static uint8_t quality(const c3_sim_profile *p, int state, float level)
{
    int i = (int)((level + 4) * (C3_SIM_LEVELS / 8));
    i = i < 0 ? 0 : i >= C3_SIM_LEVELS ? C3_SIM_LEVELS - 1 : i;
    return p->quality[state * C3_SIM_LEVELS + i];
}

/* The share of a level that is not the read's, so that all levels together have variance 1. */
static float own_share(float share)
{
    float x = 1 - share * share, root = 1; /* Newton's square root: the same bits everywhere */
    if (x <= 0) return 0;
    for (int i = 0; i < 20; i++) root = (root + x / root) / 2;
    return root;
}

static void give_qualities(const c3_sim_profile *p, const c3_sim_segment *s, c3_sim_random *random, c3_sim_columns *c)
{
    float own = own_share(p->read_share), fresh = own_share(p->smoothness), wave = normal(random), done = 0;
    for (int64_t i = 0; i < c->n; i++) {
        if (c->op[i] == SIM_DELETE) continue;
        float along = done / (float)c->n;
        wave = p->smoothness * wave + fresh * normal(random);
        float level = p->read_share * s->level + own * wave + p->decline * (0.33333334f - along * along);
        c->quality[i] = quality(p, c->state[i], level);
        done++;
    }
}

static void turn_over(c3_sim_columns *c)
{
    for (int64_t i = 0, j = c->n - 1; i <= j; i++, j--) {
        uint8_t op = c->op[i], base = 3 - c->base[i], quality = c->quality[i];
        c->op[i] = c->op[j];
        c->base[i] = 3 - c->base[j];
        c->quality[i] = c->quality[j];
        c->op[j] = op;
        c->base[j] = base;
        c->quality[j] = quality;
    }
}

/* The base that a read shows where reads of its direction err alike, in the direction of sequencing; -1: the true
 * one. */
static int at_site(const walk *w, int64_t i, float errors)
{
    uint8_t site = w->sites[w->reverse ? w->start + w->n - 1 - i : w->start + i];
    if (!site || uniform(w->random) >= w->profile->site[site >> 2] * errors) return -1;
    return w->reverse ? 3 - (site & 3) : site & 3;
}

/* The bases of a run: an early change of length, then base by base. Returns where the template goes on. */
static int64_t walk_run(walk *w, int64_t i, uint64_t *code, float errors)
{
    const c3_sim_profile *p = w->profile;
    uint8_t base = template_base(w, i);
    int64_t end = i + 1;
    while (end < w->n && template_base(w, end) == base) end++;
    int64_t length = end - i;
    int change = 0;
    for (int64_t k = i; k < end; k++) {
        uint8_t ahead = k + 2 < w->n ? template_base(w, k + 2) : 0;
        *code = (*code << 2 | ahead) & ((1u << 2 * C3_SIM_CONTEXT) - 1);
        const float *factors = p->context + 3 * *code;
        if (k == i) {
            change = run_change(w, base, i, length, errors, factors);
            if (change > 0 && !w->reverse) put_copies(w, i, 1, change);
            if (change < 0 && !w->reverse) leave_out(w, -change);
        }
        if (change < 0 && (w->reverse ? k >= end + change : k < i - change)) {
            if (w->reverse && k == end + change) leave_out(w, -change);
            continue;
        }
        float u = uniform(w->random), below = p->mismatch * errors * factors[0];
        if (u < below) {
            int to = chosen(p->substitution + 4 * base, 4, u / below);
            put(w, SIM_MATCH, (uint8_t)to, to == base ? CORRECT : MISMATCH);
        } else {
            int shown = at_site(w, k, errors);
            if (shown >= 0 && shown != base)
                put(w, SIM_MATCH, (uint8_t)shown, MISMATCH);
            else
                put(w, SIM_MATCH, base, length >= LONG_RUN ? IN_RUN : CORRECT);
        }
    }
    if (change > 0 && w->reverse) put_copies(w, i, 1, change);
    return end;
}

/* Bases of anything, or a gap over several runs, before base i; returns the number of template bases left out. */
static int64_t rare_event(walk *w, int64_t i, float errors)
{
    const c3_sim_profile *p = w->profile;
    float u = uniform(w->random), insertion = p->insertion * errors;
    if (u >= insertion + p->deletion * errors) return 0;
    if (u >= insertion) {
        int64_t n = 2 + chosen(p->deletion_length, C3_SIM_LENGTHS, uniform(w->random));
        int64_t same = 1; /* bases of one run would be a change of its length */
        while (same < n && i + same < w->n && template_base(w, i + same) == template_base(w, i)) same++;
        if (same == n || i + n > w->n) return 0;
        leave_out(w, n);
        return n;
    }
    int64_t n = 1 + chosen(p->insertion_length, C3_SIM_LENGTHS, uniform(w->random));
    uint8_t before = template_base(w, i - 1), behind = template_base(w, i), base;
    do base = c3_sim_next(w->random) >> 62;
    while (base == before || base == behind); /* else it would be a change of a run */
    for (int64_t k = 0; k < n; k++) {
        put(w, SIM_INSERT, base, INSERTED);
        base = c3_sim_next(w->random) >> 62;
    }
    return 0;
}

/* What follows a fragment that is shorter than its read: Illumina's adapter, and then anything. */
static void put_adapter(c3_sim_columns *c, int64_t n, c3_sim_random *random)
{
    static const char ADAPTER[] = "AGATCGGAAGAGCACACGTCTGAACTCCAGTCA", BASES[] = "ACGT";
    int64_t i = c->n;
    for (int64_t left = n; i > 0 && left > 0;) left -= c->op[--i] != SIM_DELETE;
    for (int64_t k = 0; i < c->n; i++) {
        if (c->op[i] == SIM_DELETE) continue;
        c->base[i] = c3_sim_next(random) >> 62;
        for (uint8_t base = 0; k < (int64_t)sizeof ADAPTER - 1 && base < 4; base++)
            if (BASES[base] == ADAPTER[k]) c->base[i] = base;
        if (c->state[i] == MISMATCH) c->state[i] = CORRECT;
        k++;
    }
}

int c3_sim_make_columns(const c3_sim_profile *p, const c3_sim_haplotype *h, const c3_sim_segment *s,
                        c3_sim_random *random, c3_sim_columns *c)
{
    int64_t n = s->length, margin = 4 * LARGEST_TRACT;
    if (reserve(c, 2 * n + margin)) return C3_NO_MEMORY;
    walk w = {p, h->bases, s->start, n, s->reverse, s->reverse ? h->tract_last : h->tract_first,
              s->reverse ? h->site_reverse : h->site_forward, h->run_class, random, c, 0};
    uint64_t code = 0;
    float level = 1 / (1 + p->rise / 3); /* so that the rates are those of the whole read */
    for (int64_t i = 0; i < n && i < 2; i++) code = code << 2 | template_base(&w, i);
    for (int64_t i = 0; i < n;) {
        if (c->n + (n - i) + margin / 2 > c->capacity) break; /* hopelessly many insertions: the read ends here */
        float along = (float)i / (float)n, errors = s->errors * level * (1 + p->rise * s->end_errors * along * along);
        int64_t left_out = i ? rare_event(&w, i, errors) : 0;
        if (!left_out) left_out = stutter(&w, i, errors);
        if (left_out) { /* context is read anew behind the gap */
            i += left_out;
            code = 0;
            for (int64_t k = i; k < n && k < i + 2; k++) code = code << 2 | template_base(&w, k);
            continue;
        }
        i = walk_run(&w, i, &code, errors);
    }
    if (s->adapter) put_adapter(c, s->adapter, random);
    give_qualities(p, s, random, c);
    if (s->reverse) turn_over(c);
    for (int64_t i = 0; i < c->n; i++) c->n_bases += c->op[i] != SIM_DELETE;
    return C3_OK;
}

void c3_sim_make_junk(const c3_sim_profile *p, float level, c3_sim_random *random, uint8_t *base,
                      uint8_t *quality_out, int64_t n)
{
    float own = own_share(p->read_share);
    for (int64_t i = 0; i < n; i++) {
        base[i] = c3_sim_next(random) >> 62;
        quality_out[i] = quality(p, INSERTED, p->read_share * level + own * normal(random));
    }
}
