#include "pileup.h"

#include <stdlib.h>
#include <string.h>

#include "alleles.h"
#include "support.h"

/* Channels; the one behind INS and DEL is that of the most frequent single allele. */
enum { INS = 4, DEL = 6, DELETED = 8, REVERSE = 9, OTHER_SPILL = 17 };

/* Most indels held at a time, 100 MB with their sorted copy; a longer or deeper region is to be asked for in parts. */
enum { MOST_INDELS = 2000000, SMALLEST_REGION = 2000 };

/* 4-bit BAM letter -> channel, OTHER for anything but A, C, G, T */
#define OTHER C3_OTHER
static const uint8_t channel_of[16] = {4, 0, 1, 4, 2, 4, 4, 4, 3, 4, 4, 4, 4, 4, 4, 4};

/* An insertion or deletion that starts right after a column. Insertions have their bases in the pool. */
typedef struct {
    int32_t column, length;
    int64_t bases; /* offset into the pool, -1 for a deletion */
    uint8_t reverse;
} indel;

typedef struct {
    int64_t start, end, columns;
    int32_t *counts;   /* columns x 18 */
    int32_t *other;    /* base events with a letter that is not A, C, G, T */
    uint8_t *skipped;  /* columns that a read spans with N */
    indel *indels;     /* in read order */
    int64_t n_indels, indel_room;
    char *pool;
    int64_t n_pool, pool_room;
    int64_t *indel_start;  /* columns + 1, after sorting */
    int64_t reference_end; /* how far deletions to be listed reach */
    char *reference;
    int64_t reference_length;
    c3_allele_table insertions, deletions;
} piler;

/* What a column says, before its reference channels are negated (B.4). */
typedef struct {
    int32_t depth, n_ref, alt, acc, n_ins, n_del;
    int ref, alt_letter; /* channel indices; ref is 0 for letters outside ACGT */
    int ref_is_acgt;
} column_summary;

typedef struct {
    int64_t column, run_first, run_last; /* run: the stretch of consecutive columns around it */
    c3_window window;
    int32_t depth, n_ref;
    uint8_t ref_channel, ref;
} candidate;

typedef struct {
    candidate *items;
    int64_t n, room, open; /* open: the first whose run has not ended */
} candidate_list;

/* ---- reads -> counters ---------------------------------------------------------------------------------------- */

static int add_indel(piler *p, const bam1_t *read, int64_t x, int32_t length, int64_t query, const c3_pileup_rule *rule)
{
    if (x < p->start || x >= p->end) return C3_OK;
    if (p->n_indels >= MOST_INDELS && p->columns > SMALLEST_REGION) return C3_TOO_LARGE;
    int code = c3_grow(&p->indels, &p->indel_room, p->n_indels + 1, sizeof *p->indels);
    if (code != C3_OK) return code;
    indel *added = &p->indels[p->n_indels++];
    *added = (indel){.column = x - p->start, .length = length, .bases = -1, .reverse = bam_is_rev(read)};
    if (query < 0) {
        if (length <= rule->max_indel_length && x + 1 + length > p->reference_end) p->reference_end = x + 1 + length;
        return C3_OK;
    }
    code = c3_grow(&p->pool, &p->pool_room, p->n_pool + length, 1);
    if (code != C3_OK) return code;
    added->bases = p->n_pool;
    const uint8_t *seq = bam_get_seq(read);
    for (int32_t i = 0; i < length; i++) p->pool[p->n_pool++] = seq_nt16_str[bam_seqi(seq, query + i)];
    return C3_OK;
}

/* The indel attached to the last column of op i, if any (B.2): only the op that follows counts, neighbouring ops are
 * not merged, and pads (P) let the insertions behind them through as one. `query` is the next unread base. */
