#include "short_reads/rows.h"

#include <stdlib.h>
#include <string.h>

#include "arrays.h"
#include "letters.h"
#include "short_reads/mpileup.h"

/* ---- reads -> cells ---------------------------------------------------------------------------------------------- */

/* The indel that mpileup attaches to the last column of an operation, x: a deletion, else an insertion with pads. */
static int take_attached(c3_read_walk *w, uint32_t operation, int64_t x, int64_t query)
{
    const c3_attached attached = c3_find_attached(w->read, operation);
    int64_t place;
    char *letters;
    if (attached.deleted) return c3_walk_deletion(w, x, attached.deleted);
    if (!attached.inserted) return C3_OK;
    int code = c3_walk_insertion(w, x, attached.inserted, &letters, &place);
    if (code == C3_OK && letters) c3_write_inserted(w->read, operation, query, attached.inserted, letters);
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
        if (consumes & 2) c3_walk_columns(w, x, length, query, op);
        if (consumes & 1) query += length;
        if (!(consumes & 2) || !length) continue;
        x += length;
        code = take_attached(w, i, x - 1, query);
    }
    return code;
}

/* ---- what the reads show at each candidate, and which become its rows -------------------------------------------- */

/* What one read shows at a candidate, as text: kind and bases. No letters: the reference alone, or a deleted base. */
typedef struct {
    int64_t at; /* in the pool of keys */
    int32_t length;
} key;

typedef struct {
    c3_allele_table alleles; /* distinct keys, in order of first appearance */
    key *keys;               /* of each active read */
    char *pool;
    int64_t n_pool, pool_capacity, key_capacity;
    int32_t depth, alone; /* alone: reads that show the reference without an indel */
} tally;

static int add_text(tally *t, key *k, const char *text, int64_t length)
{
    if (c3_grow(&t->pool, &t->pool_capacity, t->n_pool + length, 1) != C3_OK) return C3_NO_MEMORY;
    memcpy(t->pool + t->n_pool, text, length);
    t->n_pool += length;
    k->length += (int32_t)length;
    return C3_OK;
}

/* Deleted bases in upper case, as far as the contig goes. */
static int add_deleted(tally *t, key *k, const c3_full_state *s, int64_t pos, int32_t length)
{
    int code = add_text(t, k, "D", 1);
    for (int64_t p = pos + 1; p <= pos + length && p < s->reference_start + s->reference_length && code == C3_OK; p++) {
        char letter = c3_upper(c3_letter_at(s, p));
        code = add_text(t, k, &letter, 1);
    }
    return code;
}

static int read_key(tally *t, key *k, const c3_full_state *s, const c3_kept_read *read, int64_t pos, int64_t place)
{
    int64_t ins, del;
    uint8_t shown = c3_shown_at(s, read, place);
    *k = (key){t->n_pool, 0};
    if (shown == C3_NOTHING) return C3_OK;
    char gone = read->strand == C3_FORWARD_CODE ? '*' : '#';
    char letter = shown == C3_GONE ? gone : seq_nt16_str[shown - C3_LETTER];
    t->depth++;
    c3_indels_at(s, read, place, &ins, &del);
    if (del >= 0) return add_deleted(t, k, s, pos, s->events[del].length);
    if (ins >= 0) { /* the key begins with the read's own base, as mpileup writes it */
        char kind[2] = {'i', letter};
        int code = add_text(t, k, kind, 2);
        return code == C3_OK ? add_text(t, k, s->pool + s->events[ins].bases, s->events[ins].length) : code;
    }
    if (letter == c3_upper(c3_letter_at(s, pos))) t->alone++;
    else if (shown != C3_GONE) return add_text(t, k, (char[2]){'X', letter}, 2);
    return C3_OK;
}

static int count_candidate(tally *t, const c3_full_state *s, const c3_active_reads *active, int64_t pos, int64_t place)
{
    int code = c3_grow(&t->keys, &t->key_capacity, active->n + 1, sizeof *t->keys);
    c3_alleles_clear(&t->alleles);
    t->n_pool = t->depth = t->alone = 0;
    for (int64_t k = 0; k < active->n && code == C3_OK; k++)
        code = read_key(t, &t->keys[k], s, &s->reads[active->items[k]], pos, place);
    for (int64_t k = 0; k < active->n && code == C3_OK; k++) /* the pool stays where it is now */
        if (t->keys[k].length) code = c3_alleles_add(&t->alleles, t->pool + t->keys[k].at, t->keys[k].length, 0);
    return code;
}

static int list_support(const tally *t, c3_support *support)
{
    int code = C3_OK;
    for (int32_t i = 0; i < t->alleles.count && code == C3_OK; i++) {
        const c3_allele *allele = &t->alleles.alleles[i];
        code = c3_support_add(support, allele->bases[0], allele->forward, allele->bases + 1, allele->length - 1);
    }
    if (code == C3_OK && t->alone > 0) code = c3_support_add(support, 'R', t->alone, NULL, 0);
    return code == C3_OK ? c3_support_close(support) : code;
}

