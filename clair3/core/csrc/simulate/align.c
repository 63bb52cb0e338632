#include "simulate/align.h"

#include <stdlib.h>

#include "arrays.h"
#include "codes.h"

/* minimap2's scores for long reads (map-ont), which decide what an aligner prefers */
enum { MATCH = 2, MISMATCH = 4, GAP_OPEN = 4, GAP_EXTEND = 2, NEAR = 8, END_COLUMNS = 300 };

#define OPERATION(x) ((x) & 15)
#define LENGTH(x) ((int64_t)((x) >> 4))
#define RUN(length, operation) ((uint32_t)(length) << 4 | (uint32_t)(operation))

typedef struct {
    const uint8_t *read, *reference;
    uint32_t *runs;
    int64_t n;
    int64_t q, r; /* bases of read and reference before the next run */
} builder;

static int64_t gap_cost(int64_t length) { return GAP_OPEN + GAP_EXTEND * length; }

static int64_t match_score(const builder *b, int64_t q, int64_t r, int64_t n)
{
    int64_t score = 0;
    for (int64_t i = 0; i < n; i++) score += b->read[q + i] == b->reference[r + i] ? MATCH : -MISMATCH;
    return score;
}

static void add_matches(builder *b, int64_t n)
{
    if (!n) return;
    if (b->n && OPERATION(b->runs[b->n - 1]) == SIM_MATCH)
        b->runs[b->n - 1] += RUN(n, 0);
    else
        b->runs[b->n++] = RUN(n, SIM_MATCH);
    b->q += n;
    b->r += n;
}

/* Take the last run off. */
static uint32_t take(builder *b)
{
    uint32_t run = b->runs[--b->n];
    if (OPERATION(run) != SIM_DELETE) b->q -= LENGTH(run);
    if (OPERATION(run) != SIM_INSERT) b->r -= LENGTH(run);
    return run;
}

/* How far an indel of `length` can move left through at most `slack` matches with nothing changed but its place. */
static int64_t way_left(const builder *b, int operation, int64_t length, int64_t slack)
{
    const uint8_t *at = operation == SIM_INSERT ? b->read + b->q : b->reference + b->r;
    int64_t way = 0;
    while (way < slack && at[-way - 1] == at[length - way - 1]) way++;
    return way;
}

/* Two opposite indels with m matches between them: are they worth more than plain matches and mismatches? If not, take
 * both away. Only those of equal length are looked at unless they touch, and then the rest of the longer one stays. */
static int resolved(builder *b, int operation, int64_t length, int64_t between, int64_t other)
{
    int64_t common = length < other ? length : other, rest = length + other - 2 * common;
    int64_t q0 = b->q - between - (operation == SIM_DELETE ? other : 0);
    int64_t r0 = b->r - between - (operation == SIM_INSERT ? other : 0);
    int rest_is_insert = (length > other) == (operation == SIM_INSERT);
    int64_t now = match_score(b, b->q - between, b->r - between, between) - gap_cost(length) - gap_cost(other);
    int64_t then = match_score(b, q0 + (rest_is_insert ? rest : 0), r0 + (rest_is_insert ? 0 : rest), common + between);
    return then - (rest ? gap_cost(rest) : 0) >= now;
}

/* Move an indel left through the matches before it, as far as it goes: 1 when it goes on before them, else 0. Where it
 * comes near one of the other kind and of its length it cancels against that, and *length is 0. *after: matches behind
 * it. */
static int slide(builder *b, int operation, int64_t *length, int64_t *after)
{
    int64_t size = LENGTH(b->runs[b->n - 1]), way = way_left(b, operation, *length, size), between = size - way;
    *after += way;
    if (!between) {
        take(b);
        return 1;
    }
    b->runs[b->n - 1] -= RUN(way, 0);
    b->q -= way;
    b->r -= way;
    uint32_t before = b->n > 1 ? b->runs[b->n - 2] : RUN(0, operation);
    if (between <= NEAR && OPERATION(before) != (uint32_t)operation && LENGTH(before) == *length &&
        resolved(b, operation, *length, between, *length)) {
        take(b);
        take(b);
        *after += between + *length;
        *length = 0;
    }
    return 0;
}

/* Put an indel as far left as it goes; it joins one of its kind and cancels against one of the other. */
static void add_indel(builder *b, int operation, int64_t length)
{
    int64_t after = 0; /* matches that come behind it */
    while (length && b->n) {
        int top = OPERATION(b->runs[b->n - 1]);
        int64_t size = LENGTH(b->runs[b->n - 1]);
        if (top == operation) {
            take(b);
            length += size;
        } else if (top != SIM_MATCH) {
            if (!resolved(b, operation, length, 0, size)) break;
            take(b);
            int64_t common = length < size ? length : size;
            operation = length > size ? operation : top;
            length = length + size - 2 * common;
            after += common;
        } else if (!slide(b, operation, &length, &after)) {
            break;
        }
    }
    if (length) {
        b->runs[b->n++] = RUN(length, operation);
        if (operation == SIM_INSERT) b->q += length;
        if (operation == SIM_DELETE) b->r += length;
    }
    add_matches(b, after);
}

