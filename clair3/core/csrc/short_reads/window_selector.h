/* Where reads differ from the reference, and the windows of reads to realign that follow (spec/features.md
 * D.2, D.3). */
#ifndef C3_SHORT_READS_WINDOW_SELECTOR_H
#define C3_SHORT_READS_WINDOW_SELECTOR_H

#include "short_reads/realigned_read.h"
#include "reads/reference_window.h"

/* How many reads differ at each position of the reference, as the difference to the position before, so that a long
 * deletion takes no more room than a short one. Pages are there where reads begin or cease to differ. */
typedef struct {
    int64_t start, pages, forgotten; /* of the first page, how many there are, and how many of them are done with */
    int32_t carried;                 /* reads that differ on the last position of the pages done with */
    int32_t **page;
    int64_t *positions; /* at which enough reads differ, ascending */
    int64_t n_positions, position_capacity;
} c3_window_selector;

/* [start, end) on the reference. */
typedef struct {
    int64_t start, end;
} c3_interval;

typedef struct {
    c3_interval *items;
    int64_t n, capacity;
} c3_intervals;

/* Room for where the reference may reach. */
int c3_selector_start(c3_window_selector *selector, const c3_reference_window *reference);
void c3_selector_free(c3_window_selector *selector);

/* Count a read while the chunk [chunk, chunk + C3_CHUNK) is the current one. */
enum { C3_CHUNK = 5000, C3_CHUNK_EDGE = 20 };
int c3_selector_add_read(c3_window_selector *selector, c3_reference_window *reference, const c3_short_read *read,
                         int64_t chunk);

/* Forget what lies before pos. */
void c3_selector_forget(c3_window_selector *selector, int64_t pos);

/* Find the positions of [start, end) at which enough reads differ. */
int c3_selector_find(c3_window_selector *selector, int64_t start, int64_t end);

/* The windows around those positions that lie in [start, end), not cut at the ends of the reference. */
int c3_selector_list_windows(const c3_window_selector *selector, int64_t start, int64_t end, c3_intervals *windows);

#endif
