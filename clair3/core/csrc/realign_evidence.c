#include "realign_evidence.h"

#include <stdlib.h>
#include <string.h>

#include "codes.h"
#include "support.h"

enum { PAGE = 4096, LEAST_MAPQ = 20, LEAST_QUALITY = 20, LEAST_READS = 2, GAP = 160, FLANK = 80 };

int c3_evidence_start(c3_evidence *evidence, const c3_stretch *reference)
{
    evidence->start = reference->start;
    evidence->pages = reference->length / PAGE + 1;
    evidence->page = calloc(evidence->pages, sizeof *evidence->page);
    return evidence->page ? C3_OK : C3_NO_MEMORY;
}

void c3_evidence_forget(c3_evidence *evidence, int64_t pos)
{
    for (; evidence->forgotten < evidence->pages && evidence->start + (evidence->forgotten + 1) * PAGE <= pos;
         evidence->forgotten++) {
        free(evidence->page[evidence->forgotten]);
        evidence->page[evidence->forgotten] = NULL;
    }
}

void c3_evidence_end(c3_evidence *evidence)
{
    if (evidence->page) c3_evidence_forget(evidence, evidence->start + evidence->pages * PAGE);
    free(evidence->page);
    memset(evidence, 0, sizeof *evidence);
}

static int32_t count_at(const c3_evidence *evidence, int64_t pos)
{
    int64_t at = pos - evidence->start;
    if (at < 0 || at / PAGE >= evidence->pages || !evidence->page[at / PAGE]) return 0;
    return evidence->page[at / PAGE][at % PAGE];
}

/* One read more at each position of [from, to). */
static int count(c3_evidence *evidence, int64_t from, int64_t to)
{
    int64_t first = evidence->start + evidence->forgotten * PAGE, end = evidence->start + evidence->pages * PAGE;
    if (from < first) from = first;
    if (to > end) to = end;
    for (; from < to; from++) {
        int64_t at = from - evidence->start;
        int32_t **page = &evidence->page[at / PAGE];
        if (!*page && !(*page = calloc(PAGE, sizeof **page))) return C3_NO_MEMORY;
        (*page)[at % PAGE]++;
    }
    return C3_OK;
}

static int is_base(const c3_stretch *reference, int64_t pos)
{
    int64_t at = pos - reference->start;
    return at >= 0 && at < reference->length && c3_base_index(reference->letters[at]) != C3_OTHER;
}

static int count_mismatches(c3_evidence *evidence, const c3_stretch *reference, const c3_sequence *bases, int64_t pos,
                            int64_t from, int64_t length)
{
    int code = C3_OK;
    for (int64_t i = 0; i < length && code == C3_OK; i++)
        if (bases->quality[from + i] >= LEAST_QUALITY && is_base(reference, pos + i)
            && bases->letters[from + i] != reference->letters[pos + i - reference->start])
            code = count(evidence, pos + i, pos + i + 1);
    return code;
}

static int are_good(const c3_sequence *bases, int64_t from, int64_t length)
{
    for (int64_t i = from; i < from + length; i++)
        if (bases->quality[i] < LEAST_QUALITY) return 0;
    return 1;
}

int c3_evidence_add(c3_evidence *evidence, const c3_stretch *reference, const c3_short_read *read, int64_t chunk)
{
    int64_t pos = read->start, base = 0;
    int code = C3_OK;
    if (read->core.qual < LEAST_MAPQ) return C3_OK;
    for (int64_t i = 0; i < read->cigar.n && code == C3_OK; i++) {
        const int op = bam_cigar_op(read->cigar.ops[i]);
        const int64_t length = bam_cigar_oplen(read->cigar.ops[i]);
        const int counts = is_base(reference, pos - 1) && pos >= chunk - C3_CHUNK_EDGE
                           && pos <= chunk + C3_CHUNK + C3_CHUNK_EDGE;
        if (op == BAM_CMATCH || op == BAM_CDIFF)
            code = count_mismatches(evidence, reference, &read->sequence, pos, base, length);
        else if ((op == BAM_CINS || op == BAM_CSOFT_CLIP) && counts && are_good(&read->sequence, base, length))
            code = count(evidence, pos - length, pos + length);
        else if (op == BAM_CDEL && counts)
            code = count(evidence, pos, pos + length);
        if (op != BAM_CREF_SKIP && bam_cigar_type(op) & 2) pos += length; /* skips are not followed */
        if (bam_cigar_type(op) & 1) base += length;
    }
    return code;
}

int c3_windows_of(const c3_evidence *evidence, int64_t start, int64_t end, c3_intervals *windows)
{
    windows->n = 0;
    for (int64_t pos = start; pos < end; pos++) {
        if (count_at(evidence, pos) < LEAST_READS) continue;
        if (!windows->n || pos > windows->items[windows->n - 1].end - FLANK + GAP) {
            int code = c3_grow(&windows->items, &windows->room, windows->n + 1, sizeof *windows->items);
            if (code != C3_OK) return code;
            windows->items[windows->n++].start = pos - FLANK;
        }
        windows->items[windows->n - 1].end = pos + FLANK;
    }
    return C3_OK;
}
