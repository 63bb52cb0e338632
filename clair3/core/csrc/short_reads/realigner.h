/* Local realignment of short reads: a stream of the reads of an interval, each where the haplotypes assembled around it
 * put it (spec/features.md D). */
#ifndef C3_SHORT_READS_REALIGNER_H
#define C3_SHORT_READS_REALIGNER_H

#include "reads/alignments.h"
#include "reads/haplotypes.h"

/* cdef: begin */
#define C3_REALIGN_MAPQ 5
#define C3_REALIGN_MARGIN 1000

typedef struct c3_realigner c3_realigner;

/* Start on [start, end) of a contig, 0-based: the bounds of a candidate file (lo - 1 and hi of A.10). Reads are those
 * of C3_REALIGN_MARGIN bases more on both sides with a mapping quality of at least C3_REALIGN_MAPQ that overlap one of
 * n intervals (2n numbers, half-open, sorted, disjoint; NULL: anywhere). With haplotypes the HP tags of the reads are
 * those that these give to their old names (0: no tag), else, NULL, their own. cancel may be NULL. The realigner reads
 * through `source`; that, contig, intervals and haplotypes must live as long as it does. *out is NULL on failure. */
int c3_realign_start(c3_source *source, const char *contig, int64_t start, int64_t end, const int64_t *intervals,
                     int64_t n, const c3_haplotypes *haplotypes, const volatile int32_t *cancel, c3_realigner **out);
void c3_realign_end(c3_realigner *realigner);

/* Write all of them to a file, which has the header of the source: BAM, or SAM. C3_CANNOT_OPEN when it cannot be
 * written. */
int c3_realign_write(c3_realigner *realigner, const char *path, int sam);
/* cdef: end */

/* The next read into *read: 1, at the end 0, else a negative code. Reads come in order of their new start, those of
 * one start in file order; no flag is filtered. A read is a plain BAM record with its new position and CIGAR; its name
 * is new and its own, so mates and repeated names are independent; of the tags only HP is kept (one digit). The record
 * belongs to the realigner and lasts until the next call; source->record is used up by it. */
int c3_realign_next(c3_realigner *realigner, const bam1_t **read);

#endif
