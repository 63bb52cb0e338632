/* Simulated reads as BAM records, and the file they go into. */
#ifndef C3_SIMULATE_BAM_H
#define C3_SIMULATE_BAM_H

#include <stdint.h>

#include "simulate/read.h"

/* cdef: begin */
/* What the alignments of a batch share. */
typedef struct {
    const c3_sim_haplotype *haplotypes;
    int32_t n_haplotypes;
    const uint8_t *reference; /* bases 0 .. 3, N: 4 */
    int64_t n_reference;
    int32_t contig;           /* its number in the header */
    const char *contig_name;
    const char *read_group;
    int32_t paired;           /* segments of one read are mates */
    int32_t end_bonus;        /* score that an unclipped end is worth */
} c3_sim_run;

/* BAM records in one pool: record i is bytes[first[i]] .. bytes[first[i + 1]], and starts at pos[i]. */
typedef struct {
    uint8_t *bytes;
    int64_t n_bytes;
    int64_t *first, *pos;
    int64_t n, n_bases;
    int64_t bytes_capacity, first_capacity, pos_capacity;
} c3_sim_records;

/* Make, align and write down the reads of n segments; reads of which nothing aligns are left out. C3_OK,
 * C3_NO_MEMORY, or C3_TOO_LARGE for a read of more operations than a BAM record holds. */
int c3_sim_make_records(const c3_sim_profile *profile, const c3_sim_run *run, const c3_sim_segment *segments,
                        int64_t n, c3_sim_records **out);
void c3_sim_records_free(c3_sim_records *records);
/* cdef: end */

#endif
