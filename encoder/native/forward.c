// The forward pass of the BERT family in float32 on a CPU: a packed batch of texts through all layers in one call.
//
// Called from native_network.py, which is where shapes are checked and what `model` mirrors. Text positions are rows; all
// widths in memory are multiples of 16, and what lies between a width and its multiple is zero. A product is followed at
// once by what belongs to it, while its rows are in the cache. One thread takes a batch through alone; a team divides the
// columns of each product and the heads, so that every weight is read by one core only, and each member normalises
// all rows for itself, which costs less than waiting for the others once more.
#define _GNU_SOURCE
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

// Before simd.h, so that it runs on any CPU.
int supported(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return 1;
#endif
}

#include "team.h"

#include "simd.h"

typedef struct { const float *weight, *bias; } pair;

// `qkv`: for each head its columns of the query, then the key, then the value.
typedef struct { pair qkv, out, out_norm, up, down, down_norm; } layer;

enum result { STATES, FIRST, MEAN, POOLER };

typedef struct {
    long layers, heads, size, hidden, inner, embedding, activation;
    float epsilon, scale;
    pair norm, projection, pooler;  // weight 0 where there is none
    const layer *layer;
} model;

typedef struct {
    const model *model;
    const float *x;       // (tokens, embedding), not padded: the sums of the embeddings
    const int64_t *offsets;  // (texts + 1,)
    long texts, longest;
    enum result result;
    float *out;                 // (tokens, hidden) for STATES, else (texts, hidden); not padded
    float *context, *sum, *inner;  // shared by the team
    float *own;                 // of each member
    long own_size;
} batch;

enum { BLOCK = 48 };  // rows of the wide inner layer at a time: they stay in the second cache

static long padded(long width) { return (width + COLUMNS - 1) / COLUMNS * COLUMNS; }

// From row to row: an odd number of cache lines, so that the same columns of many rows do not fall into the same few sets.
static long stride(long width) { return padded(width) | COLUMNS; }

// w (columns, depth) into panels of 16 columns, each (depth, 16); columns past the last are zero. Sixteen by sixteen, as
// the rows of many matrices lie a multiple of 4 KiB apart and would push each other out of the cache.
void pack(const float *w, long columns, long depth, float *out) {
    for (long c = 0; c < columns; c += COLUMNS, out += depth * COLUMNS)
        for (long i = 0; i < depth; i += COLUMNS) {
            const long end = i + COLUMNS < depth ? i + COLUMNS : depth;
            for (long j = 0; j < COLUMNS; j++)
                for (long d = i; d < end; d++)
                    out[d * COLUMNS + j] = c + j < columns ? w[(c + j) * depth + d] : 0.0f;
        }
}

// Columns [16 from, 16 to) of activation(x w + bias + residual); panel p of the result is written to out + p * step.
static void linear(pair w, long from, long to, long rows, long depth, const float *x, long ldx, const float *residual,
                   enum activation kind, float *out, long ldo, long step, const float *next) {
    long passes = (rows + ROWS - 1) / ROWS, fetched = (COLUMNS + passes - 1) / passes;
    for (long p = from; p < to; p++) {
        const float *panel = w.weight + p * depth * COLUMNS;
        const float *ahead = p + 1 < to ? panel + depth * COLUMNS : next;
        // Passes of nearly equal height: one of three rows takes as long as one of four.
        for (long r = 0, left = passes, some; r < rows; r += some, left--) {
            some = (rows - r + left - 1) / left;
            product a = {.x = x + r * ldx, .w = panel, .bias = w.bias + p * COLUMNS, .out = out + p * step + r * ldo,
                         .residual = residual ? residual + r * ldo + p * COLUMNS : 0, .ahead = ahead,
                         .depth = depth, .ldx = ldx, .ldo = ldo, .stride = fetched};
            multiply(some, &a);
            if (kind != NONE)
                for (float *row = a.out; row < a.out + some * ldo; row += ldo) {
                    store(row, activated(kind, load(row)));
                    store(row + 8, activated(kind, load(row + 8)));
                }
            ahead += depth * fetched;
        }
    }
}

// to = x normalised over `width` columns; may be in place.
static void normalise(pair w, float epsilon, long rows, long width, const float *x, float *to) {
    const long wide = padded(width), step = stride(width);
    for (; rows--; x += step, to += step) {
        v8 sum = all(0.0f), squares = all(0.0f);
        for (long i = 0; i < wide; i += 8) sum += load(x + i);
        v8 mean = all(sum8(sum) / (float)width);
        for (long i = 0; i < wide; i += 8) store(to + i, load(x + i) - mean);
        for (long i = width; i < wide; i++) to[i] = 0.0f;
        for (long i = 0; i < wide; i += 8) squares += load(to + i) * load(to + i);
        v8 factor = all(1.0f / sqrtf(sum8(squares) / (float)width + epsilon));
        for (long i = 0; i < wide; i += 8) store(to + i, load(to + i) * factor * load(w.weight + i) + load(w.bias + i));
    }
}