static int attach_indel(piler *p, const bam1_t *read, uint32_t i, int64_t x, int64_t query, const c3_pileup_rule *rule)
{
    const uint32_t *cigar = bam_get_cigar(read), n = read->core.n_cigar;
    if (i + 1 >= n) return C3_OK;
    int op = bam_cigar_op(cigar[i + 1]);
    int32_t length = bam_cigar_oplen(cigar[i + 1]);
    if (op == BAM_CDEL) return length ? add_indel(p, read, x, length, -1, rule) : C3_OK;
    if (op == BAM_CPAD) {
        length = 0;
        for (uint32_t j = i + 2; j < n; j++) {
            int behind = bam_cigar_op(cigar[j]);
            if (bam_cigar_type(behind) & 2) break;
            if (behind == BAM_CINS) length += bam_cigar_oplen(cigar[j]);
        }
    } else if (op != BAM_CINS) {
        return C3_OK;
    }
    if (query + length > read->core.l_qseq) length = read->core.l_qseq - query;
    return length > 0 ? add_indel(p, read, x, length, query, rule) : C3_OK;
}

static void count_bases(piler *p, const bam1_t *read, int64_t x, int64_t query, int64_t length)
{
    const uint8_t *seq = bam_get_seq(read);
    int64_t from = x < p->start ? p->start - x : 0, to = x + length > p->end ? p->end - x : length;
    int32_t *row = p->counts + (x + from - p->start) * C3_CHANNELS + (bam_is_rev(read) ? REVERSE : 0);
    for (int64_t k = from; k < to; k++, row += C3_CHANNELS) {
        uint8_t channel = channel_of[bam_seqi(seq, query + k)];
        if (channel != OTHER) row[channel]++;
        else p->other[x + k - p->start]++;
    }
}

static void count_deleted(piler *p, const bam1_t *read, int64_t x, int64_t length)
{
    int64_t from = x < p->start ? p->start : x, to = x + length > p->end ? p->end : x + length;
    int channel = DELETED + (bam_is_rev(read) ? REVERSE : 0);
    for (int64_t at = from; at < to; at++) p->counts[(at - p->start) * C3_CHANNELS + channel]++;
}

static int count_read(piler *p, const bam1_t *read, const c3_pileup_rule *rule)
{
    const uint32_t *cigar = bam_get_cigar(read);
    int64_t x = read->core.pos, query = 0;
    for (uint32_t i = 0; i < read->core.n_cigar && x < p->end; i++) {
        int op = bam_cigar_op(cigar[i]), consumes = bam_cigar_type(op); /* 1: query, 2: reference */
        int64_t length = bam_cigar_oplen(cigar[i]);
        if (consumes == 3) count_bases(p, read, x, query, length);
        else if (op == BAM_CDEL) count_deleted(p, read, x, length);
        else if (op == BAM_CREF_SKIP)
            for (int64_t at = x < p->start ? p->start : x; at < x + length && at < p->end; at++)
                p->skipped[at - p->start] = 1;
        if (consumes & 1) query += length;
        if (!(consumes & 2) || !length) continue;
        x += length;
        if (op == BAM_CREF_SKIP) continue; /* a skip takes no indel */
        int code = attach_indel(p, read, i, x - 1, query, rule);
        if (code != C3_OK) return code;
    }
    return C3_OK;
}

/* Mate-unmapped and improperly paired reads stay; duplicates and failed reads go (A.2). So do reads whose sequence is
 * not in the file ("*"): their CIGAR speaks of bases that are not there. */
static int is_used(const bam1_t *read, const c3_pileup_rule *rule)
{
    const int dropped = BAM_FUNMAP | BAM_FSECONDARY | BAM_FQCFAIL | BAM_FDUP | BAM_FSUPPLEMENTARY;
    return !(read->core.flag & dropped) && read->core.qual >= rule->min_mapq
           && bam_cigar2qlen(read->core.n_cigar, bam_get_cigar(read)) == read->core.l_qseq;
}

