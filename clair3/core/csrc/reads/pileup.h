/* Pileup features of a region: candidates among its columns, their windows and read support (spec/features.md B).
 *
 * Here is what the two engines share; reads/long_read_pileup.h and short_reads/pileup.h are the engines. */
#ifndef C3_READS_PILEUP_H
#define C3_READS_PILEUP_H

#include "reads/alignments.h"
#include "reads/columns.h"
#include "reads/support.h"

/* cdef: begin */
#define C3_FLANK 16
#define C3_WINDOW 33

typedef struct {
    int32_t min_mapq;
    int32_t min_coverage;
    int32_t max_indel_length; /* longest insertion or deletion listed in the support; short reads: 100,000 */
    double snp_min_af;
    double indel_min_af;
    int32_t snp_only;      /* a candidate must pass the SNP threshold */
    int32_t head_and_tail; /* pad windows with zeros where a run of columns begins or ends */
    int32_t known_sites;   /* short reads: every allowed column is a candidate, whatever the reads show */
} c3_pileup_rule;

/* Which columns make a window: `real` of them from column `from` of the region, after `before` zero columns. */
typedef struct {
    int64_t from;
    int32_t before, real;
} c3_window;

typedef struct {
    int64_t reads; /* that count */

    /* all reads, also those that do not count: those that begin in the owned positions; those that begin before them and
     * overlap the first one; those that begin before their end and overlap the position behind it */
    int64_t starting, entering, leaving;

    int64_t n; /* candidates */
    int64_t *pos;
    uint8_t *ref; /* upper case */
    int32_t *depth;
    c3_window *windows;
    int32_t *counts; /* all columns of the region x 18, reference channels negated */

    c3_support support;

    int32_t *n_ref, *n_total; /* site counts of each column of [start, end) for a gVCF, or NULL when not asked for */
} c3_pileup;

/* The region owns the positions [owned_start, owned_end).
 *
 * Where candidates may be: n sorted, disjoint intervals allowed[2k] <= pos < allowed[2k+1]. For short reads with a BED
 * (targets not NULL) there are only columns near its n_targets sorted, disjoint intervals, and a candidate must touch
 * one, its longest deletion included (B.12.11). */
typedef struct {
    const int64_t *allowed;
    int64_t n;
    const int64_t *targets;
    int64_t n_targets;
    int64_t owned_start, owned_end;
} c3_places;

/* Copy the windows of candidates [from, to) into out, (to - from) x 33 x 18: a few at a time, so that memory stays flat
 * where every column is a candidate. */
void c3_pileup_windows(const c3_pileup *pileup, int64_t from, int64_t to, int32_t *out);
void c3_pileup_free(c3_pileup *pileup);
/* cdef: end */

/* What a column says, before its reference channels are negated (B.4). */
typedef struct {
    int32_t depth, n_ref, alt, acc, n_ins, n_del;
    int32_t others;      /* reads with another base than the reference's; alt: with the most frequent of them */
    int ref, alt_letter; /* channel indices; ref is 0 for letters outside ACGT */
    int ref_is_acgt;
} c3_column_summary;

typedef struct {
    int64_t column, run_first, run_last; /* run: the consecutive columns around it */
    c3_window window;
    int32_t depth, n_ref;
    uint8_t ref_channel, ref;
} c3_candidate;

/* A walk over the columns of a region in order, and the candidates it met. */
typedef struct {
    const c3_places *places;
    c3_columns columns;
    char *reference; /* letters from the first column on */
    int64_t reference_length;
    c3_allele_table insertions, deletions; /* of the last column that was looked at */
    int64_t allowed;                       /* the first place that a column may be in */
    int64_t run_first, last;               /* first column of the run of consecutive ones, and the last; -1: none yet */
    c3_candidate *candidates;
    int64_t n, capacity, open; /* open: the first candidate whose run has not ended */
    c3_pileup *pileup;     /* what becomes of them */
} c3_pileup_scan;

/* Begin with columns that are to be counted, as c3_columns_start, and an empty pileup. Whatever is returned, *scan is
 * to be freed. */
int c3_scan_start(c3_pileup_scan *scan, const c3_places *places, int64_t start, int64_t end, int32_t longest,
                  int want_first, int want_gvcf);
void c3_scan_free(c3_pileup_scan *scan);

/* Count a read, whether it is used or not, among those of the owned positions. */
void c3_scan_tally(c3_pileup_scan *scan, const bam1_t *read);

/* No more reads come: group the indels and fetch the reference letters. */
int c3_scan_finish_reads(c3_pileup_scan *scan, c3_source *source, const char *contig);

/* Put the indels of a column into the tables, and with c3_scan_count_indels into its indel channels. */
int c3_scan_tabulate_indels(c3_pileup_scan *scan, int64_t column);
int c3_scan_count_indels(c3_pileup_scan *scan, int64_t column);

/* Reads with a base A, C, G, T or a deletion at a column of these counts. */
int32_t c3_column_depth(const int32_t *counts);
c3_column_summary c3_summarise_column(const int32_t *counts, int32_t depth, char letter);
char c3_scan_letter(const c3_pileup_scan *scan, int64_t column);

/* Is a column, further than those asked about before, in an allowed place? */
int c3_scan_is_allowed(c3_pileup_scan *scan, int64_t column);

/* Negate the reference channels of a column and keep its site counts; `mismatches` are the reads that count as such. */
void c3_scan_finish_column(c3_pileup_scan *scan, int64_t column, const c3_column_summary *summary, int32_t mismatches);

/* A column more: 1 if it goes on with the run of the last one, 0 if it begins another. */
int c3_scan_extend_run(c3_pileup_scan *scan, int64_t column);

/* Add the last column as a candidate, and behind the last one of all end the last run. */
int c3_scan_add(c3_pileup_scan *scan, int64_t column, const c3_column_summary *summary);
void c3_scan_end_run(c3_pileup_scan *scan);

/* Put the candidates, with their windows, into the pileup. */
int c3_scan_list(c3_pileup_scan *scan);

/* The pileup, complete and the caller's. */
c3_pileup *c3_scan_give(c3_pileup_scan *scan);

/* Reads of all alleles of a table. */
int32_t c3_alleles_count_reads(const c3_allele_table *table);

#endif
