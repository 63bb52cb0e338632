#include "short_reads/realigner.h"

#include <stdlib.h>
#include <string.h>

#include "arrays.h"
#include "short_reads/window_selector.h"
#include "short_reads/realign_window.h"

enum { REFERENCE_MARGIN = 5000, SPLIT = 1000, SPLITS = C3_CHUNK / SPLIT, LONGEST_WINDOW = 1000 };
enum {
    FORGOTTEN = 1020,   /* bases before a chunk from which on reads and their differences are done with */
    HELD = 5000,        /* bases before these that may still get reads, which windows behind them move there */
    LONGEST_READ = 3000 /* on the reference; longer ones stay as they are */
};

typedef struct {
    c3_short_read **items;
    int64_t n, capacity;
} read_list;

struct c3_realigner {
    c3_source *source;
    c3_reads reads;
    const int64_t *intervals;
    int64_t n_intervals, next_interval;
    const c3_haplotypes *haplotypes; /* or NULL: HP tags */
    const volatile int32_t *cancel;
    c3_reference_window reference;
    c3_window_selector selector;
    int64_t chunk, n_records;
    int has_chunk, is_at_end;
    read_list waiting; /* in file order, open to windows to come */
    read_list done;    /* from `given` on to be handed out, sorted */
    int64_t given, settled; /* no read is put before `settled` any more */
    int32_t *owner;    /* of each waiting read: its window of the split, -1: none */
    int64_t owner_capacity;
    read_list assigned;
    c3_intervals windows;
    c3_window_workspace workspace;
    bam1_t *record;
};

static int append(read_list *list, c3_short_read *read)
{
    int code = c3_grow(&list->items, &list->capacity, list->n + 1, sizeof *list->items);
    if (code == C3_OK) list->items[list->n++] = read;
    return code;
}

/* ---- one chunk --------------------------------------------------------------------------------------------------- */

/* The window that a read overlaps most, of equal ones the first; -1: it overlaps none. */
static int32_t choose_window(const c3_intervals *windows, const c3_short_read *read)
{
    int64_t most = 0;
    int32_t chosen = -1;
    if (read->end - read->start > LONGEST_READ) return -1;
    for (int32_t w = 0; w < windows->n; w++) {
        const c3_interval *window = &windows->items[w];
        int64_t from = read->start > window->start ? read->start : window->start;
        int64_t to = read->end < window->end ? read->end : window->end;
        if (to - from > most) {
            most = to - from;
            chosen = w;
        }
    }
    return chosen;
}

static int realign_split(c3_realigner *r)
{
    int code = c3_grow(&r->owner, &r->owner_capacity, r->waiting.n, sizeof *r->owner);
    for (int64_t i = 0; i < r->waiting.n && code == C3_OK; i++)
        r->owner[i] = choose_window(&r->windows, r->waiting.items[i]);
    for (int64_t w = 0; w < r->windows.n && code == C3_OK; w++) {
        const c3_interval window = r->windows.items[w];
        if (window.end - window.start > LONGEST_WINDOW) continue;
        if (r->cancel && *r->cancel) return C3_CANCELLED;
        r->assigned.n = 0;
        for (int64_t i = 0; i < r->waiting.n && code == C3_OK; i++)
            if (r->owner[i] == w) code = append(&r->assigned, r->waiting.items[i]);
        if (code == C3_OK)
            code = c3_window_realign(&r->workspace, &r->reference, window, r->assigned.items, r->assigned.n, r->settled,
                                     r->cancel);
    }
    return code;
}

