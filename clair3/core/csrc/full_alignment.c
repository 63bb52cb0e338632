#define _POSIX_C_SOURCE 200809L /* strdup */
#include "full_alignment.h"

#include <stdlib.h>
#include <string.h>

#include <htslib/khash.h>

#include "shuffle.h"

KHASH_SET_INIT_STR(names)

enum { FLANK = 16, WINDOW = 33, BEHIND = 19, CHANNELS = 8, REFERENCE_STEP = 100000 };
enum { CH_REF, CH_ALT, CH_STRAND, CH_MAPQ, CH_QUAL, CH_AF, CH_INSERTED, CH_HAPLOTYPE, CH_DWELL };
enum { INSERTION_CODE = -50, DELETION_CODE = -100, FORWARD_CODE = 100, REVERSE_CODE = 50 };
static const int8_t haplotype_code[3] = {60, 30, 90};

/* What a read shows at a position: nothing (a skip), a deleted base, or LETTER + its 4-bit code. */
enum { NOTHING, GONE, LETTER };

/* An insertion (with bases) or deletion that starts after a position of the read; `place` counts watched positions. */
typedef struct {
    int64_t place, bases; /* bases: offset into the pool, -1 for a deletion */
    int32_t length;
} event;

typedef struct {
    int64_t start, end;   /* on the reference */
    int64_t place, cells; /* the watched positions it covers: place .. place + cells */
    int64_t cell;         /* of the first one in shown, quality, signal */
    int64_t event, events;
    int8_t strand, mapq;
    uint8_t haplotype;
} kept_read;

/* Stretches of watched positions: those in a window of a candidate. Position p of stretch i is place base + p - start. */
typedef struct {
    int64_t start, end, base;
} stretch;

struct c3_full_state {
    c3_full_rule rule;
    int channels;
    int64_t *candidates;
    stretch *stretches;
    int64_t n_stretches;
    kept_read *reads;
    int64_t n_reads, read_room;
    uint8_t *shown, *quality, *signal; /* one cell per read and watched position */
    int64_t n_cells, shown_room, quality_room, signal_room;
    event *events;
    int64_t n_events, event_room;
    char *pool;
    int64_t n_pool, pool_room;
    char *reference;
    int64_t reference_start, reference_length, reference_room;
    int64_t *row_start; /* n + 1: rows of candidate i are row[row_start[i]] .. */
    int32_t *row;       /* read indices in row order */
    int64_t n_rows, row_room;
    int32_t *alternative; /* per row: reads that show the row's centre allele, 0 when it shows the reference */
    int64_t alternative_room;
};

/* ---- watched positions ---------------------------------------------------------------------------------------- */

static int watch(c3_full_state *s, const int64_t *candidates, int64_t n)
{
    s->stretches = malloc((n + 1) * sizeof *s->stretches);
    s->candidates = malloc((n + 1) * sizeof *s->candidates);
    if (!s->stretches || !s->candidates) return C3_NO_MEMORY;
    memcpy(s->candidates, candidates, n * sizeof *candidates);
    for (int64_t i = 0; i < n; i++) {
        int64_t start = candidates[i] > FLANK ? candidates[i] - FLANK : 0, end = candidates[i] + FLANK + 1;
        stretch *last = s->stretches + s->n_stretches - 1;
        if (s->n_stretches && start <= last->end) last->end = end;
        else s->stretches[s->n_stretches++] = (stretch){.start = start, .end = end};
    }
    for (int64_t i = 1; i < s->n_stretches; i++) {
        const stretch *before = &s->stretches[i - 1];
        s->stretches[i].base = before->base + before->end - before->start;
    }
    return C3_OK;
}

