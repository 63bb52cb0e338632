/* Return codes of the core: 0 is success, negative is failure. Nothing prints, exits or asserts on data. */
#ifndef C3_CODES_H
#define C3_CODES_H

/* cdef: begin */
#define C3_OK 0
#define C3_NO_MEMORY -1
#define C3_CANNOT_OPEN -2
#define C3_BAD_HEADER -3
#define C3_NO_INDEX -4
#define C3_TRUNCATED -5
#define C3_BAD_RECORD -6
#define C3_NO_CONTIG -7
#define C3_NO_FASTA -8
#define C3_NO_SEQUENCE -9
#define C3_CANCELLED -10
#define C3_UNSORTED -11
#define C3_TOO_LARGE -12
#define C3_TOO_LONG -13
#define C3_NO_PATH -14
/* cdef: end */

#endif
