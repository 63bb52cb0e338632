#include "reads/pileup.h"

#include <stdlib.h>
#include <string.h>

#include "arrays.h"
#include "letters.h"

/* ---- the whole --------------------------------------------------------------------------------------------------- */

int c3_scan_start(c3_pileup_scan *scan, const c3_places *places, int64_t start, int64_t end, int32_t longest,
                  int want_first, int want_gvcf)
{
    *scan = (c3_pileup_scan){.places = places, .run_first = -1, .last = -1, .pileup = calloc(1, sizeof(c3_pileup))};
    if (!scan->pileup) return C3_NO_MEMORY;
    if (want_gvcf) {
        scan->pileup->n_ref = calloc(end - start + 1, sizeof *scan->pileup->n_ref);
        scan->pileup->n_total = calloc(end - start + 1, sizeof *scan->pileup->n_total);
        if (!scan->pileup->n_ref || !scan->pileup->n_total) return C3_NO_MEMORY;
    }
    return c3_columns_start(&scan->columns, start, end, longest, want_first);
}

void c3_scan_tally(c3_pileup_scan *scan, const bam1_t *read)
{
    const int64_t start = scan->places->owned_start, end = scan->places->owned_end, pos = read->core.pos;
    if (pos >= end) return;
    const int64_t read_end = bam_endpos(read);
    if (pos >= start) scan->pileup->starting++;
    else if (read_end > start) scan->pileup->entering++;
    if (read_end > end) scan->pileup->leaving++;
}

int c3_scan_finish_reads(c3_pileup_scan *scan, c3_source *source, const char *contig)
{
    const c3_columns *columns = &scan->columns;
    int code = c3_columns_finish(&scan->columns);
    if (code != C3_OK) return code;
    return c3_reference(source, contig, columns->start, columns->reference_end, &scan->reference,
                        &scan->reference_length);
}

c3_pileup *c3_scan_give(c3_pileup_scan *scan)
{
    c3_pileup *pileup = scan->pileup;
    pileup->reads = scan->columns.reads;
    pileup->counts = scan->columns.counts;
    scan->columns.counts = NULL;
    scan->pileup = NULL;
    return pileup;
}

void c3_scan_free(c3_pileup_scan *scan)
{
    c3_columns_free(&scan->columns);
    c3_alleles_free(&scan->insertions);
    c3_alleles_free(&scan->deletions);
    c3_pileup_free(scan->pileup);
    free(scan->reference);
    free(scan->candidates);
}

void c3_pileup_free(c3_pileup *pileup)
{
    if (!pileup) return;
    free(pileup->pos);
    free(pileup->ref);
    free(pileup->depth);
    free(pileup->windows);
    free(pileup->counts);
    c3_support_free(&pileup->support);
    free(pileup->n_ref);
    free(pileup->n_total);
    free(pileup);
}

/* ---- a column ---------------------------------------------------------------------------------------------------- */

int c3_scan_tabulate_indels(c3_pileup_scan *scan, int64_t column)
{
    const c3_columns *columns = &scan->columns;
    c3_alleles_clear(&scan->insertions);
    c3_alleles_clear(&scan->deletions);
    for (int64_t i = columns->indel_start[column]; i < columns->indel_start[column + 1]; i++) {
        const c3_indel *it = &columns->indels[i];
        c3_allele_table *table = it->bases < 0 ? &scan->deletions : &scan->insertions;
        int32_t before = table->count;
        int code = c3_alleles_add(table, it->bases < 0 ? NULL : columns->pool + it->bases, it->length, it->reverse);
        if (code != C3_OK) return code;
        if (table->count > before) table->alleles[before].first = it->read;
    }
    return C3_OK;
}

/* Channels I, I1 (or D, D1) of both strands: all starts, and the most frequent single allele. */
static void count_alleles(const c3_allele_table *table, int32_t *counts, int channel)
{
    for (int32_t i = 0; i < table->count; i++) {
        const c3_allele *allele = &table->alleles[i];
        counts[channel] += allele->forward;
        counts[channel + C3_REVERSE] += allele->reverse;
        if (allele->forward > counts[channel + 1]) counts[channel + 1] = allele->forward;
        if (allele->reverse > counts[channel + 1 + C3_REVERSE])
            counts[channel + 1 + C3_REVERSE] = allele->reverse;
    }
}

int c3_scan_count_indels(c3_pileup_scan *scan, int64_t column)
{
    const c3_columns *columns = &scan->columns;
    int32_t *counts = columns->counts + column * C3_CHANNELS;
    if (columns->indel_start[column] == columns->indel_start[column + 1]) return C3_OK;
    int code = c3_scan_tabulate_indels(scan, column);
    if (code != C3_OK) return code;
    count_alleles(&scan->insertions, counts, C3_INS);
    count_alleles(&scan->deletions, counts, C3_DEL);
    return C3_OK;
}

int32_t c3_column_depth(const int32_t *counts)
{
    int32_t depth = counts[C3_DELETED] + counts[C3_DELETED + C3_REVERSE];
    for (int base = 0; base < 4; base++) depth += counts[base] + counts[base + C3_REVERSE];
    return depth;
}

