#include "reads/full_reads.h"

#include <stdlib.h>
#include <string.h>

#include "arrays.h"
#include "letters.h"

enum { REFERENCE_STEP = 100000, BEHIND = 19 };

/* ---- watched positions ---------------------------------------------------------------------------------------- */

int c3_full_watch(c3_full_state *s, const int64_t *candidates, int64_t n)
{
    s->n_candidates = n;
    s->runs = malloc((n + 1) * sizeof *s->runs);
    s->candidates = malloc((n + 1) * sizeof *s->candidates);
    if (!s->runs || !s->candidates) return C3_NO_MEMORY;
    memcpy(s->candidates, candidates, n * sizeof *candidates);
    for (int64_t i = 0; i < n; i++) {
        int64_t start = candidates[i] > C3_FLANK ? candidates[i] - C3_FLANK : 0, end = candidates[i] + C3_FLANK + 1;
        c3_watched *last = s->runs + s->n_runs - 1;
        if (s->n_runs && start <= last->end) last->end = end;
        else s->runs[s->n_runs++] = (c3_watched){.start = start, .end = end};
    }
    for (int64_t i = 1; i < s->n_runs; i++) {
        const c3_watched *before = &s->runs[i - 1];
        s->runs[i].base = before->base + before->end - before->start;
    }
    s->reference_start = s->runs[0].start; /* until the first read says better */
    if (!s->engine->blanks) return C3_OK;
    s->blank = calloc(c3_find_place(s, candidates[n - 1] + C3_FLANK + 1) + 1, 1);
    return s->blank ? C3_OK : C3_NO_MEMORY;
}

void c3_full_leave_out(c3_full_state *s, int64_t start, int64_t end)
{
    for (const c3_watched *run = s->runs; run < s->runs + s->n_runs; run++) {
        if (run->start >= start && run->end <= end) continue;
        for (int64_t pos = run->start; pos < run->end; pos++)
            if (pos < start || pos >= end) s->blank[run->base + pos - run->start] = 1;
    }
}

/* The first run that ends behind pos. */
static int64_t run_behind(const c3_full_state *s, int64_t pos)
{
    int64_t low = 0, high = s->n_runs;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (s->runs[middle].end <= pos) low = middle + 1;
        else high = middle;
    }
    return low;
}

int64_t c3_find_place(const c3_full_state *s, int64_t pos)
{
    int64_t i = run_behind(s, pos);
    if (i == s->n_runs) {
        const c3_watched *last = &s->runs[i - 1];
        return last->base + last->end - last->start;
    }
    const c3_watched *at = &s->runs[i];
    return pos > at->start ? at->base + pos - at->start : at->base;
}

/* ---- one read -> cells ---------------------------------------------------------------------------------------- */

static int8_t percent(int value, int full)
{
    return value >= full ? 100 : (int8_t)(100 * value / full);
}

/* Blocks of signal per base of the stored sequence, low 8 bits; all 0 without a move table (C.10). */
static void read_moves(const bam1_t *read, uint8_t *moves)
{
    const uint8_t *tag = bam_aux_get(read, "mv");
    int64_t length = read->core.l_qseq, base = -1;
    memset(moves, 0, length);
    if (!tag || *tag != 'B') return;
    uint32_t n = bam_auxB_len(tag);
    for (uint32_t i = 1; i < n; i++) { /* the first element is the stride */
        if (bam_auxB2i(tag, i) != 0 && ++base >= length) break;
        if (base >= 0) moves[bam_is_rev(read) ? length - 1 - base : base]++;
    }
}

void c3_walk_columns(c3_read_walk *w, int64_t x, int64_t length, int64_t query, int op)
{
    c3_full_state *s = w->state;
    const uint8_t *seq = bam_get_seq(w->read), *qual = bam_get_qual(w->read);
    while (w->at < s->n_runs && s->runs[w->at].end <= x) w->at++;
    for (int64_t i = w->at; i < s->n_runs && s->runs[i].start < x + length; i++) {
        const c3_watched *run = &s->runs[i];
        int64_t from = run->start > x ? run->start : x, to = run->end < x + length ? run->end : x + length;
        int64_t place = run->base + from - run->start, cell = w->kept->cell + place - w->kept->place;
        for (int64_t p = from; p < to; p++, cell++, place++) {
            if (op == BAM_CDEL) {
                s->shown[cell] = C3_GONE;
                continue;
            }
            if (op == BAM_CREF_SKIP) {
                if (s->blank) s->blank[place] = 1;
                continue; /* the read shows nothing */
            }
            int64_t q = query + p - x;
            s->shown[cell] = C3_LETTER + bam_seqi(seq, q);
            s->quality[cell] = (uint8_t)percent(qual[q], 40);
            if (w->moves) s->signal[cell] += w->moves[q];
            if (s->blank && !c3_is_acgtn(bam_seqi(seq, q))) s->blank[place] = 1;
        }
    }
}

