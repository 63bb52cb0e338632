#include "reads/columns.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "short_reads/mpileup.h"

/* Most indels held at a time, 100 MB with their sorted copy; a longer or deeper region is to be asked for in parts. */
enum { MOST_INDELS = 2000000, SMALLEST_REGION = 2000 };

/* What mpileup leaves out (B.12) depends on the reads before, of which so many bases more are looked at. */
enum { LEAD = 1000 };

/* The scripted engine lists indels of any length (B.12); nobody has longer ones than these. */
enum { LONGEST_LISTED = 100000 };

/* 4-bit BAM letter -> channel, OTHER for anything but A, C, G, T */
#define OTHER C3_OTHER
static const uint8_t channel_of[16] = {4, 0, 1, 4, 2, 4, 4, 4, 3, 4, 4, 4, 4, 4, 4, 4};

static int is_used(const bam1_t *read, const c3_pileup_rule *rule)
{
    return c3_is_used(read, rule->scripted ? C3_SCRIPTED_READS : C3_PILEUP_READS, rule->min_mapq);
}

/* ---- indels ----------------------------------------------------------------------------------------------------- */

static int add_indel(c3_columns *p, int64_t x, c3_indel added)
{
    if (p->n_indels >= MOST_INDELS && p->n > SMALLEST_REGION) return C3_TOO_LARGE;
    int code = c3_grow(&p->indels, &p->indel_room, p->n_indels + 1, sizeof *p->indels);
    if (code != C3_OK) return code;
    added.column = x - p->start;
    added.read = p->reads;
    p->indels[p->n_indels++] = added;
    return C3_OK;
}

int32_t c3_longest_listed(const c3_pileup_rule *rule)
{
    return rule->scripted ? LONGEST_LISTED : rule->max_indel_length;
}

static int add_deletion(c3_columns *p, const bam1_t *read, int64_t x, int32_t length, const c3_pileup_rule *rule)
{
    if (length <= c3_longest_listed(rule) && x + 1 + length > p->reference_end) p->reference_end = x + 1 + length;
    return add_indel(p, x, (c3_indel){.length = length, .bases = -1, .reverse = bam_is_rev(read)});
}

static int add_insertion(c3_columns *p, const bam1_t *read, int64_t x, int32_t length, int64_t query)
{
    int code = c3_grow(&p->pool, &p->pool_room, p->n_pool + length, 1);
    if (code != C3_OK) return code;
    const uint8_t *seq = bam_get_seq(read);
    c3_indel added = {.length = length, .bases = p->n_pool, .reverse = bam_is_rev(read)};
    for (int32_t i = 0; i < length; i++) p->pool[p->n_pool++] = seq_nt16_str[bam_seqi(seq, query + i)];
    return add_indel(p, x, added);
}

/* The insertion as mpileup writes it: lower case on the reverse strand. It counts as reverse by its first letter, which
 * sends IUPAC codes there (B.12.3-4). */
static int add_written_insertion(c3_columns *p, const bam1_t *read, uint32_t i, int64_t x, int32_t length,
                                 int64_t query)
{
    const int64_t first = p->n_pool;
    int code = c3_grow(&p->pool, &p->pool_room, first + length, 1);
    if (code != C3_OK) return code;
    p->n_pool += length;
    c3_write_inserted(read, i, query, length, p->pool + first);
    for (int64_t k = first; k < p->n_pool && bam_is_rev(read); k++) p->pool[k] = tolower(p->pool[k]);
    int reverse = !strchr("ACGTN*", p->pool[first]);
    return add_indel(p, x, (c3_indel){.length = length, .bases = first, .reverse = reverse});
}

/* The indel attached to the last column of op i, if any (B.2): only the op that follows counts and neighbouring ops are
 * not merged; by the scripted rules insertions are, and a deletion behind them counts too. `query` is the next unread
 * base. */
static int attach_indel(c3_columns *p, const bam1_t *read, uint32_t i, int64_t x, int64_t query,
                        const c3_pileup_rule *rule)
{
    const uint32_t *next = bam_get_cigar(read) + i + 1;
    if (i + 1 >= read->core.n_cigar || x < p->start || x >= p->end) return C3_OK;
    if (rule->scripted) {
        const c3_attached attached = c3_attached_to(read, i);
        int code = attached.inserted ? add_written_insertion(p, read, i, x, attached.inserted, query) : C3_OK;
        return code == C3_OK && attached.deleted ? add_deletion(p, read, x, attached.deleted, rule) : code;
    }
    if (bam_cigar_op(*next) == BAM_CDEL && bam_cigar_oplen(*next))
        return add_deletion(p, read, x, bam_cigar_oplen(*next), rule);
    int32_t length = c3_inserted_behind(read, i);
    if (query + length > read->core.l_qseq) length = read->core.l_qseq - query;
    return length > 0 ? add_insertion(p, read, x, length, query) : C3_OK;
}

