/* gVCF blocks: runs of like sites written as one line.
 *
 * Rules: spec/calling.md 6.3. A block lives in the caller's memory from one batch of sites to the next, so lines do
 * not depend on where a batch ends. */
#ifndef C3_READS_GVCF_H
#define C3_READS_GVCF_H

#include <stdint.h>

/* cdef: begin */
#define C3_GVCF_LINE 192 /* bytes of a line without its contig's name, at most */

/* What the counts of a site say (6.2). */
typedef struct {
    int32_t likelihoods[3]; /* PL */
    uint8_t gq, binned_gq;
    uint8_t reference; /* GT is 0/0, otherwise ./. */
} c3_gvcf_site;

typedef struct {
    /* what the next site is compared with; all zero: no block is open */
    int32_t open, min_depth, max_depth;
    uint8_t binned_gq, reference;
    uint8_t unknown; /* the reference has no base here */
    uint8_t line_per_site;
    /* the line that is not written yet: the block so far, or its last site */
    int64_t first, last; /* 0-based */
    int32_t depth, gq;
    int32_t likelihoods[3];
    uint8_t called; /* GT is 0/0 */
    char ref;       /* one of ACGTN */
} c3_gvcf_block;

/* Add the sites start <= pos < start + n. letters, depth and row have one entry per site; sites[row[i]] is what the
 * counts of a site say. Lines of finished blocks go to out, which has room for n lines; returns the bytes written. */
int64_t c3_gvcf_add(c3_gvcf_block *block, const char *contig, int bp_resolution, int64_t start, int64_t n,
                    const char *letters, const int32_t *depth, const int32_t *row, const c3_gvcf_site *sites,
                    char *out);

/* Write the open block, if there is one, as a line whose END is `end` (1-based); returns the bytes written. */
int64_t c3_gvcf_close(c3_gvcf_block *block, const char *contig, int64_t end, char *out);
/* cdef: end */

#endif
