#include "short_reads/realign_window.h"

#include <stdlib.h>
#include <string.h>

#include "arrays.h"
#include "codes.h"

enum { WORD = 32, MOST_MISMATCHES = 2, MARGIN = 20, ASSEMBLED_MAPQ = 14 };
#define HASH_BASE 0x9E3779B97F4A7C15u

/* What is being realigned: reads to haplotypes of [start, end), in which the window lies. */
typedef struct {
    c3_window_workspace *workspace;
    const c3_reference_span *reference; /* over [start, end) */
    c3_interval window;
    int64_t start, end;
    c3_short_read **reads;
    int64_t n;
    const volatile int32_t *cancel; /* or NULL */
} job;

static int is_cancelled(const job *j)
{
    return j->cancel && *j->cancel;
}

static const char *letters_at(const c3_reference_span *reference, int64_t pos)
{
    return reference->letters + pos - reference->start;
}

/* ---- the haplotypes with the reference beside them --------------------------------------------------------------- */

/* Of all reads that belong to the window, also those that are too many to be realigned (spec/features.md D.4). */
static int assemble(job *j, int64_t n_assigned)
{
    c3_window_workspace *workspace = j->workspace;
    int64_t n = 0;
    int code = c3_grow(&workspace->sequences, &workspace->sequence_capacity, n_assigned, sizeof *workspace->sequences);
    if (code != C3_OK) return code;
    for (int64_t i = 0; i < n_assigned; i++) {
        const c3_short_read *read = j->reads[i];
        if (read->core.qual >= ASSEMBLED_MAPQ && read->start <= j->window.end && read->end >= j->window.start)
            workspace->sequences[n++] = read->sequence;
    }
    return c3_assemble(letters_at(j->reference, j->window.start), j->window.end - j->window.start,
                       workspace->sequences, n, j->cancel, &workspace->haplotypes);
}

static int spell_texts(job *j)
{
    c3_window_workspace *workspace = j->workspace;
    const c3_assembly *haplotypes = &workspace->haplotypes;
    int64_t before = j->window.start - j->start, behind = j->end - j->window.end, n = 0;
    int64_t size = haplotypes->first[haplotypes->n] + haplotypes->n * (before + behind);
    int code = c3_grow(&workspace->letters, &workspace->letters_capacity, size, 1);
    if (code != C3_OK) return code;
    for (int64_t h = 0; h < haplotypes->n; h++) {
        int64_t own = haplotypes->first[h + 1] - haplotypes->first[h];
        c3_haplotype_text *text = &workspace->texts[h];
        text->first = n;
        text->length = before + own + behind;
        text->is_aligned = 0;
        memcpy(workspace->letters + n, letters_at(j->reference, j->start), before);
        memcpy(workspace->letters + n + before, haplotypes->letters + haplotypes->first[h], own);
        memcpy(workspace->letters + n + before + own, letters_at(j->reference, j->window.end), behind);
        n += text->length;
    }
    workspace->n_texts = haplotypes->n;
    return C3_OK;
}

/* Align a haplotype to the reference, once. */
static int align_text(job *j, c3_haplotype_text *text)
{
    c3_local *local = &j->workspace->local;
    if (text->is_aligned) return C3_OK;
    int code = c3_local_align(j->workspace->letters + text->first, text->length, letters_at(j->reference, j->start),
                              j->end - j->start, local);
    if (code == C3_OK) code = c3_cigar_copy(&local->cigar, &text->cigar);
    text->start = local->start;
    text->is_reference = text->cigar.n == 1 && bam_cigar_op(text->cigar.ops[0]) == BAM_CEQUAL;
    text->is_aligned = 1;
    return code;
}

/* ---- words of the reads ------------------------------------------------------------------------------------------ */

/* What the first letter of a word stands for in its hash. */
static uint64_t leading_weight(void)
{
    uint64_t weight = 1;
    for (int i = 1; i < WORD; i++) weight *= HASH_BASE;
    return weight;
}

/* The hash of the word that ends with letter i; before the first whole word, of what there is. */
static uint64_t next_hash(uint64_t hash, uint64_t leading, const char *letters, int64_t i)
{
    if (i >= WORD) hash -= leading * (uint8_t)letters[i - WORD];
    return hash * HASH_BASE + (uint8_t)letters[i];
}

static const char *word_letters(const job *j, int32_t word)
{
    const c3_read_word *at = &j->workspace->words[word];
    return j->reads[at->read]->sequence.letters + at->offset;
}

