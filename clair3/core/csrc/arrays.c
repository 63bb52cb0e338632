#include "arrays.h"

#include <stdlib.h>

int c3_grow(void *array, int64_t *capacity, int64_t wanted, size_t size)
{
    void **items = array;
    if (wanted <= *capacity) return C3_OK;
    int64_t now = *capacity ? *capacity : 1024;
    while (now < wanted) now *= 2;
    void *moved = realloc(*items, now * size);
    if (!moved) return C3_NO_MEMORY;
    *items = moved;
    *capacity = now;
    return C3_OK;
}
