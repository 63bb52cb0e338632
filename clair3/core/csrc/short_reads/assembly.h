/* Haplotypes of a window, assembled from its reads by a de Bruijn graph (spec/features.md D.4). */
#ifndef C3_SHORT_READS_ASSEMBLY_H
#define C3_SHORT_READS_ASSEMBLY_H

#include <stdint.h>

/* cdef: begin */
#define C3_HAPLOTYPES 200

/* A sequence: letters and qualities. */
typedef struct {
    const char *letters;
    const uint8_t *quality;
    int64_t length;
} c3_sequence;

/* Haplotypes, at most C3_HAPLOTYPES, in the order of their letters: number h is letters[first[h] .. first[h + 1]). All
 * zero before its first use; the rest is scratch. */
typedef struct {
    int64_t n;
    int64_t *first;
    char *letters;
    int64_t first_capacity, letters_capacity;
    struct c3_kmer *kmers;
    int32_t *table, *order;
    int64_t kmer_capacity, table_capacity, order_capacity;
} c3_assembly;

/* Assemble the reads with the reference, upper-case letters. n is 0 when there is no acyclic graph, or one with too
 * many paths. The n_reads reads are whole; bases of low quality and letters other than A, C, G, T are not used.
 * `cancel` (may be NULL) is looked at between reads. */
int c3_assemble(const char *reference, int64_t length, const c3_sequence *reads, int64_t n_reads,
                const volatile int32_t *cancel, c3_assembly *haplotypes);
void c3_assembly_free(c3_assembly *haplotypes);
/* cdef: end */

#endif