/* The slot of a word: with the first place in the reads where it is, or -1. */
static int64_t word_slot(const job *j, uint64_t hash, const char *letters)
{
    int64_t slots = j->workspace->table_capacity, at = (int64_t)((hash ^ hash >> 29) * HASH_BASE >> 32) & (slots - 1);
    for (int32_t word; (word = j->workspace->table[at]) >= 0; at = (at + 1) & (slots - 1))
        if (memcmp(word_letters(j, word), letters, WORD) == 0) break;
    return at;
}

static int make_table(c3_window_workspace *workspace, int64_t words)
{
    int64_t slots = 1024;
    while (slots < 2 * words) slots *= 2;
    if (c3_grow(&workspace->words, &workspace->word_capacity, words, sizeof *workspace->words)) return C3_NO_MEMORY;
    if (slots > workspace->table_capacity) {
        free(workspace->table);
        workspace->table_capacity = 0;
        if (!(workspace->table = malloc(slots * sizeof *workspace->table))) return C3_NO_MEMORY;
        workspace->table_capacity = slots;
    }
    memset(workspace->table, -1, workspace->table_capacity * sizeof *workspace->table);
    return C3_OK;
}

/* Index the words of the reads; the places of one word follow each other by read, then by offset. */
static int index_words(job *j)
{
    c3_window_workspace *workspace = j->workspace;
    const uint64_t leading = leading_weight();
    int64_t n = 0;
    for (int64_t r = 0; r < j->n; r++)
        if (j->reads[r]->sequence.length > WORD) n += j->reads[r]->sequence.length - WORD + 1;
    if (make_table(workspace, n)) return C3_NO_MEMORY;
    int32_t word = 0;
    for (int64_t r = 0; r < j->n; r++) {
        const c3_sequence *bases = &j->reads[r]->sequence;
        uint64_t hash = 0;
        for (int64_t i = 0; i < bases->length && bases->length > WORD; i++) {
            hash = next_hash(hash, leading, bases->letters, i);
            if (i < WORD - 1) continue;
            workspace->words[word] = (c3_read_word){(int32_t)r, (int32_t)(i - WORD + 1), -1, word};
            int64_t slot = word_slot(j, hash, bases->letters + i - WORD + 1);
            int32_t first = workspace->table[slot];
            if (first < 0) {
                workspace->table[slot] = word++;
                continue;
            }
            workspace->words[workspace->words[first].last].next = word;
            workspace->words[first].last = word++;
        }
    }
    return C3_OK;
}

/* ---- quick placement: as it is, with few mismatches -------------------------------------------------------------- */

/* Mismatches, counted up to one too many; an N matches anything. */
static int mismatches(const char *a, const char *b, int64_t length)
{
    int n = 0;
    for (int64_t i = 0; i < length && n <= MOST_MISMATCHES; i++) n += a[i] != b[i] && a[i] != 'N' && b[i] != 'N';
    return n;
}

/* Try the places that a word at `at` of the haplotype gives to reads; what they gain. */
static int64_t place_word(job *j, const c3_haplotype_text *text, int64_t at, int32_t word, c3_placement *placements)
{
    const char *letters = j->workspace->letters + text->first;
    int64_t gained = 0;
    for (; word >= 0; word = j->workspace->words[word].next) {
        const c3_read_word *match = &j->workspace->words[word];
        const c3_sequence *bases = &j->reads[match->read]->sequence;
        c3_placement *placed = &placements[match->read];
        int64_t place = at > match->offset ? at - match->offset : 0;
        if (place + bases->length > text->length || (placed->score && placed->place == place)) continue;
        int wrong = mismatches(letters + place, bases->letters, bases->length);
        if (wrong > MOST_MISMATCHES) continue;
        int64_t score = C3_LOCAL_MATCH * (bases->length - wrong) - C3_LOCAL_MISMATCH * wrong;
        for (int64_t i = place; i < place + bases->length; i++) j->workspace->coverage[i]++;
        if (score <= placed->score) continue;
        gained += score - placed->score;
        *placed = (c3_placement){(int32_t)score, (int32_t)place};
    }
    return gained;
}

/* Place the reads on a haplotype. One with a base of its window that no read covers, where a word was found, counts for
 * nothing, unless it is the reference. */