c3_column_summary c3_summarise_column(const int32_t *counts, int32_t depth, char letter)
{
    c3_column_summary s = {.depth = depth, .ref = c3_base_index(letter)};
    s.ref_is_acgt = s.ref != C3_OTHER;
    if (!s.ref_is_acgt) s.ref = 0;
    s.n_ref = counts[s.ref] + counts[s.ref + C3_REVERSE];
    for (int base = 0; base < 4; base++) {
        int32_t reads = counts[base] + counts[base + C3_REVERSE];
        if (base == s.ref) continue;
        s.others += reads;
        if (reads <= s.alt) continue;
        s.alt = reads;
        s.alt_letter = base;
        s.acc += reads; /* only new maxima are added: kept from v2.0.2 (E-K2) */
    }
    s.n_del = counts[C3_DEL] + counts[C3_DEL + C3_REVERSE];
    s.n_ins = counts[C3_INS] + counts[C3_INS + C3_REVERSE];
    return s;
}

char c3_scan_letter(const c3_pileup_scan *scan, int64_t column)
{
    return column < scan->reference_length ? scan->reference[column] : 'N';
}

int c3_scan_is_allowed(c3_pileup_scan *scan, int64_t column)
{
    const c3_places *places = scan->places;
    const int64_t pos = scan->columns.start + column;
    while (scan->allowed < places->n && places->allowed[2 * scan->allowed + 1] <= pos) scan->allowed++;
    return scan->allowed < places->n && places->allowed[2 * scan->allowed] <= pos;
}

void c3_scan_finish_column(c3_pileup_scan *scan, int64_t column, const c3_column_summary *s, int32_t mismatches)
{
    int32_t *counts = scan->columns.counts + column * C3_CHANNELS;
    counts[s->ref] = -(counts[0] + counts[1] + counts[2] + counts[3]);
    counts[s->ref + C3_REVERSE] = -(counts[9] + counts[10] + counts[11] + counts[12]);
    if (!scan->pileup->n_ref) return;
    scan->pileup->n_ref[column] = s->n_ref;
    scan->pileup->n_total[column] = s->n_ref + mismatches + s->n_del + s->n_ins;
}

/* ---- candidates -------------------------------------------------------------------------------------------------- */

void c3_scan_end_run(c3_pileup_scan *scan)
{
    for (; scan->open < scan->n; scan->open++) scan->candidates[scan->open].run_last = scan->last;
}

int c3_scan_extend_run(c3_pileup_scan *scan, int64_t column)
{
    const int goes_on = scan->last >= 0 && scan->last == column - 1;
    if (!goes_on) {
        c3_scan_end_run(scan);
        scan->run_first = column;
    }
    scan->last = column;
    return goes_on;
}

int c3_scan_add(c3_pileup_scan *scan, int64_t column, const c3_column_summary *s)
{
    int code = c3_grow(&scan->candidates, &scan->capacity, scan->n + 1, sizeof *scan->candidates);
    if (code != C3_OK) return code;
    scan->candidates[scan->n++] = (c3_candidate){
        .column = column,
        .run_first = scan->run_first,
        .depth = s->depth,
        .n_ref = s->n_ref,
        .ref_channel = s->ref,
        .ref = c3_upper(c3_scan_letter(scan, column)),
    };
    return C3_OK;
}

int c3_scan_list(c3_pileup_scan *scan)
{
    c3_pileup *out = scan->pileup;
    const int64_t n = scan->n;
    out->n = n;
    out->pos = malloc((n + 1) * sizeof *out->pos);
    out->ref = malloc(n + 1);
    out->depth = malloc((n + 1) * sizeof *out->depth);
    out->windows = malloc((n + 1) * sizeof *out->windows);
    if (!out->pos || !out->ref || !out->depth || !out->windows) return C3_NO_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        const c3_candidate *c = &scan->candidates[i];
        out->pos[i] = scan->columns.start + c->column;
        out->ref[i] = c->ref;
        out->depth[i] = c->depth;
        out->windows[i] = c->window;
    }
    return C3_OK;
}

void c3_pileup_windows(const c3_pileup *pileup, int64_t from, int64_t to, int32_t *out)
{
    const size_t column = C3_CHANNELS * sizeof *out;
    for (int64_t i = from; i < to; i++, out += C3_WINDOW * C3_CHANNELS) {
        const c3_window *w = &pileup->windows[i];
        int32_t after = w->before + w->real;
        memset(out, 0, w->before * column);
        memcpy(out + w->before * C3_CHANNELS, pileup->counts + w->from * C3_CHANNELS, w->real * column);
        memset(out + after * C3_CHANNELS, 0, (C3_WINDOW - after) * column);
    }
}

int32_t c3_alleles_count_reads(const c3_allele_table *table)
{
    int32_t reads = 0;
    for (int32_t i = 0; i < table->count; i++) reads += table->alleles[i].forward + table->alleles[i].reverse;
    return reads;
}
