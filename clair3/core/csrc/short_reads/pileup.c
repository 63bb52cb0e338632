#include "short_reads/pileup.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "arrays.h"
#include "letters.h"
#include "short_reads/mpileup.h"

#define BASES "ACGT"
#define IUPAC "ACGTURYSWKMBDHVN"

enum {
    LEAD = 1000,             /* what mpileup leaves out depends on reads before; so many bases more are looked at */
    LONGEST_LISTED = 100000, /* indels of any length are listed; nobody has longer ones than these */
    TARGET_REACH = 33        /* with a BED there are columns so near its intervals only (A.6) */
};

/* An item of the support, with the place at which it was first seen. */
typedef struct {
    int64_t seen;
    int32_t count, length;
    const char *bases;
    char kind;
} seen_item;

typedef struct {
    const c3_pileup_rule *rule;
    c3_pileup_scan scan;
    c3_held_reads held;
    int64_t target; /* the first target that a column may be near */
    int is_at_end;  /* no column lies behind the region */
    seen_item *items;
    int64_t item_capacity;
} engine;

/* ---- reads -> columns -------------------------------------------------------------------------------------------- */

static int is_used(const bam1_t *read, const c3_pileup_rule *rule)
{
    return c3_is_used(read, C3_SHORT_READS, rule->min_mapq);
}

/* The insertion as mpileup writes it: lower case on the reverse strand. It counts as reverse by its first letter, which
 * sends IUPAC codes there (B.12.3-4). */
static int add_written_insertion(c3_columns *columns, const bam1_t *read, uint32_t i, int64_t x, int32_t length,
                                 int64_t query)
{
    char *letters;
    int code = c3_columns_add_insertion(columns, x, length, 0, &letters);
    if (code != C3_OK) return code;
    c3_write_inserted(read, i, query, length, letters);
    for (int32_t k = 0; k < length && bam_is_rev(read); k++) letters[k] = tolower(letters[k]);
    columns->indels[columns->n_indels - 1].reverse = !strchr("ACGTN*", letters[0]);
    return C3_OK;
}

/* Insertions and pads that follow are merged, and a deletion behind them counts too. */
static int take_indel(c3_columns *columns, const bam1_t *read, uint32_t i, int64_t x, int64_t query)
{
    const c3_attached attached = c3_find_attached(read, i);
    int code = attached.inserted ? add_written_insertion(columns, read, i, x, attached.inserted, query) : C3_OK;
    if (code != C3_OK || !attached.deleted) return code;
    return c3_columns_add_deletion(columns, x, attached.deleted, bam_is_rev(read));
}

static int take_read(void *context, const bam1_t *read)
{
    engine *e = context;
    c3_scan_tally(&e->scan, read);
    if (!is_used(read, e->rule)) return C3_OK;
    int taken = c3_mpileup_takes(&e->held, read);
    return taken > 0 ? c3_columns_add(&e->scan.columns, read, take_indel) : taken;
}

static int count_reads(engine *e, c3_source *source, const char *contig, const volatile int32_t *cancel)
{
    const int64_t start = e->scan.columns.start, from = start > LEAD ? start - LEAD : 0;
    int code = c3_for_each_read(source, contig, from, e->scan.columns.end, cancel, take_read, e);
    if (code == C3_OK) code = c3_scan_finish_reads(&e->scan, source, contig);
    for (int64_t i = 0; i < e->scan.reference_length && code == C3_OK; i++) /* deletions are upper case (B.12.5) */
        e->scan.reference[i] = c3_upper(e->scan.reference[i]);
    return code;
}

/* ---- columns -> candidates --------------------------------------------------------------------------------------- */

/* Where something was first seen: reads in order, and within one its base, insertion, deletion. */
static int64_t seen(int32_t read, int part)
{
    return 3 * (int64_t)read + part;
}

/* Is the reference the most frequent of a column's bases, insertions and deletions? Of equals the first seen is. */
static int reference_leads(const c3_pileup_scan *scan, int64_t column, const c3_column_summary *s)
{
    const int32_t *counts = scan->columns.counts + column * C3_CHANNELS, *first = scan->columns.first + 4 * column;
    int64_t reference = seen(first[s->ref], 0);
    if (s->n_ref < s->alt || s->n_ref < s->n_ins || s->n_ref < s->n_del) return 0;
    for (int base = 0; base < 4 && s->alt == s->n_ref; base++)
        if (base != s->ref && counts[base] + counts[base + C3_REVERSE] == s->n_ref && seen(first[base], 0) < reference)
            return 0;
    if (s->n_ins == s->n_ref && s->n_ins && seen(scan->insertions.alleles[0].first, 1) < reference) return 0;
    return s->n_del != s->n_ref || !s->n_del || seen(scan->deletions.alleles[0].first, 2) > reference;
}

