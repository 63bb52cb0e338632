#include "reads/long_read_pileup.h"

#include <stdlib.h>

#include "letters.h"

typedef struct {
    const c3_pileup_rule *rule;
    c3_pileup_scan scan;
} engine;

/* ---- reads -> columns -------------------------------------------------------------------------------------------- */

static int is_used(const bam1_t *read, const c3_pileup_rule *rule)
{
    return c3_is_used(read, C3_PILEUP_READS, rule->min_mapq);
}

/* Only the operation that follows counts, neighbouring ones are not merged, and a skip takes no indel (B.2). */
static int take_indel(c3_columns *columns, const bam1_t *read, uint32_t i, int64_t x, int64_t query)
{
    const uint32_t *at = bam_get_cigar(read) + i;
    const uint8_t *seq = bam_get_seq(read);
    char *letters;
    if (bam_cigar_op(at[0]) == BAM_CREF_SKIP) return C3_OK;
    if (bam_cigar_op(at[1]) == BAM_CDEL && bam_cigar_oplen(at[1]))
        return c3_columns_add_deletion(columns, x, bam_cigar_oplen(at[1]), bam_is_rev(read));
    int32_t length = c3_inserted_behind(read, i);
    if (query + length > read->core.l_qseq) length = read->core.l_qseq - query;
    if (length <= 0) return C3_OK;
    int code = c3_columns_add_insertion(columns, x, length, bam_is_rev(read), &letters);
    for (int32_t k = 0; k < length && code == C3_OK; k++) letters[k] = seq_nt16_str[bam_seqi(seq, query + k)];
    return code;
}

static int take_read(void *context, const bam1_t *read)
{
    engine *e = context;
    c3_scan_tally(&e->scan, read);
    return is_used(read, e->rule) ? c3_columns_add(&e->scan.columns, read, take_indel) : C3_OK;
}

/* ---- columns -> candidates --------------------------------------------------------------------------------------- */

/* B.5; fractions are compared in single precision. */
static int is_candidate(const c3_column_summary *s, const c3_pileup_rule *rule)
{
    float depth = s->depth > 1 ? s->depth : 1, snp_min_af = rule->snp_min_af, indel_min_af = rule->indel_min_af;
    int hit = s->alt / depth >= snp_min_af;
    if (!rule->snp_only)
        hit = hit || s->n_ref < s->alt || s->n_ref < s->n_ins || s->n_ref < s->n_del
              || (s->n_ref > 0 && s->n_ref == s->alt && s->ref < s->alt_letter)
              || s->n_del / depth >= indel_min_af || s->n_ins / depth >= indel_min_af;
    return hit && depth >= rule->min_coverage && s->ref_is_acgt;
}

/* Finish every column in order and add the candidates, not yet restricted to windows that can be cut. */
static int scan_columns(engine *e)
{
    c3_pileup_scan *scan = &e->scan;
    const c3_columns *columns = &scan->columns;
    int64_t run = 0, before = -1; /* columns of the run before the last one; the column before */
    int code = C3_OK;
    for (int64_t c = 0; c < columns->n && code == C3_OK; c++) {
        int32_t *counts = columns->counts + c * C3_CHANNELS, depth = c3_column_depth(counts) + columns->other[c];
        if (!depth && !columns->skipped[c]) continue;
        if ((code = c3_scan_count_indels(scan, c)) != C3_OK) break;
        /* letters outside ACGT land in the last channel of the column before: kept (E-K1), none before the first */
        if (before >= 0) columns->counts[before * C3_CHANNELS + C3_SPILL] += columns->other[c];
        before = c;
        const c3_column_summary s = c3_summarise_column(counts, depth, c3_scan_letter(scan, c));
        const int is_hit = c3_scan_is_allowed(scan, c) && is_candidate(&s, e->rule);
        c3_scan_finish_column(scan, c, &s, s.acc);
        /* the column after position 0 restarts the count: kept (E-K5) */
        run = c3_scan_extend_run(scan, c) && columns->start + c != 1 ? run + 1 : 0;
        if (is_hit && (e->rule->head_and_tail || run >= C3_FLANK)) code = c3_scan_add(scan, c, &s);
    }
    c3_scan_end_run(scan);
    return code;
}

/* ---- behind the region ------------------------------------------------------------------------------------------- */

/* The letters outside ACGT in the first column behind the region. They spill into the last channel of the column
 * before (E-K1), across a gap too, so that it does not matter where a region ends. */
typedef struct {
    const c3_pileup_rule *rule;
    int64_t first; /* start of the first read, -1: none yet */
    int32_t letters;
} column_behind;

/* Is the first reference column of this read a letter outside A, C, G, T? */
static int starts_with_other(const bam1_t *read)
{
    const uint32_t *cigar = bam_get_cigar(read);
    int64_t query = 0;
    for (uint32_t i = 0; i < read->core.n_cigar; i++) {
        int consumes = bam_cigar_type(bam_cigar_op(cigar[i]));
        if ((consumes & 2) && bam_cigar_oplen(cigar[i]))
            return consumes == 3 && c3_base_index(seq_nt16_str[bam_seqi(bam_get_seq(read), query)]) == C3_OTHER;
        if (consumes & 1) query += bam_cigar_oplen(cigar[i]);
    }
    return 0;
}