/* Columns over the blocks of the haplotype become runs over the reference. */
static void carry_over(builder *b, const c3_sim_haplotype *h, const c3_sim_segment *s, const c3_sim_columns *c,
                       int64_t block)
{
    int64_t place = s->start, matches = 0, inserted = 0, deleted = 0;
    for (int64_t i = 0; i <= c->n; i++) {
        int on_haplotype = i < c->n && c->op[i] != SIM_INSERT;
        int64_t end = h->block_start[block] + h->block_length[block];
        if (on_haplotype && place >= end && block + 1 < h->n_blocks && place >= h->block_start[block + 1]) {
            int64_t reference_end = h->block_pos[block] + h->block_length[block];
            block++;
            deleted += h->block_pos[block] - reference_end;
            end = h->block_start[block] + h->block_length[block];
        }
        int in_block = on_haplotype && place >= h->block_start[block] && place < end;
        int is_match = i < c->n && c->op[i] == SIM_MATCH && in_block;
        if (matches && (!is_match || deleted)) { /* deleted: of the haplotype, right before this match */
            add_matches(b, matches);
            matches = 0;
        }
        if ((is_match || i == c->n) && (inserted || deleted)) {
            if (inserted) add_indel(b, SIM_INSERT, inserted);
            if (deleted) add_indel(b, SIM_DELETE, deleted);
            inserted = deleted = 0;
        }
        if (i == c->n) break;
        if (is_match) matches++;
        else if (c->op[i] == SIM_DELETE) deleted += in_block;
        else inserted++;
        place += on_haplotype;
    }
}

typedef struct {
    int64_t runs, part, read, reference; /* whole runs, matches of the next one, bases */
} cut;

/* What to clip from one end: up to the column where the score is lowest. step is 1 from the left, -1 from the right. */
static cut worst_end(const builder *b, int step, int bonus)
{
    cut worst = {0};
    int64_t score = 0, lowest = -bonus, columns = 0, q = 0, r = 0;
    for (int64_t i = 0; i < b->n && columns < END_COLUMNS; i++) {
        uint32_t run = b->runs[step > 0 ? i : b->n - 1 - i];
        int64_t length = LENGTH(run);
        if (OPERATION(run) != SIM_MATCH) {
            score -= gap_cost(length);
            if (OPERATION(run) == SIM_INSERT) q += length;
            else r += length;
            if (score < lowest || (worst.runs == i && !worst.part)) { /* an end is no place for a gap */
                lowest = score < lowest ? score : lowest;
                worst = (cut){i + 1, 0, q, r};
            }
            columns += length;
            continue;
        }
        for (int64_t k = 0; k < length && columns < END_COLUMNS; k++, columns++, q++, r++) {
            int64_t at_q = step > 0 ? q : b->q - 1 - q, at_r = step > 0 ? r : b->r - 1 - r;
            int same = b->read[at_q] == b->reference[at_r];
            score += same ? MATCH : -MISMATCH;
            if (score < lowest) {
                lowest = score;
                worst = (cut){i, k + 1, q + 1, r + 1};
            }
        }
    }
    return worst;
}

static int64_t find_block(const c3_sim_haplotype *h, int64_t place)
{
    int64_t low = 0, high = h->n_blocks - 1; /* the last block that starts at or before place */
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        if (h->block_start[middle] <= place) low = middle;
        else high = middle - 1;
    }
    return low;
}

/* Cut the ends, count what differs. */
static void finish(builder *b, int bonus, c3_sim_alignment *a)
{
    cut left = worst_end(b, 1, bonus), right = worst_end(b, -1, bonus);
    a->n = 0;
    a->mismatches = a->gap_bases = 0;
    if (left.read + right.read >= b->q || left.reference + right.reference >= b->r || left.runs + right.runs >= b->n)
        return;
    b->n -= right.runs;
    b->runs[b->n - 1] -= RUN(right.part, 0);
    b->runs[left.runs] -= RUN(left.part, 0);
    for (int64_t i = left.runs; i < b->n; i++)
        if (LENGTH(b->runs[i])) b->runs[a->n++] = b->runs[i];
    a->clip_left = left.read;
    a->clip_right = a->n_bases - (b->q - right.read);
    a->pos += left.reference;
    a->reference_bases = b->r - right.reference - left.reference;
    int64_t q = left.read, r = left.reference;
    for (int64_t i = 0; i < a->n; i++) {
        int64_t length = LENGTH(b->runs[i]);
        int operation = OPERATION(b->runs[i]);
        if (operation != SIM_MATCH) a->gap_bases += length;
        for (int64_t k = 0; operation == SIM_MATCH && k < length; k++)
            a->mismatches += b->read[q + k] != b->reference[r + k];
        q += operation == SIM_DELETE ? 0 : length;
        r += operation == SIM_INSERT ? 0 : length;
    }
}

int c3_sim_align(const c3_sim_haplotype *h, const c3_sim_segment *s, const c3_sim_columns *c,
                 const uint8_t *reference, int64_t n_reference, int end_bonus, c3_sim_alignment *a)
{
    a->n = 0;
    if (c3_grow(&a->cigar, &a->cigar_capacity, 2 * c->n + 8, sizeof *a->cigar)
        || c3_grow(&a->bases, &a->bases_capacity, c->n_bases, 1)
        || c3_grow(&a->quality, &a->quality_capacity, c->n_bases, 1))
        return C3_NO_MEMORY;
    a->n_bases = 0;
    for (int64_t i = 0; i < c->n; i++) {
        if (c->op[i] == SIM_DELETE) continue;
        a->bases[a->n_bases] = c->base[i];
        a->quality[a->n_bases++] = c->quality[i];
    }
    int64_t block = find_block(h, s->start), into = s->start - h->block_start[block];
    int64_t length = h->block_length[block];
    a->pos = h->block_pos[block] + (into < length ? into : length);
    if (a->pos >= n_reference) return C3_OK;
    builder b = {a->bases, reference + a->pos, a->cigar, 0, 0, 0};
    carry_over(&b, h, s, c, block);
    finish(&b, end_bonus, a);
    return C3_OK;
}

void c3_sim_alignment_free(c3_sim_alignment *a)
{
    free(a->cigar);
    free(a->bases);
    free(a->quality);
    *a = (c3_sim_alignment){0};
}
