#include "reads/phase_alleles.h"

#include <stdlib.h>
#include <string.h>

#include "arrays.h"
#include "reads/haplotag.h"

enum {
    MARGIN = 16,           /* reference bases beside a read that a comparison may reach */
    LEFT_OUT = BAM_FUNMAP | BAM_FSECONDARY | BAM_FSUPPLEMENTARY
};

typedef struct {
    c3_phase_alleles *out;
    const c3_snps *snps;
    int left_out; /* flags of reads that do not count */
    c3_reference_window reference;
} collecting;

static int take_allele(void *context, int64_t j, int allele)
{
    c3_phase_alleles *out = ((collecting *)context)->out;
    if (c3_grow(&out->snp, &out->snp_capacity, out->n + 1, sizeof *out->snp)
        || c3_grow(&out->allele, &out->allele_capacity, out->n + 1, 1))
        return C3_NO_MEMORY;
    out->snp[out->n] = (int32_t)j;
    out->allele[out->n++] = allele == 2;
    return C3_OK;
}

/* Keep the read whose alleles were collected, if there are any. */
static int close_read(c3_phase_alleles *out, const bam1_t *read)
{
    int64_t r = out->reads, length = (int64_t)strlen(bam_get_qname(read));
    if (out->n == (r ? out->first[r] : 0)) return C3_OK;
    if (c3_grow(&out->first, &out->first_capacity, r + 2, sizeof *out->first)
        || c3_grow(&out->name_start, &out->name_capacity, r + 2, sizeof *out->name_start)
        || c3_grow(&out->pos, &out->pos_capacity, r + 1, sizeof *out->pos)
        || c3_grow(&out->mapq, &out->mapq_capacity, r + 1, 1)
        || c3_grow(&out->names, &out->names_capacity, out->n_names + length, 1))
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

static int take_read(void *context, const bam1_t *read)
{
    collecting *c = context;
    if (read->core.flag & c->left_out || read->core.qual < C3_PHASING_MAPQ || !read->core.l_qseq) return C3_OK;
    int code = c3_reference_window_move(&c->reference, read->core.pos - MARGIN, bam_endpos(read) + MARGIN);
    if (code == C3_OK) code = c3_for_each_allele(read, c->snps, &c->reference.held, 1, take_allele, c);
    return code == C3_OK ? close_read(c->out, read) : code;
}

static int read_all(c3_source *source, const char *contig, const c3_snps *snps, int duplicates,
                    const volatile int32_t *cancel, c3_phase_alleles *out)
{
    collecting c = {.out = out, .snps = snps, .left_out = duplicates ? LEFT_OUT : LEFT_OUT | BAM_FDUP};
    int64_t before = snps->pos[0] ? snps->pos[0] - 1 : 0; /* an insertion at a read's end shows the SNP behind it */
    int code = c3_reference_window_open(&c.reference, source, contig, 0, HTS_POS_MAX);
    if (code != C3_OK) goto out;
    code = c3_for_each_read(source, contig, before, snps->pos[snps->n - 1] + 1, cancel, take_read, &c);

out:
    c3_reference_window_free(&c.reference);
    return code;
}

int c3_phase_alleles_read(c3_source *source, const char *contig, const int64_t *pos, const uint8_t *alt, int64_t n,
                          int duplicates, const volatile int32_t *cancel, c3_phase_alleles **out)
{
    const c3_snps snps = {n, pos, alt};
    c3_phase_alleles *alleles = calloc(1, sizeof *alleles);
    *out = NULL;
    int code = C3_NO_MEMORY;
    if (!alleles) goto out;
    code = n ? read_all(source, contig, &snps, duplicates, cancel, alleles) : C3_OK;
    if (code != C3_OK) goto out;
    *out = alleles;
    alleles = NULL; /* the caller's */

out:
    c3_phase_alleles_free(alleles);
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