static int by_place(const void *a, const void *b)
{
    const c3_short_read *x = *(c3_short_read *const *)a, *y = *(c3_short_read *const *)b;
    if (x->best_start != y->best_start) return x->best_start < y->best_start ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* Give up the waiting reads that were put before `limit` and, if `unseen`, end there too. */
static int finish_reads(c3_realigner *r, int64_t limit, int unseen)
{
    int64_t kept = 0;
    int code = C3_OK;
    r->done.n -= r->given;
    if (r->done.n) memmove(r->done.items, r->done.items + r->given, r->done.n * sizeof *r->done.items);
    r->given = 0;
    for (int64_t i = 0; i < r->waiting.n; i++) {
        c3_short_read *read = r->waiting.items[i];
        int is_done = code == C3_OK && read->best_start < limit && (!unseen || read->end < limit);
        if (!is_done || (code = append(&r->done, read)) != C3_OK) r->waiting.items[kept++] = read;
    }
    r->waiting.n = kept;
    if (r->done.n) qsort(r->done.items, r->done.n, sizeof *r->done.items, by_place);
    return code;
}

/* From now on no read is put before pos, nor before what it was put by now. */
static void settle(c3_realigner *r, int64_t pos)
{
    for (int64_t i = 0; i < r->waiting.n; i++)
        if (r->waiting.items[i]->best_start < pos) pos = r->waiting.items[i]->best_start;
    if (pos > r->settled) r->settled = pos;
}

/* Realign the reads of the current chunk, and finish those that lie before it. Without candidates v2.0.2 finishes none;
 * here those go that no window can reach any more, which changes no result. */
static int realign_chunk(c3_realigner *r)
{
    const int64_t limit = r->chunk - FORGOTTEN;
    int code = c3_selector_find(&r->selector, r->chunk - C3_CHUNK_EDGE - 1, r->chunk + C3_CHUNK + C3_CHUNK_EDGE);
    for (int k = 0; k < SPLITS && code == C3_OK; k++) {
        int64_t start = r->chunk + k * SPLIT, end = start + SPLIT;
        code = c3_selector_list_windows(&r->selector, start - C3_CHUNK_EDGE - 1, end + C3_CHUNK_EDGE, &r->windows);
        if (code == C3_OK && r->windows.n) code = realign_split(r);
    }
    if (code == C3_OK) code = finish_reads(r, limit, !r->selector.n_positions);
    if (code == C3_OK) settle(r, limit - HELD);
    c3_selector_forget(&r->selector, limit);
    return code;
}

/* ---- the records ------------------------------------------------------------------------------------------------- */

/* Does [start, end) overlap an interval? Reads come in order, so the intervals before them are left behind. */
static int is_inside(c3_realigner *r, int64_t start, int64_t end)
{
    const int64_t *intervals = r->intervals;
    if (!intervals) return 1;
    while (r->next_interval < r->n_intervals && intervals[2 * r->next_interval + 1] <= start) r->next_interval++;
    return r->next_interval < r->n_intervals && intervals[2 * r->next_interval] < end;
}

/* Is there a read to be handed out? */
static int is_ready(const c3_realigner *r)
{
    return r->given < r->done.n && r->done.items[r->given]->best_start < r->settled;
}

/* Take in a record, after realigning the chunk that it leaves. */
static int take_record(void *context, const bam1_t *record)
{
    c3_realigner *r = context;
    const int64_t pos = record->core.pos;
    c3_short_read *read = NULL;
    int code = C3_OK;
    if (record->core.qual < C3_REALIGN_MAPQ || !is_inside(r, pos, bam_endpos(record))) return C3_OK;
    if ((code = c3_short_read_copy(record, r->n_records++, &read)) != C3_OK || !read) return code;
    if (r->haplotypes) read->haplotype = (int8_t)c3_haplotypes_get_read(r->haplotypes, record);
    if (!r->has_chunk) r->chunk = pos;
    r->has_chunk = 1;
    if (pos >= r->chunk + C3_CHUNK + C3_CHUNK_EDGE) {
        if ((code = realign_chunk(r)) != C3_OK) goto out;
        r->chunk += C3_CHUNK;
    }
    if ((code = c3_selector_add_read(&r->selector, &r->reference, read, r->chunk)) != C3_OK) goto out;
    if ((code = append(&r->waiting, read)) != C3_OK) goto out;
    read = NULL; /* among those that wait */
    if (is_ready(r)) code = C3_STOP;

out:
    c3_short_read_free(read);
    return code;
}

/* Read on until some reads are done, or all. */
static int read_on(c3_realigner *r)
{
    int code = c3_reads_continue(&r->reads, take_record, r);
    if (code != C3_OK) return code == C3_STOP ? C3_OK : code;
    r->is_at_end = 1;
    if (r->has_chunk) code = realign_chunk(r);
    if (code == C3_OK) code = finish_reads(r, INT64_MAX, 0);
    r->settled = INT64_MAX;
    return code;
}

int c3_realign_next(c3_realigner *r, const bam1_t **read)
{
    int code = C3_OK;
    while (!is_ready(r)) {
        if (r->is_at_end) return 0;
        if ((code = read_on(r)) != C3_OK) return code;
    }
    c3_short_read *next = r->done.items[r->given++];
    code = c3_short_read_to_record(next, r->record);
    c3_short_read_free(next);
    *read = r->record;
    return code == C3_OK ? 1 : code;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static int start_on(c3_realigner *r, const char *contig, int64_t start, int64_t end)
{
    int code = c3_reference_window_open(&r->reference, r->source, contig, start - REFERENCE_MARGIN,
                                        end + REFERENCE_MARGIN);
    if (code != C3_OK || (code = c3_selector_start(&r->selector, &r->reference)) != C3_OK) return code;
    if (!(r->record = bam_init1())) return C3_NO_MEMORY;
    int64_t first = start > C3_REALIGN_MARGIN ? start - C3_REALIGN_MARGIN : 0;
    return c3_reads_open(&r->reads, r->source, contig, first, end + C3_REALIGN_MARGIN, r->cancel);
}

int c3_realign_start(c3_source *source, const char *contig, int64_t start, int64_t end, const int64_t *intervals,
                     int64_t n, const c3_haplotypes *haplotypes, const volatile int32_t *cancel, c3_realigner **out)
{
    c3_realigner *r = calloc(1, sizeof *r);
    int code = C3_NO_MEMORY;
    *out = NULL;
    if (!r) goto out;
    r->source = source;
    r->intervals = intervals;
    r->n_intervals = n;
    r->haplotypes = haplotypes;
    r->cancel = cancel;
    if ((code = start_on(r, contig, start, end)) != C3_OK) goto out;
    *out = r;
    r = NULL; /* the caller's */

out:
    c3_realign_end(r);
    return code;
}

static void free_list(read_list *list, int64_t from)
{
    for (int64_t i = from; i < list->n; i++) c3_short_read_free(list->items[i]);
    free(list->items);
}

void c3_realign_end(c3_realigner *r)
{
    if (!r) return;
    free_list(&r->waiting, 0);
    free_list(&r->done, r->given);
    free(r->assigned.items);
    free(r->owner);
    free(r->windows.items);
    c3_reference_window_free(&r->reference);
    c3_window_free(&r->workspace);
    c3_selector_free(&r->selector);
    if (r->record) bam_destroy1(r->record);
    c3_reads_close(&r->reads);
    free(r);
}

int c3_realign_write(c3_realigner *r, const char *path, int sam)
{
    const bam1_t *read;
    int code = C3_CANNOT_OPEN, got;
    htsFile *file = hts_open(path, sam ? "w" : "wb");
    if (!file || sam_hdr_write(file, r->source->header) != 0) goto out;
    while ((got = c3_realign_next(r, &read)) > 0)
        if (sam_write1(file, r->source->header, read) < 0) goto out;
    code = got;

out:
    if (file && hts_close(file) != 0 && code == C3_OK) code = C3_CANNOT_OPEN; /* what was still to be written */
    return code;
}
