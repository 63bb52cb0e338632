#include "block_file.h"

#include <errno.h>
#include <stdlib.h>

#include <htslib/bgzf.h>

#include "codes.h"

struct c3_bgzf {
    BGZF *file;
};

int c3_bgzf_create(const char *path, int threads, c3_bgzf **out)
{
    c3_bgzf *f = calloc(1, sizeof *f);
    int code = C3_NO_MEMORY;
    *out = NULL;
    if (!f) goto out;
    errno = 0;
    f->file = bgzf_open(path, "w");
    code = f->file && (threads <= 1 || !bgzf_mt(f->file, threads, 64)) ? C3_OK : C3_CANNOT_OPEN;
    if (code != C3_OK) goto out;
    *out = f;
    f = NULL; /* the caller's */

out:
    if (f && f->file) bgzf_close(f->file);
    free(f);
    return code;
}

int c3_bgzf_write(c3_bgzf *f, const uint8_t *bytes, int64_t n)
{
    errno = 0;
    return bgzf_write(f->file, bytes, (size_t)n) == n ? C3_OK : C3_CANNOT_OPEN;
}

int c3_bgzf_close(c3_bgzf *f)
{
    errno = 0;
    int failed = bgzf_close(f->file);
    free(f);
    return failed ? C3_CANNOT_OPEN : C3_OK;
}