/* Group the indels by column; inside a column they stay in read order, which the allele tables depend on. */
static int sort_indels(c3_columns *p)
{
    c3_indel *sorted = malloc((p->n_indels + 1) * sizeof *sorted);
    p->indel_start = calloc(p->n + 2, sizeof *p->indel_start);
    if (!sorted || !p->indel_start) {
        free(sorted);
        return C3_NO_MEMORY;
    }
    int64_t *next = p->indel_start + 1; /* becomes indel_start once every column has been passed */
    for (int64_t i = 0; i < p->n_indels; i++) next[p->indels[i].column + 1]++;
    for (int64_t c = 0; c < p->n; c++) next[c + 1] += next[c];
    for (int64_t i = 0; i < p->n_indels; i++) sorted[next[p->indels[i].column]++] = p->indels[i];
    free(p->indels);
    p->indels = sorted;
    return C3_OK;
}

/* ---- reads ------------------------------------------------------------------------------------------------------ */

static void count_bases(c3_columns *p, const bam1_t *read, int64_t x, int64_t query, int64_t length)
{
    const uint8_t *seq = bam_get_seq(read);
    int64_t from = x < p->start ? p->start - x : 0, to = x + length > p->end ? p->end - x : length;
    int32_t *row = p->counts + (x + from - p->start) * C3_CHANNELS + (bam_is_rev(read) ? C3_REVERSE : 0);
    for (int64_t k = from; k < to; k++, row += C3_CHANNELS) {
        uint8_t channel = channel_of[bam_seqi(seq, query + k)];
        if (channel != OTHER) row[channel]++;
        else p->other[x + k - p->start]++;
    }
}

/* Remember in which read a base was seen first: alleles are listed in that order (B.12.5). */
static void note_first(c3_columns *p, const bam1_t *read, int64_t x, int64_t query, int64_t length)
{
    const uint8_t *seq = bam_get_seq(read);
    int64_t from = x < p->start ? p->start - x : 0, to = x + length > p->end ? p->end - x : length;
    for (int64_t k = from; k < to; k++) {
        uint8_t channel = channel_of[bam_seqi(seq, query + k)];
        int32_t *first = p->first + 4 * (x + k - p->start) + channel;
        if (channel != OTHER && !*first) *first = p->reads;
    }
}

static void count_deleted(c3_columns *p, const bam1_t *read, int64_t x, int64_t length)
{
    int64_t from = x < p->start ? p->start : x, to = x + length > p->end ? p->end : x + length;
    int channel = C3_DELETED + (bam_is_rev(read) ? C3_REVERSE : 0);
    for (int64_t at = from; at < to; at++) p->counts[(at - p->start) * C3_CHANNELS + channel]++;
}

static int count_read(c3_columns *p, const bam1_t *read, const c3_pileup_rule *rule)
{
    const uint32_t *cigar = bam_get_cigar(read);
    int64_t x = read->core.pos, query = 0;
    for (uint32_t i = 0; i < read->core.n_cigar && x < p->end; i++) {
        int op = bam_cigar_op(cigar[i]), consumes = bam_cigar_type(op); /* 1: query, 2: reference */
        int64_t length = bam_cigar_oplen(cigar[i]);
        if (consumes == 3) {
            count_bases(p, read, x, query, length);
            if (p->first) note_first(p, read, x, query, length);
        } else if (op == BAM_CDEL) {
            count_deleted(p, read, x, length);
        } else if (op == BAM_CREF_SKIP) {
            for (int64_t at = x < p->start ? p->start : x; at < x + length && at < p->end; at++)
                p->skipped[at - p->start] = 1;
        }
        if (consumes & 1) query += length;
        if (!(consumes & 2) || !length) continue;
        x += length;
        if (op == BAM_CREF_SKIP && !rule->scripted) continue; /* a skip takes no indel */
        int code = attach_indel(p, read, i, x - 1, query, rule);
        if (code != C3_OK) return code;
    }
    return C3_OK;
}

/* What reads are counted into. */
typedef struct {
    c3_columns *columns;
    const c3_pileup_rule *rule;
    c3_held_reads held; /* scripted rules only */
} counting;