static int place_reads(job *j, c3_haplotype_text *text, c3_placement *placements)
{
    c3_window_workspace *workspace = j->workspace;
    const char *letters = workspace->letters + text->first;
    const uint64_t leading = leading_weight();
    int64_t window_start = j->window.start - j->start, window_end = text->length - (j->end - j->window.end);
    int is_target = text->length == j->end - j->start
                    && memcmp(letters, letters_at(j->reference, j->start), text->length) == 0;
    int code = c3_grow(&workspace->coverage, &workspace->coverage_capacity, text->length, sizeof *workspace->coverage);
    if (code != C3_OK) return code;
    memset(workspace->coverage, 0, text->length * sizeof *workspace->coverage);
    memset(placements, 0, j->n * sizeof *placements);
    text->score = 0;
    uint64_t hash = 0;
    for (int64_t i = 0; i < text->length; i++) {
        hash = next_hash(hash, leading, letters, i);
        int64_t at = i - WORD + 1;
        int32_t word = at < 0 ? -1 : workspace->table[word_slot(j, hash, letters + at)];
        if (word < 0) continue;
        text->score += place_word(j, text, at, word, placements);
        if (!workspace->coverage[at] && at >= window_start && at < window_end && !is_target) {
            text->score = 0;
            break;
        }
    }
    if (!text->score) memset(placements, 0, j->n * sizeof *placements);
    return C3_OK;
}

/* ---- the reads that are left: local alignment -------------------------------------------------------------------- */

static int align_rest(job *j)
{
    c3_window_workspace *workspace = j->workspace;
    int code = c3_grow(&workspace->is_slow, &workspace->slow_capacity, j->n, 1);
    for (int64_t r = 0; r < j->n && code == C3_OK; r++) {
        const c3_sequence *bases = &j->reads[r]->sequence;
        if (is_cancelled(j)) return C3_CANCELLED;
        workspace->is_slow[r] = 1;
        for (int64_t h = 0; h < workspace->n_texts && workspace->is_slow[r]; h++)
            workspace->is_slow[r] = !workspace->placements[h * j->n + r].score;
        for (int64_t h = 0; h < workspace->n_texts && workspace->is_slow[r] && code == C3_OK; h++) {
            const c3_haplotype_text *text = &workspace->texts[h];
            if (!text->score) continue;
            code = c3_local_score(bases->letters, bases->length, workspace->letters + text->first, text->length,
                                  &workspace->local);
            workspace->placements[h * j->n + r].score = workspace->local.score;
        }
    }
    return code;
}

/* ---- the result -------------------------------------------------------------------------------------------------- */

/* Haplotypes by ascending score, those of one score as they are. */
static void order_texts(const c3_window_workspace *workspace, int32_t order[C3_HAPLOTYPES])
{
    for (int32_t h = 0; h < workspace->n_texts; h++) {
        int32_t at = h;
        for (; at > 0 && workspace->texts[order[at - 1]].score > workspace->texts[h].score; at--)
            order[at] = order[at - 1];
        order[at] = h;
    }
}

/* The haplotype that a read fits best, of equal ones the last that is not the reference; -1: none. */
static int choose(job *j, const int32_t *order, int64_t r, int32_t *chosen)
{
    c3_window_workspace *workspace = j->workspace;
    int32_t best = 0;
    int code = C3_OK;
    *chosen = -1;
    for (int64_t k = 0; k < workspace->n_texts && code == C3_OK; k++) {
        int32_t score = workspace->placements[order[k] * j->n + r].score;
        if (!score || score < best) continue;
        if (score == best) {
            code = align_text(j, &workspace->texts[order[k]]);
            if (workspace->texts[order[k]].is_reference) continue;
        }
        best = score;
        *chosen = order[k];
    }
    return code;
}

/* The read's alignment to a haplotype, and where that starts. */
static int align_read(job *j, int64_t r, int32_t h, const c3_cigar **cigar, int64_t *place)
{
    c3_window_workspace *workspace = j->workspace;
    const c3_sequence *bases = &j->reads[r]->sequence;
    const c3_haplotype_text *text = &workspace->texts[h];
    if (workspace->is_slow[r]) {
        *cigar = &workspace->local.cigar;
        const char *letters = workspace->letters + text->first;
        int code = c3_local_align(bases->letters, bases->length, letters, text->length, &workspace->local);
        *place = workspace->local.start;
        return code;
    }
    workspace->whole.n = 0;
    *cigar = &workspace->whole;
    *place = workspace->placements[h * j->n + r].place;
    return c3_cigar_add(&workspace->whole, BAM_CEQUAL, bases->length);
}

