#include "short_reads/window_selector.h"

#include <stdlib.h>
#include <string.h>

#include "arrays.h"
#include "letters.h"
#include "codes.h"

enum { PAGE = 4096, LEAST_MAPQ = 20, LEAST_QUALITY = 20, LEAST_READS = 2, GAP = 160, FLANK = 80 };

int c3_selector_start(c3_window_selector *selector, const c3_reference_window *reference)
{
    selector->start = reference->start;
    selector->pages = (reference->end > reference->start ? reference->end - reference->start : 0) / PAGE + 1;
    selector->page = calloc(selector->pages, sizeof *selector->page);
    return selector->page ? C3_OK : C3_NO_MEMORY;
}

void c3_selector_forget(c3_window_selector *selector, int64_t pos)
{
    for (; selector->forgotten < selector->pages && selector->start + (selector->forgotten + 1) * PAGE <= pos;
         selector->forgotten++) {
        int32_t **page = &selector->page[selector->forgotten];
        for (int i = 0; *page && i < PAGE; i++) selector->carried += (*page)[i];
        free(*page);
        *page = NULL;
    }
}

void c3_selector_free(c3_window_selector *selector)
{
    if (selector->page) c3_selector_forget(selector, selector->start + selector->pages * PAGE);
    free(selector->page);
    free(selector->positions);
    memset(selector, 0, sizeof *selector);
}

/* So many more reads differ from here on. */
static int add_step(c3_window_selector *selector, int64_t pos, int32_t step)
{
    const int64_t at = pos - selector->start;
    if (at >= selector->pages * PAGE) return C3_OK;
    int32_t **page = &selector->page[at / PAGE];
    if (!*page && !(*page = calloc(PAGE, sizeof **page))) return C3_NO_MEMORY;
    (*page)[at % PAGE] += step;
    return C3_OK;
}

/* One read more at each position of [from, to). */
static int count(c3_window_selector *selector, int64_t from, int64_t to)
{
    const int64_t first = selector->start + selector->forgotten * PAGE;
    if (from < first) from = first;
    if (from >= to) return C3_OK;
    int code = add_step(selector, from, 1);
    return code == C3_OK ? add_step(selector, to, -1) : code;
}

static int is_base(const c3_reference_span *reference, int64_t pos)
{
    int64_t at = pos - reference->start;
    return at >= 0 && at < reference->length && c3_base_index(reference->letters[at]) != C3_OTHER;
}

static int count_mismatches(c3_window_selector *selector, c3_reference_window *letters, const c3_sequence *bases,
                            int64_t pos, int64_t from, int64_t length)
{
    int code = c3_reference_window_move(letters, pos, pos + length);
    const c3_reference_span *reference = &letters->held;
    for (int64_t i = 0; i < length && code == C3_OK; i++)
        if (bases->quality[from + i] >= LEAST_QUALITY && is_base(reference, pos + i)
            && bases->letters[from + i] != reference->letters[pos + i - reference->start])
            code = count(selector, pos + i, pos + i + 1);
    return code;
}

static int are_good(const c3_sequence *bases, int64_t from, int64_t length)
{
    for (int64_t i = from; i < from + length; i++)
        if (bases->quality[i] < LEAST_QUALITY) return 0;
    return 1;
}

int c3_selector_add_read(c3_window_selector *selector, c3_reference_window *reference, const c3_short_read *read,
                         int64_t chunk)
{
    int64_t pos = read->start, base = 0;
    int code = C3_OK;
    if (read->core.qual < LEAST_MAPQ) return C3_OK;
    for (int64_t i = 0; i < read->cigar.n && code == C3_OK; i++) {
        const int op = bam_cigar_op(read->cigar.ops[i]);
        const int64_t length = bam_cigar_oplen(read->cigar.ops[i]);
        if ((code = c3_reference_window_move(reference, pos - 1, pos)) != C3_OK) break;
        const int counts = is_base(&reference->held, pos - 1) && pos >= chunk - C3_CHUNK_EDGE
                           && pos <= chunk + C3_CHUNK + C3_CHUNK_EDGE;
        if (op == BAM_CMATCH || op == BAM_CDIFF)
            code = count_mismatches(selector, reference, &read->sequence, pos, base, length);
        else if ((op == BAM_CINS || op == BAM_CSOFT_CLIP) && counts && are_good(&read->sequence, base, length))
            code = count(selector, pos - length, pos + length);
        else if (op == BAM_CDEL && counts)
            code = count(selector, pos, pos + length);
        if (op != BAM_CREF_SKIP && bam_cigar_type(op) & 2) pos += length; /* skips are not followed */
        if (bam_cigar_type(op) & 1) base += length;
    }
    return code;
}

int c3_selector_find(c3_window_selector *selector, int64_t start, int64_t end)
{
    int64_t pos = selector->start + selector->forgotten * PAGE, last = selector->start + selector->pages * PAGE;
    int32_t reads = selector->carried;
    selector->n_positions = 0;
    for (; pos < end && pos < last; pos++) {
        const int32_t *page = selector->page[(pos - selector->start) / PAGE];
        reads += page ? page[(pos - selector->start) % PAGE] : 0;
        if (pos < start || reads < LEAST_READS) continue;
        int code = c3_grow(&selector->positions, &selector->position_capacity, selector->n_positions + 1,
                           sizeof *selector->positions);
        if (code != C3_OK) return code;
        selector->positions[selector->n_positions++] = pos;
    }
    return C3_OK;
}

int c3_selector_list_windows(const c3_window_selector *selector, int64_t start, int64_t end, c3_intervals *windows)
{
    windows->n = 0;
    for (int64_t i = 0; i < selector->n_positions; i++) {
        const int64_t pos = selector->positions[i];
        if (pos < start || pos >= end) continue;
        if (!windows->n || pos > windows->items[windows->n - 1].end - FLANK + GAP) {
            int code = c3_grow(&windows->items, &windows->capacity, windows->n + 1, sizeof *windows->items);
            if (code != C3_OK) return code;
            windows->items[windows->n++].start = pos - FLANK;
        }
        windows->items[windows->n - 1].end = pos + FLANK;
    }
    return C3_OK;
}
