#include "short_reads/assembly.h"

#include <stdlib.h>
#include <string.h>

#include "arrays.h"
#include "letters.h"
#include "codes.h"

enum { SMALLEST_K = 10, LARGEST_K = 101, GOOD_QUALITY = 15, LEAST_WEIGHT = 2, MOST_PATHS = 256 };
enum { OTHER = C3_OTHER, EDGES = 5 }; /* by the letter that follows; one other than A, C, G, T only on the reference */
enum { CYCLE = 1 }; /* beside the codes of the core: try a larger k */
#define HASH_BASE 0x9E3779B97F4A7C15u

/* A vertex: a k-mer with the edges to those that follow it. */
typedef struct c3_kmer {
    const char *letters;
    uint64_t hash;
    int32_t next[EDGES];   /* -1: none */
    int32_t weight[EDGES]; /* how often the edge was seen */
    int32_t before;        /* edges that lead here */
    int32_t paths;         /* from here to the last k-mer of the reference, up to MOST_PATHS + 1 */
    int64_t walk;          /* the number of the last sequence it was met in */
    uint8_t reference;     /* a bit for each edge that is on the reference */
    uint8_t reached;       /* from the first k-mer of the reference */
} kmer;

typedef struct {
    c3_assembly *to; /* its scratch */
    int64_t k, n, walks;
    uint64_t leading; /* what the first letter of a k-mer stands for in its hash */
    const volatile int32_t *cancel; /* or NULL */
} graph;

/* ---- vertices -------------------------------------------------------------------------------------------------- */

static int64_t find_slot(uint64_t hash, int64_t slots)
{
    return (int64_t)((hash ^ hash >> 29) * HASH_BASE >> 32) & (slots - 1);
}

static void enter(graph *g, int32_t vertex)
{
    int64_t slots = g->to->table_capacity, at = find_slot(g->to->kmers[vertex].hash, slots);
    while (g->to->table[at] >= 0) at = (at + 1) & (slots - 1);
    g->to->table[at] = vertex;
}

/* Keep the table at most half full. */
static int widen_table(graph *g)
{
    c3_assembly *to = g->to;
    int64_t slots = to->table_capacity ? 2 * to->table_capacity : 4096;
    int32_t *wider = malloc(slots * sizeof *wider);
    if (!wider) return C3_NO_MEMORY;
    free(to->table);
    to->table = wider;
    to->table_capacity = slots;
    memset(wider, -1, slots * sizeof *wider);
    for (int32_t i = 0; i < g->n; i++) enter(g, i);
    return C3_OK;
}

/* The vertex of a k-mer, made when it is new; negative when there is no memory. */
static int32_t find_vertex(graph *g, const char *letters, uint64_t hash)
{
    c3_assembly *to = g->to;
    int64_t slots = to->table_capacity, at = find_slot(hash, slots);
    for (int32_t i; (i = to->table[at]) >= 0; at = (at + 1) & (slots - 1))
        if (to->kmers[i].hash == hash && memcmp(to->kmers[i].letters, letters, g->k) == 0) return i;
    if (c3_grow(&to->kmers, &to->kmer_capacity, g->n + 1, sizeof *to->kmers)) return C3_NO_MEMORY;
    to->kmers[g->n] = (kmer){.letters = letters, .hash = hash, .next = {-1, -1, -1, -1, -1}};
    to->table[at] = (int32_t)g->n++;
    if (2 * g->n > slots && widen_table(g)) return C3_NO_MEMORY;
    return (int32_t)(g->n - 1);
}

/* Count the edge that adds a letter. */
static void add_edge(graph *g, int32_t from, int32_t to, char letter, int is_reference)
{
    kmer *at = &g->to->kmers[from];
    int edge = c3_base_index(letter);
    if (at->next[edge] < 0) {
        at->next[edge] = to;
        g->to->kmers[to].before++;
    }
    at->weight[edge]++;
    if (is_reference) at->reference |= (uint8_t)(1 << edge);
}

