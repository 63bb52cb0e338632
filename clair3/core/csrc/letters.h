/* Letters of the reference and of reads. */
#ifndef C3_LETTERS_H
#define C3_LETTERS_H

#include <stdint.h>

/* Channel (0 A, 1 C, 2 G, 3 T) of a letter of either case, or C3_OTHER. */
#define C3_OTHER 4
static inline int c3_base_index(char letter)
{
    switch (letter) {
    case 'A': case 'a': return 0;
    case 'C': case 'c': return 1;
    case 'G': case 'g': return 2;
    case 'T': case 't': return 3;
    default: return C3_OTHER;
    }
}

/* Is a 4-bit code of BAM one of A, C, G, T, N? */
static inline int c3_is_acgtn(uint8_t code)
{
    return code == 1 || code == 2 || code == 4 || code == 8 || code == 15;
}

/* The letter in upper case, whatever the locale. */
static inline char c3_upper(char letter)
{
    return letter >= 'a' && letter <= 'z' ? (char)(letter - 'a' + 'A') : letter;
}

#endif
