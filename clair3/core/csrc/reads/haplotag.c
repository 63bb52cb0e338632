#include "reads/haplotag.h"

#include <string.h>

enum { LEFT_BASES = 10, RIGHT_BASES = 11, WINDOW_ROOM = 32, MOST_SETS = 1024 };

typedef struct {
    int64_t ref, query; /* bases walked over */
} walked;

/* One step of a walk: 1 when it is over. */
static int step(walked *w, int op, int64_t length, int64_t target)
{
    if (!length) return 0;
    switch (bam_cigar_type(op)) {
    case 3: /* M = X */
        w->ref += length;
        w->query += length;
        if (w->ref < target) return 0;
        w->query -= w->ref - target;
        w->ref = target;
        return 1;
    case 2: /* D N; a skip counts as all that is left */
        w->ref += length;
        if (w->ref < target && op != BAM_CREF_SKIP) return 0;
        w->ref = target;
        return 1;
    case 1: /* I S; clips do not count and do not stop the walk */
        if (op == BAM_CINS) w->query += length;
        return 0;
    default: /* H P */
        return 0;
    }
}

/* From inside op i, of which `length` bases lie on this side, outwards by `by` (-1 or 1) until `target` reference
 * bases. A read that ends before gives what it has if `partial`, else nothing at all. */
static walked walk(const bam1_t *read, int64_t i, int64_t length, int by, int64_t target, int partial)
{
    const uint32_t *cigar = bam_get_cigar(read);
    walked w = {0, 0};
    if (step(&w, bam_cigar_op(cigar[i]), length, target)) return w;
    for (i += by; i >= 0 && i < read->core.n_cigar; i += by)
        if (step(&w, bam_cigar_op(cigar[i]), bam_cigar_oplen(cigar[i]), target)) return w;
    return partial ? w : (walked){0, 0};
}

/* Levenshtein distance of read letters to a short window (at most 32 letters), bit-parallel: one column of the table
 * is two bit vectors of its steps. */
static int64_t distance(const uint8_t *seq, int64_t from, int64_t to, const char *window, int length)
{
    if (!length) return to - from;
    const uint64_t last = 1ull << (length - 1);
    uint64_t up = ~0ull, down = 0; /* vertical steps of +1 and -1 */
    int64_t score = length;
    for (int64_t q = from; q < to; q++) {
        char letter = seq_nt16_str[bam_seqi(seq, q)];
        uint64_t equal = 0;
        for (int k = 0; k < length; k++) equal |= (uint64_t)(window[k] == letter) << k;
        uint64_t diagonal = equal | down;
        uint64_t zero = (((equal & up) + up) ^ up) | equal;
        uint64_t right_up = down | ~(zero | up), right_down = up & zero;
        score += (right_up & last) ? 1 : 0;
        score -= (right_down & last) ? 1 : 0;
        right_up = (right_up << 1) | 1;
        right_down <<= 1;
        up = right_down | ~(diagonal | right_up);
        down = right_up & diagonal;
    }
    return score;
}

/* Which allele the read shows at a SNP: 1 REF, 2 ALT, 0 neither. `anchor` is its query base at the SNP, `consumed` the
 * bases of op i before it. Lower-case reference letters never match a read. */
static int compare_alleles(const bam1_t *read, int64_t i, int64_t consumed, int64_t anchor, int64_t pos, char alt,
                           const c3_reference_span *reference, int partial)
{
    int64_t behind = bam_cigar_oplen(bam_get_cigar(read)[i]) - consumed;
    walked left = walk(read, i, consumed, -1, LEFT_BASES, partial);
    walked right = walk(read, i, behind > 0 ? behind : 0, 1, RIGHT_BASES, partial);
    if (left.ref > pos) left.ref = pos; /* a skip ends a walk at its target, even before the contig */
    int64_t from = anchor - left.query, to = anchor + right.query, at = pos - left.ref - reference->start;
    char window[WINDOW_ROOM], other[WINDOW_ROOM];
    int length = (int)(left.ref + right.ref);
    if (from < 0) from = 0;
    if (to > read->core.l_qseq) to = read->core.l_qseq;
    if (from >= to || at < 0) return 0;
    if (at + length > reference->length) length = (int)(reference->length - at);
    if (length < left.ref) return 0;
    memcpy(window, reference->letters + at, length);
    memcpy(other, window, length);
    other[left.ref] = alt; /* behind the end when the right side is empty: then ALT is appended (E-K7) */
    int other_length = left.ref >= length ? (int)left.ref + 1 : length;
    int64_t to_ref = distance(bam_get_seq(read), from, to, window, length);
    int64_t to_alt = distance(bam_get_seq(read), from, to, other, other_length);
    return to_ref < to_alt ? 1 : to_ref > to_alt ? 2 : 0;
}