static int add_first_letter(void *context, const bam1_t *read)
{
    column_behind *c = context;
    if (!is_used(read, c->rule) || !bam_cigar2rlen(read->core.n_cigar, bam_get_cigar(read))) return C3_OK;
    if (c->first >= 0 && read->core.pos != c->first) return C3_STOP;
    c->first = read->core.pos;
    c->letters += starts_with_other(read);
    return C3_OK;
}

/* Spill into the last column what comes from behind the region; only head-and-tail windows hold that column. */
static int look_behind(engine *e, c3_source *source, const char *contig, const volatile int32_t *cancel)
{
    const c3_columns *columns = &e->scan.columns;
    column_behind c = {e->rule, -1, 0};
    if (!e->rule->head_and_tail || e->scan.last < 0 || e->scan.last == columns->n - 1) return C3_OK;
    int code = c3_for_each_read(source, contig, columns->end, HTS_POS_MAX, cancel, add_first_letter, &c);
    columns->counts[e->scan.last * C3_CHANNELS + C3_SPILL] += c.letters;
    return code;
}

/* ---- candidates -> windows and support --------------------------------------------------------------------------- */

static int has_empty_column(const c3_columns *columns, int64_t from)
{
    for (int64_t c = from; c < from + C3_WINDOW; c++) {
        const int32_t *counts = columns->counts + c * C3_CHANNELS;
        int32_t any = 0;
        for (int k = 0; k < C3_CHANNELS; k++) any |= counts[k];
        if (!any) return 1;
    }
    return 0;
}

/* Decide which columns make the window (B.9); 0 when none can be made. The right side needs two columns more than the
 * window: kept (E-K5). */
static int place_window(const c3_columns *columns, c3_candidate *c, int head_and_tail)
{
    int64_t from = c->column - C3_FLANK, first = c->run_first, last = c->run_last;
    c->window = (c3_window){.from = from, .before = 0, .real = C3_WINDOW};
    if (from >= first && c->column + C3_FLANK + 2 <= last) return !has_empty_column(columns, from);
    if (!head_and_tail || c->column + 1 > last) return 0;
    if (from < first) { /* head: zero columns before; the run must fill the rest */
        c->window = (c3_window){.from = first, .before = first - from, .real = C3_WINDOW - (first - from)};
        return c->column + C3_FLANK <= last;
    }
    if (c->column + C3_FLANK > last) c->window.real = last - from + 1; /* tail: zero columns after */
    return 1;
}

static int by_length(const void *a, const void *b)
{
    return ((const c3_allele *)a)->length - ((const c3_allele *)b)->length;
}

/* Items of one candidate in the order of B.6: X by base, D by length, I in table order, R last. */
static int list_support(c3_pileup_scan *scan, const c3_candidate *c, int32_t longest)
{
    c3_support *support = &scan->pileup->support;
    c3_allele_table *deletions = &scan->deletions;
    const int32_t *counts = scan->columns.counts + c->column * C3_CHANNELS;
    const int32_t bases[4] = {counts[0] + counts[9], counts[1] + counts[10], counts[2] + counts[11],
                              counts[3] + counts[12]};
    int code = c3_scan_tabulate_indels(scan, c->column);
    if (code != C3_OK) return code;
    if (deletions->count > 1) qsort(deletions->alleles, deletions->count, sizeof *deletions->alleles, by_length);
    int32_t alone = c->n_ref - c3_alleles_count_reads(deletions) - c3_alleles_count_reads(&scan->insertions);
    code = c3_support_add_bases(support, bases, c->ref_channel);
    if (code == C3_OK)
        code = c3_support_add_deletions(support, deletions->alleles, deletions->count,
                                        scan->reference + c->column + 1, scan->reference_length - c->column - 1,
                                        longest);
    if (code == C3_OK) code = c3_support_add_insertions(support, &scan->insertions, longest);
    if (code == C3_OK && alone > 0) code = c3_support_add(support, 'R', alone, NULL, 0);
    return code == C3_OK ? c3_support_close(support) : code;
}

/* Keep the candidates whose windows can be cut, with their support. */
static int list_candidates(engine *e)
{
    c3_pileup_scan *scan = &e->scan;
    int64_t kept = 0;
    for (int64_t i = 0; i < scan->n; i++)
        if (place_window(&scan->columns, &scan->candidates[i], e->rule->head_and_tail))
            scan->candidates[kept++] = scan->candidates[i];
    scan->n = kept;
    int code = c3_scan_list(scan);
    for (int64_t i = 0; i < kept && code == C3_OK; i++)
        code = list_support(scan, &scan->candidates[i], e->rule->max_indel_length);
    return code;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

int c3_long_read_pileup(c3_source *source, const char *contig, int64_t start, int64_t end, const c3_pileup_rule *rule,
                        const c3_places *places, int want_gvcf, const volatile int32_t *cancel, c3_pileup **out)
{
    engine e = {.rule = rule};
    int code = c3_scan_start(&e.scan, places, start, end, rule->max_indel_length, 0, want_gvcf);
    *out = NULL;
    if (code != C3_OK) goto out;
    if ((code = c3_for_each_read(source, contig, start, end, cancel, take_read, &e)) != C3_OK) goto out;
    if ((code = c3_scan_finish_reads(&e.scan, source, contig)) != C3_OK) goto out;
    if ((code = scan_columns(&e)) != C3_OK) goto out;
    if ((code = look_behind(&e, source, contig, cancel)) != C3_OK) goto out;
    if ((code = list_candidates(&e)) != C3_OK) goto out;
    *out = c3_scan_give(&e.scan);

out:
    c3_scan_free(&e.scan);
    return code;
}
