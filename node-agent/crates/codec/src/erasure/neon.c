/*
 * Sums of products in GF(2^8) with the NEON of 32-bit ARM, for which Rust has no stable intrinsics. Called by neon.rs alone, which
 * checks lengths and the CPU first.
 *
 * A coefficient c is a table of 32 bytes, as ISA-L's: its products with 0 to 15, then with 0x00, 0x10 to 0xf0. So
 * c * x = table[x & 15] ^ table[16 + (x >> 4)], two lookups of `vtbl` for eight bytes at once.
 * Method: Plank, Greenan, Miller, "Screaming fast Galois field arithmetic using Intel SIMD instructions" (2013).
 */
#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#define TABLE_BYTES 32
#define STEP_BYTES 16

typedef struct {
    uint8x8x2_t low, high;
} table;

static inline table load_table(const uint8_t *bytes) {
    uint8x16_t low = vld1q_u8(bytes), high = vld1q_u8(bytes + 16);
    table loaded = {{{vget_low_u8(low), vget_high_u8(low)}}, {{vget_low_u8(high), vget_high_u8(high)}}};
    return loaded;
}

static inline uint8x16_t look_up(uint8x8x2_t in, uint8x16_t at) {
    return vcombine_u8(vtbl2_u8(in, vget_low_u8(at)), vtbl2_u8(in, vget_high_u8(at)));
}

static inline uint8x16_t product(table by, uint8x16_t low, uint8x16_t high) {
    return veorq_u8(look_up(by.low, low), look_up(by.high, high));
}

/* Written once for both numbers of rows, which the compiler unrolls. */
static inline __attribute__((always_inline)) void fill(
    const uint8_t *tables, size_t stride, size_t count, const uint8_t *const *sources, uint8_t *const *outs,
    const size_t rows, size_t len, int add) {
    const uint8x16_t mask = vdupq_n_u8(0x0f);
    for (size_t at = 0; at < len; at += STEP_BYTES) {
        uint8x16_t sums[2];
        for (size_t row = 0; row < rows; row++) {
            sums[row] = add ? vld1q_u8(outs[row] + at) : vdupq_n_u8(0);
        }
        for (size_t source = 0; source < count; source++) {
            uint8x16_t bytes = vld1q_u8(sources[source] + at);
            uint8x16_t low = vandq_u8(bytes, mask), high = vshrq_n_u8(bytes, 4);
            for (size_t row = 0; row < rows; row++) {
                table by = load_table(tables + row * stride + source * TABLE_BYTES);
                sums[row] = veorq_u8(sums[row], product(by, low, high));
            }
        }
        for (size_t row = 0; row < rows; row++) {
            vst1q_u8(outs[row] + at, sums[row]);
        }
    }
}

/*
 * `outs[row] = sum over sources of c[row][source] * sources[source]`, or the same added to what stands there, for 1 or 2 rows whose
 * tables lie `stride` bytes apart. `len` is a multiple of 16.
 */
void shoal_gf_sums_neon(
    const uint8_t *tables, size_t stride, size_t count, const uint8_t *const *sources, uint8_t *const *outs,
    size_t rows, size_t len, int add) {
    if (rows == 2) {
        fill(tables, stride, count, sources, outs, 2, len, add);
    } else {
        fill(tables, stride, count, sources, outs, 1, len, add);
    }
}

