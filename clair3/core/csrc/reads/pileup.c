#include "reads/pileup.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "reads/alleles.h"

#define OTHER C3_OTHER
#define BASES "ACGT"
#define IUPAC "ACGTURYSWKMBDHVN"

/* An item of the scripted support, with the place at which it was first seen. */
typedef struct {
    int64_t seen;
    int32_t count, length;
    const char *bases;
    char kind;
} seen_item;

typedef struct {
    const c3_pileup_rule *rule;
    const c3_places *places;
    c3_columns columns;
    char *reference;
    int64_t reference_length;
    c3_allele_table insertions, deletions;
    seen_item *items;
    int64_t item_room;
} piler;

/* What a column says, before its reference channels are negated (B.4). */
typedef struct {
    int32_t depth, n_ref, alt, acc, n_ins, n_del;
    int32_t others; /* reads with another base than the reference's; alt: with the most frequent of them */
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
    int64_t last;          /* column of all; -1 when there are others behind the region */
} candidate_list;

/* ---- counters -> candidates ----------------------------------------------------------------------------------- */

static int tabulate_indels(piler *p, int64_t column)
{
    const c3_columns *columns = &p->columns;
    c3_alleles_clear(&p->insertions);
    c3_alleles_clear(&p->deletions);
    for (int64_t i = columns->indel_start[column]; i < columns->indel_start[column + 1]; i++) {
        const c3_indel *it = &columns->indels[i];
        c3_allele_table *table = it->bases < 0 ? &p->deletions : &p->insertions;
        int32_t before = table->count;
        int code = c3_alleles_add(table, it->bases < 0 ? NULL : columns->pool + it->bases, it->length, it->reverse);
        if (code != C3_OK) return code;
        if (table->count > before) table->alleles[before].first = it->read;
    }
    return C3_OK;
}

/* Channels I, I1 (or D, D1) of both strands: all starts, and the most frequent single allele. */
static void count_alleles(const c3_allele_table *table, int32_t *row, int channel)
{
    for (int32_t i = 0; i < table->count; i++) {
        const c3_allele *allele = &table->alleles[i];
        row[channel] += allele->forward;
        row[channel + C3_REVERSE] += allele->reverse;
        if (allele->forward > row[channel + 1]) row[channel + 1] = allele->forward;
        if (allele->reverse > row[channel + 1 + C3_REVERSE])
            row[channel + 1 + C3_REVERSE] = allele->reverse;
    }
}

static column_summary summarise(const int32_t *row, int32_t depth, char letter)
{
    column_summary s = {.depth = depth, .ref = c3_base_index(letter)};
    s.ref_is_acgt = s.ref != OTHER;
    if (!s.ref_is_acgt) s.ref = 0;
    s.n_ref = row[s.ref] + row[s.ref + C3_REVERSE];
    for (int base = 0; base < 4; base++) {
        int32_t reads = row[base] + row[base + C3_REVERSE];
        if (base == s.ref) continue;
        s.others += reads;
        if (reads <= s.alt) continue;
        s.alt = reads;
        s.alt_letter = base;
        s.acc += reads; /* only new maxima are added: kept from v2.0.2 (E-K2) */
    }
    s.n_del = row[C3_DEL] + row[C3_DEL + C3_REVERSE];
    s.n_ins = row[C3_INS] + row[C3_INS + C3_REVERSE];
    return s;
}

/* B.5; fractions are compared in single precision. */
static int is_candidate(const column_summary *s, const c3_pileup_rule *rule)
{
    float depth = s->depth > 1 ? s->depth : 1, snp_min_af = rule->snp_min_af, indel_min_af = rule->indel_min_af;
    int hit = s->alt / depth >= snp_min_af;
    if (!rule->snp_only)
        hit = hit || s->n_ref < s->alt || s->n_ref < s->n_ins || s->n_ref < s->n_del
              || (s->n_ref > 0 && s->n_ref == s->alt && s->ref < s->alt_letter)
              || s->n_del / depth >= indel_min_af || s->n_ins / depth >= indel_min_af;
    return hit && depth >= rule->min_coverage && s->ref_is_acgt;
}

/* Where something was first seen: reads in order, and within one its base, insertion, deletion. */
static int64_t seen(int32_t read, int part)
{
    return 3 * (int64_t)read + part;
}

