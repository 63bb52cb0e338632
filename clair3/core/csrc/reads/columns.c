#include "reads/columns.h"

#include <stdlib.h>

#include "arrays.h"
#include "codes.h"
#include "letters.h"

/* Most indels held at a time, 100 MB with their sorted copy; a longer or deeper region is to be asked for in parts. */
enum { MOST_INDELS = 2000000, SMALLEST_REGION = 2000 };

/* 4-bit BAM letter -> channel, C3_OTHER for anything but A, C, G, T */
static const uint8_t channels[16] = {4, 0, 1, 4, 2, 4, 4, 4, 3, 4, 4, 4, 4, 4, 4, 4};

int c3_columns_start(c3_columns *p, int64_t start, int64_t end, int32_t longest, int want_first)
{
    const int64_t n = end - start;
    *p = (c3_columns){.start = start, .end = end, .n = n, .longest = longest, .reference_end = end};
    p->counts = calloc(n * C3_CHANNELS + 1, sizeof *p->counts);
    p->other = calloc(n + 1, sizeof *p->other);
    p->skipped = calloc(n + 1, 1);
    p->first = want_first ? calloc(n * 4 + 1, sizeof *p->first) : NULL;
    return p->counts && p->other && p->skipped && (p->first || !want_first) ? C3_OK : C3_NO_MEMORY;
}

void c3_columns_free(c3_columns *p)
{
    free(p->counts);
    free(p->other);
    free(p->skipped);
    free(p->first);
    free(p->indels);
    free(p->indel_start);
    free(p->pool);
    *p = (c3_columns){0};
}

/* ---- indels ----------------------------------------------------------------------------------------------------- */

static int add_indel(c3_columns *p, int64_t x, c3_indel added)
{
    if (p->n_indels >= MOST_INDELS && p->n > SMALLEST_REGION) return C3_TOO_LARGE;
    int code = c3_grow(&p->indels, &p->indel_capacity, p->n_indels + 1, sizeof *p->indels);
    if (code != C3_OK) return code;
    added.column = x - p->start;
    added.read = p->reads;
    p->indels[p->n_indels++] = added;
    return C3_OK;
}

int32_t c3_inserted_behind(const bam1_t *read, uint32_t operation)
{
    const uint32_t *cigar = bam_get_cigar(read), n = read->core.n_cigar;
    int32_t length = 0;
    if (operation + 1 >= n) return 0;
    if (bam_cigar_op(cigar[operation + 1]) == BAM_CINS) return bam_cigar_oplen(cigar[operation + 1]);
    if (bam_cigar_op(cigar[operation + 1]) != BAM_CPAD) return 0;
    for (uint32_t j = operation + 2; j < n && !(bam_cigar_type(bam_cigar_op(cigar[j])) & 2); j++)
        if (bam_cigar_op(cigar[j]) == BAM_CINS) length += bam_cigar_oplen(cigar[j]);
    return length;
}

int c3_columns_add_deletion(c3_columns *p, int64_t x, int32_t length, int is_reverse)
{
    if (length <= p->longest && x + 1 + length > p->reference_end) p->reference_end = x + 1 + length;
    return add_indel(p, x, (c3_indel){.length = length, .bases = -1, .reverse = is_reverse});
}

int c3_columns_add_insertion(c3_columns *p, int64_t x, int32_t length, int is_reverse, char **letters)
{
    int code = c3_grow(&p->pool, &p->pool_capacity, p->n_pool + length, 1);
    if (code != C3_OK) return code;
    *letters = p->pool + p->n_pool;
    p->n_pool += length;
    return add_indel(p, x, (c3_indel){.length = length, .bases = p->n_pool - length, .reverse = is_reverse});
}