/* Where an indel that starts after x belongs: the place of x, -1 if that is no watched position of the read. */
static int64_t find_event_place(c3_read_walk *w, int64_t x)
{
    const c3_full_state *s = w->state;
    while (w->at > 0 && s->runs[w->at - 1].end > x) w->at--;
    int64_t i = w->at;
    while (i < s->n_runs && s->runs[i].end <= x) i++;
    if (x < w->kept->start || i == s->n_runs || s->runs[i].start > x) return -1;
    return s->runs[i].base + x - s->runs[i].start;
}

/* Add an event at a watched place; its letters, if it has any, are at the end of the pool. */
static int add_event(c3_full_state *s, int64_t place, int64_t length, int is_insertion)
{
    int code = c3_grow(&s->events, &s->event_capacity, s->n_events + 1, sizeof *s->events);
    if (code == C3_OK && is_insertion) code = c3_grow(&s->pool, &s->pool_capacity, s->n_pool + length, 1);
    if (code != C3_OK) return code;
    s->events[s->n_events++] =
        (c3_event){.place = place, .bases = is_insertion ? s->n_pool : -1, .length = (int32_t)length};
    if (is_insertion) s->n_pool += length;
    return C3_OK;
}

int c3_walk_deletion(c3_read_walk *w, int64_t x, int64_t length)
{
    const int64_t place = find_event_place(w, x);
    return place < 0 ? C3_OK : add_event(w->state, place, length, 0);
}

int c3_walk_insertion(c3_read_walk *w, int64_t x, int64_t length, char **letters, int64_t *place)
{
    c3_full_state *s = w->state;
    *letters = NULL;
    if ((*place = find_event_place(w, x)) < 0) return C3_OK;
    int code = add_event(s, *place, length, 1);
    if (code == C3_OK) *letters = s->pool + s->n_pool - length;
    return code;
}

/* ---- the reads ------------------------------------------------------------------------------------------------ */

/* Reference letters up to `end`, as far as the contig goes; fetched in steps as reads reach further. */
static int reach(c3_full_reader *r, int64_t end)
{
    c3_full_state *s = r->state;
    int64_t have = s->reference_start + s->reference_length, got = 0;
    char *more = NULL;
    int code = C3_OK;
    if (end <= have) goto out;
    if ((code = c3_reference(r->source, r->contig, have, end + REFERENCE_STEP, &more, &got)) != C3_OK) goto out;
    code = c3_grow(&s->reference, &s->reference_capacity, s->reference_length + got + 1, 1);
    if (code != C3_OK) goto out;
    memcpy(s->reference + s->reference_length, more, got);
    s->reference_length += got; /* nothing when the contig ended before */

out:
    free(more);
    return code;
}

/* 1 or 2 as the HP tag says, 0 without one or with another value (C.13). */
static uint8_t tagged_haplotype(const bam1_t *read)
{
    const uint8_t *tag = bam_aux_get(read, "HP");
    int64_t haplotype = tag ? bam_aux2i(tag) : 0;
    return haplotype == 1 || haplotype == 2 ? (uint8_t)haplotype : 0;
}

static int add_cells(c3_full_state *s, int64_t cells)
{
    int64_t wanted = s->n_cells + cells;
    if (c3_grow(&s->shown, &s->shown_capacity, wanted, 1) || c3_grow(&s->quality, &s->quality_capacity, wanted, 1)
        || c3_grow(&s->signal, &s->signal_capacity, s->rule.dwell ? wanted : 1, 1))
        return C3_NO_MEMORY;
    memset(s->shown + s->n_cells, C3_NOTHING, cells);
    memset(s->quality + s->n_cells, 0, cells);
    if (s->rule.dwell) memset(s->signal + s->n_cells, 0, cells);
    s->n_cells = wanted;
    return C3_OK;
}