/* Is the reference the most frequent of a column's bases, insertions and deletions? Of equals the first seen is. */
static int reference_leads(const piler *p, int64_t column, const int32_t *row, const column_summary *s)
{
    const int32_t *first = p->columns.first + 4 * column;
    int64_t reference = seen(first[s->ref], 0);
    if (s->n_ref < s->alt || s->n_ref < s->n_ins || s->n_ref < s->n_del) return 0;
    for (int base = 0; base < 4 && s->alt == s->n_ref; base++)
        if (base != s->ref && row[base] + row[base + C3_REVERSE] == s->n_ref && seen(first[base], 0) < reference)
            return 0;
    if (s->n_ins == s->n_ref && s->n_ins && seen(p->insertions.alleles[0].first, 1) < reference) return 0;
    return s->n_del != s->n_ref || !s->n_del || seen(p->deletions.alleles[0].first, 2) > reference;
}

/* B.12.7; fractions are compared in double precision. */
static int is_scripted_candidate(const column_summary *s, int reference_leads, const c3_pileup_rule *rule)
{
    double depth = s->depth > 1 ? s->depth : 1;
    int hit = s->alt && s->alt / depth >= rule->snp_min_af;
    if (!rule->snp_only)
        hit = hit || !reference_leads || (s->n_del && s->n_del / depth >= rule->indel_min_af)
              || (s->n_ins && s->n_ins / depth >= rule->indel_min_af);
    hit = hit || (s->depth && (rule->snp_min_af == 0 || rule->indel_min_af == 0));
    return hit && s->depth >= rule->min_coverage && s->ref_is_acgt;
}

static void negate_reference(int32_t *row, int ref)
{
    row[ref] = -(row[0] + row[1] + row[2] + row[3]);
    row[ref + C3_REVERSE] = -(row[9] + row[10] + row[11] + row[12]);
}

static void close_run(candidate_list *list, int64_t last)
{
    for (; list->open < list->n; list->open++) list->items[list->open].run_last = last;
}

/* Reads with a base or a deletion; those with another letter count by the native rules only (B.12.2). */
static int32_t depth_of(const piler *p, int64_t column)
{
    const int32_t *row = p->columns.counts + column * C3_CHANNELS;
    int32_t depth = row[C3_DELETED] + row[C3_DELETED + C3_REVERSE];
    for (int base = 0; base < 4; base++) depth += row[base] + row[base + C3_REVERSE];
    return p->columns.first ? depth : depth + p->columns.other[column];
}

/* Is there a column here for the scripted engine? `at` is the first target that may be near. */
static int is_near_target(const c3_places *places, int64_t pos, int64_t *at)
{
    if (!places->targets) return 1;
    while (*at < places->n_targets && places->targets[2 * *at + 1] + C3_TARGET_REACH <= pos) ++*at;
    return *at < places->n_targets && places->targets[2 * *at] - C3_TARGET_REACH <= pos;
}

/* Does [pos, pos + longest + 2) overlap a target, from the one at `at` on? */
static int touches_target(const c3_places *places, int64_t pos, int32_t longest, int64_t at)
{
    while (at < places->n_targets && places->targets[2 * at + 1] <= pos) at++;
    return at < places->n_targets && places->targets[2 * at] <= pos + longest + 1;
}

static int32_t longest_of(const c3_allele_table *table)
{
    int32_t longest = 0;
    for (int32_t i = 0; i < table->count; i++)
        if (table->alleles[i].length > longest) longest = table->alleles[i].length;
    return longest;
}

/* Is a column near target number `target` a candidate by the scripted rules (B.12.7, A.6, A.7)? */
static int is_wanted(const piler *p, int64_t column, const int32_t *row, const column_summary *s, char letter,
                     int64_t target)
{
    if (p->rule->known_sites) return letter && strchr(IUPAC, letter);
    if (!is_scripted_candidate(s, reference_leads(p, column, row, s), p->rule)) return 0;
    return !p->places->targets
           || touches_target(p->places, p->columns.start + column, s->n_del ? longest_of(&p->deletions) : 0, target);
}

/* The alleles of a column go to its indel channels and stay in the tables. */
static int count_indels(piler *p, int64_t column, int32_t *row)
{
    int code = tabulate_indels(p, column);
    if (code != C3_OK) return code;
    count_alleles(&p->insertions, row, C3_INS);
    count_alleles(&p->deletions, row, C3_DEL);
    return C3_OK;
}

