#define _GNU_SOURCE /* dladdr */
#include "reads/alignments.h"

#include <dlfcn.h>
#include <stdlib.h>

#include <htslib/bgzf.h>
#include <htslib/hts_log.h>

int c3_source_open(const char *alignments, const char *index, const char *fasta, const char *fai, const char *gzi,
                   c3_source **out)
{
    int code = C3_OK;
    c3_source *source = calloc(1, sizeof *source);
    *out = NULL;
    if (!source) return C3_NO_MEMORY;
    hts_set_log_level(HTS_LOG_OFF); /* the codes say it; htslib's own lines would stand between ours */

    source->file = hts_open(alignments, "r");
    if (!source->file) { code = C3_CANNOT_OPEN; goto out; }
    if (hts_set_fai_filename(source->file, fasta) != 0) { code = C3_NO_FASTA; goto out; }
    source->header = sam_hdr_read(source->file);
    if (!source->header) { code = C3_BAD_HEADER; goto out; }
    if (source->file->format.format == bam) source->first_record = bgzf_tell(source->file->fp.bgzf);
    if (hts_check_EOF(source->file) == 0) { code = C3_TRUNCATED; goto out; }
    source->index = index ? sam_index_load2(source->file, alignments, index) : sam_index_load(source->file, alignments);
    if (!source->index) { code = C3_NO_INDEX; goto out; }
    source->fasta = fai_load3(fasta, fai, gzi, 0); /* 0: never write an index into the user's folder */
    if (!source->fasta) { code = C3_NO_FASTA; goto out; }
    source->record = bam_init1();
    if (!source->record) { code = C3_NO_MEMORY; goto out; }

    *out = source;
    source = NULL; /* the caller's */

out:
    c3_source_close(source);
    return code;
}

void c3_source_close(c3_source *source)
{
    if (!source) return;
    if (source->record) bam_destroy1(source->record);
    if (source->fasta) fai_destroy(source->fasta);
    if (source->index) hts_idx_destroy(source->index);
    if (source->header) sam_hdr_destroy(source->header);
    if (source->file) hts_close(source->file);
    free(source);
}

int c3_reads_open(c3_reads *reads, c3_source *source, const char *contig, int64_t start, int64_t end,
                  const volatile int32_t *cancel)
{
    const int tid = sam_hdr_name2tid(source->header, contig);
    *reads = (c3_reads){.source = source, .cancel = cancel, .last = -1};
    if (tid < 0) return C3_NO_CONTIG;
    reads->iterator = sam_itr_queryi(source->index, tid, start, end);
    return reads->iterator ? C3_OK : C3_BAD_RECORD;
}

int c3_reads_continue(c3_reads *reads, c3_take_read *take, void *context)
{
    const bam1_t *read = reads->source->record;
    int code = C3_OK, got;
    while (code == C3_OK && (got = sam_itr_next(reads->source->file, reads->iterator, reads->source->record)) != -1) {
        if (got < -1) return C3_BAD_RECORD;
        if (read->core.pos < reads->last) return C3_UNSORTED;
        reads->last = read->core.pos;
        if (reads->cancel && *reads->cancel) return C3_CANCELLED;
        code = take(context, read);
    }
    return code;
}

void c3_reads_close(c3_reads *reads)
{
    if (reads->iterator) hts_itr_destroy(reads->iterator);
    reads->iterator = NULL;
}

int c3_for_each_read(c3_source *source, const char *contig, int64_t start, int64_t end,
                     const volatile int32_t *cancel, c3_take_read *take, void *context)
{
    c3_reads reads;
    int code = c3_reads_open(&reads, source, contig, start, end, cancel);
    if (code == C3_OK) code = c3_reads_continue(&reads, take, context);
    c3_reads_close(&reads);
    return code == C3_STOP ? C3_OK : code;
}

int c3_is_used(const bam1_t *read, int reads, int min_mapq)
{
    static const int dropped[] = {
        [C3_PILEUP_READS] = BAM_FUNMAP | BAM_FSECONDARY | BAM_FQCFAIL | BAM_FDUP | BAM_FSUPPLEMENTARY,
        [C3_FULL_READS] = BAM_FUNMAP | BAM_FMUNMAP | BAM_FSECONDARY | BAM_FSUPPLEMENTARY,
        [C3_SHORT_READS] = BAM_FUNMAP | BAM_FMUNMAP | BAM_FSECONDARY | BAM_FSUPPLEMENTARY,
    };
    const bam1_core_t *core = &read->core;
    if (core->flag & dropped[reads] || core->qual < min_mapq) return 0;
    if (reads == C3_SHORT_READS && core->flag & BAM_FPAIRED && !(core->flag & BAM_FPROPER_PAIR)) return 0;
    return bam_cigar2qlen(core->n_cigar, bam_get_cigar(read)) == core->l_qseq;
}

int c3_reference(c3_source *source, const char *contig, int64_t start, int64_t end, char **out, int64_t *length)
{
    const int64_t contig_length = faidx_seq_len(source->fasta, contig);
    char *letters = NULL;
    hts_pos_t got = 0;
    int code = C3_OK;
    *out = NULL;
    *length = 0;
    if (contig_length < 0) return C3_NO_CONTIG;
    if (start < 0) start = 0;
    if (end > contig_length) end = contig_length;
    if (start >= end) { /* htslib would give the last letter, or the one at `start` */
        *out = calloc(1, 1);
        return *out ? C3_OK : C3_NO_MEMORY;
    }
    letters = faidx_fetch_seq64(source->fasta, contig, start, end - 1, &got);
    if (!letters || got != end - start) { code = C3_NO_SEQUENCE; goto out; }
    *out = letters;
    *length = got;
    letters = NULL; /* the caller's */

out:
    free(letters);
    return code;
}

const char *c3_htslib_path(void)
{
    Dl_info where;
    return dladdr((void *)(uintptr_t)&hts_open, &where) && where.dli_fname ? where.dli_fname : "";
}
