#include "simulate/bam.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <htslib/sam.h>

#include "arrays.h"
#include "codes.h"
#include "simulate/align.h"

enum { FIXED_BYTES = 36, MOST_OPERATIONS = 65535, LOW_QUALITY = 10, LONGEST_DWELL = 200 };

/* A segment that was made and aligned: all its bases in reference orientation, junk included. */
typedef struct {
    c3_sim_columns columns;
    c3_sim_alignment alignment;
    uint8_t *bases, *quality;
    int64_t n, capacity;
    int64_t left, right; /* bases clipped, junk included */
    const c3_sim_segment *segment;
} part;

/* What makes the records of a batch: the run, and room for the fields of one record. */
typedef struct {
    const c3_sim_profile *profile;
    const c3_sim_run *run;
    c3_sim_random random; /* of the last segment */
    bam1_t *record;
    uint32_t *cigar;
    char *letters, *quality; /* of all its bases */
    char *text;              /* of a tag */
    uint8_t *moves;
    int64_t cigar_capacity, letters_capacity, quality_capacity, text_capacity, moves_capacity;
} maker;

/* ---- a segment ---- */

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

static void add_junk(maker *m, part *p, int64_t at, int64_t n)
{
    c3_sim_make_junk(m->profile, p->segment->level, &m->random, p->bases + at, p->quality + at, n);
}

static int make_part(maker *m, const c3_sim_segment *s, part *p)
{
    const c3_sim_run *run = m->run;
    const c3_sim_haplotype *h = &run->haplotypes[s->haplotype];
    p->segment = s;
    c3_sim_start(&m->random, s->seed);
    int code = c3_sim_make_columns(m->profile, h, s, &m->random, &p->columns);
    if (code == C3_OK)
        code = c3_sim_align(h, s, &p->columns, run->reference, run->n_reference, run->end_bonus, &p->alignment);
    if (code != C3_OK) return code;
    const c3_sim_alignment *a = &p->alignment;
    int64_t left = s->reverse ? s->tail : s->head, right = s->reverse ? s->head : s->tail;
    p->n = left + a->n_bases + right;
    if (reserve_part(p, p->n)) return C3_NO_MEMORY;
    add_junk(m, p, 0, left);
    memcpy(p->bases + left, a->bases, (size_t)a->n_bases);
    memcpy(p->quality + left, a->quality, (size_t)a->n_bases);
    add_junk(m, p, left + a->n_bases, right);
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

static int64_t find_end(const part *p) { return p->alignment.pos + p->alignment.reference_bases; }

static uint32_t make_flags(const part *p, const neighbours *beside)
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

/* Write letters and qualities of the record's bases: with those of the other part of a chimera where it has them. */
static int set_bases(maker *m, const part *p, const neighbours *beside, int64_t n)
{
    int whole = beside->other && !beside->supplementary;
    int64_t left = whole && beside->other_left ? beside->other->n : 0;
    if (c3_grow(&m->letters, &m->letters_capacity, n, 1) || c3_grow(&m->quality, &m->quality_capacity, n, 1))
        return C3_NO_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        int64_t own = i - left;
        uint8_t quality, base;
        if (own >= 0 && own < p->n) {
            base = p->bases[own];
            quality = p->quality[own];
        } else {
            base = other_base(p, beside->other, own < 0 ? i : own - p->n, &quality);
        }
        m->letters[i] = "ACGT"[base];
        m->quality[i] = (char)quality;
    }
    return C3_OK;
}

/* Write the CIGAR, *n operations. The other part of a chimera is clipped with the part's own ends: hard where the
 * record does not have its bases. */
static int set_cigar(maker *m, const part *p, const neighbours *beside, int64_t *n)
{
    const c3_sim_alignment *a = &p->alignment;
    int64_t foreign = beside->other ? beside->other->n : 0, left = beside->other_left ? foreign : 0;
    int64_t right = foreign - left;
    int is_hard = beside->supplementary;
    if (a->n + 4 > MOST_OPERATIONS) return C3_TOO_LARGE;
    if (c3_grow(&m->cigar, &m->cigar_capacity, a->n + 4, sizeof *m->cigar)) return C3_NO_MEMORY;
    *n = clips(is_hard ? left : 0, p->left + (is_hard ? 0 : left), 1, m->cigar);
    memcpy(m->cigar + *n, a->cigar, (size_t)a->n * sizeof *m->cigar);
    *n += a->n;
    *n += clips(is_hard ? right : 0, p->right + (is_hard ? 0 : right), 0, m->cigar + *n);
    return C3_OK;
}

