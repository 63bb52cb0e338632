#include "simulate/bam.h"

#include <htslib/bgzf.h>
#include <htslib/hts.h>
#include <htslib/sam.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codes.h"
#include "simulate/align.h"

enum { FIXED_BYTES = 36, MOST_OPERATIONS = 65535, LOW_QUALITY = 10, LONGEST_DWELL = 200, MAX_BIN = 1 << 29 };

/* A segment that was made and aligned: all its bases in reference orientation, junk included. */
typedef struct {
    c3_sim_columns columns;
    c3_sim_alignment alignment;
    uint8_t *bases, *quality;
    int64_t n, capacity;
    int64_t left, right; /* bases clipped, junk included */
    const c3_sim_segment *segment;
} part;

/* ---- growing memory ---- */

static int reserve_part(part *p, int64_t n)
{
    if (n <= p->capacity) return C3_OK;
    free(p->bases);
    p->capacity = 0;
    p->bases = malloc((size_t)n * 2);
    if (!p->bases) return C3_NO_MEMORY;
    p->quality = p->bases + n;
    p->capacity = n;
    return C3_OK;
}

static int reserve_bytes(c3_sim_records *r, int64_t more)
{
    if (r->n_bytes + more <= r->bytes_capacity) return C3_OK;
    int64_t capacity = 2 * (r->n_bytes + more);
    uint8_t *larger = realloc(r->bytes, (size_t)capacity);
    if (!larger) return C3_NO_MEMORY;
    r->bytes = larger;
    r->bytes_capacity = capacity;
    return C3_OK;
}

static int reserve_record(c3_sim_records *r)
{
    if (r->n + 2 <= r->capacity) return C3_OK;
    int64_t capacity = 2 * r->capacity + 64;
    int64_t *first = realloc(r->first, (size_t)capacity * sizeof *first);
    if (first) r->first = first;
    int64_t *pos = realloc(r->pos, (size_t)capacity * sizeof *pos);
    if (pos) r->pos = pos;
    if (!first || !pos) return C3_NO_MEMORY;
    r->capacity = capacity;
    return C3_OK;
}

/* ---- a segment ---- */

static void add_junk(const c3_sim_profile *profile, part *p, c3_sim_random *random, int64_t at, int64_t n)
{
    c3_sim_junk(profile, p->segment->level, random, p->bases + at, p->quality + at, n);
}

static int make_part(const c3_sim_profile *profile, const c3_sim_run *run, const c3_sim_segment *s,
                     c3_sim_random *random, part *p)
{
    const c3_sim_haplotype *h = &run->haplotypes[s->haplotype];
    p->segment = s;
    c3_sim_start(random, s->seed);
    int code = c3_sim_columns_of(profile, h, s, random, &p->columns);
    if (!code)
        code = c3_sim_align(h, s, &p->columns, run->reference, run->n_reference, run->end_bonus, &p->alignment);
    if (code) return code;
    const c3_sim_alignment *a = &p->alignment;
    int64_t left = s->reverse ? s->tail : s->head, right = s->reverse ? s->head : s->tail;
    p->n = left + a->n_bases + right;
    if (reserve_part(p, p->n)) return C3_NO_MEMORY;
    add_junk(profile, p, random, 0, left);
    memcpy(p->bases + left, a->bases, (size_t)a->n_bases);
    memcpy(p->quality + left, a->quality, (size_t)a->n_bases);
    add_junk(profile, p, random, left + a->n_bases, right);
    p->left = left + a->clip_left;
    p->right = right + a->clip_right;
    return C3_OK;
}

/* ---- a record ---- */

/* What lies beside an alignment: the other part of a chimera on one side, a mate. */
typedef struct {
    const part *other;      /* of a chimera, NULL: none */
    int other_left;         /* it lies to the left, in the orientation of this alignment */
    int supplementary;
    const part *mate;       /* NULL: not paired */
    int second;
} neighbours;

static void put_u32(uint8_t **at, uint32_t value)
{
    for (int i = 0; i < 4; i++) *(*at)++ = (uint8_t)(value >> 8 * i);
}

static void put_u16(uint8_t **at, uint32_t value)
{
    for (int i = 0; i < 2; i++) *(*at)++ = (uint8_t)(value >> 8 * i);
}

static void put_int_tag(uint8_t **at, const char *name, int64_t value)
{
    memcpy(*at, name, 2);
    (*at)[2] = 'i';
    *at += 3;
    put_u32(at, (uint32_t)value);
}

static int64_t end_of(const part *p) { return p->alignment.pos + p->alignment.reference_bases; }

