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
};

/* Reads overlapping [start, end) of a contig, in file order. C3_NO_CONTIG when the header lacks it. */
int c3_reads_of(c3_source *source, const char *contig, int64_t start, int64_t end, hts_itr_t **out);

/* Which reads count (spec/features.md A.2): the columns of its table, the scripted one for Illumina. */
enum { C3_PILEUP_READS, C3_FULL_READS, C3_SCRIPTED_READS };

/* Does a read count? Never do those whose sequence is not in the file ("*"): their CIGAR speaks of bases that are not
 * there. */
int c3_is_used(const bam1_t *read, int reads, int min_mapq);

/* Next read into source->record: 1, at the end 0, on a damaged file C3_BAD_RECORD. */
int c3_next_read(c3_source *source, hts_itr_t *reads);

/* Reference letters of [start, end), case preserved, clipped at the contig's ends: none behind them. *out is the
 * caller's to free. */
int c3_reference(c3_source *source, const char *contig, int64_t start, int64_t end, char **out, int64_t *length);

#endif
