/*
 * HighwayHash's update with the NEON of 32-bit ARM, for which Rust has no stable intrinsics. Called by neon.rs alone, which
 * checks the CPU first.
 *
 * Method: Alakuijala, Cox, Wassenberg, "Fast keyed hash/pseudo-random function using SIMD multiply and permute" (2016),
 * section 4. Four lanes of 64 bits are two registers; the "zipper merge" permutes the bytes of two lanes.
 */
#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_BYTES 32
#define HALVES 2

/* Which byte of two lanes becomes byte 0, 1, … of their zipper merge. */
static const uint8_t ZIPPER[16] = {3, 12, 2, 5, 14, 1, 15, 0, 11, 4, 10, 13, 9, 6, 8, 7};

typedef struct {
    uint64x2_t v0, v1, mul0, mul1;
} half;

static inline uint64x2_t zipper_merge(uint64x2_t lanes, uint8x8_t low, uint8x8_t high) {
    uint8x16_t bytes = vreinterpretq_u8_u64(lanes);
    uint8x8x2_t both = {{vget_low_u8(bytes), vget_high_u8(bytes)}};
    return vreinterpretq_u64_u8(vcombine_u8(vtbl2_u8(both, low), vtbl2_u8(both, high)));
}

/* The lower 32 bits of each lane of `a` times the upper ones of `b`. */
static inline uint64x2_t products(uint64x2_t a, uint64x2_t b) {
    return vmull_u32(vmovn_u64(a), vshrn_n_u64(b, 32));
}

/* `state`: four words each of v0, v1, mul0, mul1. */
void shoal_highway_update_neon(uint64_t *state, const uint8_t *packets, size_t count) {
    const uint8x8_t low = vld1_u8(ZIPPER), high = vld1_u8(ZIPPER + 8);
    half halves[HALVES];
    for (size_t at = 0; at < HALVES; at++) {
        half loaded = {vld1q_u64(state + 2 * at), vld1q_u64(state + 4 + 2 * at), vld1q_u64(state + 8 + 2 * at),
                       vld1q_u64(state + 12 + 2 * at)};
        halves[at] = loaded;
    }
    for (; count > 0; count--, packets += PACKET_BYTES) {
        for (size_t at = 0; at < HALVES; at++) {
            half s = halves[at];
            s.v1 = vaddq_u64(s.v1, vaddq_u64(s.mul0, vreinterpretq_u64_u8(vld1q_u8(packets + 16 * at))));
            s.mul0 = veorq_u64(s.mul0, products(s.v1, s.v0));
            s.v0 = vaddq_u64(s.v0, s.mul1);
            s.mul1 = veorq_u64(s.mul1, products(s.v0, s.v1));
            s.v0 = vaddq_u64(s.v0, zipper_merge(s.v1, low, high));
            s.v1 = vaddq_u64(s.v1, zipper_merge(s.v0, low, high));
            halves[at] = s;
        }
    }
    for (size_t at = 0; at < HALVES; at++) {
        vst1q_u64(state + 2 * at, halves[at].v0);
        vst1q_u64(state + 4 + 2 * at, halves[at].v1);
        vst1q_u64(state + 8 + 2 * at, halves[at].mul0);
        vst1q_u64(state + 12 + 2 * at, halves[at].mul1);
    }
}
