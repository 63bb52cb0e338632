#include "reads/haplotypes.h"

#include <stdlib.h>
#include <string.h>

#include "arrays.h"
#include "reads/phase_alleles.h"

enum { MOST_ALIGNMENTS = 2 }; /* of one name, each with an allele; WhatsHap leaves out names with more */

/* Names in a table of open addressing: slot is 1 + the index of a name, or 0. */
struct c3_haplotypes {
    int64_t n, n_names, slots;
    int64_t *slot, *name; /* name i begins at names[name[i]] and ends with a zero */
    uint8_t *haplotype;
    char *names;
    int64_t name_capacity, haplotype_capacity, names_capacity;
};

static uint64_t hash_key(const char *name)
{
    uint64_t hash = 14695981039346656037ull; /* FNV-1a */
    for (; *name; name++) hash = (hash ^ (uint8_t)*name) * 1099511628211ull;
    return hash;
}

/* Slot of a name, or the empty one where it belongs. */
static int64_t find_slot(const c3_haplotypes *h, const char *name)
{
    uint64_t mask = (uint64_t)h->slots - 1, at = hash_key(name) & mask;
    while (h->slot[at] && strcmp(h->names + h->name[h->slot[at] - 1], name)) at = (at + 1) & mask;
    return (int64_t)at;
}

static int add(c3_haplotypes *h, const char *name, int64_t length, int haplotype)
{
    if (c3_grow(&h->name, &h->name_capacity, h->n + 1, sizeof *h->name)
        || c3_grow(&h->haplotype, &h->haplotype_capacity, h->n + 1, 1)
        || c3_grow(&h->names, &h->names_capacity, h->n_names + length + 1, 1))
        return C3_NO_MEMORY;
    memcpy(h->names + h->n_names, name, length);
    h->names[h->n_names + length] = 0;
    h->name[h->n] = h->n_names;
    h->haplotype[h->n++] = (uint8_t)haplotype;
    h->n_names += length + 1;
    return C3_OK;
}

static int make_slots(c3_haplotypes *h)
{
    for (h->slots = 16; h->slots < 2 * h->n; h->slots *= 2) continue;
    h->slot = calloc((size_t)h->slots, sizeof *h->slot);
    if (!h->slot) return C3_NO_MEMORY;
    for (int64_t i = 0; i < h->n; i++) h->slot[find_slot(h, h->names + h->name[i])] = i + 1;
    return C3_OK;
}

/* Reads of one phase set's haplotypes. */
typedef struct {
    int64_t set;
    int64_t reads[2];
} votes;

typedef struct {
    const c3_phase_alleles *alleles;
    const c3_phased_snps *snps;
    votes *votes;
    int64_t n, votes_capacity;
} voting;

static int vote(voting *v, int64_t k)
{
    int32_t snp = v->alleles->snp[k];
    int64_t set = v->snps->phase_set[snp], i = 0;
    while (i < v->n && v->votes[i].set != set) i++;
    if (i == v->n) {
        if (c3_grow(&v->votes, &v->votes_capacity, v->n + 1, sizeof *v->votes)) return C3_NO_MEMORY;
        v->votes[v->n++] = (votes){set, {0, 0}};
    }
    v->votes[i].reads[v->alleles->allele[k] != (v->snps->haplotype[snp] == 2)]++;
    return C3_OK;
}

/* The haplotype with the most alleles in the phase set with the most alleles of one haplotype, the first such set;
 * 0 when both have as many. */
static int decide(const voting *v)
{
    const votes *best = NULL;
    int64_t most = 0;
    for (int64_t i = 0; i < v->n; i++) {
        const int64_t *reads = v->votes[i].reads, more = reads[0] > reads[1] ? reads[0] : reads[1];
        if (more <= most) continue;
        most = more;
        best = v->votes + i;
    }
    return !best || best->reads[0] == best->reads[1] ? 0 : best->reads[0] > best->reads[1] ? 1 : 2;
}

