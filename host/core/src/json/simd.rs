//! The first pass with the vector instructions of x86-64.
//!
//! Safety: each type's methods use instructions of one feature set, and are inlined into a
//! function of that feature set, which is listed only where the processor has it. That is all
//! that is unsafe about them, besides loads and stores of whole arrays.

use std::arch::x86_64::*;

use super::tokens::{Classify, Index, Masks, Tokens, index_with};

/// The ways that this processor has, the best last.
pub(super) fn available() -> Vec<(&'static str, Index)> {
    let mut ways: Vec<(&'static str, Index)> = vec![("sse2", index_with::<Sse2>)];
    if is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("popcnt")
        && is_x86_feature_detected!("pclmulqdq")
    {
        // SAFETY: the processor has the features.
        ways.push(("avx2", |text, tokens| unsafe { index_avx2(text, tokens) }));
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vbmi2")
        {
            // SAFETY: the processor has the features.
            ways.push(("avx512", |text, tokens| unsafe { index_avx512(text, tokens) }));
        }
    }
    ways
}

#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,pclmulqdq")]
fn index_avx2(text: &[u8], tokens: &mut Tokens) -> bool {
    index_with::<Avx2>(text, tokens)
}

#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,pclmulqdq,avx512f,avx512bw,avx512vbmi2")]
fn index_avx512(text: &[u8], tokens: &mut Tokens) -> bool {
    index_with::<Avx512>(text, tokens)
}

/// For each low half of a byte, the white space with that half; what is never looked up equals
/// no byte with its half.
const SPACES: [u8; 16] = [b' ', 0, 0, 0, 0, 0, 0, 0, 0, b'\t', b'\n', 0, 0, b'\r', 0, 0];

/// The same for the operators once bit 0x20 is set, which makes a brace of a bracket.
const OPERATORS: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b':', b'{', b',', b'}', 0, 0];

/// What every x86-64 has.
struct Sse2;

impl Classify for Sse2 {
    #[inline(always)]
    fn masks(block: &[u8; 64]) -> Masks {
        let mut masks = Masks::default();
        let (parts, _) = block.as_chunks::<16>();
        for (i, part) in parts.iter().enumerate() {
            // SAFETY: SSE2 is part of x86-64; the load is of 16 bytes that are there.
            unsafe {
                let bytes = _mm_loadu_si128(part.as_ptr().cast());
                let equal = |byte: u8| _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8));
                let folded = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
                let brace = |byte: u8| _mm_cmpeq_epi8(folded, _mm_set1_epi8(byte as i8));
                let any = |a, b, c, d| _mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d));
                let bits = |vector| u64::from(_mm_movemask_epi8(vector) as u16) << (16 * i);
                let control = _mm_min_epu8(bytes, _mm_set1_epi8(0x1f));
                masks.quote |= bits(equal(b'"'));
                masks.backslash |= bits(equal(b'\\'));
                masks.control |= bits(_mm_cmpeq_epi8(control, bytes));
                masks.operator |= bits(any(equal(b':'), equal(b','), brace(b'{'), brace(b'}')));
                masks.space |= bits(any(equal(b' '), equal(b'\t'), equal(b'\n'), equal(b'\r')));
                masks.non_ascii |= bits(bytes);
            }
        }
        masks
    }

    #[inline(always)]
    fn prefix_parity(mut bits: u64) -> u64 {
        for shift in [1, 2, 4, 8, 16, 32] {
            bits ^= bits << shift;
        }
        bits
    }

    #[inline(always)]
    fn places(bits: u64, base: u32, places: &mut [u32; 64]) -> usize {
        places_by_eights(bits, base, places)
    }
}

/// Eight places at a time, so that the number of branches hardly depends on the bits.
#[inline(always)]
fn places_by_eights(mut bits: u64, base: u32, places: &mut [u32; 64]) -> usize {
    let count = bits.count_ones() as usize;
    let (eights, _) = places.as_chunks_mut::<8>();
    for (i, eight) in eights.iter_mut().enumerate() {
        if i > 0 && i * 8 >= count {
            break;
        }
        for place in eight {
            *place = base + bits.trailing_zeros();
            bits &= bits.wrapping_sub(1);
        }
    }
    count
}

struct Avx2;