static int count_reads(piler *p, c3_source *source, const char *contig, const c3_pileup_rule *rule,
                       const volatile int32_t *cancel, int64_t *n_reads)
{
    hts_itr_t *reads;
    int64_t last = -1;
    int code = c3_reads_of(source, contig, p->start, p->end, &reads);
    while (code == C3_OK) {
        int got = c3_next_read(source, reads);
        if (got <= 0) { code = got; break; }
        if (source->record->core.pos < last) { code = C3_UNSORTED; break; }
        last = source->record->core.pos;
        if (cancel && *cancel) { code = C3_CANCELLED; break; }
        if (!is_used(source->record, rule)) continue;
        (*n_reads)++;
        code = count_read(p, source->record, rule);
    }
    if (reads) hts_itr_destroy(reads);
    return code;
}

/* Group the indels by column; inside a column they stay in read order, which the allele tables depend on. */
static int sort_indels(piler *p)
{
    indel *sorted = malloc((p->n_indels + 1) * sizeof *sorted);
    p->indel_start = calloc(p->columns + 2, sizeof *p->indel_start);
    if (!sorted || !p->indel_start) {
        free(sorted);
        return C3_NO_MEMORY;
    }
    int64_t *next = p->indel_start + 1; /* becomes indel_start once every column has been passed */
    for (int64_t i = 0; i < p->n_indels; i++) next[p->indels[i].column + 1]++;
    for (int64_t c = 0; c < p->columns; c++) next[c + 1] += next[c];
    for (int64_t i = 0; i < p->n_indels; i++) sorted[next[p->indels[i].column]++] = p->indels[i];
    free(p->indels);
    p->indels = sorted;
    return C3_OK;
}

/* Is the first reference column of this read a letter outside A, C, G, T? */
static int starts_with_other(const bam1_t *read)
{
    const uint32_t *cigar = bam_get_cigar(read);
    int64_t query = 0;
    for (uint32_t i = 0; i < read->core.n_cigar; i++) {
        int consumes = bam_cigar_type(bam_cigar_op(cigar[i]));
        if ((consumes & 2) && bam_cigar_oplen(cigar[i]))
            return consumes == 3 && channel_of[bam_seqi(bam_get_seq(read), query)] == OTHER;
        if (consumes & 1) query += bam_cigar_oplen(cigar[i]);
    }
    return 0;
}

/* Letters outside ACGT spill into the column emitted before (E-K1), across a gap too. The column after the gap may lie
 * beyond this region, so that the result would depend on where the region ends: look ahead to it. Only windows of the
 * head-and-tail mode hold the last column of a run. */
static int spill_from_beyond(piler *p, c3_source *source, const char *contig, const c3_pileup_rule *rule,
                             int64_t column, const volatile int32_t *cancel)
{
    hts_itr_t *reads;
    int64_t first = -1;
    int code = c3_reads_of(source, contig, p->end, HTS_POS_MAX, &reads);
    while (code == C3_OK) {
        int got = c3_next_read(source, reads);
        if (got <= 0) { code = got; break; }
        if (cancel && *cancel) { code = C3_CANCELLED; break; }
        if (!is_used(source->record, rule)) continue;
        if (!bam_cigar2rlen(source->record->core.n_cigar, bam_get_cigar(source->record))) continue; /* no column */
        if (first >= 0 && source->record->core.pos != first) break;
        first = source->record->core.pos;
        p->counts[column * C3_CHANNELS + OTHER_SPILL] += starts_with_other(source->record);
    }
    if (reads) hts_itr_destroy(reads);
    return code;
}

/* ---- counters -> candidates ----------------------------------------------------------------------------------- */

static int tabulate_indels(piler *p, int64_t column)
{
    int code = C3_OK;
    c3_alleles_clear(&p->insertions);
    c3_alleles_clear(&p->deletions);
    for (int64_t i = p->indel_start[column]; i < p->indel_start[column + 1] && code == C3_OK; i++) {
        const indel *it = &p->indels[i];
        code = it->bases < 0 ? c3_alleles_add(&p->deletions, NULL, it->length, it->reverse)
                             : c3_alleles_add(&p->insertions, p->pool + it->bases, it->length, it->reverse);
    }
    return code;
}

