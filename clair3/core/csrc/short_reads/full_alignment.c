#define _POSIX_C_SOURCE 200809L /* strdup */
#include "short_reads/full_alignment.h"

#include <stdlib.h>
#include <string.h>

#include "arrays.h"
#include "short_reads/candidates.h"
#include "short_reads/mpileup.h"
#include "short_reads/rows.h"
#include "reads/pileup.h"

struct c3_realigned {
    c3_source *source;
    c3_realigner *realigner;
    char *contig;
    c3_full_rule rule;
    int64_t span;
    int64_t first, end;  /* where candidates may lie */
    int64_t columns_end; /* columns before `first` and from here on show nothing (spec/features.md C.13.9) */
    bam1_t **reads;     /* those that may reach candidates at or behind `next` */
    int64_t n_reads, read_capacity;
    int64_t next;     /* candidates before are done */
    int64_t complete; /* windows of candidates before are complete */
    int64_t reach; /* the furthest end of a read */
    c3_held_reads held;
    int ended;
};

static int hold(c3_realigned *s, const bam1_t *read)
{
    int code = c3_grow(&s->reads, &s->read_capacity, s->n_reads + 1, sizeof *s->reads);
    bam1_t *own = code == C3_OK ? bam_dup1(read) : NULL;
    if (!own) return C3_NO_MEMORY;
    s->reads[s->n_reads++] = own;
    if (bam_endpos(read) > s->reach) s->reach = bam_endpos(read);
    return C3_OK;
}

/* Take in reads until a span is full. */
static int fill(c3_realigned *s)
{
    const int64_t held = s->n_reads;
    const bam1_t *read;
    int code = C3_OK;
    while (!s->ended) {
        int got = c3_realign_next(s->realigner, &read);
        if (got < 0) return got;
        s->ended = got == 0;
        if (s->ended || !c3_is_used(read, C3_SHORT_READS, s->rule.min_mapq)) continue;
        if (!bam_cigar2rlen(read->core.n_cigar, bam_get_cigar(read))) continue;
        if ((code = c3_mpileup_takes(&s->held, read)) < 0) return code;
        if (!code) continue;
        if (!s->n_reads && read->core.pos - C3_FLANK > s->next) s->next = read->core.pos;
        int64_t complete = read->core.pos - C3_FLANK;
        if ((code = hold(s, read)) != C3_OK) return code;
        if (complete > s->next && (complete - s->next >= s->span || s->n_reads - held >= s->span)) {
            s->complete = complete;
            return C3_OK;
        }
    }
    s->complete = s->reach < s->end ? s->reach : s->end;
    return C3_OK;
}

/* Forget the reads that end before the windows of candidates still to come; those lie where reads do. */
static void forget(c3_realigned *s)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < s->n_reads; i++) {
        if (bam_endpos(s->reads[i]) > s->next - C3_FLANK) s->reads[kept++] = s->reads[i];
        else bam_destroy1(s->reads[i]);
    }
    s->n_reads = kept;
    if (kept && s->reads[0]->core.pos > s->next) s->next = s->reads[0]->core.pos;
}

static int find(c3_realigned *s, int64_t start, int64_t end, int64_t **candidates, int64_t *n)
{
    char *letters = NULL;
    int64_t length = 0;
    *candidates = NULL;
    *n = 0;
    if (start >= end) return C3_OK;
    int code = c3_reference(s->source, s->contig, start, end, &letters, &length);
    if (code != C3_OK) goto out;
    code = c3_find_realigned_candidates(s->reads, s->n_reads, start, end, letters, length, s->rule.min_coverage,
                                        candidates, n);

out:
    free(letters);
    return code;
}

int c3_realigned_next(c3_realigned *s, c3_full **out)
{
    int64_t n = 0, *candidates = NULL;
    int code = C3_OK;
    *out = NULL;
    if (s->next >= s->complete && s->ended) return C3_OK;
    if (s->next >= s->complete && (code = fill(s)) != C3_OK) return code;
    int64_t end = s->next + s->span < s->complete ? s->next + s->span : s->complete; /* reads may reach far */
    int64_t from = s->next > s->first ? s->next : s->first, to = end < s->end ? end : s->end;
    if ((code = find(s, from, to, &candidates, &n)) != C3_OK) goto out;
    code = c3_full_run_on_reads(s->source, s->contig, s->reads, s->n_reads, candidates, n, s->first, s->columns_end,
                                &s->rule, &c3_short_read_rows, out);
    if (code != C3_OK) goto out;
    if (end > s->next) s->next = end;
    forget(s);

out:
    free(candidates);
    return code;
}

int c3_realigned_start(c3_source *source, const char *contig, int64_t start, int64_t end, const int64_t *intervals,
                       int64_t n, const c3_full_rule *rule, const c3_haplotypes *haplotypes, int64_t span,
                       const volatile int32_t *cancel, c3_realigned **out)
{
    const int64_t length = faidx_seq_len(source->fasta, contig);
    c3_realigned *s = calloc(1, sizeof *s);
    int code = C3_NO_MEMORY;
    *out = NULL;
    if (!s) goto out;
    s->source = source;
    s->span = span;
    s->rule = *rule;
    s->rule.haplotype_tags = rule->haplotype_tags || haplotypes;
    s->first = (start > C3_REALIGN_MARGIN ? start - C3_REALIGN_MARGIN : 0) + C3_FLANK;
    s->columns_end = s->end = end + C3_REALIGN_MARGIN - C3_FLANK + 1;
    if (length >= 0 && length < s->end) s->end = length; /* reads may hang over the contig's end, where no letter is */
    s->held.last = -1;
    s->contig = strdup(contig);
    if (!s->contig) goto out;
    code = c3_realign_start(source, s->contig, start, end, intervals, n, haplotypes, cancel, &s->realigner);
    if (code != C3_OK) goto out;
    *out = s;
    s = NULL; /* the caller's */

out:
    c3_realigned_end(s);
    return code;
}

void c3_realigned_end(c3_realigned *s)
{
    if (!s) return;
    c3_realign_end(s->realigner);
    for (int64_t i = 0; i < s->n_reads; i++) bam_destroy1(s->reads[i]);
    free(s->reads);
    c3_held_free(&s->held);
    free(s->contig);
    free(s);
}
