//! Numbers, sixteen bytes at a time: a loop over digits costs a mispredicted branch a number.

/// The length of the number that a window begins with, or 0 where it is none; nothing where the
/// number has an exponent or may go on behind the window.
#[inline(always)]
pub(super) fn number(window: &[u8; WINDOW]) -> Option<usize> {
    let Shape { sign, whole, fraction, len } = shape(window);
    if len >= WINDOW || window[len] | 0x20 == b'e' {
        return None;
    }
    let leading_zero = window[sign] == b'0' && whole > 1;
    let point_alone = fraction == 0 && len != sign + whole;
    Some(if whole == 0 || leading_zero || point_alone { 0 } else { len })
}

/// How many bytes are looked at at once.
pub(super) const WINDOW: usize = 16;

/// What a number without an exponent consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// 1 where there is a minus.
    pub(super) sign: usize,
    /// How many digits are before the point.
    pub(super) whole: usize,
    /// How many digits are behind the point.
    pub(super) fraction: usize,
    /// How long it is, point included; [`WINDOW`] or more where it may go on behind the window.
    pub(super) len: usize,
}

/// The shape of the longest prefix of a window that looks like a number.
#[inline(always)]
pub(super) fn shape(window: &[u8; WINDOW]) -> Shape {
    let digits = digit_bits(window);
    let sign = usize::from(window[0] == b'-');
    let whole = (!(digits >> sign)).trailing_zeros() as usize;
    let point = sign + whole;
    if point < WINDOW && window[point] == b'.' {
        let fraction = (!(digits >> (point + 1))).trailing_zeros() as usize;
        Shape { sign, whole, fraction, len: point + 1 + fraction }
    } else {
        Shape { sign, whole, fraction: 0, len: point }
    }
}

/// Which bytes are digits, one bit a byte.
#[inline(always)]
fn digit_bits(window: &[u8; WINDOW]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        // SAFETY: SSE2 is part of x86-64; the load is of 16 bytes that are there.
        unsafe {
            let bytes = _mm_loadu_si128(window.as_ptr().cast());
            let values = _mm_sub_epi8(bytes, _mm_set1_epi8(b'0' as i8));
            let digits = _mm_cmpeq_epi8(_mm_min_epu8(values, _mm_set1_epi8(9)), values);
            _mm_movemask_epi8(digits) as u32
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let bit = |(i, byte): (usize, &u8)| u32::from(byte.is_ascii_digit()) << i;
        window.iter().enumerate().map(bit).sum()
    }
}

/// The length of the number that `text`, which does not end with it, begins with; or 0.
#[cold]
#[inline(never)]
pub(super) fn number_of_any_length(text: &[u8]) -> usize {
    let byte = |at: usize| text.get(at).copied().unwrap_or(b' ');
    let digits = |mut at: usize| {
        while byte(at).is_ascii_digit() {
            at += 1;
        }
        at
    };
    let integer = usize::from(byte(0) == b'-');
    let mut at = digits(integer);
    if at == integer || (byte(integer) == b'0' && at > integer + 1) {
        return 0;
    }
    if byte(at) == b'.' {
        let fraction = at + 1;
        at = digits(fraction);
        if at == fraction {
            return 0;
        }
    }
    if byte(at) | 0x20 == b'e' {
        let exponent = at + 1 + usize::from(matches!(byte(at + 1), b'+' | b'-'));
        at = digits(exponent);
        if at == exponent {
            return 0;
        }
    }
    at
}

/// The number that the first `count` bytes of a word, digits all, stand for. At most eight.
#[inline(always)]
pub(super) fn decimal(word: [u8; 8], count: usize) -> u64 {
    if count == 0 {
        return 0;
    }
    // The digits move to the end, and zeros come before them; then pairs, fours and eights are
    // summed in one multiplication each.
    let value = u64::from_le_bytes(word) << (64 - 8 * count);
    let value = value & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (value.wrapping_mul(10 << 8 | 1) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100 << 16 | 1) >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000 << 32 | 1) >> 32
}