impl Classify for Avx2 {
    #[inline(always)]
    fn masks(block: &[u8; 64]) -> Masks {
        let mut masks = Masks::default();
        let (halves, _) = block.as_chunks::<32>();
        for (i, half) in halves.iter().enumerate() {
            // SAFETY: see the module; the load is of 32 bytes that are there.
            unsafe {
                let table = |table: &[u8; 16]| {
                    _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()))
                };
                let bytes = _mm256_loadu_si256(half.as_ptr().cast());
                let equal = |byte: u8| _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte as i8));
                let bits = |vector| u64::from(_mm256_movemask_epi8(vector) as u32) << (32 * i);
                let folded = _mm256_or_si256(bytes, _mm256_set1_epi8(0x20));
                let operators = _mm256_shuffle_epi8(table(&OPERATORS), bytes);
                let spaces = _mm256_shuffle_epi8(table(&SPACES), bytes);
                let control = _mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f));
                masks.quote |= bits(equal(b'"'));
                masks.backslash |= bits(equal(b'\\'));
                masks.control |= bits(_mm256_cmpeq_epi8(control, bytes));
                masks.operator |= bits(_mm256_cmpeq_epi8(operators, folded));
                masks.space |= bits(_mm256_cmpeq_epi8(spaces, bytes));
                masks.non_ascii |= bits(bytes);
            }
        }
        // Setting the bit made operators of two control characters.
        masks.operator &= !masks.control;
        masks
    }

    #[inline(always)]
    fn prefix_parity(bits: u64) -> u64 {
        prefix_parity_by_product(bits)
    }

    #[inline(always)]
    fn places(bits: u64, base: u32, places: &mut [u32; 64]) -> usize {
        places_by_eights(bits, base, places)
    }
}

/// A product without carries by all ones.
#[inline(always)]
fn prefix_parity_by_product(bits: u64) -> u64 {
    // SAFETY: see the module.
    unsafe {
        let ones = _mm_set1_epi8(-1);
        let product = _mm_clmulepi64_si128(_mm_set_epi64x(0, bits as i64), ones, 0);
        _mm_cvtsi128_si64(product) as u64
    }
}

struct Avx512;

impl Classify for Avx512 {
    #[inline(always)]
    fn masks(block: &[u8; 64]) -> Masks {
        // SAFETY: see the module; the load is of 64 bytes that are there.
        unsafe {
            let table =
                |table: &[u8; 16]| _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            let bytes = _mm512_loadu_si512(block.as_ptr().cast());
            let equal = |byte: u8| _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(byte as i8));
            let folded = _mm512_or_si512(bytes, _mm512_set1_epi8(0x20));
            let operators = _mm512_shuffle_epi8(table(&OPERATORS), bytes);
            let spaces = _mm512_shuffle_epi8(table(&SPACES), bytes);
            let control = _mm512_cmplt_epu8_mask(bytes, _mm512_set1_epi8(0x20));
            Masks {
                quote: equal(b'"'),
                backslash: equal(b'\\'),
                control,
                // Setting the bit made operators of two control characters.
                operator: _mm512_cmpeq_epi8_mask(operators, folded) & !control,
                space: _mm512_cmpeq_epi8_mask(spaces, bytes),
                non_ascii: _mm512_movepi8_mask(bytes),
            }
        }
    }

    #[inline(always)]
    fn prefix_parity(bits: u64) -> u64 {
        prefix_parity_by_product(bits)
    }

    #[inline(always)]
    fn places(bits: u64, base: u32, places: &mut [u32; 64]) -> usize {
        const EACH: [u8; 64] = {
            let mut each = [0; 64];
            let mut i = 0;
            while i < 64 {
                each[i] = i as u8;
                i += 1;
            }
            each
        };
        let count = bits.count_ones() as usize;
        // SAFETY: see the module; loads and stores stay in the arrays: four times 16 places.
        unsafe {
            let each = _mm512_loadu_si512(EACH.as_ptr().cast());
            let set = _mm512_maskz_compress_epi8(bits, each);
            let base = _mm512_set1_epi32(base as i32);
            let to = places.as_mut_ptr();
            macro_rules! sixteen {
                ($part:literal) => {
                    let part = _mm512_extracti32x4_epi32::<$part>(set);
                    let part = _mm512_add_epi32(_mm512_cvtepu8_epi32(part), base);
                    _mm512_storeu_si512(to.add(16 * $part).cast(), part);
                };
            }
            sixteen!(0);
            sixteen!(1);
            if count > 32 {
                sixteen!(2);
                sixteen!(3);
            }
        }
        count
    }
}