/* Does the read show anything in a column of the window that is not blank? */
static int is_row(const c3_full_state *s, const c3_kept_read *read, int64_t pos, int64_t place)
{
    int64_t from = pos - C3_FLANK > read->start ? pos - C3_FLANK : read->start;
    int64_t to = pos + C3_FLANK + 1 < read->end ? pos + C3_FLANK + 1 : read->end;
    for (int64_t p = from; p < to; p++)
        if (!s->blank[place + p - pos]) return 1;
    return 0;
}

static int list_rows(const tally *t, c3_full_state *s, const c3_active_reads *active, int64_t pos, int64_t place)
{
    int code = C3_OK;
    for (int64_t k = 0; k < active->n && code == C3_OK; k++) {
        const c3_kept_read *read = &s->reads[active->items[k]];
        if (!is_row(s, read, pos, place)) continue;
        code = c3_add_rows(s, &active->items[k], 1);
        if (code != C3_OK) break;
        int is_letter = c3_shown_at(s, read, place) >= C3_LETTER && t->keys[k].length;
        s->alternative[s->n_rows - 1] =
            is_letter ? c3_alleles_count(&t->alleles, t->pool + t->keys[k].at, t->keys[k].length) : 0;
    }
    return code;
}

static int tally_candidates(c3_full *out)
{
    c3_full_state *s = out->state;
    c3_active_reads active = {0};
    tally t = {0};
    int code = C3_OK;
    for (int64_t i = 0; i < out->n; i++) {
        int64_t pos = s->candidates[i], place = c3_find_place(s, pos);
        if ((code = c3_slide_active_reads(s, &active, pos)) != C3_OK) goto out;
        if ((code = count_candidate(&t, s, &active, pos, place)) != C3_OK) goto out;
        out->depth[i] = t.depth;
        if ((code = list_support(&t, &out->support)) != C3_OK) goto out;
        if ((code = list_rows(&t, s, &active, pos, place)) != C3_OK) goto out;
        s->row_start[i + 1] = s->n_rows;
        out->window_reads[i] = (int32_t)(s->n_rows - s->row_start[i]);
    }

out:
    c3_alleles_free(&t.alleles);
    free(active.items);
    free(t.keys);
    free(t.pool);
    return code;
}

/* ---- rows -> tensor ---------------------------------------------------------------------------------------------- */

/* Letters that would end v2.0.2 are 0 (E-B11). */
static int8_t encode_letter(char letter)
{
    switch (letter) {
    case 'A': return 100;
    case 'C': return 25;
    case 'G': return 75;
    case 'T': return 50;
    case 'N': return 100;
    default: return 0;
    }
}

/* The letter N is no alternative. */
static int8_t alternative_code(char letter, char reference, int64_t ins, int64_t del)
{
    if (ins >= 0) return C3_INSERTION_CODE;
    if (del >= 0) return C3_DELETION_CODE;
    return letter == reference || letter == 'N' ? 0 : encode_letter(letter);
}

/* Division first, in double precision: 29 of 100 gives 28 (E-K12). */
static int8_t allele_fraction(int32_t count, int32_t depth)
{
    if (count <= 0) return 0;
    if (depth <= 0 || (float)count / (float)depth >= 1) return 100;
    return (int8_t)(100 * ((double)count / depth));
}

/* Columns the read does not cover, or deletes, and blank ones stay zero. */
static void fill_row(const c3_full_state *s, const c3_kept_read *read, int64_t candidate, int64_t place,
                     int32_t alternative, int32_t depth, int8_t *row)
{
    for (int column = 0; column < C3_WINDOW; column++) {
        int64_t pos = candidate - C3_FLANK + column, at = place - C3_FLANK + column, ins, del;
        if (pos < read->start || pos >= read->end || s->blank[at]) continue;
        int64_t index = read->cell + at - read->place;
        if (s->shown[index] == C3_GONE) continue;
        int8_t *cell = row + column * s->channels;
        char letter = seq_nt16_str[s->shown[index] - C3_LETTER], reference = c3_upper(c3_letter_at(s, pos));
        int8_t reference_code = encode_letter(reference);
        c3_indels_at(s, read, at, &ins, &del);
        c3_fill_cell(s, read, index, cell);
        cell[C3_CH_REF] = reference_code ? reference_code : 100;
        cell[C3_CH_STRAND] = letter == 'N' ? C3_REVERSE_CODE : read->strand;
        cell[C3_CH_ALT] = alternative_code(letter, reference, ins, del);
        if (ins < 0 || column >= C3_WINDOW - 1) continue;
        const c3_event *it = &s->events[ins]; /* its first base on the anchor column: kept (E-K20) */
        for (int k = 0; k < it->length && column + k < C3_WINDOW; k++)
            cell[k * s->channels + C3_CH_INSERTED] = encode_letter(s->pool[it->bases + k]);
    }
    c3_fill_fraction(s, C3_CH_STRAND, allele_fraction(alternative, depth), row);
}

const c3_row_engine c3_short_read_rows = {1, walk, tally_candidates, fill_row};