/* Add the k-mers of a sequence and the edges between them. CYCLE when it meets one twice. */
static int add_sequence(graph *g, const char *letters, int64_t length, int is_reference)
{
    uint64_t hash = 0;
    int32_t last = -1;
    g->walks++;
    for (int64_t i = 0; i < length; i++) {
        if (i >= g->k) hash -= g->leading * (uint8_t)letters[i - g->k];
        hash = hash * HASH_BASE + (uint8_t)letters[i];
        if (i < g->k - 1) continue;
        int32_t vertex = find_vertex(g, letters + i - g->k + 1, hash);
        if (vertex < 0) return vertex;
        if (g->to->kmers[vertex].walk == g->walks) return CYCLE;
        g->to->kmers[vertex].walk = g->walks;
        if (last >= 0) add_edge(g, last, vertex, letters[i], is_reference);
        last = vertex;
    }
    return C3_OK;
}

static int is_good(const c3_sequence *read, int64_t i)
{
    return read->quality[i] >= GOOD_QUALITY && c3_base_index(read->letters[i]) != OTHER;
}

static int add_read(graph *g, const c3_sequence *read)
{
    int code = C3_OK;
    for (int64_t i = 0, start; i < read->length && code == C3_OK; i++) {
        for (start = i; i < read->length && is_good(read, i); i++) continue;
        if (i - start > g->k) code = add_sequence(g, read->letters + start, i - start, 0);
    }
    return code;
}

/* Make the graph of k-mers, from read *first on and then from the others: it is set to the one in which a cycle was
 * met, which mostly has it for the next k too. */
static int build(graph *g, int64_t k, const char *reference, int64_t length, const c3_sequence *reads,
                 int64_t n_reads, int64_t *first)
{
    g->k = k;
    g->n = g->walks = 0;
    g->leading = 1;
    for (int64_t i = 1; i < k; i++) g->leading *= HASH_BASE;
    if (!g->to->table_capacity && widen_table(g)) return C3_NO_MEMORY;
    memset(g->to->table, -1, g->to->table_capacity * sizeof *g->to->table);
    int code = add_sequence(g, reference, length, 1);
    for (int64_t r = 0, from = *first; r < n_reads && code == C3_OK; r++) {
        int64_t read = from + r < n_reads ? from + r : from + r - n_reads;
        if (g->cancel && *g->cancel) return C3_CANCELLED;
        code = add_read(g, &reads[read]);
        if (code == CYCLE) *first = read;
    }
    return code;
}

/* ---- paths ----------------------------------------------------------------------------------------------------- */

/* Put the vertices into an order in which edges lead forward; 0 when there is none, because of a cycle. */
static int sort_vertices(graph *g, int32_t *order)
{
    kmer *kmers = g->to->kmers;
    int64_t sorted = 0;
    for (int32_t i = 0; i < g->n; i++)
        if (!kmers[i].before) order[sorted++] = i;
    for (int64_t at = 0; at < sorted; at++)
        for (int e = 0; e < EDGES; e++) {
            int32_t next = kmers[order[at]].next[e];
            if (next >= 0 && --kmers[next].before == 0) order[sorted++] = next;
        }
    return sorted == g->n;
}

/* Drop weak edges, and count the paths from the first k-mer of the reference to the last. */
static int32_t count_paths(graph *g, const int32_t *order, int32_t source, int32_t sink)
{
    kmer *kmers = g->to->kmers;
    kmers[source].reached = 1;
    for (int64_t at = 0; at < g->n; at++) {
        kmer *from = &kmers[order[at]];
        for (int e = 0; e < EDGES; e++) {
            if (from->weight[e] < LEAST_WEIGHT && !(from->reference >> e & 1)) from->next[e] = -1;
            if (from->next[e] >= 0 && from->reached) kmers[from->next[e]].reached = 1;
        }
    }
    for (int64_t at = g->n - 1; at >= 0; at--) {
        kmer *from = &kmers[order[at]];
        from->paths = order[at] == sink;
        for (int e = 0; e < EDGES && order[at] != sink && from->reached; e++)
            if (from->next[e] >= 0) from->paths += kmers[from->next[e]].paths;
        if (from->paths > MOST_PATHS) from->paths = MOST_PATHS + 1;
    }
    return kmers[source].paths;
}

