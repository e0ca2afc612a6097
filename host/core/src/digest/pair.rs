//! SHA-256 of two texts at once.
//!
//! The processor's SHA instruction takes four cycles and a new one can start every two: one text
//! leaves half of them idle, and hashing is about half of what a file-to-file pipeline costs. Two
//! texts in step fill them, and take hardly longer than one.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_loadu_si128, _mm_set_epi64x,
    _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
    _mm_shuffle_epi32, _mm_storeu_si128,
};

use sha2::block_api::compress256;

const BLOCK: usize = 64;

/// The initial state of FIPS 180-4, 5.3.3.
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The round constants of FIPS 180-4, 4.2.2.
#[cfg(target_arch = "x86_64")]
const ROUNDS: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];

/// The digests of two texts: in step for as long as both have blocks, then one after the other.
pub(super) fn digests(texts: [&[u8]; 2]) -> [[u8; 32]; 2] {
    let mut states = [INITIAL; 2];
    let in_step = in_step(&mut states, texts);
    let mut digests = [[0; 32]; 2];
    for ((digest, state), text) in digests.iter_mut().zip(&mut states).zip(texts) {
        finish(state, &text[in_step * BLOCK..], text.len());
        for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
    }
    digests
}

/// What is left of a text of `len` bytes, and its padding.
fn finish(state: &mut [u32; 8], rest: &[u8], len: usize) {
    let (blocks, tail) = rest.as_chunks::<BLOCK>();
    compress256(state, blocks);
    let mut padded = [0; 2 * BLOCK];
    padded[..tail.len()].copy_from_slice(tail);
    padded[tail.len()] = 0x80;
    // The length takes eight bytes, behind at least one of padding.
    let end = if tail.len() + 9 <= BLOCK { BLOCK } else { 2 * BLOCK };
    padded[end - 8..end].copy_from_slice(&(len as u64 * 8).to_be_bytes());
    compress256(state, padded[..end].as_chunks::<BLOCK>().0);
}

/// Takes the blocks that both texts have through both states; returns how many these are, or 0
/// where the processor has no instructions for it.
fn in_step(states: &mut [[u32; 8]; 2], texts: [&[u8]; 2]) -> usize {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1") {
        let blocks = texts[0].len().min(texts[1].len()) / BLOCK;
        // SAFETY: the processor has the instructions.
        unsafe { compress(states, texts, blocks) };
        return blocks;
    }
    let _ = (states, texts);
    0
}

/// # Safety
/// The processor has the SHA extensions and SSE 4.1, and each text has `blocks` whole blocks.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
unsafe fn compress(states: &mut [[u32; 8]; 2], texts: [&[u8]; 2], blocks: usize) {
    // Big-endian words.
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    // The instructions want the eight words as A, B, E, F and C, D, G, H.
    let mut abef = [swap; 2];
    let mut cdgh = [swap; 2];
    for lane in 0..2 {
        // SAFETY: a state has two times four words.
        let (low, high) = unsafe {
            let state = states[lane].as_ptr().cast::<__m128i>();
            (_mm_loadu_si128(state), _mm_loadu_si128(state.add(1)))
        };
        let badc = _mm_shuffle_epi32(low, 0xb1);
        let hgfe = _mm_shuffle_epi32(high, 0x1b);
        abef[lane] = _mm_alignr_epi8(badc, hgfe, 8);
        cdgh[lane] = _mm_blend_epi16(hgfe, badc, 0xf0);
    }
    for block in 0..blocks {
        let before = (abef, cdgh);
        let mut words = [[swap; 4]; 2];
        for lane in 0..2 {
            for (i, word) in words[lane].iter_mut().enumerate() {
                // SAFETY: the text has this block.
                let quarter = unsafe {
                    let at = texts[lane].as_ptr().add(block * BLOCK + i * 16);
                    _mm_loadu_si128(at.cast::<__m128i>())
                };
                *word = _mm_shuffle_epi8(quarter, swap);
            }
        }
        for group in 0..16 {
            // SAFETY: there are sixteen times four constants.
            let constants =
                unsafe { _mm_loadu_si128(ROUNDS.as_ptr().add(group * 4).cast::<__m128i>()) };
            for lane in 0..2 {
                let w = &mut words[lane];
                let now = w[group % 4];
                let mixed = _mm_add_epi32(now, constants);
                cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], mixed);
                let mixed = _mm_shuffle_epi32(mixed, 0x0e);
                abef[lane] = _mm_sha256rnds2_epu32(abef[lane], cdgh[lane], mixed);
                if group < 12 {
                    // The words of four groups later take the place of these.
                    let (one, two, three) =
                        (w[(group + 1) % 4], w[(group + 2) % 4], w[(group + 3) % 4]);
                    let sum = _mm_add_epi32(
                        _mm_sha256msg1_epu32(now, one),
                        _mm_alignr_epi8(three, two, 4),
                    );
                    w[group % 4] = _mm_sha256msg2_epu32(sum, three);
                }
            }
        }
        for lane in 0..2 {
            abef[lane] = _mm_add_epi32(abef[lane], before.0[lane]);
            cdgh[lane] = _mm_add_epi32(cdgh[lane], before.1[lane]);
        }
    }
    for lane in 0..2 {
        let feba = _mm_shuffle_epi32(abef[lane], 0x1b);
        let dchg = _mm_shuffle_epi32(cdgh[lane], 0xb1);
        // SAFETY: a state has two times four words.
        unsafe {
            let state = states[lane].as_mut_ptr().cast::<__m128i>();
            _mm_storeu_si128(state, _mm_blend_epi16(feba, dchg, 0xf0));
            _mm_storeu_si128(state.add(1), _mm_alignr_epi8(dchg, feba, 8));
        }
    }
}

#[cfg(test)]
mod tests {
    use sha2::Digest as _;

    use super::*;

    #[test]
    fn two_at_once_are_as_one_by_one() {
        let text: Vec<u8> = (0..1000u32).map(|i| (i * 7 + i / 251) as u8).collect();
        let lengths = [0, 1, 55, 56, 63, 64, 65, 119, 120, 127, 128, 500, 1000];
        for a in lengths {
            for b in lengths {
                let texts = [&text[..a], &text[1000 - b..]];
                let want = texts.map(|text| <[u8; 32]>::from(sha2::Sha256::digest(text)));
                assert_eq!(digests(texts), want, "{a} and {b} bytes");
            }
        }
    }
}