/* B.12.7; fractions are compared in double precision. */
static int is_candidate(const c3_column_summary *s, int reference_leads, const c3_pileup_rule *rule)
{
    double depth = s->depth > 1 ? s->depth : 1;
    int hit = s->alt && s->alt / depth >= rule->snp_min_af;
    if (!rule->snp_only)
        hit = hit || !reference_leads || (s->n_del && s->n_del / depth >= rule->indel_min_af)
              || (s->n_ins && s->n_ins / depth >= rule->indel_min_af);
    hit = hit || (s->depth && (rule->snp_min_af == 0 || rule->indel_min_af == 0));
    return hit && s->depth >= rule->min_coverage && s->ref_is_acgt;
}

/* Is there a column here at all? Positions come in order. */
static int is_near_target(engine *e, int64_t pos)
{
    const c3_places *places = e->scan.places;
    if (!places->targets) return 1;
    while (e->target < places->n_targets && places->targets[2 * e->target + 1] + TARGET_REACH <= pos) e->target++;
    return e->target < places->n_targets && places->targets[2 * e->target] - TARGET_REACH <= pos;
}

static int32_t find_longest(const c3_allele_table *table)
{
    int32_t longest = 0;
    for (int32_t i = 0; i < table->count; i++)
        if (table->alleles[i].length > longest) longest = table->alleles[i].length;
    return longest;
}

/* Does a candidate with its longest deletion, [pos, pos + longest + 2), overlap a target? */
static int touches_target(const engine *e, int64_t pos, int32_t longest)
{
    const c3_places *places = e->scan.places;
    int64_t at = e->target;
    if (!places->targets) return 1;
    while (at < places->n_targets && places->targets[2 * at + 1] <= pos) at++;
    return at < places->n_targets && places->targets[2 * at] <= pos + longest + 1;
}

/* Is a column near a target a candidate (B.12.7, A.6, A.7)? */
static int is_wanted(const engine *e, int64_t column, const c3_column_summary *s)
{
    const c3_pileup_scan *scan = &e->scan;
    const char letter = c3_scan_letter(scan, column);
    if (e->rule->known_sites) return letter && strchr(IUPAC, letter);
    if (!is_candidate(s, reference_leads(scan, column, s), e->rule)) return 0;
    return touches_target(e, scan->columns.start + column, s->n_del ? find_longest(&scan->deletions) : 0);
}

/* Finish every column in order and add the candidates, not yet restricted to windows that can be cut. Reads with other
 * letters than A, C, G, T do not count (B.12.2). */
static int scan_columns(engine *e)
{
    c3_pileup_scan *scan = &e->scan;
    const c3_columns *columns = &scan->columns;
    int code = C3_OK;
    for (int64_t c = 0; c < columns->n && code == C3_OK; c++) {
        const int32_t *counts = columns->counts + c * C3_CHANNELS, depth = c3_column_depth(counts);
        if (!depth && !columns->other[c] && !columns->skipped[c]) continue;
        if ((code = c3_scan_count_indels(scan, c)) != C3_OK) break;
        const c3_column_summary s = c3_summarise_column(counts, depth, c3_scan_letter(scan, c));
        const int exists = is_near_target(e, columns->start + c);
        const int is_hit = exists && c3_scan_is_allowed(scan, c) && is_wanted(e, c, &s);
        c3_scan_finish_column(scan, c, &s, s.others);
        if (exists) c3_scan_extend_run(scan, c);
        if (is_hit) code = c3_scan_add(scan, c, &s);
    }
    c3_scan_end_run(scan);
    return code;
}

/* ---- behind the region ------------------------------------------------------------------------------------------- */

typedef struct {
    const engine *engine;
    int64_t target; /* the first that a column may be near */
    int exists;
} column_search;

/* Does [start, end) overlap one of the targets? Those before the first that may are passed for good. */
static int overlaps_target(column_search *s, int64_t start, int64_t end)
{
    const c3_places *places = s->engine->scan.places;
    while (s->target < places->n_targets && places->targets[2 * s->target + 1] <= start) s->target++;
    return s->target < places->n_targets && places->targets[2 * s->target] < end;
}

static int look_for_column(void *context, const bam1_t *read)
{
    column_search *s = context;
    const c3_places *places = s->engine->scan.places;
    const int64_t end = s->engine->scan.columns.end, first = read->core.pos < end ? end : read->core.pos;
    if (!is_used(read, s->engine->rule) || !bam_cigar2rlen(read->core.n_cigar, bam_get_cigar(read))) return C3_OK;
    s->exists = !places->targets || overlaps_target(s, first - TARGET_REACH, bam_endpos(read) + TARGET_REACH);
    int none_left = places->targets && s->target == places->n_targets; /* all lie before the reads to come */
    return s->exists || none_left ? C3_STOP : C3_OK;
}

/* Head-and-tail windows end with zeros behind the last column of all: is it in the region? */
static int look_behind(engine *e, c3_source *source, const char *contig, const volatile int32_t *cancel)
{
    column_search s = {.engine = e};
    if (!e->rule->head_and_tail || e->scan.last < 0) return C3_OK;
    int code = c3_for_each_read(source, contig, e->scan.columns.end, HTS_POS_MAX, cancel, look_for_column, &s);
    e->is_at_end = !s.exists;
    return code;
}

/* ---- candidates -> windows and support --------------------------------------------------------------------------- */

/* Decide which columns make the window (B.12.8): all that it needs is its columns, or with head_and_tail zeros before
 * the first column of a run and behind the last one of all. 0 when none can be made. */