static int take_read(void *context, const bam1_t *read)
{
    counting *c = context;
    int taken = is_used(read, c->rule);
    if (taken && c->rule->scripted) taken = c3_mpileup_takes(&c->held, read);
    if (taken <= 0) return taken;
    c->columns->reads++;
    return count_read(c->columns, read, c->rule);
}

static int count_reads(c3_columns *p, c3_source *source, const char *contig, const c3_pileup_rule *rule,
                       const volatile int32_t *cancel)
{
    counting c = {p, rule, {.last = -1}};
    int64_t from = !rule->scripted ? p->start : p->start > LEAD ? p->start - LEAD : 0;
    int code = c3_for_each_read(source, contig, from, p->end, cancel, take_read, &c);
    c3_held_free(&c.held);
    return code;
}

int c3_columns_count(c3_source *source, const char *contig, int64_t start, int64_t end, const c3_pileup_rule *rule,
                     const volatile int32_t *cancel, c3_columns *out)
{
    int64_t n = end - start;
    *out = (c3_columns){.start = start, .end = end, .n = n, .reference_end = end};
    out->counts = calloc(n * C3_CHANNELS + 1, sizeof *out->counts);
    out->other = calloc(n + 1, sizeof *out->other);
    out->skipped = calloc(n + 1, 1);
    if (rule->scripted) out->first = calloc(n * 4 + 1, sizeof *out->first);
    if (!out->counts || !out->other || !out->skipped || (rule->scripted && !out->first)) return C3_NO_MEMORY;
    int code = count_reads(out, source, contig, rule, cancel);
    return code == C3_OK ? sort_indels(out) : code;
}

void c3_columns_free(c3_columns *columns)
{
    free(columns->counts);
    free(columns->other);
    free(columns->skipped);
    free(columns->first);
    free(columns->indels);
    free(columns->indel_start);
    free(columns->pool);
}

/* ---- behind the region ------------------------------------------------------------------------------------------ */

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

static int64_t reference_length(const bam1_t *read)
{
    return bam_cigar2rlen(read->core.n_cigar, bam_get_cigar(read));
}

typedef struct {
    const c3_pileup_rule *rule;
    int64_t first; /* start of the first read, -1: none yet */
    int32_t letters;
} first_column;

static int add_first_letter(void *context, const bam1_t *read)
{
    first_column *c = context;
    if (!is_used(read, c->rule) || !reference_length(read)) return C3_OK;
    if (c->first >= 0 && read->core.pos != c->first) return C3_STOP;
    c->first = read->core.pos;
    c->letters += starts_with_other(read);
    return C3_OK;
}

int c3_letters_beyond(c3_source *source, const char *contig, int64_t end, const c3_pileup_rule *rule,
                      const volatile int32_t *cancel, int32_t *letters)
{
    first_column c = {rule, -1, 0};
    int code = c3_for_each_read(source, contig, end, HTS_POS_MAX, cancel, add_first_letter, &c);
    *letters = c.letters;
    return code;
}

/* Does [start, end) overlap one of n sorted intervals? Those before the first that may are passed for good. */
static int overlaps(int64_t start, int64_t end, const int64_t *intervals, int64_t n, int64_t *at)
{
    while (*at < n && intervals[2 * *at + 1] <= start) ++*at;
    return *at < n && intervals[2 * *at] < end;
}

typedef struct {
    const c3_pileup_rule *rule;
    int64_t end;
    const int64_t *targets;
    int64_t n, at;
    int found;
} column_search;

static int look_for_columns(void *context, const bam1_t *read)
{
    column_search *s = context;
    if (!is_used(read, s->rule) || !reference_length(read)) return C3_OK;
    int64_t first = read->core.pos < s->end ? s->end : read->core.pos, last = bam_endpos(read);
    s->found = !s->targets
               || overlaps(first - C3_TARGET_REACH, last + C3_TARGET_REACH, s->targets, s->n, &s->at);
    int none_left = s->targets && s->at == s->n; /* all targets lie before the reads to come */
    return s->found || none_left ? C3_STOP : C3_OK;
}

int c3_has_columns_beyond(c3_source *source, const char *contig, int64_t end, const c3_pileup_rule *rule,
                          const volatile int32_t *cancel, const int64_t *targets, int64_t n, int *found)
{
    column_search s = {rule, end, targets, n, 0, 0};
    int code = c3_for_each_read(source, contig, end, HTS_POS_MAX, cancel, look_for_columns, &s);
    *found = s.found;
    return code;
}