static uint32_t flags_of(const part *p, const neighbours *beside)
{
    uint32_t flags = p->segment->reverse ? BAM_FREVERSE : 0;
    if (beside->supplementary) flags |= BAM_FSUPPLEMENTARY;
    if (beside->mate) {
        flags |= BAM_FPAIRED | BAM_FPROPER_PAIR | (beside->second ? BAM_FREAD2 : BAM_FREAD1);
        if (beside->mate->segment->reverse) flags |= BAM_FMREVERSE;
    }
    return flags;
}

/* The clips on one side of an alignment in the order of the reference: bases that the record lacks, hard, outside of
 * those that it has, soft. Returns how many there are. */
static int clips(int64_t hard, int64_t soft, int is_left, uint32_t runs[2])
{
    const uint32_t outer = (uint32_t)hard << 4 | BAM_CHARD_CLIP, inner = (uint32_t)soft << 4 | BAM_CSOFT_CLIP;
    int n = 0;
    if (hard && is_left) runs[n++] = outer;
    if (soft) runs[n++] = inner;
    if (hard && !is_left) runs[n++] = outer;
    return n;
}

/* Base i of the other part of a chimera, in the orientation of this one. */
static uint8_t other_base(const part *p, const part *other, int64_t i, uint8_t *quality)
{
    int turned = p->segment->reverse != other->segment->reverse;
    int64_t at = turned ? other->n - 1 - i : i;
    *quality = other->quality[at];
    return turned ? 3 - other->bases[at] : other->bases[at];
}

static int64_t number_text(char *text, int64_t left, int64_t right, const c3_sim_alignment *a)
{
    int64_t n = 0;
    if (left) n += sprintf(text + n, "%lldS", (long long)left);
    for (int64_t i = 0; i < a->n; i++) n += sprintf(text + n, "%u%c", a->cigar[i] >> 4, "MID"[a->cigar[i] & 15]);
    if (right) n += sprintf(text + n, "%lldS", (long long)right);
    return n;
}

/* SA: where the other part of a chimera lies. own_left: this part lies to the left of it, in its orientation. */
static void put_other_place(uint8_t **at, const c3_sim_run *run, const part *p, const part *other, int own_left)
{
    const c3_sim_alignment *a = &other->alignment;
    char *text = (char *)*at;
    text += sprintf(text, "SAZ%s,%lld,%c,", run->contig_name, (long long)a->pos + 1, other->segment->reverse ? '-' : '+');
    text += number_text(text, other->left + (own_left ? p->n : 0), other->right + (own_left ? 0 : p->n), a);
    text += sprintf(text, ",%d,%lld;", other->segment->mapq, (long long)(a->mismatches + a->gap_bases)) + 1;
    *at = (uint8_t *)text;
}

/* The move table: for each base of the read, in the direction of sequencing, a 1 and then a 0 for each further block of
 * samples (spec/features.md C.10). Uncertain bases take longer. */
static void put_moves(uint8_t **at, const c3_sim_profile *profile, const uint8_t *quality, int64_t n, int reverse,
                      c3_sim_random *random)
{
    memcpy(*at, "mvBc", 4);
    uint8_t *count = *at + 4, *moves = *at + 8;
    int64_t blocks = 1;
    moves[0] = (uint8_t)profile->stride;
    for (int64_t i = 0; i < n; i++) {
        float mean = profile->dwell - 1;
        if (quality[reverse ? n - 1 - i : i] < LOW_QUALITY) mean *= 1.5f;
        /* the sum of two geometric numbers: as Gamma, but whole */
        float stay = mean / (mean + 2);
        moves[blocks++] = 1;
        for (int part = 0, waited = 0; part < 2; part++)
            while (waited < LONGEST_DWELL && (float)(c3_sim_next(random) >> 40) * 0x1p-24f < stay) {
                moves[blocks++] = 0;
                waited++;
            }
    }
    put_u32(&count, (uint32_t)blocks);
    *at += 8 + blocks;
}

static int64_t largest_record(const c3_sim_profile *profile, const c3_sim_run *run, const part *p, const part *other,
                              int64_t bases)
{
    int64_t bytes = FIXED_BYTES + 64 + 4 * (p->alignment.n + 4) + 2 * bases + 128 + (int64_t)strlen(run->read_group);
    if (other) bytes += (int64_t)strlen(run->contig_name) + 64 + 12 * (other->alignment.n + 2);
    if (profile->stride) bytes += 8 + bases * (LONGEST_DWELL + 2);
    return bytes;
}

