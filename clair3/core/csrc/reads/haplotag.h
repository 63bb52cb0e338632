/* Which allele a read shows at SNPs, and which haplotype it comes from by phased ones (spec/features.md C.3). */
#ifndef C3_READS_HAPLOTAG_H
#define C3_READS_HAPLOTAG_H

#include <htslib/sam.h>

#include "reads/reference_window.h"

/* cdef: begin */
/* Phased SNPs of a contig, sorted by position: haplotype 1 when the first haplotype carries REF (GT 0|1), else 2. */
typedef struct {
    int64_t n;
    const int64_t *pos;
    const uint8_t *alt;
    const int8_t *haplotype;
    const int64_t *phase_set;
} c3_phased_snps;
/* cdef: end */

#define C3_PHASING_MAPQ 20 /* reads mapped with less neither phase nor are phased */

/* SNPs of a contig, sorted by position. */
typedef struct {
    int64_t n;
    const int64_t *pos;
    const uint8_t *alt;
} c3_snps;

/* What is done with the allele that a read shows at SNP j, 1 REF or 2 ALT; a negative code ends the search. */
typedef int c3_take_allele(void *context, int64_t j, int allele);

/* Call take(context, ...) for each SNP at which the read shows an allele: the one whose haplotype, 10 bases on both
 * sides, is nearer to the read. Reads that end sooner are compared as far as they go if `partial`. The reference is as
 * in c3_vote_haplotype. C3_OK, or the code of `take`. */
int c3_for_each_allele(const bam1_t *read, const c3_snps *snps, const c3_reference_span *reference, int partial,
                       c3_take_allele *take, void *context);

/* 0 (unknown), 1 or 2. The reference must cover the read and 11 bases behind it as far as the contig goes. */
int c3_vote_haplotype(const bam1_t *read, const c3_phased_snps *snps, const c3_reference_span *reference);

#endif