/* The length of a template, from the first base of both mates to the last. */
static int64_t template_length(const part *p, const part *mate)
{
    if (!mate) return 0;
    int64_t start = p->alignment.pos < mate->alignment.pos ? p->alignment.pos : mate->alignment.pos;
    int64_t end = find_end(p) > find_end(mate) ? find_end(p) : find_end(mate);
    return p->segment->reverse ? start - end : end - start;
}

static int add_int_tag(bam1_t *record, const char *name, int32_t value)
{
    uint8_t bytes[4];
    for (int i = 0; i < 4; i++) bytes[i] = (uint8_t)((uint32_t)value >> 8 * i);
    return bam_aux_append(record, name, 'i', sizeof bytes, bytes) ? C3_NO_MEMORY : C3_OK;
}

static int add_text_tag(bam1_t *record, const char *name, const char *text)
{
    int failed = bam_aux_append(record, name, 'Z', (int)strlen(text) + 1, (const uint8_t *)text);
    return failed ? C3_NO_MEMORY : C3_OK;
}

/* SA: where the other part of a chimera lies. own_left: this part lies to the left of it, in its orientation. */
static int add_other_place(maker *m, const part *p, const part *other, int own_left)
{
    const c3_sim_alignment *a = &other->alignment;
    int64_t most = (int64_t)strlen(m->run->contig_name) + 128 + 12 * (a->n + 2);
    if (c3_grow(&m->text, &m->text_capacity, most, 1)) return C3_NO_MEMORY;
    char *at = m->text, strand = other->segment->reverse ? '-' : '+';
    at += sprintf(at, "%s,%lld,%c,", m->run->contig_name, (long long)a->pos + 1, strand);
    at += number_text(at, other->left + (own_left ? p->n : 0), other->right + (own_left ? 0 : p->n), a);
    sprintf(at, ",%d,%lld;", other->segment->mapq, (long long)(a->mismatches + a->gap_bases));
    return add_text_tag(m->record, "SA", m->text);
}

/* The move table: the stride, then for each base of the read, in the direction of sequencing, a 1 and then a 0 for each
 * further block of samples (spec/features.md C.10). Uncertain bases take longer. */
static int add_moves(maker *m, int64_t n, int reverse)
{
    const c3_sim_profile *profile = m->profile;
    int64_t blocks = 1;
    if (c3_grow(&m->moves, &m->moves_capacity, 1 + n * (LONGEST_DWELL + 1), 1)) return C3_NO_MEMORY;
    m->moves[0] = (uint8_t)profile->stride;
    for (int64_t i = 0; i < n; i++) {
        float mean = profile->dwell - 1;
        if (m->quality[reverse ? n - 1 - i : i] < LOW_QUALITY) mean *= 1.5f;
        /* the sum of two geometric numbers: as Gamma, but whole */
        float stay = mean / (mean + 2);
        m->moves[blocks++] = 1;
        for (int part = 0, waited = 0; part < 2; part++)
            while (waited < LONGEST_DWELL && (float)(c3_sim_next(&m->random) >> 40) * 0x1p-24f < stay) {
                m->moves[blocks++] = 0;
                waited++;
            }
    }
    return bam_aux_update_array(m->record, "mv", 'c', (uint32_t)blocks, m->moves) ? C3_NO_MEMORY : C3_OK;
}

static int add_tags(maker *m, const part *p, const neighbours *beside, int64_t bases)
{
    const c3_sim_segment *s = p->segment;
    int code = add_int_tag(m->record, "NM", (int32_t)(p->alignment.mismatches + p->alignment.gap_bases));
    if (code == C3_OK && s->tag) code = add_int_tag(m->record, "HP", s->tag);
    if (code == C3_OK && s->tag) code = add_int_tag(m->record, "PS", s->phase_set);
    if (code == C3_OK) code = add_text_tag(m->record, "RG", m->run->read_group);
    if (code == C3_OK && beside->other) {
        int turned = s->reverse != beside->other->segment->reverse;
        code = add_other_place(m, p, beside->other, beside->other_left == turned);
    }
    if (code == C3_OK && m->profile->stride && !beside->supplementary) code = add_moves(m, bases, s->reverse);
    return code;
}

