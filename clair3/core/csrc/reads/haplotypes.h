/* Haplotypes of the reads of a contig by phased SNPs, as `whatshap haplotag` gives them: mates share one. */
#ifndef C3_READS_HAPLOTYPES_H
#define C3_READS_HAPLOTYPES_H

#include "reads/alignments.h"
#include "reads/haplotag.h"

/* cdef: begin */
typedef struct c3_haplotypes c3_haplotypes;

/* The read names of a contig that phased SNPs (distinct positions, sorted) give to a haplotype. Any thread may look
 * them up. *out is NULL on failure. */
int c3_haplotypes_read(c3_source *source, const char *contig, const c3_phased_snps *snps,
                       const volatile int32_t *cancel, c3_haplotypes **out);
void c3_haplotypes_free(c3_haplotypes *haplotypes);

/* Haplotype of a read name: 1, 2, or 0 for none. */
int c3_haplotypes_get(const c3_haplotypes *haplotypes, const char *name);
/* cdef: end */

/* Haplotype of an alignment, that of its name: 0 without haplotypes (NULL), and for those that WhatsHap leaves out:
 * secondary, supplementary and unmapped ones. */
int c3_haplotypes_get_read(const c3_haplotypes *haplotypes, const bam1_t *read);

#endif