static int place_window(const engine *e, c3_candidate *c)
{
    int64_t from = c->column - C3_FLANK, to = c->column + C3_FLANK;
    int32_t before = from < c->run_first ? c->run_first - from : 0, after = to > c->run_last ? to - c->run_last : 0;
    c->window = (c3_window){.from = from + before, .before = before, .real = C3_WINDOW - before - after};
    if (!before && !after) return 1;
    return e->rule->head_and_tail && (!after || (e->is_at_end && c->run_last == e->scan.last));
}

static int by_place(const void *a, const void *b)
{
    int64_t first = ((const seen_item *)a)->seen, second = ((const seen_item *)b)->seen;
    return (first > second) - (first < second);
}

/* Indels that can be spelled and are not too long become items; `reachable` letters of the reference are known. */
static int32_t gather(const c3_allele_table *table, char kind, const char *deleted, int64_t reachable, seen_item *items)
{
    int32_t n = 0;
    for (int32_t i = 0; i < table->count; i++) {
        const c3_allele *a = &table->alleles[i];
        if (a->length > LONGEST_LISTED || (kind == 'D' && a->length > reachable)) continue;
        items[n++] = (seen_item){.seen = seen(a->first, kind == 'D' ? 2 : 1), .count = a->forward + a->reverse,
                                 .length = a->length, .bases = kind == 'D' ? deleted : a->bases, .kind = kind};
    }
    return n;
}

/* Items of one candidate (B.12.5): in order of first appearance, R last. */
static int list_support(engine *e, const c3_candidate *c)
{
    c3_pileup_scan *scan = &e->scan;
    c3_support *support = &scan->pileup->support;
    const int32_t *counts = scan->columns.counts + c->column * C3_CHANNELS;
    const int32_t *first = scan->columns.first + c->column * 4;
    int32_t n = 0, alone = c->depth - counts[C3_DELETED] - counts[C3_DELETED + C3_REVERSE];
    int code = c3_scan_tabulate_indels(scan, c->column);
    if (code != C3_OK) return code;
    code = c3_grow(&e->items, &e->item_capacity, 4 + scan->insertions.count + scan->deletions.count, sizeof *e->items);
    if (code != C3_OK) return code;
    for (int base = 0; base < 4; base++) {
        int32_t reads = counts[base] + counts[base + C3_REVERSE];
        if (base == c->ref_channel || !reads) continue;
        e->items[n++] = (seen_item){.seen = seen(first[base], 0), .count = reads, .length = 1, .bases = BASES + base,
                                    .kind = 'X'};
        alone -= reads;
    }
    alone -= c3_alleles_count_reads(&scan->deletions) + c3_alleles_count_reads(&scan->insertions);
    n += gather(&scan->insertions, 'I', NULL, 0, e->items + n);
    n += gather(&scan->deletions, 'D', scan->reference + c->column + 1, scan->reference_length - c->column - 1,
                e->items + n);
    qsort(e->items, n, sizeof *e->items, by_place);
    for (int32_t i = 0; i < n && code == C3_OK; i++)
        code = c3_support_add(support, e->items[i].kind, e->items[i].count, e->items[i].bases, e->items[i].length);
    if (code == C3_OK && alone > 0) code = c3_support_add(support, 'R', alone, NULL, 0);
    return code == C3_OK ? c3_support_close(support) : code;
}

/* Keep the candidates whose windows can be cut, with their support. */
static int list_candidates(engine *e)
{
    c3_pileup_scan *scan = &e->scan;
    int64_t kept = 0;
    for (int64_t i = 0; i < scan->n; i++)
        if (place_window(e, &scan->candidates[i])) scan->candidates[kept++] = scan->candidates[i];
    scan->n = kept;
    int code = c3_scan_list(scan);
    for (int64_t i = 0; i < scan->columns.n_pool; i++) /* strands are one from here on (B.12.5) */
        scan->columns.pool[i] = toupper(scan->columns.pool[i]);
    for (int64_t i = 0; i < kept && code == C3_OK; i++) code = list_support(e, &scan->candidates[i]);
    return code;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

int c3_short_read_pileup(c3_source *source, const char *contig, int64_t start, int64_t end,
                         const c3_pileup_rule *rule, const c3_places *places, int want_gvcf,
                         const volatile int32_t *cancel, c3_pileup **out)
{
    engine e = {.rule = rule, .held = {.last = -1}};
    int code = c3_scan_start(&e.scan, places, start, end, LONGEST_LISTED, 1, want_gvcf);
    *out = NULL;
    if (code != C3_OK) goto out;
    if ((code = count_reads(&e, source, contig, cancel)) != C3_OK) goto out;
    if ((code = scan_columns(&e)) != C3_OK) goto out;
    if ((code = look_behind(&e, source, contig, cancel)) != C3_OK) goto out;
    if ((code = list_candidates(&e)) != C3_OK) goto out;
    *out = c3_scan_give(&e.scan);

out:
    c3_scan_free(&e.scan);
    c3_held_free(&e.held);
    free(e.items);
    return code;
}