static int make_record(maker *m, const part *p, const neighbours *beside, int64_t bases)
{
    const c3_sim_segment *s = p->segment;
    const part *mate = beside->mate;
    char name[64];
    int copy = (beside->supplementary ? beside->other->segment : s)->haplotype + 1; /* of the first part of a chimera */
    int name_length = sprintf(name, "c%d_%lld_h%d", m->run->contig, (long long)s->read, copy);
    int64_t operations;
    int code = set_cigar(m, p, beside, &operations);
    if (code != C3_OK || (code = set_bases(m, p, beside, bases)) != C3_OK) return code;
    int bytes = bam_set1(m->record, (size_t)name_length, name, (uint16_t)make_flags(p, beside), m->run->contig,
                         p->alignment.pos, (uint8_t)s->mapq, (size_t)operations, m->cigar, mate ? m->run->contig : -1,
                         mate ? mate->alignment.pos : -1, template_length(p, mate), (size_t)bases, m->letters,
                         m->quality, 0);
    return bytes < 0 ? C3_NO_MEMORY : add_tags(m, p, beside, bases);
}

static void put_number(uint8_t **at, int64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) *(*at)++ = (uint8_t)((uint64_t)value >> 8 * i);
}

/* Put the record behind the others with the bytes that it has in a BAM file: htslib's structure, but for the zeros that
 * it keeps behind the name. (bam_write1 writes them too, but only into a file.) */
static int add_record(const bam1_t *record, c3_sim_records *out)
{
    const bam1_core_t *core = &record->core;
    const int64_t name = core->l_qname - core->l_extranul, rest = record->l_data - core->l_qname;
    const int64_t bytes = FIXED_BYTES + name + rest;
    if (c3_grow(&out->bytes, &out->bytes_capacity, out->n_bytes + bytes, 1)
        || c3_grow(&out->first, &out->first_capacity, out->n + 2, sizeof *out->first)
        || c3_grow(&out->pos, &out->pos_capacity, out->n + 1, sizeof *out->pos))
        return C3_NO_MEMORY;
    uint8_t *at = out->bytes + out->n_bytes;
    put_number(&at, bytes - 4, 4);
    put_number(&at, core->tid, 4);
    put_number(&at, core->pos, 4);
    put_number(&at, name, 1);
    put_number(&at, core->qual, 1);
    put_number(&at, core->bin, 2);
    put_number(&at, core->n_cigar, 2);
    put_number(&at, core->flag, 2);
    put_number(&at, core->l_qseq, 4);
    put_number(&at, core->mtid, 4);
    put_number(&at, core->mpos, 4);
    put_number(&at, core->isize, 4);
    memcpy(at, record->data, (size_t)name);
    memcpy(at + name, record->data + core->l_qname, (size_t)rest);
    out->pos[out->n] = core->pos;
    out->first[out->n++] = out->n_bytes;
    out->n_bytes += bytes;
    out->first[out->n] = out->n_bytes;
    out->n_bases += core->l_qseq;
    return C3_OK;
}

/* ---- reads ---- */

/* The parts of one read, one or two. */
static int add_read(maker *m, const part *parts, int n, c3_sim_records *out)
{
    for (int i = 0; i < n; i++)
        if (!parts[i].alignment.n) return C3_OK;
    /* the longer part of a chimera was sequenced first or last, as its seed says */
    int first_leads = parts[0].segment->seed & 1;
    for (int i = 0; i < n; i++) {
        const part *p = &parts[i], *other = n == 2 ? &parts[1 - i] : NULL;
        if (!p->segment->emit) continue;
        neighbours beside = {0};
        if (other && m->run->paired) {
            beside.mate = other;
            beside.second = i;
        } else if (other) {
            int leads = i ? !first_leads : first_leads;
            beside.other = other;
            beside.other_left = leads == p->segment->reverse;
            beside.supplementary = i;
        }
        int64_t bases = p->n + (beside.other && !beside.supplementary ? beside.other->n : 0);
        int code = make_record(m, p, &beside, bases);
        if (code != C3_OK || (code = add_record(m->record, out)) != C3_OK) return code;
    }
    return C3_OK;
}

int c3_sim_make_records(const c3_sim_profile *profile, const c3_sim_run *run, const c3_sim_segment *segments,
                        int64_t n, c3_sim_records **result)
{
    part parts[2] = {0};
    maker m = {.profile = profile, .run = run, .record = bam_init1()};
    c3_sim_records *out = calloc(1, sizeof *out);
    int code = C3_NO_MEMORY;
    *result = NULL;
    if (!out || !m.record) goto out;
    for (int64_t i = 0, count; i < n; i += count) {
        count = 1 + (i + 1 < n && segments[i + 1].read == segments[i].read);
        for (int k = 0; k < count; k++)
            if ((code = make_part(&m, &segments[i + k], &parts[k])) != C3_OK) goto out;
        if ((code = add_read(&m, parts, (int)count, out)) != C3_OK) goto out;
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
    if (m.record) bam_destroy1(m.record);
    free(m.cigar);
    free(m.letters);
    free(m.quality);
    free(m.text);
    free(m.moves);
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
