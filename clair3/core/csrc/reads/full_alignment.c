#define _POSIX_C_SOURCE 200809L /* strdup */
#include "reads/full_alignment.h"

#include <stdlib.h>
#include <string.h>

#include <htslib/khash.h>

#include "letters.h"
#include "reads/full_reads.h"
#include "reads/long_read_rows.h"

KHASH_SET_INIT_STR(names)

enum { BEHIND = 19 };
static const int8_t haplotype_code[3] = {60, 30, 90};

/* ---- rows -> tensor ------------------------------------------------------------------------------------------- */

void c3_fill_cell(const c3_full_state *s, const c3_kept_read *read, int64_t index, int8_t *cell)
{
    cell[C3_CH_MAPQ] = read->mapq;
    cell[C3_CH_QUAL] = (int8_t)s->quality[index];
    cell[C3_CH_HAPLOTYPE] = haplotype_code[read->haplotype];
    if (s->channels > C3_ROW_CHANNELS) cell[C3_CH_DWELL] = (int8_t)s->signal[index];
}

void c3_fill_fraction(const c3_full_state *s, int where, int8_t fraction, int8_t *row)
{
    for (int column = 0; fraction > 0 && column < C3_WINDOW; column++)
        if (row[column * s->channels + where]) row[column * s->channels + C3_CH_AF] = fraction;
}

/* The rows of candidate i, by haplotype; of more than fit (short reads only) the drawn ones. */
static void fill_rows(const c3_full_state *s, int64_t i, int32_t depth, const int32_t *drawn, int8_t *out)
{
    const int64_t first = s->row_start[i], place = c3_find_place(s, s->candidates[i]);
    int64_t n = s->row_start[i + 1] - first;
    if (n > s->rule.rows) n = s->rule.rows;
    out += ((s->rule.rows - n) >> 1) * C3_WINDOW * s->channels;
    for (int haplotype = 0; haplotype < 3; haplotype++)
        for (int64_t k = 0; k < n; k++) {
            int64_t row = first + (drawn ? drawn[k] : k);
            const c3_kept_read *read = &s->reads[s->row[row]];
            if (read->haplotype != haplotype) continue;
            s->engine->fill_row(s, read, s->candidates[i], place, s->alternative[row], depth, out);
            out += C3_WINDOW * s->channels;
        }
}

void c3_full_tensors(const c3_full *full, int64_t from, int64_t to, const int32_t *drawn, int8_t *out)
{
    const c3_full_state *s = full->state;
    const int64_t size = (int64_t)s->rule.rows * C3_WINDOW * s->channels;
    memset(out, 0, (to - from) * size);
    for (int64_t i = from; i < to; i++, out += size) {
        int draws = s->row_start[i + 1] - s->row_start[i] > s->rule.rows;
        fill_rows(s, i, full->depth[i], draws ? drawn : NULL, out);
        if (draws) drawn += s->rule.rows;
    }
}

/* ---- the reads ------------------------------------------------------------------------------------------------ */

typedef struct {
    c3_full_reader reader;
    khash_t(names) *names;
    int64_t shared_names;
} file_reads;

/* Remember the name of a read, or count the read if another one had it. */
static int note_name(file_reads *f, const char *name)
{
    int absent;
    khint_t slot = kh_put(names, f->names, name, &absent);
    if (absent < 0) return C3_NO_MEMORY;
    f->shared_names += absent == 0;
    if (absent == 0) return C3_OK;
    char *own = strdup(name);
    if (own) kh_key(f->names, slot) = own;
    else kh_del(names, f->names, slot);
    return own ? C3_OK : C3_NO_MEMORY;
}

static int take_read(void *context, const bam1_t *read)
{
    file_reads *f = context;
    if (!c3_is_used(read, C3_FULL_READS, f->reader.state->rule.min_mapq)) return C3_OK;
    int code = note_name(f, bam_get_qname(read));
    return code == C3_OK ? c3_full_keep(&f->reader, read) : code;
}

static int take_from_file(c3_full *full, c3_source *source, const char *contig, const c3_phased_snps *snps,
                          const volatile int32_t *cancel)
{
    c3_full_state *s = full->state;
    file_reads f = {{.state = s, .source = source, .contig = contig, .snps = snps}, kh_init(names), 0};
    const int64_t start = s->runs[0].start, end = s->candidates[s->n_candidates - 1] + BEHIND;
    int code = C3_NO_MEMORY;
    if (!f.names) goto out;
    code = c3_for_each_read(source, contig, start, end, cancel, take_read, &f);
    if (code == C3_OK) code = c3_full_finish(&f.reader);
    full->shared_names = f.shared_names;

out:
    c3_full_reader_free(&f.reader);
    if (f.names)
        for (khint_t slot = kh_begin(f.names); slot != kh_end(f.names); slot++)
            if (kh_exist(f.names, slot)) free((char *)kh_key(f.names, slot));
    kh_destroy(names, f.names);
    return code;
}