int c3_full_keep(c3_full_reader *r, const bam1_t *read)
{
    c3_full_state *s = r->state;
    if (!r->has_reads) { /* reads come in order of their start; haplotagging looks a little before it */
        int64_t start = read->core.pos < s->runs[0].start ? read->core.pos : s->runs[0].start;
        s->reference_start = start > C3_FLANK ? start - C3_FLANK : 0;
        r->has_reads = 1;
    }
    c3_kept_read kept = {
        .start = read->core.pos,
        .end = read->core.pos + bam_cigar2rlen(read->core.n_cigar, bam_get_cigar(read)),
        .cell = s->n_cells,
        .event = s->n_events,
        .strand = bam_is_rev(read) ? C3_REVERSE_CODE : C3_FORWARD_CODE,
        .mapq = percent(read->core.qual, 60),
    };
    kept.place = c3_find_place(s, kept.start);
    kept.cells = c3_find_place(s, kept.end) - kept.place;
    if (kept.cells <= 0) return C3_OK;
    int code = reach(r, kept.end + C3_FLANK);
    if (code != C3_OK || (code = add_cells(s, kept.cells)) != C3_OK) return code;
    if (s->rule.haplotype_tags) {
        kept.haplotype = tagged_haplotype(read);
    } else if (r->snps) {
        c3_reference_span letters = {s->reference_start, s->reference_length, s->reference};
        kept.haplotype = (uint8_t)c3_vote_haplotype(read, r->snps, &letters);
    }
    if (s->rule.dwell) {
        if ((code = c3_grow(&r->moves, &r->move_capacity, read->core.l_qseq + 1, 1)) != C3_OK) return code;
        read_moves(read, r->moves);
    }
    c3_read_walk w = {s, read, &kept, s->rule.dwell ? r->moves : NULL, run_behind(s, kept.start)};
    if ((code = s->engine->walk(&w)) != C3_OK) return code;
    kept.events = s->n_events - kept.event;
    if ((code = c3_grow(&s->reads, &s->read_capacity, s->n_reads + 1, sizeof *s->reads)) != C3_OK) return code;
    s->reads[s->n_reads++] = kept;
    return C3_OK;
}

int c3_full_finish(c3_full_reader *r)
{
    return reach(r, r->state->candidates[r->state->n_candidates - 1] + BEHIND);
}

void c3_full_reader_free(c3_full_reader *r)
{
    free(r->moves);
}

void c3_full_state_free(c3_full_state *s)
{
    if (!s) return;
    void *owned[] = {s->candidates, s->runs, s->blank, s->reads, s->shown, s->quality, s->signal, s->events, s->pool,
                     s->reference, s->row_start, s->row, s->alternative};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
    free(s);
}

/* ---- looking ---------------------------------------------------------------------------------------------------- */

uint8_t c3_shown_at(const c3_full_state *s, const c3_kept_read *read, int64_t place)
{
    if (place < read->place || place >= read->place + read->cells || (s->blank && s->blank[place])) return C3_NOTHING;
    return s->shown[read->cell + place - read->place];
}

int64_t c3_event_at(const c3_full_state *s, const c3_kept_read *read, int64_t place)
{
    int64_t low = read->event, high = read->event + read->events;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (s->events[middle].place < place) low = middle + 1;
        else high = middle;
    }
    return low;
}

void c3_indels_at(const c3_full_state *s, const c3_kept_read *read, int64_t place, int64_t *ins, int64_t *del)
{
    int64_t stop = read->event + read->events;
    *ins = *del = -1;
    for (int64_t e = c3_event_at(s, read, place); e < stop && s->events[e].place == place; e++) {
        if (s->events[e].bases < 0) *del = e;
        else *ins = e;
    }
}

char c3_letter_at(const c3_full_state *s, int64_t pos)
{
    int64_t at = pos - s->reference_start;
    return at >= 0 && at < s->reference_length ? s->reference[at] : 'N';
}

int c3_slide_active_reads(const c3_full_state *s, c3_active_reads *a, int64_t candidate)
{
    int64_t kept = 0;
    for (; a->next < s->n_reads && s->reads[a->next].start < candidate + C3_FLANK + 1; a->next++) {
        if (c3_grow(&a->items, &a->capacity, a->n + 1, sizeof *a->items)) return C3_NO_MEMORY;
        a->items[a->n++] = (int32_t)a->next;
    }
    for (int64_t k = 0; k < a->n; k++)
        if (s->reads[a->items[k]].end > candidate - C3_FLANK) a->items[kept++] = a->items[k];
    a->n = kept;
    return C3_OK;
}

int c3_add_rows(c3_full_state *s, const int32_t *reads, int64_t n)
{
    if (c3_grow(&s->row, &s->row_capacity, s->n_rows + n + 1, sizeof *s->row)
        || c3_grow(&s->alternative, &s->alternative_capacity, s->n_rows + n + 1, sizeof *s->alternative))
        return C3_NO_MEMORY;
    memcpy(s->row + s->n_rows, reads, n * sizeof *reads);
    s->n_rows += n;
    return C3_OK;
}
