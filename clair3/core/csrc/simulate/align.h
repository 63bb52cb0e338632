/* Where an aligner would put a simulated read: its true columns carried over to the reference, with insertions and
 * deletions moved left, opposite neighbours resolved, and ends that do not match clipped. */
#ifndef C3_SIMULATE_ALIGN_H
#define C3_SIMULATE_ALIGN_H

#include <stdint.h>

#include "simulate/read.h"

typedef struct {
    uint32_t *cigar; /* as in BAM: length << 4 | operation (M, I, D), without clips */
    int64_t n, cigar_capacity;
    int64_t pos;                   /* on the reference, 0-based */
    int64_t clip_left, clip_right; /* bases of the read outside the alignment */
    int64_t mismatches, gap_bases;
    uint8_t *bases; /* of the read, 0 .. 3, and qualities */
    uint8_t *quality;
    int64_t n_bases, bases_capacity, quality_capacity;
    int64_t reference_bases; /* that the alignment spans */
} c3_sim_alignment;

/* Align the columns of a segment to the reference (n_reference bases 0 .. 3, 4: N). An end is clipped when it scores
 * less than -end_bonus. Nothing aligned: n is 0. C3_OK or C3_NO_MEMORY. */
int c3_sim_align(const c3_sim_haplotype *haplotype, const c3_sim_segment *segment, const c3_sim_columns *columns,
                 const uint8_t *reference, int64_t n_reference, int end_bonus, c3_sim_alignment *alignment);
void c3_sim_alignment_free(c3_sim_alignment *alignment);

#endif
