#include "reads/record_places.h"

#include <stdlib.h>
#include <string.h>

#include <htslib/bgzf.h>
#include <htslib/hts_endian.h>

/* The fields of a record of fixed size, behind its length (SAM specification 4.2). */
enum { FIXED = 32, LONGEST = 1 << 30 };

uint64_t c3_first_record(const c3_source *source)
{
    return source->first_record;
}

static int has_all(BGZF *file, void *out, int64_t size)
{
    return bgzf_read(file, out, size) == size;
}

/* Reads name and CIGAR of a record with these lengths. 0 when they cannot be those of a record. */
static int read_span(BGZF *file, uint8_t *buffer, int32_t name_length, int32_t n_cigar, int32_t n_bases, int64_t *span)
{
    int64_t bases = 0;
    *span = 0;
    if (!has_all(file, buffer, name_length + 4 * (int64_t)n_cigar)) return 0;
    if (memchr(buffer, 0, name_length) != buffer + name_length - 1) return 0;
    for (int32_t i = 0; i < n_cigar; i++) {
        const uint32_t operation = le_to_u32(buffer + name_length + 4 * (int64_t)i);
        if (bam_cigar_op(operation) > BAM_CDIFF) return 0;
        const int type = bam_cigar_type(bam_cigar_op(operation));
        if (type & 1) bases += bam_cigar_oplen(operation);
        if (type & 2) *span += bam_cigar_oplen(operation);
    }
    return !n_cigar || !n_bases || bases == n_bases;
}

static c3_record_place find_place(BGZF *file, int32_t contigs, uint64_t offset)
{
    c3_record_place place = {.contig = C3_NOT_A_RECORD, .offset = offset};
    uint8_t fixed[4 + FIXED], *buffer = NULL;
    if (offset > INT64_MAX || bgzf_seek(file, (int64_t)offset, SEEK_SET) < 0) return place;
    const ssize_t got = bgzf_read(file, fixed, 1);
    if (got < 0) return place;
    place.offset = bgzf_tell(file);
    if (!got) place.contig = C3_END_OF_FILE;
    if (!got || !has_all(file, fixed + 1, sizeof fixed - 1)) return place;

    const int64_t length = le_to_u32(fixed);
    const int32_t contig = le_to_i32(fixed + 4), pos = le_to_i32(fixed + 8), name_length = fixed[12];
    const int32_t n_cigar = le_to_u16(fixed + 16), flag = le_to_u16(fixed + 18), n_bases = le_to_i32(fixed + 20);
    const int64_t least = FIXED + name_length + 4 * (int64_t)n_cigar + ((int64_t)n_bases + 1) / 2 + n_bases;
    if (contig < -1 || contig >= contigs || pos < -1 || !name_length || n_bases < 0) return place;
    if (length > LONGEST || length < least) return place;
    buffer = malloc(name_length + 4 * (size_t)n_cigar);
    int64_t span;
    if (buffer && read_span(file, buffer, name_length, n_cigar, n_bases, &span)) {
        place.contig = contig;
        place.pos = pos;
        place.end = pos + (span && !(flag & BAM_FUNMAP) ? span : 1);
    }
    free(buffer);
    return place;
}

int c3_record_places(c3_source *source, const uint64_t *offsets, int64_t n, const volatile int32_t *cancel,
                     c3_record_place *out)
{
    for (int64_t i = 0; i < n; i++) {
        if (cancel && *cancel) return C3_CANCELLED;
        out[i] = find_place(source->file->fp.bgzf, sam_hdr_nref(source->header), offsets[i]);
    }
    return C3_OK;
}
