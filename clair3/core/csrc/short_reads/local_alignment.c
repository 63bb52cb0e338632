#include "short_reads/local_alignment.h"

#include <stdlib.h>
#include <string.h>

#include <htslib/sam.h>

#include "arrays.h"
#include "letters.h"
#include "codes.h"

enum { MATCH = C3_LOCAL_MATCH, MISMATCH = C3_LOCAL_MISMATCH, OPEN = C3_LOCAL_OPEN, EXTEND = C3_LOCAL_EXTEND };
enum { QUERY_OTHER = 4, TARGET_OTHER = 5 }; /* two numbers, so that an N does not match an N */

static int16_t coded(char letter, int16_t other)
{
    int index = c3_base_index(letter);
    return index == C3_OTHER ? other : (int16_t)index;
}

/* ---- scores ---------------------------------------------------------------------------------------------------- */

/* One antidiagonal of the table: cells (i, number - i) for the n rows i from `first`. Each array starts at its row
 * `first`; arrays of cells have one more element before it. Nothing depends on a cell of the same diagonal, so the
 * compiler can take many at once. */
static void diagonal(int64_t n, int16_t number, const int16_t *restrict query, const int16_t *restrict target,
                     const int16_t *restrict h2, const int16_t *restrict h1, int16_t *restrict h,
                     const int16_t *restrict insertion1, int16_t *restrict insertion, int16_t *restrict deletion,
                     int16_t *restrict best, int16_t *restrict reached)
{
    for (int64_t i = 0; i < n; i++) {
        int16_t aligned = (int16_t)(h2[i - 1] + (query[i] == target[i] ? MATCH : -MISMATCH));
        int16_t opened = (int16_t)(h1[i] - OPEN), extended = (int16_t)(deletion[i] - EXTEND);
        int16_t deleted = opened > extended ? opened : extended;
        opened = (int16_t)(h1[i - 1] - OPEN);
        extended = (int16_t)(insertion1[i - 1] - EXTEND);
        int16_t inserted = opened > extended ? opened : extended;
        int16_t gap = deleted > inserted ? deleted : inserted;
        int16_t score = aligned > gap ? aligned : gap;
        score = score > 0 ? score : 0;
        deletion[i] = deleted;
        insertion[i] = inserted;
        h[i] = score;
        reached[i] = score > best[i] ? number : reached[i];
        best[i] = score > best[i] ? score : best[i];
    }
}

/* Where an alignment ends: its last row (query) and column (target), and its score. */
typedef struct {
    int32_t score;
    int64_t row, column;
} cell;

/* The first column that reaches the highest score, and the first row there. The target comes reversed. Room: for 8 (n
 * + 1) numbers. */
static cell highest(const int16_t *query, int64_t n, const int16_t *reversed, int64_t m, int16_t *workspace)
{
    int16_t *part[8];
    cell top = {0, 0, 0};
    memset(workspace, 0, 8 * (n + 1) * sizeof *workspace);
    for (int k = 0; k < 8; k++) part[k] = workspace + k * (n + 1) + 1;
    int16_t *h2 = part[0], *h1 = part[1], *h = part[2], *insertion1 = part[3], *insertion = part[4];
    int16_t *deletion = part[5], *best = part[6], *reached = part[7];
    for (int64_t d = 0; d < n + m - 1; d++) {
        int64_t first = d < m ? 0 : d - m + 1, last = d < n ? d : n - 1, behind = m - 1 - d + first;
        diagonal(last - first + 1, (int16_t)d, query + first, reversed + behind, h2 + first, h1 + first, h + first,
                 insertion1 + first, insertion + first, deletion + first, best + first, reached + first);
        int16_t *turn = h2;
        h2 = h1;
        h1 = h;
        h = turn;
        turn = insertion1;
        insertion1 = insertion;
        insertion = turn;
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t column = reached[i] - i;
        int is_first = best[i] == top.score && best[i] > 0 && column < top.column;
        if (best[i] > top.score || is_first) top = (cell){best[i], i, column};
    }
    return top;
}