/* How far the scan of the columns is. */
typedef struct {
    int64_t allowed, target; /* the first place and target that a column may be in or near */
    int64_t run_first;       /* of the run of consecutive columns, as candidates know them */
    int64_t run, last;       /* columns before the last one in its run, and that column; -1: none yet */
    int64_t emitted;         /* the last column that v2.0.2 gives out; -1: none yet */
} scanned;

static int is_allowed(const c3_places *places, int64_t pos, int64_t *at)
{
    while (*at < places->n && places->allowed[2 * *at + 1] <= pos) ++*at;
    return *at < places->n && places->allowed[2 * *at] <= pos;
}

/* A column more: of the last run or of a new one. */
static void extend_run(scanned *at, int64_t column, int64_t pos, candidate_list *list)
{
    if (at->last < 0 || at->last != column - 1) {
        close_run(list, at->last);
        at->run_first = column;
        at->run = 0;
    } else {
        at->run = pos == 1 ? 0 : at->run + 1; /* the column after position 0 restarts the count: kept (E-K5) */
    }
    at->last = column;
}

static int add_candidate(candidate_list *list, candidate added)
{
    int code = c3_grow(&list->items, &list->room, list->n + 1, sizeof *list->items);
    if (code == C3_OK) list->items[list->n++] = added;
    return code;
}

/* Finish a column and list it if it is a candidate. */
static int scan_column(piler *p, int64_t c, int32_t depth, scanned *at, candidate_list *list, c3_pileup *out)
{
    const c3_pileup_rule *rule = p->rule;
    const int64_t pos = p->columns.start + c;
    const char letter = c < p->reference_length ? p->reference[c] : 'N';
    int32_t *row = p->columns.counts + c * C3_CHANNELS;
    const column_summary s = summarise(row, depth, letter);
    int may_be = is_allowed(p->places, pos, &at->allowed), is_hit = 0;
    int exists = !rule->scripted || is_near_target(p->places, pos, &at->target);
    if (may_be && exists)
        is_hit = rule->scripted ? is_wanted(p, c, row, &s, letter, at->target) : is_candidate(&s, rule);
    negate_reference(row, s.ref);
    if (out->n_ref) {
        out->n_ref[c] = s.n_ref;
        out->n_total[c] = s.n_ref + (rule->scripted ? s.others : s.acc) + s.n_del + s.n_ins;
    }
    if (!exists) return C3_OK;
    extend_run(at, c, pos, list);
    if (!is_hit || (!rule->scripted && !rule->head_and_tail && at->run < C3_FLANK)) return C3_OK;
    return add_candidate(list, (candidate){.column = c, .run_first = at->run_first, .depth = depth, .n_ref = s.n_ref,
                                           .ref_channel = s.ref, .ref = toupper(letter)});
}

/* Finish every column in order and list the candidates, not yet restricted to windows that can be cut. */
static int scan_columns(piler *p, candidate_list *list, c3_pileup *out)
{
    const c3_columns *columns = &p->columns;
    scanned at = {.run_first = -1, .last = -1, .emitted = -1};
    int code = C3_OK;
    for (int64_t c = 0; c < columns->n && code == C3_OK; c++) {
        int32_t *row = columns->counts + c * C3_CHANNELS, depth = depth_of(p, c);
        if (!depth && !columns->other[c] && !columns->skipped[c]) continue;
        if (columns->indel_start[c] < columns->indel_start[c + 1]) code = count_indels(p, c, row);
        if (code != C3_OK) return code;
        /* letters outside ACGT land in the last channel of the column before: kept (E-K1), none before the first */
        if (at.emitted >= 0 && !p->rule->scripted)
            columns->counts[at.emitted * C3_CHANNELS + C3_SPILL] += columns->other[c];
        at.emitted = c;
        code = scan_column(p, c, depth, &at, list, out);
    }
    close_run(list, at.last);
    list->last = at.last;
    return code;
}

/* ---- candidates -> windows and support ------------------------------------------------------------------------ */

