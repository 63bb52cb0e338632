/* Realigning the reads of one window to the haplotypes assembled there (spec/features.md D.4, D.5). */
#ifndef C3_SHORT_READS_REALIGN_WINDOW_H
#define C3_SHORT_READS_REALIGN_WINDOW_H

#include "short_reads/cigar.h"
#include "short_reads/window_selector.h"
#include "short_reads/local_alignment.h"

/* Most reads of a window that are realigned. */
enum { C3_WINDOW_READS = 1000 };

/* Where a read lies best on a haplotype: score 0 is nowhere. The place of a read that had to be aligned is found
 * again. */
typedef struct {
    int32_t score, place;
} c3_placement;

/* A haplotype of the window between the reference letters beside it. */
typedef struct {
    int64_t first, length; /* in the letters */
    int64_t score;         /* of the reads placed quickly */
    int64_t start;         /* on the target, with its alignment to it, once that was needed */
    c3_cigar cigar;
    int is_aligned, is_reference;
} c3_haplotype_text;

/* Bases from `offset` of a read on; next: the next place of the same bases, -1: none. The first place knows the last.
 * */
typedef struct {
    int32_t read, offset, next, last;
} c3_read_word;

/* Scratch of a window, kept from one to the next; all zero before its first use. */
typedef struct {
    c3_assembly haplotypes;
    c3_haplotype_text texts[C3_HAPLOTYPES];
    int64_t n_texts;
    char *letters;
    c3_placement *placements; /* of read r on haplotype h: h * reads + r */
    c3_read_word *words;
    int32_t *table, *coverage;
    uint8_t *is_slow; /* reads that no haplotype takes as they are */
    c3_sequence *sequences;
    c3_local local;
    c3_cigar whole, composed;
    int64_t letters_capacity, placement_capacity, word_capacity, table_capacity, coverage_capacity, slow_capacity;
    int64_t sequence_capacity;
} c3_window_workspace;

void c3_window_free(c3_window_workspace *workspace);

/* Realign up to C3_WINDOW_READS of the n reads that belong to a window; of all n the haplotypes are made. No read is put
 * before `earliest`. `cancel` (may be NULL) is looked at between reads. */
int c3_window_realign(c3_window_workspace *workspace, c3_reference_window *reference, c3_interval window,
                      c3_short_read **reads, int64_t n, int64_t earliest, const volatile int32_t *cancel);

#endif
