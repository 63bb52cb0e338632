/* Alleles of the reads of a contig at SNPs that are to be phased, as WhatsHap reads them when it has a reference. */
#ifndef C3_READS_PHASE_ALLELES_H
#define C3_READS_PHASE_ALLELES_H

#include <stdint.h>

#include "reads/alignments.h"

/* cdef: begin */
/* Reads that show at least one allele, in file order: the alleles of read r are first[r] .. first[r+1], each a SNP's
 * index and 0 (REF) or 1 (ALT); its name is names[name_start[r] .. name_start[r+1]). */
typedef struct {
    int64_t reads, n, n_names;
    int64_t *first, *name_start, *pos; /* pos: 0-based start of the read */
    uint8_t *mapq;
    int32_t *snp;
    uint8_t *allele;
    char *names;
    int64_t first_capacity, name_capacity, pos_capacity, mapq_capacity, snp_capacity, allele_capacity, names_capacity;
} c3_phase_alleles;

/* pos is sorted, without repeats, and may be empty; alt are upper-case letters. Duplicates count if asked for, as they
 * do for WhatsHap's haplotagging and not for its phasing. *out is NULL on failure. */
int c3_phase_alleles_read(c3_source *source, const char *contig, const int64_t *pos, const uint8_t *alt, int64_t n,
                          int duplicates, const volatile int32_t *cancel, c3_phase_alleles **out);
void c3_phase_alleles_free(c3_phase_alleles *alleles);
/* cdef: end */

#endif