// e^(scale (score - the row's largest)) in place for a row of scores, `count` of them real in a width that is padded;
// returns what makes their sum one.
static float softmax(long count, float scale, float *row) {
    const long wide = padded(count);
    for (long i = count; i < wide; i++) row[i] = -INFINITY;
    v8 most = load(row), sum = all(0.0f);
    for (long i = 8; i < wide; i += 8) most = larger(most, load(row + i));
    float largest = most[0];
    for (int i = 1; i < 8; i++) largest = most[i] > largest ? most[i] : largest;
    for (long i = 0; i < wide; i += 8) {
        v8 value = exp8(load(row + i) * scale - largest * scale);
        store(row + i, value);
        sum += value;
    }
    return 1.0f / sum8(sum);
}

// One head of one text: softmax(q k' scale) v. q and to: `asking` rows; k (count, padded size) in panels of 16 features
// that are `step` apart, v the same; space: keys (padded count, size) and six rows of scores.
static void attend(const model *m, long asking, long count, const float *q, long ldq, const float *k, const float *v,
                   long step, float *to, long ldo, float *space) {
    long wide = padded(count), size = m->size;
    float *keys = space, *scores = space + wide * size;
    for (long c = 0; c < wide; c += COLUMNS)
        for (long d = 0; d < size; d++)
            for (long j = 0; j < COLUMNS; j++)
                keys[c * size + d * COLUMNS + j] =
                    c + j < count ? k[d / COLUMNS * step + (c + j) * COLUMNS + d % COLUMNS] : 0.0f;
    for (long r = 0; r < asking; r += ROWS) {
        long some = asking - r < ROWS ? asking - r : ROWS;
        for (long c = 0; c < wide; c += COLUMNS) {
            product a = {.x = q + r * ldq, .w = keys + c * size, .out = scores + c, .depth = size, .ldx = ldq,
                         .ldo = wide, .bias = ZERO, .ahead = q};
            multiply(some, &a);
        }
        float factors[ROWS];
        for (long i = 0; i < some; i++) factors[i] = softmax(count, m->scale, scores + i * wide);
        for (long p = 0; p < padded(size) / COLUMNS; p++) {
            product a = {.x = scores, .w = v + p * step, .out = to + r * ldo + p * COLUMNS, .depth = count,
                         .ldx = wide, .ldo = ldo, .bias = ZERO, .ahead = q};
            multiply(some, &a);
            for (long i = 0; i < some; i++)
                for (float *part = a.out + i * ldo, *end = part + COLUMNS; part < end; part += 8)
                    store(part, load(part) * factors[i]);
        }
    }
}

static void pool_states(const batch *b, const float *x, int cut) {
    const long hidden = b->model->hidden, wide = stride(hidden);
    float *out = b->out;
    if (b->result == STATES || cut) {
        long rows = cut ? b->texts : b->offsets[b->texts];
        for (long r = 0; r < rows; r++) memcpy(out + r * hidden, x + r * wide, (size_t)hidden * sizeof(float));
        return;
    }
    for (long t = 0; t < b->texts; t++, out += hidden) {
        memset(out, 0, (size_t)hidden * sizeof(float));
        for (long r = b->offsets[t]; r < b->offsets[t + 1]; r++)
            for (long i = 0; i < hidden; i++) out[i] += x[r * wide + i];
        for (long i = 0; i < hidden; i++) out[i] /= (float)(b->offsets[t + 1] - b->offsets[t]);
    }
}

static long share(long of, int me, int threads) { return of * me / threads; }