static int has_empty_column(const piler *p, int64_t from)
{
    for (int64_t c = from; c < from + C3_WINDOW; c++) {
        const int32_t *row = p->columns.counts + c * C3_CHANNELS;
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

/* The same by the scripted rules (B.12.8): all that the window needs is its columns, or with head_and_tail zeros before
 * the first column of a run and behind the last one of all, which is `last` (-1 when it lies elsewhere). */
static int place_scripted_window(candidate *c, int head_and_tail, int64_t last)
{
    int64_t from = c->column - C3_FLANK, to = c->column + C3_FLANK;
    int32_t before = from < c->run_first ? c->run_first - from : 0, after = to > c->run_last ? to - c->run_last : 0;
    c->window = (c3_window){.from = from + before, .before = before, .real = C3_WINDOW - before - after};
    if (!before && !after) return 1;
    return head_and_tail && (!after || c->run_last == last);
}

static int keep_windows(const piler *p, candidate_list *list, c3_pileup *out)
{
    int64_t kept = 0;
    int head_and_tail = p->rule->head_and_tail;
    for (int64_t i = 0; i < list->n; i++) {
        candidate *c = &list->items[i];
        if (p->rule->scripted ? place_scripted_window(c, head_and_tail, list->last) : place_window(p, c, head_and_tail))
            list->items[kept++] = *c;
    }
    list->n = out->n = kept;
    out->pos = malloc((kept + 1) * sizeof *out->pos);
    out->ref = malloc(kept + 1);
    out->depth = malloc((kept + 1) * sizeof *out->depth);
    out->windows = malloc((kept + 1) * sizeof *out->windows);
    if (!out->pos || !out->ref || !out->depth || !out->windows) return C3_NO_MEMORY;
    for (int64_t i = 0; i < kept; i++) {
        const candidate *c = &list->items[i];
        out->pos[i] = p->columns.start + c->column;
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
static int list_support(piler *p, const candidate *c, c3_support *support)
{
    const int32_t *row = p->columns.counts + c->column * C3_CHANNELS, longest = c3_longest_listed(p->rule);
    const int32_t bases[4] = {row[0] + row[9], row[1] + row[10], row[2] + row[11], row[3] + row[12]};
    int code = C3_OK;
    if (p->deletions.count > 1)
        qsort(p->deletions.alleles, p->deletions.count, sizeof *p->deletions.alleles, by_length);
    int32_t alone = c->n_ref - reads_of(&p->deletions) - reads_of(&p->insertions);
    if ((code = c3_support_add_bases(support, bases, c->ref_channel)) != C3_OK) return code;
    code = c3_support_add_deletions(support, p->deletions.alleles, p->deletions.count,
                                    p->reference + c->column + 1, p->reference_length - c->column - 1, longest);
    if (code != C3_OK) return code;
    if ((code = c3_support_add_insertions(support, &p->insertions, longest)) != C3_OK) return code;
    return alone > 0 ? c3_support_add(support, 'R', alone, NULL, 0) : C3_OK;
}

static int by_place(const void *a, const void *b)
{
    int64_t first = ((const seen_item *)a)->seen, second = ((const seen_item *)b)->seen;
    return (first > second) - (first < second);
}

/* Indels that can be spelled and are not too long become items; `reachable` letters of the reference are known. */
static int32_t gather(const c3_allele_table *table, char kind, const char *deleted, int64_t reachable, int32_t longest,
                      seen_item *items)
{
    int32_t n = 0;
    for (int32_t i = 0; i < table->count; i++) {
        const c3_allele *a = &table->alleles[i];
        if (a->length > longest || (kind == 'D' && a->length > reachable)) continue;
        items[n++] = (seen_item){.seen = seen(a->first, kind == 'D' ? 2 : 1), .count = a->forward + a->reverse,
                                 .length = a->length, .bases = kind == 'D' ? deleted : a->bases, .kind = kind};
    }
    return n;
}

/* Items of one candidate by the scripted rules (B.12.5): in order of first appearance, R last. */
static int list_scripted_support(piler *p, const candidate *c, c3_support *support)
{
    const int32_t *row = p->columns.counts + c->column * C3_CHANNELS, *first = p->columns.first + c->column * 4;
    int32_t n = 0, longest = c3_longest_listed(p->rule);
    int32_t alone = c->depth - row[C3_DELETED] - row[C3_DELETED + C3_REVERSE] - reads_of(&p->deletions)
                    - reads_of(&p->insertions);
    int code = c3_grow(&p->items, &p->item_room, 4 + p->insertions.count + p->deletions.count, sizeof *p->items);
    if (code != C3_OK) return code;
    for (int base = 0; base < 4; base++) {
        int32_t reads = row[base] + row[base + C3_REVERSE];
        if (base == c->ref_channel || !reads) continue;
        p->items[n++] = (seen_item){.seen = seen(first[base], 0), .count = reads, .length = 1, .bases = BASES + base,
                                    .kind = 'X'};
        alone -= reads;
    }
    n += gather(&p->insertions, 'I', NULL, 0, longest, p->items + n);
    n += gather(&p->deletions, 'D', p->reference + c->column + 1, p->reference_length - c->column - 1, longest,
                p->items + n);
    qsort(p->items, n, sizeof *p->items, by_place);
    for (int32_t i = 0; i < n && code == C3_OK; i++) {
        const seen_item *it = &p->items[i];
        code = c3_support_add(support, it->kind, it->count, it->bases, it->length);
    }
    return code == C3_OK && alone > 0 ? c3_support_add(support, 'R', alone, NULL, 0) : code;
}

static int list_supports(piler *p, const candidate_list *list, c3_support *support)
{
    int scripted = p->rule->scripted, code = C3_OK;
    /* strands are one from here on (B.12.5) */
    for (int64_t i = 0; scripted && i < p->columns.n_pool; i++) p->columns.pool[i] = toupper(p->columns.pool[i]);
    for (int64_t i = 0; i < list->n && code == C3_OK; i++) {
        const candidate *c = &list->items[i];
        if ((code = tabulate_indels(p, c->column)) != C3_OK) break;
        code = scripted ? list_scripted_support(p, c, support) : list_support(p, c, support);
        if (code == C3_OK) code = c3_support_close(support);
    }
    return code;
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

static int fetch_reference(piler *p, c3_source *source, const char *contig)
{
    const c3_columns *columns = &p->columns;
    int code = c3_reference(source, contig, columns->start, columns->reference_end, &p->reference,
                            &p->reference_length);
    if (code == C3_OK && p->rule->scripted) /* deletions are listed in upper case (B.12.5) */
        for (int64_t i = 0; i < p->reference_length; i++) p->reference[i] = toupper((unsigned char)p->reference[i]);
    return code;
}

/* What of the head-and-tail windows depends on the columns behind the region: the letters that spill into the last one
 * here (E-K1), or whether that is the last one of all, as place_scripted_window wants to know. */
static int look_beyond(piler *p, c3_source *source, const char *contig, const volatile int32_t *cancel, int64_t *last)
{
    int32_t letters = 0;
    int found = 0, code;
    if (!p->rule->head_and_tail || *last < 0) return C3_OK;
    if (p->rule->scripted) {
        const c3_places *places = p->places;
        code = c3_has_columns_beyond(source, contig, p->columns.end, p->rule, cancel, places->targets,
                                     places->n_targets, &found);
        if (found) *last = -1;
    } else if (*last < p->columns.n - 1) {
        code = c3_letters_beyond(source, contig, p->columns.end, p->rule, cancel, &letters);
        p->columns.counts[*last * C3_CHANNELS + C3_SPILL] += letters;
    } else {
        return C3_OK;
    }
    return code;
}

static int make_evidence(int64_t columns, c3_pileup *out)
{
    out->n_ref = calloc(columns + 1, sizeof *out->n_ref);
    out->n_total = calloc(columns + 1, sizeof *out->n_total);
    return out->n_ref && out->n_total ? C3_OK : C3_NO_MEMORY;
}

static void release(piler *p, candidate_list *list)
{
    c3_columns_free(&p->columns);
    free(p->reference);
    free(p->items);
    c3_alleles_free(&p->insertions);
    c3_alleles_free(&p->deletions);
    free(list->items);
}

int c3_pileup_run(c3_source *source, const char *contig, int64_t start, int64_t end, const c3_pileup_rule *rule,
                  const c3_places *places, int want_gvcf, const volatile int32_t *cancel, c3_pileup **out)
{
    piler p = {.rule = rule, .places = places};
    candidate_list list = {0};
    c3_pileup *pileup = calloc(1, sizeof *pileup);
    int code;
    *out = NULL;
    if (!pileup) return C3_NO_MEMORY;

    if (want_gvcf && (code = make_evidence(end - start, pileup)) != C3_OK) goto out;
    if ((code = c3_columns_count(source, contig, start, end, rule, cancel, &p.columns)) != C3_OK) goto out;
    if ((code = fetch_reference(&p, source, contig)) != C3_OK) goto out;
    if ((code = scan_columns(&p, &list, pileup)) != C3_OK) goto out;
    if ((code = look_beyond(&p, source, contig, cancel, &list.last)) != C3_OK) goto out;
    if ((code = keep_windows(&p, &list, pileup)) != C3_OK) goto out;
    code = list_supports(&p, &list, &pileup->support);
    pileup->reads = p.columns.reads;
    pileup->counts = p.columns.counts; /* handed over */
    p.columns.counts = NULL;

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
