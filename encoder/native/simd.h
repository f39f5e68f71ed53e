// Eight floats at a time, and the register tile that all products here are made of.
//
// GCC's vector extensions (clang has them too) instead of intrinsics: AVX2 on x86-64, pairs of NEON registers on aarch64.
#ifndef YUSA_SIMD_H
#define YUSA_SIMD_H

#include <math.h>
#include <stdint.h>

// No -march: the compiler may be asked for several machines at once (macOS), and the check of the CPU must run on any.
#if defined(__x86_64__) && defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#elif defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

// What is summed stays in registers only if loops over rows are gone before arrays are looked at.
#define EACH_ROW _Pragma("GCC unroll 6") for (int r = 0; r < rows; r++)
#define INLINE static inline __attribute__((always_inline))

typedef float v8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t i8 __attribute__((vector_size(32), aligned(4), may_alias));

// 6 x 16 sums are 12 of AVX2's 16 registers; two hold weights and one an input, and 12 independent sums are what two
// units with a latency of four need.
enum { ROWS = 6, COLUMNS = 16 };

enum activation { NONE, GELU, GELU_TANH, RELU, SILU, TANH };

INLINE v8 all(float x) { return (v8){x, x, x, x, x, x, x, x}; }
INLINE v8 load(const float *x) { return *(const v8 *)x; }
INLINE void store(float *to, v8 x) { *(v8 *)to = x; }
#if defined(__x86_64__)
INLINE v8 larger(v8 a, v8 b) { return __builtin_ia32_maxps256(a, b); }
INLINE v8 smaller(v8 a, v8 b) { return __builtin_ia32_minps256(a, b); }
#else
INLINE v8 chosen(i8 mask, v8 a, v8 b) { return (v8)(((i8)a & mask) | ((i8)b & ~mask)); }
INLINE v8 larger(v8 a, v8 b) { return chosen(a > b, a, b); }
INLINE v8 smaller(v8 a, v8 b) { return chosen(a < b, a, b); }
#endif
INLINE float sum8(v8 x) { return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7])); }

// e^x by 2^n e^r, |r| <= ln 2 / 2, with the polynomial of Cephes (expf); x is clamped to where the result is normal.
INLINE v8 exp8(v8 x) {
    x = smaller(larger(x, all(-87.0f)), all(88.0f));
    v8 n = x * 1.44269504088896341f + 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
    i8 bits = (i8)n;
    n -= 12582912.0f;
    v8 r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    v8 p = all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + (r + 1.0f);
    return (v8)((i8)p + (bits << 23));
}

INLINE v8 tanh8(v8 x) { return 1.0f - 2.0f / (exp8(2.0f * x) + 1.0f); }

// erf as array_network.py has it.
INLINE v8 gelu8(v8 x) {
    const float edge = 3.832506856900711f;
    v8 z = smaller(larger(x * 0.70710678118654752f, all(-edge)), all(edge)), s = z * z;
    v8 p = all(-2.72614225801306e-10f);
    p = p * s + 2.77068142495902e-08f;
    p = p * s + -2.10102402082508e-06f;
    p = p * s + -5.69250639462346e-05f;
    p = p * s + -7.34990630326855e-04f;
    p = p * s + -2.95459980854025e-03f;
    p = p * s + -1.60960333262415e-02f;
    v8 q = all(-1.45660718464996e-05f);
    q = q * s + -2.13374055278905e-04f;
    q = q * s + -1.68282697438203e-03f;
    q = q * s + -7.37332916720468e-03f;
    q = q * s + -1.42647390514189e-02f;
    return (z * p / q + 1.0f) * (x * 0.5f);
}

INLINE v8 activated(enum activation kind, v8 x) {
    switch (kind) {
    case GELU: return gelu8(x);
    case GELU_TANH: return (tanh8((x + x * x * x * 0.044715f) * 0.79788456080286536f) + 1.0f) * (x * 0.5f);
    case RELU: return larger(x, all(0.0f));
    case SILU: return x / (1.0f + exp8(-x));
    case TANH: return tanh8(x);
    default: return x;
    }
}

// out (rows, 16) = x (rows, depth) w (depth, 16) + bias + residual. Every element is summed in the order of `depth`,
// whatever the rows beside it, so that a text's vector has the same bits in any batch.
//
// `ahead`: memory wanted soon, of which `stride` floats are fetched per step. Weights that come from memory must be asked
// for while the sums go on: a product of a dozen rows takes no longer than its weights take to arrive.
static const float ZERO[COLUMNS];

typedef struct {
    const float *x, *w, *bias, *residual, *ahead;
    float *out;
    long depth, ldx, ldo, stride;
} product;

INLINE void tile(int rows, const product *a) {
    v8 sum[ROWS][2];
    EACH_ROW sum[r][0] = sum[r][1] = all(0.0f);
    const float *x = a->x, *w = a->w, *ahead = a->ahead;
    const long ldx = a->ldx, stride = a->stride, depth = a->depth;
    for (long i = 0; i < depth; i++) {
        __builtin_prefetch(ahead, 0, 3);
        ahead += stride;
        v8 left = load(w + i * COLUMNS), right = load(w + i * COLUMNS + 8);
        EACH_ROW {
            v8 value = all(x[r * ldx + i]);
            sum[r][0] += value * left;
            sum[r][1] += value * right;
        }
    }
    const v8 left = load(a->bias), right = load(a->bias + 8);
    float *out = a->out;
    const float *residual = a->residual;
    const long ldo = a->ldo;
    if (residual)
        EACH_ROW {
            store(out + r * ldo, sum[r][0] + left + load(residual + r * ldo));
            store(out + r * ldo + 8, sum[r][1] + right + load(residual + r * ldo + 8));
        }
    else
        EACH_ROW {
            store(out + r * ldo, sum[r][0] + left);
            store(out + r * ldo + 8, sum[r][1] + right);
        }
}

static void multiply(long rows, const product *a) {
    switch (rows) {
    case 1: tile(1, a); break;
    case 2: tile(2, a); break;
    case 3: tile(3, a); break;
    case 4: tile(4, a); break;
    case 5: tile(5, a); break;
    default: tile(ROWS, a); break;
    }
}

#endif
