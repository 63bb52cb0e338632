/* Files in blocks of gzip (bgzip), as VCF and BAM are. */
#ifndef C3_BLOCK_FILE_H
#define C3_BLOCK_FILE_H

#include <stdint.h>

/* cdef: begin */
typedef struct c3_bgzf c3_bgzf;

/* A file in blocks of gzip, compressed by `threads` threads; the bytes do not depend on their number. C3_CANNOT_OPEN
 * also stands for what the disk refuses, when writing and when closing; errno says why, or is 0. */
int c3_bgzf_create(const char *path, int threads, c3_bgzf **out);
int c3_bgzf_write(c3_bgzf *file, const uint8_t *bytes, int64_t n);
int c3_bgzf_close(c3_bgzf *file);
/* cdef: end */

#endif