/* Code both sequences: the query, its reverse, the target and its reverse, then the workspace of `highest`. */
static int prepare(const char *query, int64_t n, const char *target, int64_t m, c3_local *local)
{
    if (n > C3_LOCAL_LONGEST || m > C3_LOCAL_LONGEST) return C3_TOO_LONG;
    int code = c3_grow(&local->codes, &local->codes_capacity, 2 * (n + m) + 8 * (n + 1), sizeof *local->codes);
    if (code != C3_OK) return code;
    int16_t *forward = local->codes, *backward = forward + n, *ahead = backward + n, *reversed = ahead + m;
    for (int64_t i = 0; i < n; i++) forward[i] = backward[n - 1 - i] = coded(query[i], QUERY_OTHER);
    for (int64_t j = 0; j < m; j++) ahead[j] = reversed[m - 1 - j] = coded(target[j], TARGET_OTHER);
    return C3_OK;
}

/* ---- path ------------------------------------------------------------------------------------------------------ */

enum { ALIGNED, INSERTED, DELETED, STEP = 3, OPENS_INSERTION = 4, OPENS_DELETION = 8 };

/* Fill the band around the diagonal with the way into each cell; the highest score met. Cells outside count as 0:
 * those on the right are not written before the band reaches them. Room: for 3 (m + 2) numbers. */
static int32_t fill_band(const int16_t *query, int64_t n, const int16_t *target, int64_t m, int64_t half,
                         uint8_t *steps, int32_t *rows)
{
    const int64_t width = 2 * half + 1;
    int32_t *h1 = rows + 1, *h = h1 + m + 2, *insertion = h + m + 2, highest_score = 0;
    memset(rows, 0, 3 * (m + 2) * sizeof *rows);
    for (int64_t i = 0; i < n; i++) {
        int64_t from = i > half ? i - half : 0, to = i + half < m ? i + half + 1 : m;
        int32_t deletion = 0, left = 0;
        for (int64_t j = from; j < to; j++) {
            uint8_t step = 0;
            int32_t opened = h1[j] - OPEN, extended = insertion[j] - EXTEND;
            if (opened > extended) step |= OPENS_INSERTION;
            insertion[j] = opened > extended ? opened : extended;
            opened = left - OPEN;
            extended = deletion - EXTEND;
            if (opened > extended) step |= OPENS_DELETION;
            deletion = opened > extended ? opened : extended;
            int32_t in = insertion[j] > 0 ? insertion[j] : 0, del = deletion > 0 ? deletion : 0;
            int32_t gap = in > del ? in : del, along = h1[j - 1] + (query[i] == target[j] ? MATCH : -MISMATCH);
            left = along >= gap ? along : gap;
            if (along < gap) step |= in > del ? INSERTED : DELETED;
            h[j] = left;
            steps[i * width + j - i + half] = step;
            if (left > highest_score) highest_score = left;
        }
        int32_t *turn = h1;
        h1 = h;
        h = turn;
    }
    return highest_score;
}

static int equal_or_not(int16_t query, int16_t target)
{
    return query == target || (query == QUERY_OTHER && target == TARGET_OTHER) ? BAM_CEQUAL : BAM_CDIFF;
}