/* Inside a column they stay in read order, which the allele tables depend on. */
int c3_columns_finish(c3_columns *p)
{
    int code = C3_NO_MEMORY;
    c3_indel *sorted = malloc((p->n_indels + 1) * sizeof *sorted);
    p->indel_start = calloc(p->n + 2, sizeof *p->indel_start);
    if (!sorted || !p->indel_start) goto out;
    int64_t *next = p->indel_start + 1; /* becomes indel_start once every column has been passed */
    for (int64_t i = 0; i < p->n_indels; i++) next[p->indels[i].column + 1]++;
    for (int64_t c = 0; c < p->n; c++) next[c + 1] += next[c];
    for (int64_t i = 0; i < p->n_indels; i++) sorted[next[p->indels[i].column]++] = p->indels[i];
    c3_indel *unsorted = p->indels;
    p->indels = sorted;
    sorted = unsorted;
    code = C3_OK;

out:
    free(sorted);
    return code;
}

/* ---- reads ------------------------------------------------------------------------------------------------------ */

static void count_bases(c3_columns *p, const bam1_t *read, int64_t x, int64_t query, int64_t length)
{
    const uint8_t *seq = bam_get_seq(read);
    int64_t from = x < p->start ? p->start - x : 0, to = x + length > p->end ? p->end - x : length;
    int32_t *row = p->counts + (x + from - p->start) * C3_CHANNELS + (bam_is_rev(read) ? C3_REVERSE : 0);
    for (int64_t k = from; k < to; k++, row += C3_CHANNELS) {
        uint8_t channel = channels[bam_seqi(seq, query + k)];
        if (channel != C3_OTHER) row[channel]++;
        else p->other[x + k - p->start]++;
    }
}

/* Remember in which read a base was seen first: alleles are listed in that order (B.12.5). */
static void note_first(c3_columns *p, const bam1_t *read, int64_t x, int64_t query, int64_t length)
{
    const uint8_t *seq = bam_get_seq(read);
    int64_t from = x < p->start ? p->start - x : 0, to = x + length > p->end ? p->end - x : length;
    for (int64_t k = from; k < to; k++) {
        uint8_t channel = channels[bam_seqi(seq, query + k)];
        int32_t *first = p->first + 4 * (x + k - p->start) + channel;
        if (channel != C3_OTHER && !*first) *first = p->reads;
    }
}

static void count_deleted(c3_columns *p, const bam1_t *read, int64_t x, int64_t length)
{
    int64_t from = x < p->start ? p->start : x, to = x + length > p->end ? p->end : x + length;
    int channel = C3_DELETED + (bam_is_rev(read) ? C3_REVERSE : 0);
    for (int64_t at = from; at < to; at++) p->counts[(at - p->start) * C3_CHANNELS + channel]++;
}

/* Is operation i followed by one that may be an indel after its last column? */
static int may_have_indel(const bam1_t *read, uint32_t i)
{
    if (i + 1 >= read->core.n_cigar) return 0;
    int next = bam_cigar_op(bam_get_cigar(read)[i + 1]);
    return next == BAM_CINS || next == BAM_CDEL || next == BAM_CPAD;
}

int c3_columns_add(c3_columns *p, const bam1_t *read, c3_take_indel *take_indel)
{
    const uint32_t *cigar = bam_get_cigar(read);
    int64_t x = read->core.pos, query = 0;
    int code = C3_OK;
    p->reads++;
    for (uint32_t i = 0; i < read->core.n_cigar && x < p->end && code == C3_OK; i++) {
        int op = bam_cigar_op(cigar[i]), consumes = bam_cigar_type(op); /* 1: query, 2: reference */
        int64_t length = bam_cigar_oplen(cigar[i]);
        if (consumes == 3) {
            count_bases(p, read, x, query, length);
            if (p->first) note_first(p, read, x, query, length);
        } else if (op == BAM_CDEL) {
            count_deleted(p, read, x, length);
        } else if (op == BAM_CREF_SKIP) {
            for (int64_t at = x < p->start ? p->start : x; at < x + length && at < p->end; at++)
                p->skipped[at - p->start] = 1;
        }
        if (consumes & 1) query += length;
        if (!(consumes & 2) || !length) continue;
        x += length;
        if (x > p->start && x <= p->end && may_have_indel(read, i)) code = take_indel(p, read, i, x - 1, query);
    }
    return code;
}
