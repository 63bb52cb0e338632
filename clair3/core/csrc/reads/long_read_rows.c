#include "reads/long_read_rows.h"

#include <stdlib.h>
#include <string.h>

#include "arrays.h"
#include "letters.h"
#include "reads/shuffle.h"

/* ---- reads -> cells ---------------------------------------------------------------------------------------------- */

static int take_insertion(c3_read_walk *w, int64_t x, int64_t length, int64_t query)
{
    char *letters;
    int64_t place;
    int code = c3_walk_insertion(w, x, length, &letters, &place);
    for (int64_t k = 0; code == C3_OK && letters && k < length; k++) {
        letters[k] = seq_nt16_str[bam_seqi(bam_get_seq(w->read), query + k)];
        if (w->moves) w->state->signal[w->kept->cell + place - w->kept->place] += w->moves[query + k];
    }
    return code;
}

static int walk(c3_read_walk *w)
{
    const uint32_t *cigar = bam_get_cigar(w->read);
    int64_t x = w->read->core.pos, query = 0;
    int code = C3_OK;
    for (uint32_t i = 0; i < w->read->core.n_cigar && code == C3_OK; i++) {
        int op = bam_cigar_op(cigar[i]), consumes = bam_cigar_type(op);
        int64_t length = bam_cigar_oplen(cigar[i]);
        if (op == BAM_CDEL && length) code = c3_walk_deletion(w, x - 1, length);
        if (op == BAM_CINS && length) code = take_insertion(w, x - 1, length, query);
        if (consumes & 2 && op != BAM_CREF_SKIP) c3_walk_columns(w, x, length, query, op);
        if (consumes & 1) query += length;
        if (consumes & 2) x += length;
    }
    return code;
}

/* ---- what the reads show at each candidate, and which become its rows -------------------------------------------- */

typedef struct {
    int32_t depth, base[4];
    c3_allele_table insertions, deletions;
} counters;

/* A letter of a read as an index; anything outside ACGT counts as A (E-K14). */
static int count_index(uint8_t shown)
{
    int index = c3_base_index(seq_nt16_str[shown - C3_LETTER]);
    return index == C3_OTHER ? 0 : index;
}

static int count_candidate(const c3_full_state *s, const int32_t *active, int64_t n, int64_t place, counters *c)
{
    int code = C3_OK;
    c->depth = 0;
    memset(c->base, 0, sizeof c->base);
    c3_alleles_clear(&c->insertions);
    c3_alleles_clear(&c->deletions);
    for (int64_t k = 0; k < n && code == C3_OK; k++) {
        const c3_kept_read *read = &s->reads[active[k]];
        if (place < read->place || place >= read->place + read->cells) continue;
        uint8_t shown = s->shown[read->cell + place - read->place];
        if (shown != C3_NOTHING) c->depth++;
        if (shown >= C3_LETTER) c->base[count_index(shown)]++;
        int64_t stop = read->event + read->events;
        for (int64_t e = c3_event_at(s, read, place); e < stop && s->events[e].place == place && code == C3_OK; e++) {
            const c3_event *it = &s->events[e];
            code = it->bases < 0 ? c3_alleles_add(&c->deletions, NULL, it->length, 0)
                                 : c3_alleles_add(&c->insertions, s->pool + it->bases, it->length, 0);
        }
    }
    return code;
}

/* Deletions in table order: the alleles that the slots name, one after the other. */
static int list_deletions(const c3_full_state *s, const counters *c, int64_t pos, c3_support *support)
{
    int64_t at = pos + 1 - s->reference_start;
    int code = C3_OK;
    for (int32_t slot = 0; slot < c->deletions.slot_count && code == C3_OK; slot++)
        if (c->deletions.slots[slot] >= 0)
            code = c3_support_add_deletions(support, &c->deletions.alleles[c->deletions.slots[slot]], 1,
                                            s->reference + at, s->reference_length - at, s->rule.max_indel_length);
    return code;
}

/* C.9: X, I, D, R. */
static int list_support(const c3_full_state *s, const counters *c, int64_t pos, c3_support *support)
{
    int ref = c3_base_index(c3_letter_at(s, pos));
    if (ref == C3_OTHER) ref = 0;
    int32_t alone = c->base[ref];
    for (int32_t i = 0; i < c->insertions.count; i++) alone -= c->insertions.alleles[i].forward;
    for (int32_t i = 0; i < c->deletions.count; i++) alone -= c->deletions.alleles[i].forward;
    int code = c3_support_add_bases(support, c->base, ref);
    if (code == C3_OK) code = c3_support_add_insertions(support, &c->insertions, s->rule.max_indel_length);
    if (code == C3_OK) code = list_deletions(s, c, pos, support);
    if (code == C3_OK && alone > 0) code = c3_support_add(support, 'R', alone, NULL, 0);
    return code == C3_OK ? c3_support_close(support) : code;
}

/* How many reads show what this read shows at the candidate; 0 when it shows the reference or nothing (C.8). */
static int32_t alternative_reads(const c3_full_state *s, const c3_kept_read *read, int64_t pos, int64_t place,
                                 const counters *c)
{
    int64_t ins, del;
    if (place < read->place || place >= read->place + read->cells) return 0;
    uint8_t shown = s->shown[read->cell + place - read->place];
    if (shown == C3_GONE) return 0;
    c3_indels_at(s, read, place, &ins, &del);
    if (ins >= 0) return c3_alleles_count(&c->insertions, s->pool + s->events[ins].bases, s->events[ins].length);
    if (del >= 0) return c3_alleles_count(&c->deletions, NULL, s->events[del].length);
    if (shown == C3_NOTHING || seq_nt16_str[shown - C3_LETTER] == c3_upper(c3_letter_at(s, pos))) return 0;
    return c->base[count_index(shown)];
}