static int take_from_memory(c3_full_state *s, c3_source *source, const char *contig, bam1_t *const *reads, int64_t n)
{
    c3_full_reader reader = {.state = s, .source = source, .contig = contig};
    int code = C3_OK;
    for (int64_t i = 0; i < n; i++)
        if ((code = c3_full_keep(&reader, reads[i])) != C3_OK) goto out;
    code = c3_full_finish(&reader);

out:
    c3_full_reader_free(&reader);
    return code;
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

/* *out is the caller's to free, whatever is returned. */
static int make_full(const int64_t *candidates, int64_t n, const c3_full_rule *rule, const c3_row_engine *engine,
                     c3_full **out)
{
    c3_full *full = *out = calloc(1, sizeof *full);
    c3_full_state *s = full ? full->state = calloc(1, sizeof *s) : NULL;
    if (!s) return C3_NO_MEMORY;
    s->engine = engine;
    s->rule = *rule;
    s->channels = rule->dwell ? C3_ROW_CHANNELS + 1 : C3_ROW_CHANNELS;
    full->n = n;
    full->pos = malloc((n + 1) * sizeof *full->pos);
    full->ref = malloc(n + 1);
    full->depth = malloc((n + 1) * sizeof *full->depth);
    full->window_reads = calloc(n + 1, sizeof *full->window_reads);
    s->row_start = calloc(n + 1, sizeof *s->row_start);
    if (!full->pos || !full->ref || !full->depth || !full->window_reads || !s->row_start) return C3_NO_MEMORY;
    if (n) memcpy(full->pos, candidates, n * sizeof *candidates);
    return n ? c3_full_watch(s, candidates, n) : C3_OK;
}

static int finish(c3_full *full)
{
    c3_full_state *s = full->state;
    for (int64_t i = 0; i < full->n; i++) full->ref[i] = (uint8_t)c3_upper(c3_letter_at(s, s->candidates[i]));
    int code = s->engine->tally(full);
    if (code != C3_OK) return code;
    full->reads = s->n_reads;
    full->haplotype = malloc(s->n_reads + 1);
    if (!full->haplotype) return C3_NO_MEMORY;
    for (int64_t i = 0; i < s->n_reads; i++) full->haplotype[i] = s->reads[i].haplotype;
    return C3_OK;
}

int c3_full_run(c3_source *source, const char *contig, const int64_t *candidates, int64_t n, const c3_full_rule *rule,
                const c3_phased_snps *snps, const volatile int32_t *cancel, c3_full **out)
{
    c3_full *full;
    int code = make_full(candidates, n, rule, &c3_long_read_rows, &full);
    *out = NULL;
    if (code != C3_OK) goto out;
    if (n && (code = take_from_file(full, source, contig, snps, cancel)) != C3_OK) goto out;
    if (n && (code = finish(full)) != C3_OK) goto out;
    *out = full;
    full = NULL; /* the caller's */

out:
    c3_full_free(full);
    return code;
}

int c3_full_run_on_reads(c3_source *source, const char *contig, bam1_t *const *reads, int64_t n_reads,
                         const int64_t *candidates, int64_t n, int64_t start, int64_t end, const c3_full_rule *rule,
                         const c3_row_engine *engine, c3_full **out)
{
    c3_full *full;
    int code = make_full(candidates, n, rule, engine, &full);
    *out = NULL;
    if (code != C3_OK) goto out;
    if (n) c3_full_leave_out(full->state, start, end);
    if (n && (code = take_from_memory(full->state, source, contig, reads, n_reads)) != C3_OK) goto out;
    if (n && (code = finish(full)) != C3_OK) goto out;
    *out = full;
    full = NULL; /* the caller's */

out:
    c3_full_free(full);
    return code;
}

void c3_full_free(c3_full *full)
{
    if (!full) return;
    c3_full_state_free(full->state);
    c3_support_free(&full->support);
    free(full->pos);
    free(full->ref);
    free(full->depth);
    free(full->window_reads);
    free(full->haplotype);
    free(full);
}
