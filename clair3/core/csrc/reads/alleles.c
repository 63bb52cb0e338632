#include "reads/alleles.h"

#include <stdlib.h>
#include <string.h>

#include "codes.h"

#define FIRST_SLOTS 4

void c3_alleles_clear(c3_allele_table *table)
{
    table->count = 0;
    table->slot_count = 0;
}

void c3_alleles_free(c3_allele_table *table)
{
    free(table->alleles);
    free(table->slots);
    free(table->placed);
    memset(table, 0, sizeof *table);
}

static uint32_t hash_key(const char *bases, int32_t length)
{
    uint32_t hash;
    if (!bases) return (uint32_t)length;
    hash = length ? (unsigned char)bases[0] : 0;
    for (int32_t i = 1; i < length; i++) hash = hash * 31 + (unsigned char)bases[i];
    return hash;
}

static int reserve_slots(c3_allele_table *table, int32_t wanted)
{
    if (wanted > table->slot_capacity) {
        int32_t *slots = realloc(table->slots, wanted * sizeof *slots);
        if (!slots) return C3_NO_MEMORY;
        table->slots = slots;
        uint8_t *placed = realloc(table->placed, wanted);
        if (!placed) return C3_NO_MEMORY;
        table->placed = placed;
        table->slot_capacity = wanted;
    }
    for (int32_t i = table->slot_count; i < wanted; i++) table->slots[i] = -1;
    return C3_OK;
}

/* Double the table in place: keys move in ascending order of their old slot, a key that is in the way moves next. */
static int double_slots(c3_allele_table *table)
{
    int32_t old = table->slot_count, now = old ? 2 * old : FIRST_SLOTS;
    int code = reserve_slots(table, now);
    if (code != C3_OK) return code;
    memset(table->placed, 0, now);
    for (int32_t from = 0; from < old; from++) {
        int32_t key = table->slots[from];
        if (key < 0 || table->placed[from]) continue;
        table->slots[from] = -1;
        while (key >= 0) {
            uint32_t to = table->alleles[key].hash & (now - 1), step = 0;
            while (table->placed[to]) to = (to + ++step) & (now - 1);
            table->placed[to] = 1;
            int32_t displaced = table->slots[to];
            table->slots[to] = key;
            key = displaced;
        }
    }
    table->slot_count = now;
    return C3_OK;
}

static int is_same(const c3_allele *allele, uint32_t hash, const char *bases, int32_t length)
{
    return allele->hash == hash && allele->length == length && (!bases || memcmp(allele->bases, bases, length) == 0);
}

static int append(c3_allele_table *table, uint32_t hash, const char *bases, int32_t length)
{
    if (table->count == table->capacity) {
        int32_t capacity = table->capacity ? 2 * table->capacity : 16;
        c3_allele *alleles = realloc(table->alleles, capacity * sizeof *alleles);
        if (!alleles) return C3_NO_MEMORY;
        table->alleles = alleles;
        table->capacity = capacity;
    }
    table->alleles[table->count++] = (c3_allele){.hash = hash, .length = length, .bases = bases};
    return C3_OK;
}

int c3_alleles_add(c3_allele_table *table, const char *bases, int32_t length, int reverse)
{
    /* the limit is tested before the key is looked up, so a known key can double the table too */
    if (table->count >= (int32_t)(table->slot_count * 0.77 + 0.5)) {
        int code = double_slots(table);
        if (code != C3_OK) return code;
    }
    uint32_t hash = hash_key(bases, length), mask = table->slot_count - 1, at = hash & mask, step = 0;
    while (table->slots[at] >= 0 && !is_same(&table->alleles[table->slots[at]], hash, bases, length))
        at = (at + ++step) & mask;
    if (table->slots[at] < 0) {
        int code = append(table, hash, bases, length);
        if (code != C3_OK) return code;
        table->slots[at] = table->count - 1;
    }
    c3_allele *allele = &table->alleles[table->slots[at]];
    if (reverse) allele->reverse++;
    else allele->forward++;
    return C3_OK;
}

int32_t c3_alleles_count(const c3_allele_table *table, const char *bases, int32_t length)
{
    for (int32_t i = 0; i < table->count; i++) {
        const c3_allele *allele = &table->alleles[i];
        if (allele->length == length && (!bases || memcmp(allele->bases, bases, length) == 0))
            return allele->forward + allele->reverse;
    }
    return 0;
}

int c3_allele_order(const char *pool, const int32_t *lengths, int32_t n, int32_t *order, int32_t *distinct)
{
    c3_allele_table table = {0};
    int32_t *first = malloc((n + 1) * sizeof *first);
    int code = C3_NO_MEMORY;
    *distinct = 0;
    if (!first) goto out;
    for (int32_t i = 0; i < n; i++) {
        int32_t before = table.count;
        if ((code = c3_alleles_add(&table, pool, lengths[i], 0)) != C3_OK) goto out;
        if (table.count > before) first[before] = i;
        if (pool) pool += lengths[i];
    }
    for (int32_t slot = 0; slot < table.slot_count; slot++)
        if (table.slots[slot] >= 0) order[(*distinct)++] = first[table.slots[slot]];
    code = C3_OK;

out:
    free(first);
    c3_alleles_free(&table);
    return code;
}
