/* Arrays that grow. */
#ifndef C3_ARRAYS_H
#define C3_ARRAYS_H

#include <stddef.h>
#include <stdint.h>

#include "codes.h"

/* Make room for `wanted` elements of `size` bytes in *array (a pointer to a pointer); at least doubles. C3_OK or
 * C3_NO_MEMORY. */
int c3_grow(void *array, int64_t *capacity, int64_t wanted, size_t size);

#endif
