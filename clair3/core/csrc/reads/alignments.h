/* Reading alignments (BAM, CRAM) and the reference (FASTA), one handle per thread. */
#ifndef C3_READS_ALIGNMENTS_H
#define C3_READS_ALIGNMENTS_H

#include <htslib/faidx.h>
#include <htslib/sam.h>

#include "codes.h"

/* cdef: begin */
typedef struct c3_source c3_source;

/* Open alignments and FASTA, each with its index; an index may be NULL: found by htslib beside the file. `gzi` is the
 * block index of a bgzip FASTA. *out is NULL on failure. The alignments' end-of-file mark is checked: C3_TRUNCATED
 * without it. */
int c3_source_open(const char *alignments, const char *index, const char *fasta, const char *fai, const char *gzi,
                   c3_source **out);
void c3_source_close(c3_source *source);

/* Path of the htslib in use, as the loader knows it; "" when it cannot tell. */
const char *c3_htslib_path(void);
/* cdef: end */

struct c3_source {
    htsFile *file;
    sam_hdr_t *header;
    hts_idx_t *index;
    faidx_t *fasta;
    bam1_t *record; /* the one record buffer, reused */
    uint64_t first_record; /* BAM: virtual offset behind the header; CRAM: 0 */
};

/* What is done with a read: C3_OK to go on, C3_STOP to leave the loop, or a negative code, which leaves it too. */
enum { C3_STOP = 1 };
typedef int c3_take_read(void *context, const bam1_t *read);

/* Call take(context, read) for each read that overlaps [start, end) of a contig, in file order. `cancel` (may be NULL)
 * is looked at before each. C3_OK at the end of the reads or when `take` said C3_STOP, else the negative code of
 * `take`, C3_NO_CONTIG when the header lacks the contig, C3_CANCELLED, C3_UNSORTED, or C3_BAD_RECORD on a damaged
 * file. */
int c3_for_each_read(c3_source *source, const char *contig, int64_t start, int64_t end,
                     const volatile int32_t *cancel, c3_take_read *take, void *context);

/* The same in pieces, for who gives reads on one by one. Whatever c3_reads_open returns, *reads is to be closed. */
typedef struct {
    c3_source *source;
    hts_itr_t *iterator;
    const volatile int32_t *cancel;
    int64_t last; /* start of the read before */
} c3_reads;

int c3_reads_open(c3_reads *reads, c3_source *source, const char *contig, int64_t start, int64_t end,
                  const volatile int32_t *cancel);

/* As c3_for_each_read, but tells the end, C3_OK, from C3_STOP, after which the next call goes on. */
int c3_reads_continue(c3_reads *reads, c3_take_read *take, void *context);
void c3_reads_close(c3_reads *reads);

/* Which reads count (spec/features.md A.2): the columns of its table, for Illumina that of short reads. */
enum { C3_PILEUP_READS, C3_FULL_READS, C3_SHORT_READS };

/* Does a read count? Never do those whose sequence is not in the file ("*"): their CIGAR speaks of bases that are not
 * there. */
int c3_is_used(const bam1_t *read, int reads, int min_mapq);

/* Reference letters of [start, end), case preserved, clipped at the contig's ends: none behind them. *out is the
 * caller's to free. */
int c3_reference(c3_source *source, const char *contig, int64_t start, int64_t end, char **out, int64_t *length);

#endif
