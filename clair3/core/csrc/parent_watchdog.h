/* A helper process must not outlive the run that started it, however that one ends. */
#ifndef C3_PARENT_WATCHDOG_H
#define C3_PARENT_WATCHDOG_H

/* cdef: begin */
/* End this process at once when the other end of the pipe `fd` closes, as it does when its holder dies; a thread of its
 * own waits for that, so the process may be anywhere, also in a library that holds the interpreter. C3_OK, or
 * C3_NO_MEMORY when there is no thread to be had. */
int c3_exit_with_parent(int fd);
/* cdef: end */

#endif
