#include "phase_alleles.h"

#include <stdlib.h>
#include <string.h>

#include "haplotag.h"
#include "support.h"

enum {
    MARGIN = 16,           /* reference bases beside a read that a comparison may reach */
    STRETCH = 1024 * 1024, /* bases of reference held at a time, at least */
    LEFT_OUT = BAM_FUNMAP | BAM_FSECONDARY | BAM_FSUPPLEMENTARY
};

typedef struct {
    c3_phase_alleles *out;
    int code;
} collecting;

static void collect(void *into, int64_t j, int allele)
{
    collecting *c = into;
    c3_phase_alleles *out = c->out;
    if (c->code) return;
    if (c3_grow(&out->snp, &out->snp_room, out->n + 1, sizeof *out->snp)
        || c3_grow(&out->allele, &out->allele_room, out->n + 1, 1)) {
        c->code = C3_NO_MEMORY;
        return;
    }
    out->snp[out->n] = (int32_t)j;
    out->allele[out->n++] = allele == 2;
}

/* Keep the read whose alleles were collected, if there are any. */
static int close_read(c3_phase_alleles *out, const bam1_t *read)
{
    int64_t r = out->reads, length = (int64_t)strlen(bam_get_qname(read));
    if (out->n == (r ? out->first[r] : 0)) return C3_OK;
    if (c3_grow(&out->first, &out->first_room, r + 2, sizeof *out->first)
        || c3_grow(&out->name_start, &out->name_room, r + 2, sizeof *out->name_start)
        || c3_grow(&out->pos, &out->pos_room, r + 1, sizeof *out->pos)
        || c3_grow(&out->mapq, &out->mapq_room, r + 1, 1)
        || c3_grow(&out->names, &out->names_room, out->n_names + length, 1))
        return C3_NO_MEMORY;
    if (!r) out->first[0] = out->name_start[0] = 0;
    memcpy(out->names + out->n_names, bam_get_qname(read), length);
    out->n_names += length;
    out->pos[r] = read->core.pos;
    out->mapq[r] = read->core.qual;
    out->first[r + 1] = out->n;
    out->name_start[r + 1] = out->n_names;
    out->reads++;
    return C3_OK;
}

/* Make the stretch reach over a read and its margins, in upper case; reads come in order, so it moves on. */
static int cover(c3_source *source, const char *contig, const bam1_t *read, c3_stretch *stretch, char **letters,
                 int64_t *covered)
{
    int64_t start = read->core.pos > MARGIN ? read->core.pos - MARGIN : 0, end = bam_endpos(read) + MARGIN;
    if (end <= *covered) return C3_OK;
    free(*letters);
    if (end < start + STRETCH) end = start + STRETCH;
    *covered = end; /* or to the contig's end */
    int code = c3_reference(source, contig, start, end, letters, &stretch->length);
    if (code != C3_OK) return code;
    for (int64_t k = 0; k < stretch->length; k++)
        if ((*letters)[k] >= 'a' && (*letters)[k] <= 'z') (*letters)[k] -= 'a' - 'A';
    stretch->start = start;
    stretch->letters = *letters;
    return C3_OK;
}

static int read_all(c3_source *source, const char *contig, const c3_snps *snps, int duplicates,
                    const volatile int32_t *cancel, c3_phase_alleles *out)
{
    hts_itr_t *reads = NULL;
    char *letters = NULL;
    c3_stretch stretch = {0, 0, NULL};
    const bam1_t *read = source->record;
    int64_t before = snps->pos[0] ? snps->pos[0] - 1 : 0; /* an insertion at a read's end shows the SNP behind it */
    int64_t covered = 0, last = 0;
    int left_out = duplicates ? LEFT_OUT : LEFT_OUT | BAM_FDUP;
    int code = c3_reads_of(source, contig, before, snps->pos[snps->n - 1] + 1, &reads), got = 0;
    while (code == C3_OK && (got = c3_next_read(source, reads)) > 0) {
        collecting c = {out, C3_OK};
        if (cancel && *cancel) { code = C3_CANCELLED; break; }
        if (read->core.pos < last) { code = C3_UNSORTED; break; }
        last = read->core.pos;
        if (read->core.flag & left_out || read->core.qual < C3_PHASING_MAPQ || !read->core.l_qseq) continue;
        if ((code = cover(source, contig, read, &stretch, &letters, &covered)) != C3_OK) break;
        c3_alleles_shown(read, snps, &stretch, 1, collect, &c);
        if ((code = c.code) == C3_OK) code = close_read(out, read);
    }
    free(letters);
    if (reads) hts_itr_destroy(reads);
    return code ? code : got;
}

int c3_phase_alleles_read(c3_source *source, const char *contig, const int64_t *pos, const uint8_t *alt, int64_t n,
                          int duplicates, const volatile int32_t *cancel, c3_phase_alleles **out)
{
    const c3_snps snps = {n, pos, alt};
    c3_phase_alleles *alleles = calloc(1, sizeof *alleles);
    *out = NULL;
    if (!alleles) return C3_NO_MEMORY;
    int code = n ? read_all(source, contig, &snps, duplicates, cancel, alleles) : C3_OK;
    if (code == C3_OK) *out = alleles;
    else c3_phase_alleles_free(alleles);
    return code;
}

void c3_phase_alleles_free(c3_phase_alleles *alleles)
{
    if (!alleles) return;
    free(alleles->first);
    free(alleles->name_start);
    free(alleles->pos);
    free(alleles->mapq);
    free(alleles->snp);
    free(alleles->allele);
    free(alleles->names);
    free(alleles);
}
