/* Which haplotype a read comes from, by the phased SNPs it covers (spec/features.md C.3). */
#ifndef C3_HAPLOTAG_H
#define C3_HAPLOTAG_H

#include <htslib/sam.h>

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

/* Letters of [start, start + length) of the contig, case preserved. */
typedef struct {
    int64_t start, length;
    const char *letters;
} c3_stretch;

/* 0 (unknown), 1 or 2. The stretch must cover the read and 11 bases behind it as far as the contig goes. */
int c3_haplotype(const bam1_t *read, const c3_phased_snps *snps, const c3_stretch *reference);

#endif