/* Votes of two alignments of one name: what both show, differently, does not count, and what they agree in, once. */
static int vote_for_pair(voting *v, int64_t one, int64_t other)
{
    const c3_phase_alleles *a = v->alleles;
    int64_t i = a->first[one], j = a->first[other], code = C3_OK;
    while (code == C3_OK && (i < a->first[one + 1] || j < a->first[other + 1])) {
        int has_i = i < a->first[one + 1], has_j = j < a->first[other + 1];
        if (has_i && has_j && a->snp[i] == a->snp[j]) {
            if (a->allele[i] == a->allele[j]) code = vote(v, i);
            i++;
            j++;
        } else if (has_i && (!has_j || a->snp[i] < a->snp[j])) {
            code = vote(v, i++);
        } else {
            code = vote(v, j++);
        }
    }
    return (int)code;
}

static int vote_for_read(voting *v, int64_t read)
{
    int code = C3_OK;
    for (int64_t k = v->alleles->first[read]; code == C3_OK && k < v->alleles->first[read + 1]; k++) code = vote(v, k);
    return code;
}

/* A read and its name, to sort by. */
typedef struct {
    const char *name;
    int64_t length, read;
} named;

static int by_name(const void *one, const void *other)
{
    const named *a = one, *b = other;
    if (a->length != b->length) return a->length < b->length ? -1 : 1;
    int order = memcmp(a->name, b->name, (size_t)a->length);
    return order ? order : a->read < b->read ? -1 : 1;
}

/* Give each name its haplotype; reads holds those of the alleles, sorted by name. */
static int tag(voting *v, const named *reads, c3_haplotypes *h)
{
    int64_t n = v->alleles->reads;
    for (int64_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && reads[end].length == reads[i].length; end++)
            if (memcmp(reads[end].name, reads[i].name, (size_t)reads[i].length)) break;
        if (end - i > MOST_ALIGNMENTS) continue;
        v->n = 0;
        int code = end - i == 1 ? vote_for_read(v, reads[i].read) : vote_for_pair(v, reads[i].read, reads[i + 1].read);
        int haplotype = code == C3_OK ? decide(v) : 0;
        if (haplotype) code = add(h, reads[i].name, reads[i].length, haplotype);
        if (code != C3_OK) return code;
    }
    return C3_OK;
}

int c3_haplotypes_read(c3_source *source, const char *contig, const c3_phased_snps *snps,
                       const volatile int32_t *cancel, c3_haplotypes **out)
{
    c3_phase_alleles *alleles = NULL;
    named *reads = NULL;
    voting v = {NULL, snps, NULL, 0, 0};
    c3_haplotypes *h = calloc(1, sizeof *h);
    *out = NULL;
    int code = C3_NO_MEMORY;
    if (!h) goto out;
    code = c3_phase_alleles_read(source, contig, snps->pos, snps->alt, snps->n, 1, cancel, &alleles);
    if (code != C3_OK) goto out;
    reads = malloc((size_t)(alleles->reads + 1) * sizeof *reads);
    if (!reads) { code = C3_NO_MEMORY; goto out; }
    for (int64_t r = 0; r < alleles->reads; r++) {
        int64_t start = alleles->name_start[r];
        reads[r] = (named){alleles->names + start, alleles->name_start[r + 1] - start, r};
    }
    qsort(reads, (size_t)alleles->reads, sizeof *reads, by_name);
    v.alleles = alleles;
    if ((code = tag(&v, reads, h)) != C3_OK) goto out;
    if ((code = make_slots(h)) != C3_OK) goto out;
    *out = h;
    h = NULL; /* the caller's */

out:
    free(v.votes);
    free(reads);
    c3_phase_alleles_free(alleles);
    c3_haplotypes_free(h);
    return code;
}

void c3_haplotypes_free(c3_haplotypes *haplotypes)
{
    if (!haplotypes) return;
    free(haplotypes->slot);
    free(haplotypes->name);
    free(haplotypes->haplotype);
    free(haplotypes->names);
    free(haplotypes);
}

int c3_haplotypes_get(const c3_haplotypes *haplotypes, const char *name)
{
    int64_t entry = haplotypes->slot[find_slot(haplotypes, name)];
    return entry ? haplotypes->haplotype[entry - 1] : 0;
}

int c3_haplotypes_get_read(const c3_haplotypes *haplotypes, const bam1_t *read)
{
    if (!haplotypes || read->core.flag & (BAM_FUNMAP | BAM_FSECONDARY | BAM_FSUPPLEMENTARY)) return 0;
    return c3_haplotypes_get(haplotypes, bam_get_qname(read));
}