/* Put a read where its best haplotype lies on the reference, if that is within [earliest, last). */
static int put_read(job *j, const int32_t *order, int64_t r, int64_t earliest, int64_t last)
{
    if (is_cancelled(j)) return C3_CANCELLED;
    c3_window_workspace *workspace = j->workspace;
    const c3_cigar *own;
    int32_t h;
    int64_t place;
    int code = choose(j, order, r, &h);
    if (code != C3_OK || h < 0) return code;
    c3_haplotype_text *text = &workspace->texts[h];
    if ((code = align_text(j, text)) != C3_OK || (code = align_read(j, r, h, &own, &place)) != C3_OK) return code;
    if ((code = c3_cigar_compose(own, place, &text->cigar, &workspace->composed)) != C3_OK) return code;
    int64_t start = j->start + text->start + place + c3_cigar_shift(&text->cigar, place);
    int64_t end = start + bam_cigar2rlen((int)workspace->composed.n, workspace->composed.ops);
    if (!workspace->composed.n || start < earliest || end > last) return C3_OK;
    return c3_short_read_move(j->reads[r], start, &workspace->composed);
}

/* The part of the reference that the window and its reads reach, and some more. */
static int set_bounds(job *j, c3_reference_window *reference)
{
    j->start = j->window.start;
    j->end = j->window.end;
    for (int64_t r = 0; r < j->n; r++) {
        if (j->reads[r]->start < j->start) j->start = j->reads[r]->start;
        if (j->reads[r]->end > j->end) j->end = j->reads[r]->end;
    }
    j->start = j->start - MARGIN > reference->start ? j->start - MARGIN : reference->start;
    j->end = j->end + MARGIN < reference->end ? j->end + MARGIN : reference->end;
    j->reference = &reference->held;
    return c3_reference_window_move(reference, j->start, j->end);
}

/* Can all haplotypes, and the reference, be aligned? */
static int are_short_enough(const job *j)
{
    for (int64_t h = 0; h < j->workspace->n_texts; h++)
        if (j->workspace->texts[h].length > C3_LOCAL_LONGEST) return 0;
    return j->end - j->start <= C3_LOCAL_LONGEST;
}

int c3_window_realign(c3_window_workspace *workspace, c3_reference_window *reference, c3_interval window,
                      c3_short_read **reads, int64_t n, int64_t earliest, const volatile int32_t *cancel)
{
    job j = {.workspace = workspace, .window = window, .reads = reads, .n = n, .cancel = cancel};
    int32_t order[C3_HAPLOTYPES];
    int code = C3_OK;
    if (j.window.start < reference->start) j.window.start = reference->start;
    if (j.window.end > reference->end) j.window.end = reference->end;
    if (j.n > C3_WINDOW_READS) j.n = C3_WINDOW_READS;
    if (!n || j.window.end <= j.window.start) return C3_OK;
    if ((code = set_bounds(&j, reference)) != C3_OK || (code = assemble(&j, n)) != C3_OK) return code;
    if (workspace->haplotypes.n < 2) return C3_OK; /* one alone is the reference */
    if ((code = spell_texts(&j)) != C3_OK || !are_short_enough(&j)) return code;
    if ((code = index_words(&j)) != C3_OK) return code;
    code = c3_grow(&workspace->placements, &workspace->placement_capacity, workspace->n_texts * j.n,
                   sizeof *workspace->placements);
    for (int64_t h = 0; h < workspace->n_texts && code == C3_OK; h++)
        code = is_cancelled(&j) ? C3_CANCELLED : place_reads(&j, &workspace->texts[h], workspace->placements + h * j.n);
    if (code == C3_OK) code = align_rest(&j);
    order_texts(workspace, order);
    for (int64_t r = 0; r < j.n && code == C3_OK; r++) code = put_read(&j, order, r, earliest, reference->end);
    return code;
}

void c3_window_free(c3_window_workspace *workspace)
{
    c3_assembly_free(&workspace->haplotypes);
    c3_local_free(&workspace->local);
    for (int h = 0; h < C3_HAPLOTYPES; h++) free(workspace->texts[h].cigar.ops);
    void *owned[] = {workspace->letters, workspace->placements, workspace->words, workspace->table, workspace->coverage,
                     workspace->is_slow, workspace->sequences, workspace->whole.ops, workspace->composed.ops};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
    memset(workspace, 0, sizeof *workspace);
}
