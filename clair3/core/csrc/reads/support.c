#include "reads/support.h"

#include <stdlib.h>
#include <string.h>

#include "arrays.h"
#include "codes.h"

int c3_support_add(c3_support *s, char kind, int32_t count, const char *bases, int64_t length)
{
    int64_t k = s->n_items;
    if (c3_grow(&s->kind, &s->kind_capacity, k + 1, sizeof *s->kind)
        || c3_grow(&s->count, &s->count_capacity, k + 1, sizeof *s->count)
        || c3_grow(&s->seq_start, &s->seq_capacity, k + 2, sizeof *s->seq_start)
        || c3_grow(&s->pool, &s->pool_capacity, s->n_pool + length, 1))
        return C3_NO_MEMORY;
    if (k == 0) s->seq_start[0] = 0;
    s->kind[k] = kind;
    s->count[k] = count;
    if (length) memcpy(s->pool + s->n_pool, bases, length);
    s->n_pool += length;
    s->seq_start[k + 1] = s->n_pool;
    s->n_items++;
    return C3_OK;
}

int c3_support_close(c3_support *s)
{
    if (c3_grow(&s->item_start, &s->start_capacity, s->n + 2, sizeof *s->item_start)) return C3_NO_MEMORY;
    if (s->n == 0) s->item_start[0] = 0;
    s->item_start[++s->n] = s->n_items;
    return C3_OK;
}

int c3_support_add_bases(c3_support *s, const int32_t reads[4], int ref)
{
    int code = C3_OK;
    for (int base = 0; base < 4 && code == C3_OK; base++)
        if (base != ref && reads[base] > 0) code = c3_support_add(s, 'X', reads[base], &"ACGT"[base], 1);
    return code;
}

int c3_support_add_deletions(c3_support *s, const c3_allele *alleles, int32_t n, const char *after, int64_t reachable,
                             int32_t longest)
{
    int code = C3_OK;
    for (int32_t i = 0; i < n && code == C3_OK; i++) {
        if (alleles[i].length > longest || alleles[i].length > reachable) continue;
        code = c3_support_add(s, 'D', alleles[i].forward + alleles[i].reverse, after, alleles[i].length);
    }
    return code;
}

int c3_support_add_insertions(c3_support *s, const c3_allele_table *table, int32_t longest)
{
    int code = C3_OK;
    for (int32_t slot = 0; slot < table->slot_count && code == C3_OK; slot++) {
        if (table->slots[slot] < 0) continue;
        const c3_allele *allele = &table->alleles[table->slots[slot]];
        if (allele->length > longest) continue;
        code = c3_support_add(s, 'I', allele->forward + allele->reverse, allele->bases, allele->length);
    }
    return code;
}

void c3_support_free(c3_support *s)
{
    free(s->item_start);
    free(s->kind);
    free(s->count);
    free(s->seq_start);
    free(s->pool);
    memset(s, 0, sizeof *s);
}