static void run(void *job, int me, team *team) {
    const batch *b = job;
    const model *m = b->model;
    const long hidden = stride(m->hidden), inner = stride(m->inner), size = padded(m->size), all_heads = m->heads * size;
    const long context = stride(all_heads);
    const long tokens = b->offsets[b->texts], last = m->layers - 1;
    float *x = b->own + me * b->own_size, *first = x + tokens * hidden, *heads = first + b->texts * hidden;
    float *space = heads + 3 * tokens * size;
    const int threads = team->threads;
    const long hidden_panels = padded(m->hidden) / COLUMNS, inner_panels = padded(m->inner) / COLUMNS;
    const long from = share(hidden_panels, me, threads), to = share(hidden_panels, me + 1, threads);
    const long inner_from = share(inner_panels, me, threads), inner_to = share(inner_panels, me + 1, threads);
    const long head_from = share(m->heads, me, threads), head_to = share(m->heads, me + 1, threads);

    // The embeddings are small: each member makes them for itself.
    const long embedding = stride(m->embedding);
    float *start = m->projection.weight ? heads : x;
    for (long r = 0; r < tokens; r++) {
        memcpy(start + r * embedding, b->x + r * m->embedding, (size_t)m->embedding * sizeof(float));
        for (long i = m->embedding; i < padded(m->embedding); i++) start[r * embedding + i] = 0.0f;
    }
    normalise(m->norm, m->epsilon, tokens, m->embedding, start, start);
    if (m->projection.weight)
        linear(m->projection, 0, hidden_panels, tokens, m->embedding, start, embedding, 0, NONE, x, hidden, COLUMNS,
               m->projection.weight);

    for (long number = 0; number <= last; number++) {
        const layer *l = m->layer + number;
        // All that the last layer owes the first token is every token's key and value.
        const int cut = number == last && (b->result == FIRST || b->result == POOLER);
        const long asking = cut ? b->texts : tokens;
        float *asked = cut ? first : x;
        if (cut)
            for (long t = 0; t < b->texts; t++)
                memcpy(first + t * hidden, x + b->offsets[t] * hidden, (size_t)hidden * sizeof(float));

        const long panels = size / COLUMNS, depth = m->hidden;
        const float *out_weight = l->out.weight + from * all_heads * COLUMNS;
        const float *up_weight = l->up.weight + inner_from * depth * COLUMNS;
        const float *down_weight = l->down.weight + from * m->inner * COLUMNS;
        for (long h = head_from; h < head_to; h++) {
            const pair asks = {l->qkv.weight + 3 * h * size * depth, l->qkv.bias + 3 * h * size};
            const pair told = {asks.weight + size * depth, asks.bias + size};
            const float *next = h + 1 < head_to ? told.weight + 2 * size * depth : out_weight;
            float *query = heads, *key = heads + tokens * size, *value = key + tokens * size;
            linear(asks, 0, panels, asking, depth, asked, hidden, 0, NONE, query, size, COLUMNS, told.weight);
            linear(told, 0, 2 * panels, tokens, depth, x, hidden, 0, NONE, key, COLUMNS, tokens * COLUMNS, next);
            for (long t = 0; t < b->texts; t++) {
                const long begin = b->offsets[t], count = b->offsets[t + 1] - begin, at = cut ? t : begin;
                attend(m, cut ? 1 : count, count, query + at * size, size, key + begin * COLUMNS,
                       value + begin * COLUMNS, tokens * COLUMNS, b->context + at * context + h * size, context, space);
            }
        }
        meet(team);
        for (long r = 0; r < asking; r += BLOCK) {
            const long rows = asking - r < BLOCK ? asking - r : BLOCK;
            float *state = asked + r * hidden, *sum = b->sum + r * hidden;
            const int final = r + BLOCK >= asking;
            const float *after = final ? (number < last ? l[1].qkv.weight + 3 * head_from * size * depth
                                                        : out_weight) : out_weight;
            linear(l->out, from, to, rows, all_heads, b->context + r * context, context, state, NONE,
                   sum, hidden, COLUMNS, up_weight);
            meet(team);
            normalise(l->out_norm, m->epsilon, rows, m->hidden, sum, state);
            linear(l->up, inner_from, inner_to, rows, depth, state, hidden, 0, m->activation, b->inner, inner, COLUMNS,
                   down_weight);
            meet(team);
            linear(l->down, from, to, rows, m->inner, b->inner, inner, state, NONE, sum, hidden, COLUMNS,
                   after);
            meet(team);
            normalise(l->down_norm, m->epsilon, rows, m->hidden, sum, state);
        }
        if (cut) x = first;
    }
    if (me) return;
    const int cut = x == first;
    if (b->result == POOLER) {
        // Into memory that nobody reads any more: others may still be at the last normalisation of `sum`.
        linear(m->pooler, 0, hidden_panels, b->texts, m->hidden, x, hidden, 0, TANH, b->context, hidden, COLUMNS,
               m->pooler.weight);
        x = b->context;
    }
    pool_states(b, x, cut);
}

// Returns 0, or -1 where there is no memory. At least one text, each of at least one token.
int forward(const model *m, const float *x, const int64_t *offsets, long texts, int result, float *out, int threads) {
    const long hidden = stride(m->hidden), size = padded(m->size), tokens = offsets[texts];
    const long embedding = stride(m->embedding);
    batch b = {.model = m, .x = x, .offsets = offsets, .texts = texts, .result = (enum result)result, .out = out};
    for (long t = 0; t < texts; t++)
        if (offsets[t + 1] - offsets[t] > b.longest) b.longest = offsets[t + 1] - offsets[t];
    if (threads < 1) threads = 1;
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    const long heads = 3 * tokens * size, most = heads > tokens * embedding ? heads : tokens * embedding;
    // A line between members, so that they never write to the same one.
    b.own_size = padded((tokens + texts) * hidden + most + padded(b.longest) * (m->size + ROWS)) + COLUMNS;
    const long context = tokens * stride(m->heads * size), sum = (tokens > texts ? tokens : texts) * hidden;
    const long inner = BLOCK * stride(m->inner);
    const size_t bytes = (size_t)(context + sum + inner + threads * b.own_size) * sizeof(float);
    float *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!memory) return -1;
    b.context = memory;
    b.sum = b.context + context;
    b.inner = b.sum + sum;
    b.own = b.inner + inner;
    together(threads, run, &b);
    free(memory);
    return 0;
}

#if defined(__x86_64__) && defined(__clang__)
#pragma clang attribute pop
#elif defined(__x86_64__)
#pragma GCC pop_options
#endif
