#include "short_reads/candidates.h"

#include <stdlib.h>
#include <string.h>

#include "arrays.h"
#include "letters.h"
#include "codes.h"
#include "short_reads/mpileup.h"

/* whatever the user says: v2.0.2 does not hand them on */
static const double SNP_FRACTION = 0.08, INDEL_FRACTION = 0.15;

typedef struct {
    int32_t base[4], insertions, deletions;
    int32_t blank;
} column;

/* Count a read in the columns of [start, end). */
static void count_read(const bam1_t *read, int64_t start, int64_t end, column *columns)
{
    const uint32_t *cigar = bam_get_cigar(read);
    int64_t x = read->core.pos, query = 0;
    for (uint32_t i = 0; i < read->core.n_cigar && x < end; i++) {
        int op = bam_cigar_op(cigar[i]), consumes = bam_cigar_type(op);
        int64_t length = bam_cigar_oplen(cigar[i]), last = x + length - 1;
        if (consumes & 2 && length) {
            for (int64_t p = x > start ? x : start; p <= last && p < end; p++) {
                column *at = &columns[p - start];
                if (op == BAM_CREF_SKIP) at->blank = 1;
                if (consumes != 3) continue;
                uint8_t base = bam_seqi(bam_get_seq(read), query + p - x);
                int index = c3_base_index(seq_nt16_str[base]);
                if (index != C3_OTHER) at->base[index]++;
                else if (!c3_is_acgtn(base)) at->blank = 1;
            }
            if (last >= start && last < end) {
                c3_attached attached = c3_find_attached(read, i);
                columns[last - start].deletions += attached.deleted > 0; /* the last indel of a read wins (C.13.2) */
                columns[last - start].insertions += attached.inserted > 0 && !attached.deleted;
            }
            x += length;
        }
        if (consumes & 1) query += length;
    }
}

/* The most frequent class always passes a threshold when it is not the reference: it has a fourth of the bases or
 * more. */
static int is_candidate(const column *c, char letter, int32_t min_coverage)
{
    int ref = c3_base_index(letter);
    int32_t depth = c->base[0] + c->base[1] + c->base[2] + c->base[3];
    if (c->blank || ref == C3_OTHER || depth < min_coverage || !depth) return 0;
    for (int base = 0; base < 4; base++)
        if (base != ref && (double)c->base[base] / depth >= SNP_FRACTION) return 1;
    return (double)c->insertions / depth >= INDEL_FRACTION || (double)c->deletions / depth >= INDEL_FRACTION;
}

int c3_find_realigned_candidates(bam1_t *const *reads, int64_t n, int64_t start, int64_t end, const char *letters,
                                 int64_t length, int32_t min_coverage, int64_t **out, int64_t *n_out)
{
    int64_t width = end - start > 0 ? end - start : 0, capacity = 0;
    column *columns = calloc(width + 1, sizeof *columns);
    int code = C3_NO_MEMORY;
    *out = NULL;
    *n_out = 0;
    if (!columns) goto out;
    code = C3_OK;
    for (int64_t i = 0; i < n; i++) count_read(reads[i], start, end, columns);
    for (int64_t i = 0; i < width && i < length; i++) {
        if (!is_candidate(&columns[i], letters[i], min_coverage)) continue;
        if ((code = c3_grow(out, &capacity, *n_out + 1, sizeof **out)) != C3_OK) goto out;
        (*out)[(*n_out)++] = start + i;
    }

out:
    free(columns);
    return code;
}