/* Channels I, I1 (or D, D1) of both strands: all starts, and the most frequent single allele. */
static void count_alleles(const c3_allele_table *table, int32_t *row, int channel)
{
    for (int32_t i = 0; i < table->count; i++) {
        const c3_allele *allele = &table->alleles[i];
        row[channel] += allele->forward;
        row[channel + REVERSE] += allele->reverse;
        if (allele->forward > row[channel + 1]) row[channel + 1] = allele->forward;
        if (allele->reverse > row[channel + 1 + REVERSE]) row[channel + 1 + REVERSE] = allele->reverse;
    }
}

static column_summary summarise(const int32_t *row, int32_t depth, char letter)
{
    column_summary s = {.depth = depth, .ref = c3_base_index(letter)};
    s.ref_is_acgt = s.ref != OTHER;
    if (!s.ref_is_acgt) s.ref = 0;
    s.n_ref = row[s.ref] + row[s.ref + REVERSE];
    for (int base = 0; base < 4; base++) {
        int32_t reads = row[base] + row[base + REVERSE];
        if (base == s.ref || reads <= s.alt) continue;
        s.alt = reads;
        s.alt_letter = base;
        s.acc += reads; /* only new maxima are added: kept from v2.0.2 (E-K2) */
    }
    s.n_del = row[DEL] + row[DEL + REVERSE];
    s.n_ins = row[INS] + row[INS + REVERSE];
    return s;
}

/* B.5; fractions are compared in single precision. */
static int is_candidate(const column_summary *s, const c3_pileup_rule *rule)
{
    float depth = s->depth > 1 ? s->depth : 1;
    int hit = s->alt / depth >= rule->snp_min_af;
    if (!rule->snp_only)
        hit = hit || s->n_ref < s->alt || s->n_ref < s->n_ins || s->n_ref < s->n_del
              || (s->n_ref > 0 && s->n_ref == s->alt && s->ref < s->alt_letter)
              || s->n_del / depth >= rule->indel_min_af || s->n_ins / depth >= rule->indel_min_af;
    return hit && depth >= rule->min_coverage && s->ref_is_acgt;
}

static void negate_reference(int32_t *row, int ref)
{
    row[ref] = -(row[0] + row[1] + row[2] + row[3]);
    row[ref + REVERSE] = -(row[9] + row[10] + row[11] + row[12]);
}

static void close_run(candidate_list *list, int64_t last)
{
    for (; list->open < list->n; list->open++) list->items[list->open].run_last = last;
}

static int32_t depth_of(const int32_t *row, int32_t other)
{
    int32_t depth = other + row[DELETED] + row[DELETED + REVERSE];
    for (int base = 0; base < 4; base++) depth += row[base] + row[base + REVERSE];
    return depth;
}

/* Finish every column in order and list the candidates, not yet restricted to windows that can be cut. */
static int scan_columns(piler *p, const c3_pileup_rule *rule, const int64_t *allowed, int64_t n_allowed,
                        candidate_list *list, c3_pileup *out, int64_t *last_column)
{
    int64_t run_first = -1, run = 0, before = -1, at = 0;
    for (int64_t c = 0; c < p->columns; c++) {
        int32_t *row = p->counts + c * C3_CHANNELS, depth = depth_of(row, p->other[c]);
        int64_t pos = p->start + c;
        if (!depth && !p->skipped[c]) continue;
        if (before < 0 || before != c - 1) {
            close_run(list, before);
            run_first = c;
            run = 0;
        } else {
            run = pos == 1 ? 0 : run + 1; /* the column after position 0 restarts the count: kept (E-K5) */
        }
        if (p->indel_start[c] < p->indel_start[c + 1]) {
            int code = tabulate_indels(p, c);
            if (code != C3_OK) return code;
            count_alleles(&p->insertions, row, INS);
            count_alleles(&p->deletions, row, DEL);
        }
        /* letters outside ACGT land in the last channel of the column before: kept (E-K1), none before the first */
        if (before >= 0) p->counts[before * C3_CHANNELS + OTHER_SPILL] += p->other[c];
        before = c;

        char letter = c < p->reference_length ? p->reference[c] : 'N';
        column_summary s = summarise(row, depth, letter);
        negate_reference(row, s.ref);
        if (out->n_ref) {
            out->n_ref[c] = s.n_ref;
            out->n_total[c] = s.n_ref + s.acc + s.n_del + s.n_ins;
        }
        while (at < n_allowed && allowed[2 * at + 1] <= pos) at++;
        if (at == n_allowed || pos < allowed[2 * at]) continue;
        if (!is_candidate(&s, rule) || (!rule->head_and_tail && run < C3_FLANK)) continue;
        int code = c3_grow(&list->items, &list->room, list->n + 1, sizeof *list->items);
        if (code != C3_OK) return code;
        list->items[list->n++] = (candidate){.column = c, .run_first = run_first, .depth = depth, .n_ref = s.n_ref,
                                             .ref_channel = s.ref, .ref = "ACGT"[s.ref]};
    }
    close_run(list, before);
    *last_column = before;
    return C3_OK;
}

