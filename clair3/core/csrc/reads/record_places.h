/* What stands at the offsets that an index of a BAM file points to. */
#ifndef C3_READS_RECORD_PLACES_H
#define C3_READS_RECORD_PLACES_H

#include "reads/alignments.h"

/* cdef: begin */
#define C3_END_OF_FILE -2
#define C3_NOT_A_RECORD -3

typedef struct {
    uint64_t offset;  /* the virtual offset in the one form that htslib tells: a place may be the end of a block, too */
    int64_t pos, end; /* [pos, end) on the contig, 0-based; an unmapped read takes one base */
    int32_t contig;   /* number of the contig, -1: none; or C3_END_OF_FILE, C3_NOT_A_RECORD */
} c3_record_place;

/* Look at n virtual offsets of a BAM file; `cancel` (may be NULL) is looked at before each. C3_OK or C3_CANCELLED. */
int c3_record_places(c3_source *source, const uint64_t *offsets, int64_t n, const volatile int32_t *cancel,
                     c3_record_place *out);

/* The virtual offset of the first record behind the header of a BAM file; 0 for a CRAM. */
uint64_t c3_first_record(const c3_source *source);
/* cdef: end */

#endif
