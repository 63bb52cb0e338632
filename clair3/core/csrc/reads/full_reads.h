/* Full-alignment features, first part: the reads around candidates as cells, one per read and watched position
 * (spec/features.md C.2-C.4, for realigned short reads C.13). What is made of them: reads/full_alignment.h. */
#ifndef C3_READS_FULL_READS_H
#define C3_READS_FULL_READS_H

#include "reads/alignments.h"
#include "reads/full_alignment.h"
#include "reads/pileup.h" /* C3_FLANK, C3_WINDOW */

/* What a read shows at a position: nothing (a skip), a deleted base, or C3_LETTER + its 4-bit code. */
enum { C3_NOTHING, C3_GONE, C3_LETTER };

/* An insertion (with bases) or deletion that starts after a position of the read; `place` counts watched positions. */
typedef struct {
    int64_t place, bases; /* bases: offset into the pool, -1 for a deletion */
    int32_t length;
} c3_event;

/* Strands as the tensor has them. */
enum { C3_FORWARD_CODE = 100, C3_REVERSE_CODE = 50 };

typedef struct {
    int64_t start, end;   /* on the reference */
    int64_t place, cells; /* the watched positions it covers: place .. place + cells */
    int64_t cell;         /* of the first one in shown, quality, signal */
    int64_t event, events;
    int8_t strand, mapq;
    uint8_t haplotype;
} c3_kept_read;

/* Watched positions: those in a window of a candidate. Position p of such a run is place base + p - start. */
typedef struct {
    int64_t start, end, base;
} c3_watched;

struct c3_full_state {
    const c3_row_engine *engine;
    c3_full_rule rule;
    int channels;
    int64_t n_candidates;
    int64_t *candidates;
    c3_watched *runs;
    int64_t n_runs;
    uint8_t *blank; /* per watched position: is this column left out for all reads? NULL: none is */
    c3_kept_read *reads;
    int64_t n_reads, read_capacity;
    uint8_t *shown, *quality, *signal; /* one cell per read and watched position */
    int64_t n_cells, shown_capacity, quality_capacity, signal_capacity;
    c3_event *events;
    int64_t n_events, event_capacity;
    char *pool;
    int64_t n_pool, pool_capacity;
    char *reference;
    int64_t reference_start, reference_length, reference_capacity;
    int64_t *row_start; /* n + 1: rows of candidate i are row[row_start[i]] .. */
    int32_t *row;       /* read indices: in row order, of short reads in file order and more than fit */
    int64_t n_rows, row_capacity;
    int32_t *alternative; /* per row: reads that show the row's centre allele, 0 when it shows the reference */
    int64_t alternative_capacity;
};

/* A read that is being walked, operation by operation. */
typedef struct {
    c3_full_state *state;
    const bam1_t *read;
    c3_kept_read *kept;
    const uint8_t *moves; /* or NULL */
    int64_t at;           /* the run that is being walked */
} c3_read_walk;

/* Note what a read shows on the watched part of [x, x + length) by an operation whose first base is `query`. */
void c3_walk_columns(c3_read_walk *walk, int64_t x, int64_t length, int64_t query, int op);

/* Note an indel that starts after x, if x is watched: *place is that of x, or -1. The caller writes the letters of an
 * insertion to *letters, unless that is NULL. */
int c3_walk_deletion(c3_read_walk *walk, int64_t x, int64_t length);
int c3_walk_insertion(c3_read_walk *walk, int64_t x, int64_t length, char **letters, int64_t *place);

/* What the engines for long reads and for short ones do differently. */
struct c3_row_engine {
    int blanks; /* a skip, or another letter than A, C, G, T, N, leaves its column out for all reads */

    /* Walk the CIGAR of a read. */
    int (*walk)(c3_read_walk *walk);

    /* Depth, support and rows of all candidates into `out` and its state. */
    int (*tally)(c3_full *out);

    /* One row of a tensor, all zero before: 33 columns of `channels` from the one at `place` - 16 on. `alternative`:
     * reads that show its centre allele, of `depth`. */
    void (*fill_row)(const c3_full_state *s, const c3_kept_read *read, int64_t candidate, int64_t place,
                     int32_t alternative, int32_t depth, int8_t *row);
};

/* Channels of a row. */
enum { C3_CH_REF, C3_CH_ALT, C3_CH_STRAND, C3_CH_MAPQ, C3_CH_QUAL, C3_CH_AF, C3_CH_INSERTED, C3_CH_HAPLOTYPE };
enum { C3_CH_DWELL = 8, C3_ROW_CHANNELS = 8 }; /* the ninth only with dwell time */
enum { C3_INSERTION_CODE = -50, C3_DELETION_CODE = -100 };

/* Fill the channels of a cell that both engines fill alike: MAPQ, quality, haplotype and, if there is one, dwell
 * time. */
void c3_fill_cell(const c3_full_state *s, const c3_kept_read *read, int64_t index, int8_t *cell);

/* Give the columns of a row that have anything in channel `where` its allele fraction. */
void c3_fill_fraction(const c3_full_state *s, int where, int8_t fraction, int8_t *row);

/* Watch the windows of candidates (ascending, at least one). */
int c3_full_watch(c3_full_state *s, const int64_t *candidates, int64_t n);

/* Leave out the watched columns that do not lie in [start, end), for all reads; of an engine with blanks. */
void c3_full_leave_out(c3_full_state *s, int64_t start, int64_t end);
void c3_full_state_free(c3_full_state *s);

/* What takes in reads; all that is not named is zero at first. `snps` (or NULL) give haplotypes. */
typedef struct {
    c3_full_state *state;
    c3_source *source;
    const char *contig;
    const c3_phased_snps *snps;
    int has_reads;
    uint8_t *moves; /* scratch */
    int64_t move_capacity;
} c3_full_reader;

/* Keep a read, if it covers a watched position; reads come sorted by start. */
int c3_full_keep(c3_full_reader *reader, const bam1_t *read);

/* End of the reads: fetch what else is needed of the reference. */
int c3_full_finish(c3_full_reader *reader);
void c3_full_reader_free(c3_full_reader *reader);

/* How many watched positions lie before pos: the place of pos, if it is watched. */
int64_t c3_find_place(const c3_full_state *s, int64_t pos);

/* What the read shows at a place; C3_NOTHING where it does not lie, or where the column is blank. */
uint8_t c3_shown_at(const c3_full_state *s, const c3_kept_read *read, int64_t place);

/* The first event of a read at or behind a place. */
int64_t c3_event_at(const c3_full_state *s, const c3_kept_read *read, int64_t place);

/* The insertion and the deletion that a read shows after a place; of several the last counts. -1: none. */
void c3_indels_at(const c3_full_state *s, const c3_kept_read *read, int64_t place, int64_t *ins, int64_t *del);

/* Reference letter as it stands, N where the contig has none. */
char c3_letter_at(const c3_full_state *s, int64_t pos);

/* Indices of the reads that reach the window of a candidate, ascending; slides from candidate to candidate. */
typedef struct {
    int32_t *items;
    int64_t n, capacity;
    int64_t next; /* the first read not yet looked at */
} c3_active_reads;
int c3_slide_active_reads(const c3_full_state *s, c3_active_reads *active, int64_t candidate);

/* Add reads as rows of the candidate that is being written. */
int c3_add_rows(c3_full_state *s, const int32_t *reads, int64_t n);

#endif