typedef struct {
    int n;
    int64_t set[MOST_SETS];
    int64_t total[MOST_SETS];
} votes;

static void vote(votes *v, int64_t phase_set, int value)
{
    int k = 0;
    while (k < v->n && v->set[k] != phase_set) k++;
    if (k == MOST_SETS) return; /* a read over more than 1024 phase sets: the first 1024 decide */
    if (k == v->n) {
        v->set[k] = phase_set;
        v->total[k] = 0;
        v->n++;
    }
    v->total[k] += value;
}

static int decide(const votes *v)
{
    int64_t most = 0, least = 0;
    for (int k = 0; k < v->n; k++) {
        if (v->total[k] > most) most = v->total[k];
        if (v->total[k] < least) least = v->total[k];
    }
    if (!most && !least) return 0;
    return most > -least ? 1 : 2; /* ties go to 2: kept (E-K18) */
}

static int64_t first_at_or_after(const c3_snps *snps, int64_t pos)
{
    int64_t low = 0, high = snps->n;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (snps->pos[middle] < pos) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* SNPs at which a read is looked at, and who is told. */
typedef struct {
    const bam1_t *read;
    const c3_snps *snps;
    const c3_reference_span *reference;
    int partial;
    c3_take_allele *take;
    void *context;
} looking;

static int look(const looking *l, int64_t j, int64_t i, int64_t consumed, int64_t anchor)
{
    char alt = (char)l->snps->alt[j];
    int allele = compare_alleles(l->read, i, consumed, anchor, l->snps->pos[j], alt, l->reference, l->partial);
    return allele ? l->take(l->context, j, allele) : C3_OK;
}

int c3_for_each_allele(const bam1_t *read, const c3_snps *snps, const c3_reference_span *reference, int partial,
                       c3_take_allele *take, void *context)
{
    const looking l = {read, snps, reference, partial, take, context};
    const uint32_t *cigar = bam_get_cigar(read);
    int64_t x = read->core.pos, y = 0, j = first_at_or_after(snps, x);
    int code = C3_OK;
    for (int64_t i = 0; i < read->core.n_cigar && j < snps->n && code == C3_OK; i++) {
        int op = bam_cigar_op(cigar[i]), consumes = bam_cigar_type(op);
        int64_t length = bam_cigar_oplen(cigar[i]);
        if (consumes & 2) {
            for (; j < snps->n && snps->pos[j] < x + length && code == C3_OK; j++)
                if (op != BAM_CREF_SKIP)
                    code = look(&l, j, i, snps->pos[j] - x, consumes == 3 ? y + snps->pos[j] - x : y);
            x += length;
        } else if (op == BAM_CINS && snps->pos[j] == x) {
            code = look(&l, j++, i, 0, y);
        }
        if (consumes & 1) y += length;
    }
    return code;
}

typedef struct {
    const c3_phased_snps *snps;
    votes votes;
} voting;

static int take_allele(void *context, int64_t j, int allele)
{
    voting *v = context;
    vote(&v->votes, v->snps->phase_set[j], allele == v->snps->haplotype[j] ? 1 : -1);
    return C3_OK;
}

int c3_vote_haplotype(const bam1_t *read, const c3_phased_snps *snps, const c3_reference_span *reference)
{
    const c3_snps sites = {snps->n, snps->pos, snps->alt};
    voting v;
    v.snps = snps;
    v.votes.n = 0;
    if (!snps->n || read->core.qual < C3_PHASING_MAPQ) return 0;
    /* not partial, letters as they are: kept (E-K7, E-K4) */
    c3_for_each_allele(read, &sites, reference, 0, take_allele, &v);
    return decide(&v.votes);
}
