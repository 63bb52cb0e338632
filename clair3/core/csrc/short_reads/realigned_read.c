#include "short_reads/realigned_read.h"

#include <stdlib.h>
#include <string.h>

#include "codes.h"

enum { NAME = 5 };
#define LEAST_UNCLIPPED 0.55

/* Digits of a number of 5 places, which is the name of a read (D.1). */
static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!#$%&()*+./:;<=>?[]^`{|}~";

static void write_name(int64_t order, char name[NAME + 1])
{
    const int64_t base = sizeof digits - 1;
    for (int i = NAME - 1; i >= 0; i--, order /= base) name[i] = digits[order % base];
    name[NAME] = 0;
}

static int is_left_out(const bam1_t *record)
{
    const uint32_t *cigar = bam_get_cigar(record);
    int64_t clipped = 0, total = 0;
    for (uint32_t i = 0; i < record->core.n_cigar; i++) {
        total += bam_cigar_oplen(cigar[i]);
        if (bam_cigar_op(cigar[i]) == BAM_CSOFT_CLIP) clipped += bam_cigar_oplen(cigar[i]);
    }
    return !record->core.n_cigar || !record->core.l_qseq
           || bam_cigar2qlen((int)record->core.n_cigar, cigar) != record->core.l_qseq
           || 1 - (double)clipped / (double)(total + 1) < LEAST_UNCLIPPED;
}

static int8_t read_haplotype(const bam1_t *record)
{
    const uint8_t *tag = bam_aux_get(record, "HP");
    int64_t value = tag && strchr("cCsSiI", *tag) ? bam_aux2i(tag) : 0;
    while (value > 9) value /= 10;
    return (int8_t)(value > 0 ? value : 0);
}

int c3_short_read_copy(const bam1_t *record, int64_t order, c3_short_read **out)
{
    *out = NULL;
    if (is_left_out(record)) return C3_OK;
    int64_t n = record->core.n_cigar, length = record->core.l_qseq, deleted = 0;
    c3_short_read *read = calloc(1, sizeof *read + n * sizeof *read->cigar.ops + 2 * length);
    if (!read) return C3_NO_MEMORY;
    read->cigar = (c3_cigar){(uint32_t *)(read + 1), n, n};
    uint8_t *quality = (uint8_t *)(read->cigar.ops + n);
    char *letters = (char *)quality + length;
    memcpy(read->cigar.ops, bam_get_cigar(record), n * sizeof *read->cigar.ops);
    memcpy(quality, bam_get_qual(record), length);
    for (int64_t i = 0; i < length; i++) letters[i] = seq_nt16_str[bam_seqi(bam_get_seq(record), i)];
    for (int64_t i = 0; i < n; i++)
        if (bam_cigar_op(read->cigar.ops[i]) == BAM_CDEL) deleted += bam_cigar_oplen(read->cigar.ops[i]);
    read->order = order;
    read->start = read->best_start = record->core.pos;
    read->end = read->start + length + deleted;
    read->sequence = (c3_sequence){letters, quality, length};
    read->core = record->core;
    read->haplotype = read_haplotype(record);
    *out = read;
    return C3_OK;
}

void c3_short_read_free(c3_short_read *read)
{
    if (!read) return;
    free(read->best.ops);
    free(read); /* and the rest, which is behind it */
}

int c3_short_read_move(c3_short_read *read, int64_t start, const c3_cigar *cigar)
{
    const int64_t gaps = c3_cigar_gaps(cigar);
    if (start == read->start && cigar->n == read->cigar.n
        && !memcmp(cigar->ops, read->cigar.ops, cigar->n * sizeof *cigar->ops))
        return C3_OK;
    if (read->best.n && read->best_gaps && gaps < read->best_gaps) return C3_OK; /* more gaps are better (E-K10) */
    uint32_t *ops = realloc(read->best.ops, cigar->n * sizeof *ops); /* exactly: there are many reads */
    if (!ops) return C3_NO_MEMORY;
    memcpy(ops, cigar->ops, cigar->n * sizeof *ops);
    read->best = (c3_cigar){ops, cigar->n, cigar->n};
    read->best_start = start;
    read->best_gaps = gaps;
    return C3_OK;
}

int c3_short_read_to_record(const c3_short_read *read, bam1_t *record)
{
    const bam1_core_t *core = &read->core;
    const c3_cigar *cigar = read->best.n ? &read->best : &read->cigar;
    char name[NAME + 1];
    write_name(read->order, name);
    if (bam_set1(record, NAME, name, core->flag, core->tid, read->best_start, core->qual, cigar->n, cigar->ops,
                 core->mtid, core->mpos, core->mpos + 1, read->sequence.length, read->sequence.letters,
                 (const char *)read->sequence.quality, 8) < 0) /* its template length is the mate's place (E-K11) */
        return C3_NO_MEMORY;
    uint8_t haplotype = (uint8_t)read->haplotype;
    if (haplotype && bam_aux_append(record, "HP", 'C', 1, &haplotype)) return C3_NO_MEMORY;
    return C3_OK;
}
