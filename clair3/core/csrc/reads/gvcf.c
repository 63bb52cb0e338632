#include "reads/gvcf.h"

#include <string.h>

#include "letters.h"

/* ---- text ------------------------------------------------------------------------------------------------------- */

static char *put_text(char *at, const char *text)
{
    size_t length = strlen(text);
    memcpy(at, text, length);
    return at + length;
}

static char *put_number(char *at, int64_t value)
{
    char digits[20];
    int n = 0;
    do digits[n++] = '0' + value % 10; while (value /= 10);
    while (n) *at++ = digits[--n];
    return at;
}

static char *put_line(const c3_gvcf_block *b, const char *contig, int64_t end, char *at)
{
    at = put_text(at, contig);
    *at++ = '\t';
    at = put_number(at, b->first + 1);
    at = put_text(at, "\t.\t");
    *at++ = b->ref;
    at = put_text(at, "\t<NON_REF>\t0\t.\tEND=");
    at = put_number(at, end);
    at = put_text(at, b->called ? "\tGT:GQ:MIN_DP:PL\t0/0:" : "\tGT:GQ:MIN_DP:PL\t./.:");
    at = put_number(at, b->gq);
    *at++ = ':';
    at = put_number(at, b->depth);
    for (int i = 0; i < 3; i++) {
        *at++ = i ? ',' : ':';
        at = put_number(at, b->likelihoods[i]);
    }
    *at++ = '\n';
    return at;
}

/* ---- sites ------------------------------------------------------------------------------------------------------ */

static int is_base(char letter)
{
    return letter == 'A' || letter == 'C' || letter == 'G' || letter == 'T';
}

/* What a site says, given its reference letter; nothing is known where that is not a base. */
static c3_gvcf_site at_letter(c3_gvcf_site site, char letter)
{
    if (!is_base(letter)) {
        site.gq = site.binned_gq = 1;
        memset(site.likelihoods, 0, sizeof site.likelihoods);
    }
    return site;
}

/* ceil(1.3 * depth); in whole numbers, because compilers that fuse multiply and add round differently. */
static int64_t depth_limit(int64_t depth)
{
    return (13 * depth + 9) / 10;
}

/* Whether a depth may stand in the block; widens its range. */
static int fits_depth(c3_gvcf_block *b, int32_t depth)
{
    if (depth < b->min_depth) {
        if (b->max_depth > depth_limit(depth)) return 0;
        b->min_depth = depth;
    } else if (depth > b->max_depth) {
        if (depth > depth_limit(b->min_depth)) return 0;
        b->max_depth = depth;
    }
    return 1;
}

static int is_alike(const c3_gvcf_block *b, const c3_gvcf_site *site)
{
    return site->binned_gq == b->binned_gq && site->reference == b->reference;
}

/* Does a site join the open block? Sites whose reference letter is no base are one block, whatever the reads say. */
static int joins_block(c3_gvcf_block *b, const c3_gvcf_site *site, char letter, int32_t depth)
{
    if (is_base(letter) == b->unknown) return 0;
    if (!b->unknown) return is_alike(b, site) && fits_depth(b, depth);
    if (depth < b->min_depth) b->min_depth = depth;
    return 1;
}

static void start_line(c3_gvcf_block *b, int64_t pos, const c3_gvcf_site *site, char letter, int32_t depth)
{
    b->first = b->last = pos;
    b->ref = is_base(letter) ? letter : 'N';
    b->depth = depth;
    b->called = site->reference && depth > 0; /* no read is no evidence for the reference */
    b->gq = b->line_per_site ? site->binned_gq : site->gq;
    memcpy(b->likelihoods, site->likelihoods, sizeof b->likelihoods);
}

static void start_block(c3_gvcf_block *b, int64_t pos, const c3_gvcf_site *site, char letter, int32_t depth,
                        int bp_resolution)
{
    b->open = 1;
    b->binned_gq = site->binned_gq;
    b->reference = site->reference;
    b->unknown = !is_base(letter);
    b->min_depth = b->max_depth = depth;
    b->line_per_site = (bp_resolution || !site->reference) && is_base(letter);
    start_line(b, pos, site, letter, depth);
    if (b->ref == 'N') b->called = 0;
}

/* ---- the interface ---------------------------------------------------------------------------------------------- */

int64_t c3_gvcf_add(c3_gvcf_block *block, const char *contig, int bp_resolution, int64_t start, int64_t n,
                    const char *letters, const int32_t *depth, const int32_t *row, const c3_gvcf_site *sites, char *out)
{
    char *at = out;
    for (int64_t i = 0; i < n; i++) {
        int64_t pos = start + i;
        char letter = c3_upper(letters[i]);
        c3_gvcf_site site = at_letter(sites[row[i]], letter);
        int joins = block->open && joins_block(block, &site, letter, depth[i]);
        if (block->open && (!joins || block->line_per_site)) at = put_line(block, contig, block->last + 1, at);
        if (!joins) {
            start_block(block, pos, &site, letter, depth[i], bp_resolution);
        } else if (block->line_per_site) {
            start_line(block, pos, &site, letter, depth[i]);
        } else {
            block->last = pos;
            block->depth = block->min_depth;
            if (site.gq < block->gq) block->gq = site.gq;
        }
    }
    return at - out;
}

int64_t c3_gvcf_close(c3_gvcf_block *block, const char *contig, int64_t end, char *out)
{
    int64_t written = block->open ? put_line(block, contig, end, out) - out : 0;
    block->open = 0;
    return written;
}