/* ---- candidates -> windows and support ------------------------------------------------------------------------ */

static int has_empty_column(const piler *p, int64_t from)
{
    for (int64_t c = from; c < from + C3_WINDOW; c++) {
        const int32_t *row = p->counts + c * C3_CHANNELS;
        int32_t any = 0;
        for (int k = 0; k < C3_CHANNELS; k++) any |= row[k];
        if (!any) return 1;
    }
    return 0;
}

/* Decide which columns make the window (B.9); 0 when none can be made. The right side needs two columns more than the
 * window: kept (E-K5). */
static int place_window(const piler *p, candidate *c, int head_and_tail)
{
    int64_t from = c->column - C3_FLANK, first = c->run_first, last = c->run_last;
    c->window = (c3_window){.from = from, .before = 0, .real = C3_WINDOW};
    if (from >= first && c->column + C3_FLANK + 2 <= last) return !has_empty_column(p, from);
    if (!head_and_tail || c->column + 1 > last) return 0;
    if (from < first) { /* head: zero columns before; the run must fill the rest */
        c->window = (c3_window){.from = first, .before = first - from, .real = C3_WINDOW - (first - from)};
        return c->column + C3_FLANK <= last;
    }
    if (c->column + C3_FLANK > last) c->window.real = last - from + 1; /* tail: zero columns after */
    return 1;
}