/* Choose the rows of a candidate: all reads of the window, or as many as fit, drawn; then by haplotype (C.6). */
static int choose_rows(c3_full_state *s, int32_t *reads, int64_t n, c3_random *random)
{
    if (n > s->rule.rows) {
        c3_shuffle(random, reads, n);
        n = s->rule.rows;
    }
    for (int64_t i = 1; i < n; i++) { /* insertion sort by (haplotype, index): short, and nearly sorted mostly */
        int32_t moved = reads[i];
        int64_t j = i;
        for (; j > 0; j--) {
            uint8_t before = s->reads[reads[j - 1]].haplotype, own = s->reads[moved].haplotype;
            if (before < own || (before == own && reads[j - 1] < moved)) break;
            reads[j] = reads[j - 1];
        }
        reads[j] = moved;
    }
    return c3_add_rows(s, reads, n);
}

static int tally(c3_full *out)
{
    c3_full_state *s = out->state;
    counters c = {0};
    c3_active_reads active = {0};
    int32_t *window = NULL;
    int64_t window_capacity = 0;
    c3_random random;
    int code = C3_OK;
    c3_random_start(&random);
    for (int64_t i = 0; i < out->n; i++) {
        int64_t pos = s->candidates[i], place = c3_find_place(s, pos);
        if ((code = c3_slide_active_reads(s, &active, pos)) != C3_OK) goto out;
        if ((code = count_candidate(s, active.items, active.n, place, &c)) != C3_OK) goto out;
        out->depth[i] = c.depth;
        if ((code = list_support(s, &c, pos, &out->support)) != C3_OK) goto out;
        if ((code = c3_grow(&window, &window_capacity, active.n + 1, sizeof *window)) != C3_OK) goto out;
        /* before position 16 no read qualifies: an unsigned wrap of v2.0.2, kept (E-K8) */
        int64_t n = pos < C3_FLANK ? 0 : active.n;
        if (n) memcpy(window, active.items, n * sizeof *window);
        int64_t first = s->n_rows;
        out->window_reads[i] = (int32_t)n;
        if ((code = choose_rows(s, window, n, &random)) != C3_OK) goto out;
        s->row_start[i + 1] = s->n_rows;
        for (int64_t k = first; k < s->n_rows; k++)
            s->alternative[k] = alternative_reads(s, &s->reads[s->row[k]], pos, place, &c);
    }

out:
    c3_alleles_free(&c.insertions);
    c3_alleles_free(&c.deletions);
    free(active.items);
    free(window);
    return code;
}

/* ---- rows -> tensor ---------------------------------------------------------------------------------------------- */

static int8_t encode_letter(char letter)
{
    switch (letter) {
    case 'A': return 100;
    case 'C': return 25;
    case 'G': return 75;
    case 'T': return 50;
    case 'N': return 100;
    case 'D': return -100;
    default: return 0;
    }
}

/* Inside a skip a read shows no letter (E-B4). */
static int8_t alternative_code(uint8_t shown, char reference, int64_t ins, int64_t del)
{
    if (ins >= 0) return C3_INSERTION_CODE;
    if (del >= 0) return C3_DELETION_CODE;
    if (shown == C3_NOTHING) return 0;
    char letter = seq_nt16_str[shown - C3_LETTER];
    return letter == reference ? 0 : encode_letter(letter);
}

/* f32 arithmetic with the multiplication first, as an integer: 29 of 100 gives 29. */
static int8_t allele_fraction(int32_t count, int32_t depth)
{
    if (count <= 0) return 0;
    if (depth <= 0 || (float)count / (float)depth >= 1) return 100;
    return (int8_t)((float)(100 * (int64_t)count) / (float)depth);
}

/* Columns the read does not cover, or deletes, stay zero. */
static void fill_row(const c3_full_state *s, const c3_kept_read *read, int64_t candidate, int64_t place,
                     int32_t alternative, int32_t depth, int8_t *row)
{
    for (int column = 0; column < C3_WINDOW; column++) {
        int64_t pos = candidate - C3_FLANK + column, at = place - C3_FLANK + column, ins, del;
        if (pos < read->start || pos >= read->end) continue;
        int64_t index = read->cell + at - read->place;
        uint8_t shown = s->shown[index];
        if (shown == C3_GONE) continue;
        int8_t *cell = row + column * s->channels;
        char reference = c3_upper(c3_letter_at(s, pos));
        c3_indels_at(s, read, at, &ins, &del);
        c3_fill_cell(s, read, index, cell);
        cell[C3_CH_REF] = encode_letter(reference);
        cell[C3_CH_STRAND] = read->strand;
        cell[C3_CH_ALT] = alternative_code(shown, reference, ins, del);
        if (ins < 0 || column >= C3_WINDOW - 1) continue;
        const c3_event *it = &s->events[ins]; /* its first base on the anchor column: kept (E-K20) */
        for (int k = 0; k < it->length && column + k < C3_WINDOW; k++)
            cell[k * s->channels + C3_CH_INSERTED] = encode_letter(s->pool[it->bases + k]);
    }
    c3_fill_fraction(s, C3_CH_REF, allele_fraction(alternative, depth), row);
}

const c3_row_engine c3_long_read_rows = {0, walk, tally, fill_row};
