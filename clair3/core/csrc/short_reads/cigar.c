#include "short_reads/cigar.h"

#include <stdlib.h>
#include <string.h>

#include <htslib/sam.h>

#include "arrays.h"
#include "codes.h"

int c3_cigar_add(c3_cigar *cigar, int op, int64_t length)
{
    if (length <= 0) return C3_OK;
    if (cigar->n && (int)bam_cigar_op(cigar->ops[cigar->n - 1]) == op) {
        cigar->ops[cigar->n - 1] += (uint32_t)length << BAM_CIGAR_SHIFT;
        return C3_OK;
    }
    int code = c3_grow(&cigar->ops, &cigar->capacity, cigar->n + 1, sizeof *cigar->ops);
    if (code == C3_OK) cigar->ops[cigar->n++] = bam_cigar_gen((uint32_t)length, op);
    return code;
}

void c3_cigar_free(c3_cigar *cigar)
{
    free(cigar->ops);
    *cigar = (c3_cigar){0};
}

void c3_cigar_reverse(c3_cigar *cigar)
{
    for (int64_t i = 0, j = cigar->n - 1; i < j; i++, j--) {
        uint32_t op = cigar->ops[i];
        cigar->ops[i] = cigar->ops[j];
        cigar->ops[j] = op;
    }
}

int c3_cigar_copy(const c3_cigar *cigar, c3_cigar *into)
{
    int code = c3_grow(&into->ops, &into->capacity, cigar->n, sizeof *into->ops);
    if (code != C3_OK) return code;
    if (cigar->n) memcpy(into->ops, cigar->ops, cigar->n * sizeof *into->ops);
    into->n = cigar->n;
    return C3_OK;
}

static int is_gap(int op)
{
    return op == BAM_CINS || op == BAM_CDEL;
}

int64_t c3_cigar_gaps(const c3_cigar *cigar)
{
    int64_t gaps = 0;
    for (int64_t i = 0; i < cigar->n; i++)
        if (is_gap(bam_cigar_op(cigar->ops[i]))) gaps += bam_cigar_oplen(cigar->ops[i]);
    return gaps;
}

int64_t c3_cigar_shift(const c3_cigar *haplotype, int64_t place)
{
    int64_t shift = 0, base = 0;
    for (int64_t i = 0; i < haplotype->n && base <= place; i++) {
        int op = bam_cigar_op(haplotype->ops[i]);
        int64_t length = bam_cigar_oplen(haplotype->ops[i]);
        if (op == BAM_CDEL) {
            shift += length;
            continue;
        }
        if (op == BAM_CINS) shift -= place - base < length ? place - base : length;
        else if (op == BAM_CSOFT_CLIP && !base) shift -= length;
        base += length;
    }
    return shift;
}

/* The rest of a CIGAR: the operation at its head, = and X as M, and what is left of it. Runs of = and of X stay apart:
 * a gap of the other CIGAR uses up the one at the head and nothing of the next. */
typedef struct {
    const c3_cigar *cigar;
    int64_t next, left;
    int op; /* -1 at the end */
} rest;

static int simplify(uint32_t op)
{
    int kind = bam_cigar_op(op);
    return kind == BAM_CEQUAL || kind == BAM_CDIFF ? BAM_CMATCH : kind;
}

static void advance(rest *r)
{
    const c3_cigar *cigar = r->cigar;
    r->left = 0;
    r->op = -1;
    if (r->next >= cigar->n) return;
    r->op = simplify(cigar->ops[r->next]);
    r->left = bam_cigar_oplen(cigar->ops[r->next++]);
}

static rest begin(const c3_cigar *cigar)
{
    rest r = {cigar, 0, 0, -1};
    advance(&r);
    return r;
}

static void shorten(rest *r, int64_t by)
{
    r->left -= by;
    if (r->left <= 0) advance(r);
}

/* Drop the haplotype's first bases and the deletions between them; of those behind only the first. */
static void drop(rest *r, int64_t bases)
{
    if (!bases) return;
    while (bases > 0 && r->op >= 0) {
        int64_t gone = r->op == BAM_CDEL ? r->left : bases < r->left ? bases : r->left;
        if (r->op != BAM_CDEL) bases -= gone;
        shorten(r, gone);
    }
    if (r->op == BAM_CDEL) advance(r);
}

/* The length of the head, which is taken off. */
static int64_t take(rest *r)
{
    int64_t length = r->left;
    advance(r);
    return length;
}

/* What two heads have in common, which is taken off both. */
static int64_t take_common(rest *a, rest *b)
{
    int64_t length = a->left < b->left ? a->left : b->left;
    shorten(a, length);
    shorten(b, length);
    return length;
}

static int is_along(int op)
{
    return op == BAM_CMATCH || op == BAM_CSOFT_CLIP;
}

/* What the two heads make of the next bases: an operation and its length, with the heads moved on; -1 if they do not
 * fit together. `unread` is how many bases of the read are left. */
static int join(rest *read, rest *haplotype, int64_t unread, int64_t *length)
{
    const int a = read->op, b = haplotype->op;
    if (b < 0) {
        *length = take(read);
        return a;
    }
    if (is_along(a) && is_along(b)) {
        *length = take_common(read, haplotype);
        return a == BAM_CSOFT_CLIP ? a : b;
    }
    if (is_gap(a) && a == b) {
        *length = take(read) + take(haplotype);
        return a;
    }
    if (is_gap(a) && is_along(b)) {
        *length = take(read);
        if (a == BAM_CDEL) shorten(haplotype, *length);
        return a;
    }
    if (is_along(a) && is_gap(b)) {
        *length = take(haplotype);
        if (b == BAM_CINS) shorten(read, *length < unread ? *length : unread);
        return b;
    }
    return -1;
}

static int64_t query_length(const c3_cigar *cigar)
{
    return bam_cigar2qlen((int)cigar->n, cigar->ops);
}

int c3_cigar_compose(const c3_cigar *read, int64_t place, const c3_cigar *haplotype, c3_cigar *into)
{
    rest a = begin(read), b = begin(haplotype);
    int64_t unread = query_length(read), length;
    int code = C3_OK;
    into->n = 0;
    drop(&b, place);
    if (a.op == BAM_CSOFT_CLIP) {
        code = c3_cigar_add(into, BAM_CSOFT_CLIP, a.left);
        unread -= a.left;
        advance(&a);
    }
    while (code == C3_OK && unread > 0 && a.op >= 0) {
        const int op = join(&a, &b, unread, &length);
        if (op < 0) break;
        if (op != BAM_CDEL) length = length < unread ? length : unread;
        if (op != BAM_CDEL) unread -= length;
        code = c3_cigar_add(into, op, length);
    }
    if (unread) into->n = 0; /* stopped early */
    return code;
}