static void put_bases(uint8_t **at, const part *p, const neighbours *beside, int64_t n)
{
    static const uint8_t NIBBLE[4] = {1, 2, 4, 8};
    int whole = beside->other && !beside->supplementary;
    int64_t left = whole && beside->other_left ? beside->other->n : 0;
    uint8_t *packed = *at, *qualities = packed + (n + 1) / 2;
    memset(packed, 0, (size_t)(n + 1) / 2);
    for (int64_t i = 0; i < n; i++) {
        int64_t own = i - left;
        uint8_t quality, base;
        if (own >= 0 && own < p->n) {
            base = p->bases[own];
            quality = p->quality[own];
        } else {
            base = other_base(p, beside->other, own < 0 ? i : own - p->n, &quality);
        }
        packed[i / 2] |= (uint8_t)(NIBBLE[base] << (i & 1 ? 0 : 4));
        qualities[i] = quality;
    }
    *at = qualities + n;
}

/* Clips left and right of the operations of an alignment. */
typedef struct {
    uint32_t left[2], right[2];
    int n_left, n_right;
} clipping;

/* The other part of a chimera is clipped with the part's own ends: hard where the record does not have its bases. */
static clipping clipping_of(const part *p, const neighbours *beside)
{
    clipping c;
    int64_t foreign = beside->other ? beside->other->n : 0, left = beside->other_left ? foreign : 0;
    int64_t right = foreign - left;
    int is_hard = beside->supplementary;
    c.n_left = clips(is_hard ? left : 0, p->left + (is_hard ? 0 : left), 1, c.left);
    c.n_right = clips(is_hard ? right : 0, p->right + (is_hard ? 0 : right), 0, c.right);
    return c;
}

static void put_cigar(uint8_t **at, const c3_sim_alignment *a, const clipping *c)
{
    for (int i = 0; i < c->n_left; i++) put_u32(at, c->left[i]);
    for (int64_t i = 0; i < a->n; i++) put_u32(at, a->cigar[i]);
    for (int i = 0; i < c->n_right; i++) put_u32(at, c->right[i]);
}

/* Where the mate lies, and the length of the template: from the first base of both to the last. */
static void put_place(uint8_t **at, const c3_sim_run *run, const part *p, const part *mate)
{
    int64_t span = 0;
    if (mate) {
        int64_t start = p->alignment.pos < mate->alignment.pos ? p->alignment.pos : mate->alignment.pos;
        int64_t end = end_of(p) > end_of(mate) ? end_of(p) : end_of(mate);
        span = p->segment->reverse ? start - end : end - start;
    }
    put_u32(at, (uint32_t)(mate ? run->contig : -1));
    put_u32(at, (uint32_t)(mate ? mate->alignment.pos : -1));
    put_u32(at, (uint32_t)span);
}

static void put_tags(uint8_t **at, const c3_sim_profile *profile, const c3_sim_run *run, const part *p,
                     const neighbours *beside, int64_t bases, c3_sim_random *random)
{
    const c3_sim_segment *s = p->segment;
    const uint8_t *qualities = *at - bases; /* which end the fields before */
    put_int_tag(at, "NM", p->alignment.mismatches + p->alignment.gap_bases);
    if (s->tag) {
        put_int_tag(at, "HP", s->tag);
        put_int_tag(at, "PS", s->phase_set);
    }
    *at += sprintf((char *)*at, "RGZ%s", run->read_group) + 1;
    if (beside->other) {
        int turned = s->reverse != beside->other->segment->reverse;
        put_other_place(at, run, p, beside->other, beside->other_left == turned);
    }
    if (profile->stride && !beside->supplementary) put_moves(at, profile, qualities, bases, s->reverse, random);
}

/* Enter the record that ends at `end`, and its length in front of it. */
static void close_record(c3_sim_records *out, int64_t pos, int64_t bases, const uint8_t *end)
{
    uint8_t *start = out->bytes + out->n_bytes;
    int64_t bytes = end - start;
    put_u32(&start, (uint32_t)(bytes - 4));
    out->pos[out->n] = pos;
    out->first[out->n++] = out->n_bytes;
    out->n_bytes += bytes;
    out->first[out->n] = out->n_bytes;
    out->n_bases += bases;
}

