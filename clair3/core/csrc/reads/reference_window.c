#include "reads/reference_window.h"

#include <stdlib.h>

#include "letters.h"

enum { BEFORE = 10000, BEHIND = 200000 }; /* letters held beside those asked for: what is asked for next is near */

int c3_reference_window_open(c3_reference_window *s, c3_source *source, const char *contig, int64_t start, int64_t end)
{
    const int64_t length = faidx_seq_len(source->fasta, contig);
    if (length < 0) return C3_NO_CONTIG;
    *s = (c3_reference_window){.source = source, .contig = contig};
    s->start = start > 0 ? start : 0;
    s->end = end < length ? end : length;
    return C3_OK;
}

int c3_reference_window_move(c3_reference_window *s, int64_t start, int64_t end)
{
    if (start < s->start) start = s->start;
    if (end > s->end) end = s->end;
    if (start >= end || (start >= s->held.start && end <= s->held.start + s->held.length)) return C3_OK;
    start = start - BEFORE > s->start ? start - BEFORE : s->start;
    end = end + BEHIND < s->end ? end + BEHIND : s->end;
    free(s->letters);
    s->held = (c3_reference_span){.start = start};
    int code = c3_reference(s->source, s->contig, start, end, &s->letters, &s->held.length);
    if (code != C3_OK) return code;
    for (int64_t i = 0; i < s->held.length; i++) s->letters[i] = c3_upper(s->letters[i]);
    s->held.letters = s->letters;
    return C3_OK;
}

void c3_reference_window_free(c3_reference_window *s)
{
    free(s->letters);
    *s = (c3_reference_window){0};
}