/* Follow the steps from the last cell back to the first row, and append the path to the CIGAR, last operation first. */
static int trace(const int16_t *query, int64_t n, const int16_t *target, int64_t m, int64_t half,
                 const uint8_t *steps, c3_cigar *path)
{
    const int64_t width = 2 * half + 1;
    int64_t i = n - 1, j = m - 1;
    int state = ALIGNED, code = C3_OK;
    while (i > 0 && code == C3_OK) {
        int64_t across = j - i + half;
        if (j < 0 || across < 0 || across >= width) return C3_NO_PATH;
        uint8_t step = steps[i * width + across];
        if (state == ALIGNED) state = step & STEP;
        if (state == ALIGNED) {
            code = c3_cigar_add(path, equal_or_not(query[i], target[j]), 1);
            i--;
            j--;
        } else if (state == INSERTED) {
            code = c3_cigar_add(path, BAM_CINS, 1);
            if (step & OPENS_INSERTION) state = ALIGNED;
            i--;
        } else {
            code = c3_cigar_add(path, BAM_CDEL, 1);
            if (step & OPENS_DELETION) state = ALIGNED;
            j--;
        }
    }
    if (j < 0) return C3_NO_PATH;
    return code == C3_OK ? c3_cigar_add(path, equal_or_not(query[0], target[j]), 1) : code;
}

/* The path between the ends, whose band is widened until it holds the score; then the clipped ends. */
static int find_path(c3_local *local, const int16_t *query, int64_t n, const int16_t *target)
{
    int64_t rows = local->query_end - local->query_start, columns = local->end - local->start;
    int64_t half = (rows > columns ? rows - columns : columns - rows) + 1;
    int code = c3_grow(&local->rows, &local->rows_capacity, 3 * (columns + 2), sizeof *local->rows);
    query += local->query_start;
    target += local->start;
    for (int32_t met = -1; code == C3_OK && met < local->score; half *= 2) {
        code = c3_grow(&local->steps, &local->steps_capacity, rows * (2 * half + 1), 1);
        if (code == C3_OK) met = fill_band(query, rows, target, columns, half, local->steps, local->rows);
    }
    if (code == C3_OK && local->query_end < n) code = c3_cigar_add(&local->cigar, BAM_CSOFT_CLIP, n - local->query_end);
    if (code == C3_OK) code = trace(query, rows, target, columns, half / 2, local->steps, &local->cigar);
    if (code == C3_OK && local->query_start) code = c3_cigar_add(&local->cigar, BAM_CSOFT_CLIP, local->query_start);
    c3_cigar_reverse(&local->cigar);
    return code;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

int c3_local_score(const char *query, int64_t n, const char *target, int64_t m, c3_local *local)
{
    local->score = 0;
    local->start = local->end = local->query_start = local->query_end = local->cigar.n = 0;
    int code = prepare(query, n, target, m, local);
    if (code != C3_OK) return code;
    const int16_t *forward = local->codes, *reversed = forward + 2 * n + m;
    cell end = highest(forward, n, reversed, m, local->codes + 2 * (n + m));
    local->score = end.score;
    local->end = end.score ? end.column + 1 : 0;
    local->query_end = end.score ? end.row + 1 : 0;
    return C3_OK;
}

/* Most bases of the target that an alignment of n query bases with this score spans: its gaps cost what is missing. */
static int64_t widest(int64_t n, int32_t score)
{
    int64_t missing = MATCH * n - score - OPEN + EXTEND;
    return n + (missing > 0 ? missing / EXTEND : 0);
}

int c3_local_align(const char *query, int64_t n, const char *target, int64_t m, c3_local *local)
{
    int code = c3_local_score(query, n, target, m, local);
    if (code != C3_OK || !local->score) return code;
    const int16_t *forward = local->codes, *backward = forward + n, *ahead = backward + n;
    /* The reversed query against the target before the end, which reversed again is the target as it is. */
    int64_t rows = local->query_end, columns = widest(rows, local->score);
    if (columns > local->end) columns = local->end;
    cell start = highest(backward + n - rows, rows, ahead + local->end - columns, columns,
                         local->codes + 2 * (n + m));
    local->query_start = local->query_end - 1 - start.row;
    local->start = local->end - 1 - start.column;
    return find_path(local, forward, n, ahead);
}

void c3_local_free(c3_local *local)
{
    free(local->cigar.ops);
    free(local->codes);
    free(local->steps);
    free(local->rows);
    memset(local, 0, sizeof *local);
}
