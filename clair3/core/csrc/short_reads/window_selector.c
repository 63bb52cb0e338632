#include "short_reads/window_selector.h"

#include <stdlib.h>
#include <string.h>

#include "arrays.h"
#include "letters.h"
#include "codes.h"

enum { PAGE = 4096, LEAST_MAPQ = 20, LEAST_QUALITY = 20, LEAST_READS = 2, GAP = 160, FLANK = 80 };

int c3_evidence_start(c3_evidence *evidence, const c3_moving_stretch *reference)
{
    evidence->start = reference->start;
    evidence->pages = (reference->end > reference->start ? reference->end - reference->start : 0) / PAGE + 1;
    evidence->page = calloc(evidence->pages, sizeof *evidence->page);
    return evidence->page ? C3_OK : C3_NO_MEMORY;
}

void c3_evidence_forget(c3_evidence *evidence, int64_t pos)
{
    for (; evidence->forgotten < evidence->pages && evidence->start + (evidence->forgotten + 1) * PAGE <= pos;
         evidence->forgotten++) {
        int32_t **page = &evidence->page[evidence->forgotten];
        for (int i = 0; *page && i < PAGE; i++) evidence->carried += (*page)[i];
        free(*page);
        *page = NULL;
    }
}

void c3_evidence_end(c3_evidence *evidence)
{
    if (evidence->page) c3_evidence_forget(evidence, evidence->start + evidence->pages * PAGE);
    free(evidence->page);
    free(evidence->found);
    memset(evidence, 0, sizeof *evidence);
}

/* So many more reads differ from here on. */
static int add_step(c3_evidence *evidence, int64_t pos, int32_t step)
{
    const int64_t at = pos - evidence->start;
    if (at >= evidence->pages * PAGE) return C3_OK;
    int32_t **page = &evidence->page[at / PAGE];
    if (!*page && !(*page = calloc(PAGE, sizeof **page))) return C3_NO_MEMORY;
    (*page)[at % PAGE] += step;
    return C3_OK;
}

/* One read more at each position of [from, to). */
static int count(c3_evidence *evidence, int64_t from, int64_t to)
{
    const int64_t first = evidence->start + evidence->forgotten * PAGE;
    if (from < first) from = first;
    if (from >= to) return C3_OK;
    int code = add_step(evidence, from, 1);
    return code == C3_OK ? add_step(evidence, to, -1) : code;
}

static int is_base(const c3_stretch *reference, int64_t pos)
{
    int64_t at = pos - reference->start;
    return at >= 0 && at < reference->length && c3_base_index(reference->letters[at]) != C3_OTHER;
}

static int count_mismatches(c3_evidence *evidence, c3_moving_stretch *letters, const c3_sequence *bases, int64_t pos,
                            int64_t from, int64_t length)
{
    int code = c3_stretch_move(letters, pos, pos + length);
    const c3_stretch *reference = &letters->held;
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

int c3_evidence_add(c3_evidence *evidence, c3_moving_stretch *reference, const c3_short_read *read, int64_t chunk)
{
    int64_t pos = read->start, base = 0;
    int code = C3_OK;
    if (read->core.qual < LEAST_MAPQ) return C3_OK;
    for (int64_t i = 0; i < read->cigar.n && code == C3_OK; i++) {
        const int op = bam_cigar_op(read->cigar.ops[i]);
        const int64_t length = bam_cigar_oplen(read->cigar.ops[i]);
        if ((code = c3_stretch_move(reference, pos - 1, pos)) != C3_OK) break;
        const int counts = is_base(&reference->held, pos - 1) && pos >= chunk - C3_CHUNK_EDGE
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

int c3_evidence_find(c3_evidence *evidence, int64_t start, int64_t end)
{
    int64_t pos = evidence->start + evidence->forgotten * PAGE, last = evidence->start + evidence->pages * PAGE;
    int32_t reads = evidence->carried;
    evidence->n_found = 0;
    for (; pos < end && pos < last; pos++) {
        const int32_t *page = evidence->page[(pos - evidence->start) / PAGE];
        reads += page ? page[(pos - evidence->start) % PAGE] : 0;
        if (pos < start || reads < LEAST_READS) continue;
        int code = c3_grow(&evidence->found, &evidence->found_room, evidence->n_found + 1, sizeof *evidence->found);
        if (code != C3_OK) return code;
        evidence->found[evidence->n_found++] = pos;
    }
    return C3_OK;
}

int c3_windows_of(const c3_evidence *evidence, int64_t start, int64_t end, c3_intervals *windows)
{
    windows->n = 0;
    for (int64_t i = 0; i < evidence->n_found; i++) {
        const int64_t pos = evidence->found[i];
        if (pos < start || pos >= end) continue;
        if (!windows->n || pos > windows->items[windows->n - 1].end - FLANK + GAP) {
            int code = c3_grow(&windows->items, &windows->room, windows->n + 1, sizeof *windows->items);
            if (code != C3_OK) return code;
            windows->items[windows->n++].start = pos - FLANK;
        }
        windows->items[windows->n - 1].end = pos + FLANK;
    }
    return C3_OK;
}
