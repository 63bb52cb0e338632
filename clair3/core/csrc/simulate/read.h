/* A read as a sequencer would make it from a haplotype: which bases, which errors, which qualities
 * (spec/training.md E.3). */
#ifndef C3_SIMULATE_READ_H
#define C3_SIMULATE_READ_H

#include <stdint.h>

/* cdef: begin */
#define C3_SIM_CONTEXT 6
#define C3_SIM_RUN 32
#define C3_SIM_CHANGE 3
#define C3_SIM_TRACT 64
#define C3_SIM_LENGTHS 16
#define C3_SIM_STATES 5
#define C3_SIM_LEVELS 4096
#define C3_SIM_SITES 16
#define C3_SIM_FACTORS 256
#define C3_SIM_MIDDLE_RUN 4
#define C3_SIM_LONG_RUN 8

/* The error process of a run. Contexts and runs are read in the direction of sequencing, so what errs on one strand
 * does not on the other. Tables end in their last row: longer runs, tracts, indels are as likely as it says. */
typedef struct {
    /* per base; insertion: of bases that do not lengthen a run, deletion: over runs */
    float mismatch, insertion, deletion;
    const float *context;                /* (4^6, 3) factors on mismatch, gain and loss at the fourth base of a 6-mer */
    const float *run;                    /* (2, 33, 7) A/T, C/G; bases of the run; chance of a change by -3 .. 3 */
    const float *tract;                  /* (65, 2) bases of a short tandem repeat; chance to lose, to gain a unit */
    const float *substitution;           /* (4, 4) from, to; cumulative */
    const float *insertion_length;       /* (16) of 1 .. bases; cumulative */
    const float *deletion_length;        /* (16) of 2 .. bases; cumulative */
    const uint8_t *quality;              /* (5, 4096) by state and level from -4 to 4 standard deviations */
    float read_share;                    /* of a level, what all bases of a read have in common, 0 .. 1 */
    float smoothness;                    /* correlation of the rest of a level with that of the base before, 0 .. 1 */
    float rise;                          /* errors at the end of a read against its start, minus 1 */
    float decline;                       /* standard deviations that the level falls to the end of a read */
    /* (16) chance of the wrong base of a site by its class; class 0: no such site */
    const float *site;
    /* (3, 256) factors on the changes of runs of 1, 4, 8 bases and more, by class */
    const float *run_factor;
    float dwell;                         /* mean number of blocks of a base in the move table */
    int32_t stride;                      /* samples of a block; 0: no move table */
} c3_sim_profile;

/* One copy of a contig, bases as 0 .. 3, and how it lies over the reference: blocks of equal length, (n_blocks), in
 * order. tract_first and tract_last hold, where a short tandem repeat starts or ends, 256 * unit + bases (at most 255).
 * Sites are bases where reads of one direction err alike: 4 * class + the base they show, for forward and reverse reads
 * (in forward letters). run_class is that of the run that starts at a base. */
typedef struct {
    const uint8_t *bases;
    const uint16_t *tract_first, *tract_last;
    const uint8_t *site_forward, *site_reverse, *run_class;
    int64_t n;
    const int64_t *block_start, *block_pos, *block_length;
    int64_t n_blocks;
} c3_sim_haplotype;

/* A part of a haplotype that becomes an alignment. Consecutive segments with one read number are its mates or, when
 * not paired, the parts of a chimera, the longer first. */
typedef struct {
    int64_t read;
    uint64_t seed;
    int64_t start;         /* on the haplotype */
    int32_t length;
    int32_t haplotype;
    int32_t reverse;
    int32_t head, tail;    /* junk bases before and after, in the direction of sequencing */
    int32_t adapter;       /* of the length: last bases that are the adapter's, in the direction of sequencing */
    float errors;          /* factor on all error rates of the profile */
    float level;           /* of quality, standard deviations */
    float end_errors;      /* factor on the rise of errors to the end: 1, more for a second mate */
    int32_t mapq;
    int32_t tag, phase_set; /* HP and PS; tag 0: none */
    int32_t emit;          /* whether its alignment is wanted */
} c3_sim_segment;

/* Find short tandem repeats, units of 2 to 6 bases, at least three copies: fill first and last, (n), as said above. */
void c3_sim_find_tracts(const uint8_t *bases, int64_t n, uint16_t *first, uint16_t *last);
/* cdef: end */

typedef struct {
    uint64_t state[4];
} c3_sim_random;

void c3_sim_start(c3_sim_random *random, uint64_t seed);
uint64_t c3_sim_next(c3_sim_random *random);

enum { SIM_MATCH, SIM_INSERT, SIM_DELETE };

/* Columns of the read against its haplotype, in reference orientation; a deleted base has no letter that counts. */
typedef struct {
    uint8_t *op, *base, *quality, *state;
    int64_t n, capacity;
    int64_t n_bases; /* columns that are no deletion */
} c3_sim_columns;

/* Make the columns of a segment; C3_OK or C3_NO_MEMORY. The generator goes on from where it is. */
int c3_sim_make_columns(const c3_sim_profile *profile, const c3_sim_haplotype *haplotype,
                        const c3_sim_segment *segment, c3_sim_random *random, c3_sim_columns *columns);
void c3_sim_columns_free(c3_sim_columns *columns);

/* Levels of quality of junk: n qualities of the state of inserted bases. */
void c3_sim_make_junk(const c3_sim_profile *profile, float level, c3_sim_random *random, uint8_t *base,
                      uint8_t *quality, int64_t n);

#endif