/* The first stretch that ends behind pos. */
static int64_t stretch_behind(const c3_full_state *s, int64_t pos)
{
    int64_t low = 0, high = s->n_stretches;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (s->stretches[middle].end <= pos) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* How many watched positions lie before pos: the place of pos, if it is watched. */
static int64_t place_of(const c3_full_state *s, int64_t pos)
{
    int64_t i = stretch_behind(s, pos);
    if (i == s->n_stretches) {
        const stretch *last = &s->stretches[i - 1];
        return last->base + last->end - last->start;
    }
    const stretch *at = &s->stretches[i];
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

typedef struct {
    c3_full_state *s;
    const bam1_t *read;
    kept_read *kept;
    const uint8_t *moves; /* or NULL */
    int64_t at;           /* the stretch that is being walked */
} reader;

/* The watched part of [x, x + length), cell by cell: calls back with offset from x. */
static void each_watched(reader *r, int64_t x, int64_t length, int64_t query, int op)
{
    c3_full_state *s = r->s;
    const uint8_t *seq = bam_get_seq(r->read), *qual = bam_get_qual(r->read);
    while (r->at < s->n_stretches && s->stretches[r->at].end <= x) r->at++;
    for (int64_t i = r->at; i < s->n_stretches && s->stretches[i].start < x + length; i++) {
        const stretch *w = &s->stretches[i];
        int64_t from = w->start > x ? w->start : x, to = w->end < x + length ? w->end : x + length;
        int64_t cell = r->kept->cell + (w->base + from - w->start) - r->kept->place;
        for (int64_t p = from; p < to; p++, cell++) {
            if (op == BAM_CDEL) {
                s->shown[cell] = GONE;
                continue;
            }
            int64_t q = query + p - x;
            s->shown[cell] = LETTER + bam_seqi(seq, q);
            s->quality[cell] = (uint8_t)percent(qual[q], 40);
            if (r->moves) s->signal[cell] += r->moves[q];
        }
    }
}

/* An indel that starts after x, if x is a watched position of the read. */
static int add_event(reader *r, int64_t x, int32_t length, int64_t query)
{
    c3_full_state *s = r->s;
    while (r->at > 0 && s->stretches[r->at - 1].end > x) r->at--;
    int64_t i = r->at;
    while (i < s->n_stretches && s->stretches[i].end <= x) i++;
    if (x < r->kept->start || i == s->n_stretches || s->stretches[i].start > x) return C3_OK;
    int64_t place = s->stretches[i].base + x - s->stretches[i].start;
    int code = c3_grow(&s->events, &s->event_room, s->n_events + 1, sizeof *s->events);
    if (code != C3_OK) return code;
    event *added = &s->events[s->n_events++];
    *added = (event){.place = place, .bases = -1, .length = length};
    if (query < 0) return C3_OK;
    if ((code = c3_grow(&s->pool, &s->pool_room, s->n_pool + length, 1)) != C3_OK) return code;
    added->bases = s->n_pool;
    for (int32_t k = 0; k < length; k++) {
        s->pool[s->n_pool++] = seq_nt16_str[bam_seqi(bam_get_seq(r->read), query + k)];
        if (r->moves) s->signal[r->kept->cell + place - r->kept->place] += r->moves[query + k];
    }
    return C3_OK;
}

static int walk_read(reader *r)
{
    const uint32_t *cigar = bam_get_cigar(r->read);
    int64_t x = r->read->core.pos, query = 0;
    int code = C3_OK;
    for (uint32_t i = 0; i < r->read->core.n_cigar && code == C3_OK; i++) {
        int op = bam_cigar_op(cigar[i]), consumes = bam_cigar_type(op);
        int64_t length = bam_cigar_oplen(cigar[i]);
        if (consumes == 3) {
            each_watched(r, x, length, query, op);
        } else if (op == BAM_CDEL && length) {
            code = add_event(r, x - 1, (int32_t)length, -1);
            each_watched(r, x, length, query, op);
        } else if (op == BAM_CINS && length) {
            code = add_event(r, x - 1, (int32_t)length, query);
        }
        if (consumes & 1) query += length;
        if (consumes & 2) x += length;
    }
    return code;
}

/* ---- the reads ------------------------------------------------------------------------------------------------ */

/* Reference letters up to `end`, as far as the contig goes; fetched in steps as reads reach further. */
static int reach(c3_full_state *s, c3_source *source, const char *contig, int64_t end)
{
    int64_t have = s->reference_start + s->reference_length, got = 0;
    char *more = NULL;
    if (end <= have) return C3_OK;
    int code = c3_reference(source, contig, have, end + REFERENCE_STEP, &more, &got);
    if (code != C3_OK) return s->reference_length ? C3_OK : code; /* the contig ends here */
    code = c3_grow(&s->reference, &s->reference_room, s->reference_length + got + 1, 1);
    if (code == C3_OK) memcpy(s->reference + s->reference_length, more, got);
    s->reference_length += got;
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
    if (c3_grow(&s->shown, &s->shown_room, wanted, 1) || c3_grow(&s->quality, &s->quality_room, wanted, 1)
        || c3_grow(&s->signal, &s->signal_room, s->rule.dwell ? wanted : 1, 1))
        return C3_NO_MEMORY;
    memset(s->shown + s->n_cells, NOTHING, cells);
    memset(s->quality + s->n_cells, 0, cells);
    if (s->rule.dwell) memset(s->signal + s->n_cells, 0, cells);
    s->n_cells = wanted;
    return C3_OK;
}

static int keep_read(c3_full_state *s, c3_source *source, const char *contig, const c3_phased_snps *snps,
                     uint8_t **moves, int64_t *move_room)
{
    const bam1_t *read = source->record;
    kept_read kept = {
        .start = read->core.pos,
        .end = read->core.pos + bam_cigar2rlen(read->core.n_cigar, bam_get_cigar(read)),
        .cell = s->n_cells,
        .event = s->n_events,
        .strand = bam_is_rev(read) ? REVERSE_CODE : FORWARD_CODE,
        .mapq = percent(read->core.qual, 60),
    };
    kept.place = place_of(s, kept.start);
    kept.cells = place_of(s, kept.end) - kept.place;
    if (kept.cells <= 0) return C3_OK;
    int code = reach(s, source, contig, kept.end + FLANK);
    if (code != C3_OK || (code = add_cells(s, kept.cells)) != C3_OK) return code;
    if (s->rule.haplotype_tags) {
        kept.haplotype = tagged_haplotype(read);
    } else if (snps) {
        c3_stretch letters = {s->reference_start, s->reference_length, s->reference};
        kept.haplotype = (uint8_t)c3_haplotype(read, snps, &letters);
    }
    if (s->rule.dwell) {
        if ((code = c3_grow(moves, move_room, read->core.l_qseq + 1, 1)) != C3_OK) return code;
        read_moves(read, *moves);
    }
    reader r = {s, read, &kept, s->rule.dwell ? *moves : NULL, stretch_behind(s, kept.start)};
    if ((code = walk_read(&r)) != C3_OK) return code;
    kept.events = s->n_events - kept.event;
    if ((code = c3_grow(&s->reads, &s->read_room, s->n_reads + 1, sizeof *s->reads)) != C3_OK) return code;
    s->reads[s->n_reads++] = kept;
    return C3_OK;
}

/* Duplicates and failed reads stay, mates of unmapped reads go (A.2); reads whose bases are not in the file go too. */
static int is_used(const bam1_t *read, const c3_full_rule *rule)
{
    const int dropped = BAM_FUNMAP | BAM_FMUNMAP | BAM_FSECONDARY | BAM_FSUPPLEMENTARY;
    return !(read->core.flag & dropped) && read->core.qual >= rule->min_mapq
           && bam_cigar2qlen(read->core.n_cigar, bam_get_cigar(read)) == read->core.l_qseq;
}

/* Was a read of this name met before? One record per name counts (E-K6), even where the first covers no candidate. */
static int is_new_name(khash_t(names) *names, const char *name, int *code)
{
    int absent;
    khint_t slot = kh_put(names, names, name, &absent);
    if (absent < 0) {
        *code = C3_NO_MEMORY;
        return 0;
    }
    if (absent == 0) return 0;
    char *own = strdup(name);
    if (own) kh_key(names, slot) = own;
    else {
        kh_del(names, names, slot);
        *code = C3_NO_MEMORY;
    }
    return own != NULL;
}

static int read_all(c3_full_state *s, c3_source *source, const char *contig, int64_t n, const c3_phased_snps *snps,
                    const volatile int32_t *cancel)
{
    int64_t first = s->stretches[0].start, end = s->candidates[n - 1] + BEHIND, move_room = 0;
    khash_t(names) *names = kh_init(names);
    uint8_t *moves = NULL;
    hts_itr_t *reads = NULL;
    int is_first = 1;
    int code = names ? c3_reads_of(source, contig, first, end, &reads) : C3_NO_MEMORY;
    s->reference_start = first;
    while (code == C3_OK) {
        int got = c3_next_read(source, reads);
        if (got <= 0) { code = got; break; }
        if (cancel && *cancel) { code = C3_CANCELLED; break; }
        if (!is_used(source->record, &s->rule)) continue;
        if (is_first) { /* reads come in order of their start; haplotagging looks a little before it */
            int64_t start = source->record->core.pos < first ? source->record->core.pos : first;
            s->reference_start = start > FLANK ? start - FLANK : 0;
            is_first = 0;
        }
        if (is_new_name(names, bam_get_qname(source->record), &code))
            code = keep_read(s, source, contig, snps, &moves, &move_room);
    }
    if (code == C3_OK) code = reach(s, source, contig, end);
    if (reads) hts_itr_destroy(reads);
    if (names)
        for (khint_t slot = kh_begin(names); slot != kh_end(names); slot++)
            if (kh_exist(names, slot)) free((char *)kh_key(names, slot));
    kh_destroy(names, names);
    free(moves);
    return code;
}

/* ---- one candidate -> counters, support, rows ----------------------------------------------------------------- */

static char letter_at(const c3_full_state *s, int64_t pos)
{
    int64_t at = pos - s->reference_start;
    return at >= 0 && at < s->reference_length ? s->reference[at] : 'N';
}

static char upper(char letter)
{
    return letter >= 'a' && letter <= 'z' ? (char)(letter - 'a' + 'A') : letter;
}

/* The first event of a read at or behind a place. */
static int64_t event_at(const c3_full_state *s, const kept_read *read, int64_t place)
{
    int64_t low = read->event, high = read->event + read->events;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (s->events[middle].place < place) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* The insertion and the deletion that a read shows after a place; of several the last counts. -1: none. */
static void indels_at(const c3_full_state *s, const kept_read *read, int64_t place, int64_t *ins, int64_t *del)
{
    int64_t stop = read->event + read->events;
    *ins = *del = -1;
    for (int64_t e = event_at(s, read, place); e < stop && s->events[e].place == place; e++) {
        if (s->events[e].bases < 0) *del = e;
        else *ins = e;
    }
}

typedef struct {
    int32_t depth, base[4];
    c3_allele_table insertions, deletions;
} counters;

/* A letter of a read as an index; anything outside ACGT counts as A (E-K14). */
static int counted_as(uint8_t shown)
{
    int index = c3_base_index(seq_nt16_str[shown - LETTER]);
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
        const kept_read *read = &s->reads[active[k]];
        if (place < read->place || place >= read->place + read->cells) continue;
        uint8_t shown = s->shown[read->cell + place - read->place];
        if (shown != NOTHING) c->depth++;
        if (shown >= LETTER) c->base[counted_as(shown)]++;
        int64_t stop = read->event + read->events;
        for (int64_t e = event_at(s, read, place); e < stop && s->events[e].place == place && code == C3_OK; e++) {
            const event *it = &s->events[e];
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
    int ref = c3_base_index(letter_at(s, pos));
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

static int32_t reads_with(const c3_allele_table *table, const char *bases, int32_t length)
{
    for (int32_t i = 0; i < table->count; i++) {
        const c3_allele *allele = &table->alleles[i];
        if (allele->length == length && (!bases || memcmp(allele->bases, bases, length) == 0)) return allele->forward;
    }
    return 0;
}

/* How many reads show what this read shows at the candidate; 0 when it shows the reference or nothing (C.8). */
static int32_t alternative_reads(const c3_full_state *s, const kept_read *read, int64_t pos, int64_t place,
                                 const counters *c)
{
    int64_t ins, del;
    if (place < read->place || place >= read->place + read->cells) return 0;
    uint8_t shown = s->shown[read->cell + place - read->place];
    if (shown == GONE) return 0;
    indels_at(s, read, place, &ins, &del);
    if (ins >= 0) return reads_with(&c->insertions, s->pool + s->events[ins].bases, s->events[ins].length);
    if (del >= 0) return reads_with(&c->deletions, NULL, s->events[del].length);
    if (shown == NOTHING || seq_nt16_str[shown - LETTER] == upper(letter_at(s, pos))) return 0;
    return c->base[counted_as(shown)];
}

/* Choose the rows of a candidate: all reads of the window, or as many as fit, drawn; then by haplotype (C.6). */
static int choose_rows(c3_full_state *s, int32_t *reads, int64_t n, c3_random *random)
{
    if (n > s->rule.rows) {
        c3_shuffle(random, reads, n);
        n = s->rule.rows;
    }
    if (c3_grow(&s->row, &s->row_room, s->n_rows + n + 1, sizeof *s->row)
        || c3_grow(&s->alternative, &s->alternative_room, s->n_rows + n + 1, sizeof *s->alternative))
        return C3_NO_MEMORY;
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
    memcpy(s->row + s->n_rows, reads, n * sizeof *reads);
    s->n_rows += n;
    return C3_OK;
}

/* f32 arithmetic with the multiplication first, as an integer: 29 of 100 gives 29 (E-K12). */
static int8_t allele_fraction(int32_t count, int32_t depth)
{
    if (count <= 0) return 0;
    if (depth <= 0 || (float)count / (float)depth >= 1) return 100;
    return (int8_t)((float)(100 * (int64_t)count) / (float)depth);
}

typedef struct {
    int32_t *items; /* indices of reads that may reach the window, ascending */
    int64_t n, room;
    int64_t next; /* the first read not yet looked at */
} active_reads;

/* Slide the active reads to a candidate: reads are in order of their start, so each is added and dropped once. */
static int slide(const c3_full_state *s, active_reads *a, int64_t candidate)
{
    int64_t kept = 0;
    for (; a->next < s->n_reads && s->reads[a->next].start < candidate + FLANK + 1; a->next++) {
        if (c3_grow(&a->items, &a->room, a->n + 1, sizeof *a->items)) return C3_NO_MEMORY;
        a->items[a->n++] = (int32_t)a->next;
    }
    for (int64_t k = 0; k < a->n; k++)
        if (s->reads[a->items[k]].end > candidate - FLANK) a->items[kept++] = a->items[k];
    a->n = kept;
    return C3_OK;
}

static int tally_all(c3_full_state *s, c3_full *out)
{
    counters c = {0};
    active_reads active = {0};
    int32_t *window = NULL;
    int64_t window_room = 0;
    c3_random random;
    int code = C3_OK;
    c3_random_start(&random);
    s->row_start[0] = 0;
    for (int64_t i = 0; i < out->n && code == C3_OK; i++) {
        int64_t pos = s->candidates[i], place = place_of(s, pos);
        if ((code = slide(s, &active, pos)) != C3_OK) break;
        if ((code = count_candidate(s, active.items, active.n, place, &c)) != C3_OK) break;
        out->depth[i] = c.depth;
        out->ref[i] = (uint8_t)upper(letter_at(s, pos));
        if ((code = list_support(s, &c, pos, &out->support)) != C3_OK) break;
        if ((code = c3_grow(&window, &window_room, active.n + 1, sizeof *window)) != C3_OK) break;
        /* before position 16 no read qualifies: an unsigned wrap of v2.0.2, kept (E-K8) */
        int64_t n = pos < FLANK ? 0 : active.n;
        if (n) memcpy(window, active.items, n * sizeof *window);
        int64_t first = s->n_rows;
        code = choose_rows(s, window, n, &random);
        s->row_start[i + 1] = s->n_rows;
        for (int64_t k = first; k < s->n_rows && code == C3_OK; k++)
            s->alternative[k] = alternative_reads(s, &s->reads[s->row[k]], pos, place, &c);
    }
    c3_alleles_free(&c.insertions);
    c3_alleles_free(&c.deletions);
    free(active.items);
    free(window);
    return code;
}

/* ---- rows -> tensor ------------------------------------------------------------------------------------------- */

static int8_t code_of(char letter)
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
    if (ins >= 0) return INSERTION_CODE;
    if (del >= 0) return DELETION_CODE;
    if (shown == NOTHING) return 0;
    char letter = seq_nt16_str[shown - LETTER];
    return letter != reference ? code_of(letter) : 0;
}

/* One row of a tensor: 33 columns of `channels`. Columns the read does not cover, or deletes, stay zero. */
static void fill_row(const c3_full_state *s, const kept_read *read, int64_t candidate, int64_t place, int8_t fraction,
                     int8_t *row)
{
    const int channels = s->channels;
    for (int column = 0; column < WINDOW; column++) {
        int64_t pos = candidate - FLANK + column, at = place - FLANK + column, ins, del;
        if (pos < read->start || pos >= read->end) continue;
        int64_t index = read->cell + at - read->place;
        uint8_t shown = s->shown[index];
        if (shown == GONE) continue;
        int8_t *cell = row + column * channels;
        char reference = upper(letter_at(s, pos));
        indels_at(s, read, at, &ins, &del);
        cell[CH_REF] = code_of(reference);
        cell[CH_STRAND] = read->strand;
        cell[CH_MAPQ] = read->mapq;
        cell[CH_QUAL] = (int8_t)s->quality[index];
        cell[CH_HAPLOTYPE] = haplotype_code[read->haplotype];
        if (channels > CHANNELS) cell[CH_DWELL] = (int8_t)s->signal[index];
        cell[CH_ALT] = alternative_code(shown, reference, ins, del);
        if (ins < 0 || column >= WINDOW - 1) continue;
        const event *it = &s->events[ins]; /* its first base on the anchor column: kept (E-K20) */
        for (int k = 0; k < it->length && column + k < WINDOW; k++)
            cell[k * channels + CH_INSERTED] = code_of(s->pool[it->bases + k]);
    }
    for (int column = 0; fraction > 0 && column < WINDOW; column++)
        if (row[column * channels + CH_REF]) row[column * channels + CH_AF] = fraction;
}

void c3_full_tensors(const c3_full *full, int64_t from, int64_t to, int8_t *out)
{
    const c3_full_state *s = full->state;
    const int64_t row_size = WINDOW * s->channels, size = s->rule.rows * row_size;
    memset(out, 0, (to - from) * size);
    for (int64_t i = from; i < to; i++, out += size) {
        int64_t n = s->row_start[i + 1] - s->row_start[i], above = (s->rule.rows - n) >> 1;
        int64_t place = place_of(s, s->candidates[i]);
        for (int64_t k = 0; k < n; k++) {
            int64_t at = s->row_start[i] + k;
            int8_t fraction = allele_fraction(s->alternative[at], full->depth[i]);
            fill_row(s, &s->reads[s->row[at]], s->candidates[i], place, fraction, out + (above + k) * row_size);
        }
    }
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

static int run(c3_full *full, c3_source *source, const char *contig, const int64_t *candidates, int64_t n,
               const c3_full_rule *rule, const c3_phased_snps *snps, const volatile int32_t *cancel)
{
    c3_full_state *s = full->state;
    int code;
    s->rule = *rule;
    s->channels = rule->dwell ? CHANNELS + 1 : CHANNELS;
    full->n = n;
    full->ref = malloc(n + 1);
    full->depth = malloc((n + 1) * sizeof *full->depth);
    s->row_start = malloc((n + 1) * sizeof *s->row_start);
    if (!full->ref || !full->depth || !s->row_start) return C3_NO_MEMORY;
    if (!n) return C3_OK;
    if ((code = watch(s, candidates, n)) != C3_OK) return code;
    if ((code = read_all(s, source, contig, n, snps, cancel)) != C3_OK) return code;
    if ((code = tally_all(s, full)) != C3_OK) return code;
    full->reads = s->n_reads;
    full->haplotype = malloc(s->n_reads + 1);
    if (!full->haplotype) return C3_NO_MEMORY;
    for (int64_t i = 0; i < s->n_reads; i++) full->haplotype[i] = s->reads[i].haplotype;
    return C3_OK;
}

int c3_full_run(c3_source *source, const char *contig, const int64_t *candidates, int64_t n, const c3_full_rule *rule,
                const c3_phased_snps *snps, const volatile int32_t *cancel, c3_full **out)
{
    c3_full *full = calloc(1, sizeof *full);
    int code = C3_NO_MEMORY;
    *out = NULL;
    if (full && (full->state = calloc(1, sizeof *full->state)))
        code = run(full, source, contig, candidates, n, rule, snps, cancel);
    if (code == C3_OK) *out = full;
    else c3_full_free(full);
    return code;
}

void c3_full_free(c3_full *full)
{
    if (!full) return;
    c3_full_state *s = full->state;
    if (s) {
        void *owned[] = {s->candidates, s->stretches, s->reads, s->shown, s->quality, s->signal, s->events, s->pool,
                         s->reference, s->row_start, s->row, s->alternative};
        for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
        free(s);
    }
    c3_support_free(&full->support);
    free(full->ref);
    free(full->depth);
    free(full->haplotype);
    free(full);
}