static int put_record(const c3_sim_profile *profile, const c3_sim_run *run, const part *p, const neighbours *beside,
                      c3_sim_random *random, c3_sim_records *out)
{
    const c3_sim_segment *s = p->segment;
    const c3_sim_alignment *a = &p->alignment;
    int64_t bases = p->n + (beside->other && !beside->supplementary ? beside->other->n : 0);
    if (a->n + 4 > MOST_OPERATIONS) return C3_TOO_LARGE;
    if (reserve_record(out) || reserve_bytes(out, largest_record(profile, run, p, beside->other, bases)))
        return C3_NO_MEMORY;
    const clipping clipped = clipping_of(p, beside);
    char name[64];
    int copy = (beside->supplementary ? beside->other->segment : s)->haplotype + 1; /* of the first part of a chimera */
    int name_bytes = sprintf(name, "c%d_%lld_h%d", run->contig, (long long)s->read, copy) + 1;

    uint8_t *at = out->bytes + out->n_bytes + 4;
    put_u32(&at, (uint32_t)run->contig);
    put_u32(&at, (uint32_t)a->pos);
    *at++ = (uint8_t)name_bytes;
    *at++ = (uint8_t)s->mapq;
    put_u16(&at, end_of(p) < MAX_BIN ? (uint32_t)hts_reg2bin(a->pos, end_of(p), 14, 5) : 0);
    put_u16(&at, (uint32_t)(clipped.n_left + a->n + clipped.n_right));
    put_u16(&at, flags_of(p, beside));
    put_u32(&at, (uint32_t)bases);
    put_place(&at, run, p, beside->mate);
    memcpy(at, name, (size_t)name_bytes);
    at += name_bytes;
    put_cigar(&at, a, &clipped);
    put_bases(&at, p, beside, bases);
    put_tags(&at, profile, run, p, beside, bases, random);
    close_record(out, a->pos, bases, at);
    return C3_OK;
}

/* ---- reads ---- */

/* The parts of one read, one or two. */
static int put_read(const c3_sim_profile *profile, const c3_sim_run *run, part *parts, int n, c3_sim_random *random,
                    c3_sim_records *out)
{
    for (int i = 0; i < n; i++)
        if (!parts[i].alignment.n) return C3_OK;
    /* the longer part of a chimera was sequenced first or last, as its seed says */
    int first_leads = parts[0].segment->seed & 1;
    for (int i = 0; i < n; i++) {
        const part *p = &parts[i], *other = n == 2 ? &parts[1 - i] : NULL;
        if (!p->segment->emit) continue;
        neighbours beside = {0};
        if (other && run->paired) {
            beside.mate = other;
            beside.second = i;
        } else if (other) {
            int leads = i ? !first_leads : first_leads;
            beside.other = other;
            beside.other_left = leads == p->segment->reverse;
            beside.supplementary = i;
        }
        int code = put_record(profile, run, p, &beside, random, out);
        if (code) return code;
    }
    return C3_OK;
}

int c3_sim_records_of(const c3_sim_profile *profile, const c3_sim_run *run, const c3_sim_segment *segments, int64_t n,
                      c3_sim_records **result)
{
    int code = C3_NO_MEMORY;
    part parts[2] = {0};
    c3_sim_random random;
    c3_sim_records *out = calloc(1, sizeof *out);
    *result = NULL;
    if (!out) goto out;
    for (int64_t i = 0, count; i < n; i += count) {
        count = 1 + (i + 1 < n && segments[i + 1].read == segments[i].read);
        for (int k = 0; k < count; k++)
            if ((code = make_part(profile, run, &segments[i + k], &random, &parts[k])) != C3_OK) goto out;
        if ((code = put_read(profile, run, parts, count, &random, out)) != C3_OK) goto out;
    }
    *result = out;
    out = NULL; /* the caller's */
    code = C3_OK;

out:
    for (int k = 0; k < 2; k++) {
        c3_sim_columns_free(&parts[k].columns);
        c3_sim_alignment_free(&parts[k].alignment);
        free(parts[k].bases);
    }
    c3_sim_records_free(out);
    return code;
}

void c3_sim_records_free(c3_sim_records *r)
{
    if (!r) return;
    free(r->bytes);
    free(r->first);
    free(r->pos);
    free(r);
}

/* ---- the file ---- */

struct c3_bgzf {
    BGZF *file;
};

int c3_bgzf_create(const char *path, int threads, c3_bgzf **out)
{
    c3_bgzf *f = calloc(1, sizeof *f);
    int code = C3_NO_MEMORY;
    *out = NULL;
    if (!f) goto out;
    f->file = bgzf_open(path, "w");
    code = f->file && (threads <= 1 || !bgzf_mt(f->file, threads, 64)) ? C3_OK : C3_CANNOT_OPEN;
    if (code != C3_OK) goto out;
    *out = f;
    f = NULL; /* the caller's */

out:
    if (f && f->file) bgzf_close(f->file);
    free(f);
    return code;
}

int c3_bgzf_add(c3_bgzf *f, const uint8_t *bytes, int64_t n)
{
    return bgzf_write(f->file, bytes, (size_t)n) == n ? C3_OK : C3_CANNOT_OPEN;
}

int c3_bgzf_finish(c3_bgzf *f)
{
    int failed = bgzf_close(f->file);
    free(f);
    return failed ? C3_CANNOT_OPEN : C3_OK;
}
