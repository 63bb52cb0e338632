#include "short_reads/mpileup.h"

#include <stdlib.h>

#include "arrays.h"
#include "reads/columns.h"

enum { MOST_READS = 8000 };

/* ---- reads ------------------------------------------------------------------------------------------------------ */

static int add_end(c3_held_reads *held, int64_t end)
{
    int code = c3_grow(&held->ends, &held->capacity, held->n + 1, sizeof *held->ends);
    if (code != C3_OK) return code;
    int64_t at = held->n++;
    for (; at > 0 && held->ends[(at - 1) / 2] > end; at = (at - 1) / 2) held->ends[at] = held->ends[(at - 1) / 2];
    held->ends[at] = end;
    return C3_OK;
}

static void drop_first_end(c3_held_reads *held)
{
    int64_t at = 0, end = held->ends[--held->n];
    for (int64_t next; (next = 2 * at + 1) < held->n; at = next) {
        if (next + 1 < held->n && held->ends[next + 1] < held->ends[next]) next++;
        if (held->ends[next] >= end) break;
        held->ends[at] = held->ends[next];
    }
    held->ends[at] = end;
}

int c3_mpileup_takes(c3_held_reads *held, const bam1_t *read)
{
    const int is_first = read->core.pos != held->last;
    held->last = read->core.pos;
    while (is_first && held->n && held->ends[0] < held->last) drop_first_end(held);
    if (!is_first && held->n >= MOST_READS) return 0;
    int code = add_end(held, bam_endpos(read));
    return code == C3_OK ? 1 : code;
}

void c3_held_free(c3_held_reads *held)
{
    free(held->ends);
}

/* ---- indels ----------------------------------------------------------------------------------------------------- */

/* All insertions and pads that follow count, if there are bases among them; and the deletion behind. */
c3_attached c3_find_attached(const bam1_t *read, uint32_t operation)
{
    const uint32_t *cigar = bam_get_cigar(read), n = read->core.n_cigar;
    uint32_t next = operation + 1;
    int64_t bases = 0, pads = 0;
    if (c3_inserted_behind(read, operation))
        for (; next < n && (bam_cigar_op(cigar[next]) == BAM_CINS || bam_cigar_op(cigar[next]) == BAM_CPAD); next++)
            *(bam_cigar_op(cigar[next]) == BAM_CPAD ? &pads : &bases) += bam_cigar_oplen(cigar[next]);
    if (pads > C3_LONGEST_PAD) pads = C3_LONGEST_PAD;
    int is_deleted = next < n && bam_cigar_op(cigar[next]) == BAM_CDEL;
    return (c3_attached){(int32_t)(bases + pads), is_deleted ? (int32_t)bam_cigar_oplen(cigar[next]) : 0};
}

void c3_write_inserted(const bam1_t *read, uint32_t operation, int64_t query, int32_t inserted, char *out)
{
    const uint32_t *next = bam_get_cigar(read) + operation + 1;
    for (int32_t k = 0, pads = C3_LONGEST_PAD; k < inserted; next++) {
        int is_pad = bam_cigar_op(*next) == BAM_CPAD;
        for (uint32_t l = bam_cigar_oplen(*next); l > 0 && !(is_pad && pads-- <= 0); l--, k++) {
            if (is_pad) out[k] = bam_is_rev(read) ? '#' : '*';
            else out[k] = seq_nt16_str[bam_seqi(bam_get_seq(read), query)], query++;
        }
    }
}