/* The following vertex on a path to the sink whose letter is the lowest above `above`; -1 when there is none. */
static int32_t next_on_path(const graph *g, int32_t vertex, int above, char *letter)
{
    const kmer *kmers = g->to->kmers;
    int32_t lowest = -1;
    for (int e = 0; e < EDGES; e++) {
        int32_t next = kmers[vertex].next[e];
        if (next < 0 || !kmers[next].paths) continue;
        char own = kmers[next].letters[g->k - 1];
        if (own > above && (lowest < 0 || own < *letter)) {
            lowest = next;
            *letter = own;
        }
    }
    return lowest;
}

/* Spell the paths in the order of their letters, walking up and down `path`; the first ones if they are too many. */
static int spell(graph *g, int32_t source, int32_t sink, int32_t *path)
{
    c3_assembly *to = g->to;
    int64_t depth = 0, at = 0;
    int code = c3_grow(&to->first, &to->first_capacity, C3_HAPLOTYPES + 1, sizeof *to->first);
    if (code == C3_OK) code = c3_grow(&to->letters, &to->letters_capacity, g->k + g->n, 1);
    if (code != C3_OK) return code;
    path[0] = source;
    to->first[0] = 0;
    memcpy(to->letters, to->kmers[source].letters, g->k);
    for (int above = 0; depth >= 0 && to->n < C3_HAPLOTYPES;) {
        char letter = 0, *end = to->letters + at + g->k + depth;
        int32_t next = path[depth] == sink ? -1 : next_on_path(g, path[depth], above, &letter);
        if (next >= 0) {
            *end = letter;
            path[++depth] = next;
            above = 0;
            continue;
        }
        if (path[depth] == sink) { /* the next one starts as this one does */
            int64_t length = g->k + depth;
            code = c3_grow(&to->letters, &to->letters_capacity, at + length + g->k + g->n, 1);
            if (code != C3_OK) return code;
            memcpy(to->letters + at + length, to->letters + at, length);
            at += length;
            to->first[++to->n] = at;
        }
        if (depth) above = to->letters[at + g->k + depth - 1];
        depth--;
    }
    return C3_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static int haplotypes_at(graph *g, int64_t length)
{
    c3_assembly *to = g->to;
    int32_t source = 0, sink = (int32_t)(length - g->k); /* the reference's k-mers are the first vertices */
    int code = c3_grow(&to->order, &to->order_capacity, g->n, sizeof *to->order);
    if (code != C3_OK) return code;
    if (!sort_vertices(g, to->order)) return CYCLE;
    return count_paths(g, to->order, source, sink) > MOST_PATHS ? C3_OK : spell(g, source, sink, to->order);
}

int c3_assemble(const char *reference, int64_t length, const c3_sequence *reads, int64_t n_reads,
                const volatile int32_t *cancel, c3_assembly *haplotypes)
{
    graph g = {.to = haplotypes, .cancel = cancel};
    int64_t largest = length - 1 < LARGEST_K ? length - 1 : LARGEST_K;
    int code = CYCLE;
    haplotypes->n = 0;
    for (int64_t k = SMALLEST_K, first = 0; k <= largest && code == CYCLE; k++) {
        code = build(&g, k, reference, length, reads, n_reads, &first);
        if (code == C3_OK) code = haplotypes_at(&g, length);
    }
    return code == CYCLE ? C3_OK : code;
}

void c3_assembly_free(c3_assembly *haplotypes)
{
    free(haplotypes->first);
    free(haplotypes->letters);
    free(haplotypes->kmers);
    free(haplotypes->table);
    free(haplotypes->order);
    memset(haplotypes, 0, sizeof *haplotypes);
}