static int keep_windows(const piler *p, candidate_list *list, int head_and_tail, c3_pileup *out)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < list->n; i++)
        if (place_window(p, &list->items[i], head_and_tail)) list->items[kept++] = list->items[i];
    list->n = out->n = kept;
    out->pos = malloc((kept + 1) * sizeof *out->pos);
    out->ref = malloc(kept + 1);
    out->depth = malloc((kept + 1) * sizeof *out->depth);
    out->windows = malloc((kept + 1) * sizeof *out->windows);
    if (!out->pos || !out->ref || !out->depth || !out->windows) return C3_NO_MEMORY;
    for (int64_t i = 0; i < kept; i++) {
        const candidate *c = &list->items[i];
        out->pos[i] = p->start + c->column;
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

static int by_length(const void *a, const void *b)
{
    return ((const c3_allele *)a)->length - ((const c3_allele *)b)->length;
}

static int32_t reads_of(const c3_allele_table *table)
{
    int32_t reads = 0;
    for (int32_t i = 0; i < table->count; i++) reads += table->alleles[i].forward + table->alleles[i].reverse;
    return reads;
}

/* Items of one candidate in the order of B.6: X by base, D by length, I in table order, R last. */
static int list_support(piler *p, const candidate *c, const c3_pileup_rule *rule, c3_support *support)
{
    const int32_t *row = p->counts + c->column * C3_CHANNELS;
    const int32_t bases[4] = {row[0] + row[9], row[1] + row[10], row[2] + row[11], row[3] + row[12]};
    int code = tabulate_indels(p, c->column);
    if (code != C3_OK) return code;
    if (p->deletions.count > 1)
        qsort(p->deletions.alleles, p->deletions.count, sizeof *p->deletions.alleles, by_length);
    int32_t alone = c->n_ref - reads_of(&p->deletions) - reads_of(&p->insertions);
    if ((code = c3_support_add_bases(support, bases, c->ref_channel)) != C3_OK) return code;
    code = c3_support_add_deletions(support, p->deletions.alleles, p->deletions.count,
                                    p->reference + c->column + 1, p->reference_length - c->column - 1,
                                    rule->max_indel_length);
    if (code != C3_OK) return code;
    if ((code = c3_support_add_insertions(support, &p->insertions, rule->max_indel_length)) != C3_OK) return code;
    if (alone > 0 && (code = c3_support_add(support, 'R', alone, NULL, 0)) != C3_OK) return code;
    return c3_support_close(support);
}

static int list_supports(piler *p, const candidate_list *list, const c3_pileup_rule *rule, c3_support *support)
{
    int code = C3_OK;
    for (int64_t i = 0; i < list->n && code == C3_OK; i++) code = list_support(p, &list->items[i], rule, support);
    return code;
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

static int make_room(piler *p, int want_gvcf, c3_pileup *out)
{
    p->counts = calloc(p->columns * C3_CHANNELS + 1, sizeof *p->counts);
    p->other = calloc(p->columns + 1, sizeof *p->other);
    p->skipped = calloc(p->columns + 1, 1);
    if (want_gvcf) {
        out->n_ref = calloc(p->columns + 1, sizeof *out->n_ref);
        out->n_total = calloc(p->columns + 1, sizeof *out->n_total);
        if (!out->n_ref || !out->n_total) return C3_NO_MEMORY;
    }
    return p->counts && p->other && p->skipped ? C3_OK : C3_NO_MEMORY;
}

static void release(piler *p, candidate_list *list)
{
    free(p->counts);
    free(p->other);
    free(p->skipped);
    free(p->indels);
    free(p->pool);
    free(p->indel_start);
    free(p->reference);
    c3_alleles_free(&p->insertions);
    c3_alleles_free(&p->deletions);
    free(list->items);
}

int c3_pileup_run(c3_source *source, const char *contig, int64_t start, int64_t end, const c3_pileup_rule *rule,
                  const int64_t *allowed, int64_t n_allowed, int want_gvcf, const volatile int32_t *cancel,
                  c3_pileup **out)
{
    piler p = {.start = start, .end = end, .columns = end - start, .reference_end = end};
    candidate_list list = {0};
    int64_t last_column = -1;
    c3_pileup *pileup = calloc(1, sizeof *pileup);
    int code;
    *out = NULL;
    if (!pileup) return C3_NO_MEMORY;

    if ((code = make_room(&p, want_gvcf, pileup)) != C3_OK) goto out;
    if ((code = count_reads(&p, source, contig, rule, cancel, &pileup->reads)) != C3_OK) goto out;
    if ((code = sort_indels(&p)) != C3_OK) goto out;
    if ((code = c3_reference(source, contig, start, p.reference_end, &p.reference, &p.reference_length)) != C3_OK)
        goto out;
    if ((code = scan_columns(&p, rule, allowed, n_allowed, &list, pileup, &last_column)) != C3_OK)
        goto out;
    if (rule->head_and_tail && last_column >= 0 && last_column < p.columns - 1)
        if ((code = spill_from_beyond(&p, source, contig, rule, last_column, cancel)) != C3_OK) goto out;
    if ((code = keep_windows(&p, &list, rule->head_and_tail, pileup)) != C3_OK) goto out;
    code = list_supports(&p, &list, rule, &pileup->support);
    pileup->counts = p.counts; /* handed over */
    p.counts = NULL;

out:
    release(&p, &list);
    if (code == C3_OK) *out = pileup;
    else c3_pileup_free(pileup);
    return code;
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
