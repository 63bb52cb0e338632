/* Letters of a contig, as many as are being looked at: a window that moves on with the reads. */
#ifndef C3_READS_REFERENCE_WINDOW_H
#define C3_READS_REFERENCE_WINDOW_H

#include "reads/alignments.h"

/* Letters of [start, start + length) of a contig. */
typedef struct {
    int64_t start, length;
    const char *letters;
} c3_reference_span;

/* Letters in upper case, of which only what was asked for last is in memory. */
typedef struct {
    c3_source *source;
    const char *contig; /* the owner's, like the source */
    int64_t start, end; /* there are letters in here only */
    c3_reference_span held;
    char *letters;
} c3_reference_window;

/* Open one that may reach over [start, end), as far as the contig goes; C3_NO_CONTIG when the reference lacks it. */
int c3_reference_window_open(c3_reference_window *window, c3_source *source, const char *contig, int64_t start,
                             int64_t end);

/* Make `held` cover [start, end), as far as it may reach. */
int c3_reference_window_move(c3_reference_window *window, int64_t start, int64_t end);
void c3_reference_window_free(c3_reference_window *window);

#endif
