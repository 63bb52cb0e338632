#include "reads/shuffle.h"

enum { LAGS = 34, WARM_UP = 310 };
#define LARGEST 2147483647

uint32_t c3_random_next(c3_random *r)
{
    /* r_i = r_(i-3) + r_(i-31), kept in a ring of 34 */
    uint32_t next = r->recent[(r->at + LAGS - 3) % LAGS] + r->recent[(r->at + LAGS - 31) % LAGS];
    r->recent[r->at] = next;
    r->at = (r->at + 1) % LAGS;
    return next >> 1;
}

void c3_random_start(c3_random *r)
{
    int64_t value = 1;
    r->recent[0] = 1;
    for (int i = 1; i < 31; i++) {
        value = 16807 * value % LARGEST;
        r->recent[i] = (uint32_t)value;
    }
    for (int i = 31; i < LAGS; i++) r->recent[i] = r->recent[i - 31];
    r->at = 0;
    for (int i = 0; i < WARM_UP; i++) c3_random_next(r);
}

void c3_shuffle(c3_random *random, int32_t *items, int64_t n)
{
    for (int64_t i = 0; i < n - 1; i++) {
        int64_t j = i + c3_random_next(random) / (LARGEST / (n - i) + 1);
        int32_t moved = items[i];
        items[i] = items[j];
        items[j] = moved;
    }
}

void c3_first_shuffle(int32_t *items, int64_t n)
{
    c3_random random;
    c3_random_start(&random);
    for (int64_t i = 0; i < n; i++) items[i] = (int32_t)i;
    c3_shuffle(&random, items, n);
}
