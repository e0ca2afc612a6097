//! What a producer has compressed, record by record.

use std::io::{self, Read};

/// How producers compress the payload of each record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadCompression {
    /// Not at all.
    #[default]
    None,
    /// Gzip, of any number of members.
    Gzip,
    /// Zstandard, of any number of frames, with a window of up to 8 MiB.
    Zstd,
}

/// A window that a frame may ask for, as a power of two: what the format's authors ask every
/// decoder to have. A record of 10 MiB needs no larger one.
const WINDOW_LOG_MAX: u32 = 23;

/// Why a payload can't be had.
#[derive(Debug)]
pub(super) enum Unpacked {
    /// It was appended.
    Whole,
    /// It is longer than it may be: what it was stopped at.
    TooLarge,
    /// It is no such format.
    Damaged(io::Error),
}

/// Appends what a payload holds, of which at most `bytes_max` is ever made.
pub(super) fn unpack(
    payload: &[u8],
    compression: PayloadCompression,
    bytes_max: usize,
    into: &mut Vec<u8>,
) -> Unpacked {
    let start = into.len();
    let result = match compression {
        PayloadCompression::None => {
            into.extend_from_slice(payload);
            return Unpacked::Whole;
        }
        PayloadCompression::Gzip => {
            read(flate2::bufread::MultiGzDecoder::new(payload), bytes_max, into)
        }
        PayloadCompression::Zstd => decoder(payload).and_then(|it| read(it, bytes_max, into)),
    };
    match result {
        Ok(()) if into.len() - start <= bytes_max => Unpacked::Whole,
        Ok(()) => {
            into.truncate(start);
            Unpacked::TooLarge
        }
        Err(error) => {
            into.truncate(start);
            Unpacked::Damaged(error)
        }
    }
}

fn decoder(payload: &[u8]) -> io::Result<zstd::Decoder<'_, &[u8]>> {
    let mut decoder = zstd::Decoder::with_buffer(payload)?;
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    Ok(decoder)
}

fn read(from: impl Read, bytes_max: usize, into: &mut Vec<u8>) -> io::Result<()> {
    from.take(bytes_max as u64 + 1).read_to_end(into).map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(content).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    }

    fn zstd_frame(content: &[u8]) -> Vec<u8> {
        zstd::encode_all(content, 3).expect("memory takes it")
    }

    #[test]
    fn payloads_come_out_as_they_went_in() {
        for content in [&b""[..], b"{\"a\":1}", &vec![b'x'; 300_000]] {
            for (compression, packed) in [
                (PayloadCompression::None, content.to_vec()),
                (PayloadCompression::Gzip, gzip(content)),
                (PayloadCompression::Zstd, zstd_frame(content)),
            ] {
                let mut into = b"before".to_vec();
                let unpacked = unpack(&packed, compression, content.len(), &mut into);
                assert!(matches!(unpacked, Unpacked::Whole), "{compression:?}: {unpacked:?}");
                assert_eq!(into, [b"before", content].concat(), "{compression:?}");
            }
        }
    }

    #[test]
    fn several_members_and_frames_are_one_payload() {
        let mut into = Vec::new();
        unpack(&[gzip(b"a"), gzip(b"b")].concat(), PayloadCompression::Gzip, 9, &mut into);
        unpack(
            &[zstd_frame(b"c"), zstd_frame(b"d")].concat(),
            PayloadCompression::Zstd,
            9,
            &mut into,
        );
        assert_eq!(into, b"abcd");
    }

    #[test]
    fn what_expands_too_far_is_stopped() {
        let content = vec![0; 64 << 20];
        for (compression, packed) in [
            (PayloadCompression::Gzip, gzip(&content)),
            (PayloadCompression::Zstd, zstd_frame(&content)),
        ] {
            let mut into = Vec::new();
            let unpacked = unpack(&packed, compression, 1 << 20, &mut into);
            assert!(matches!(unpacked, Unpacked::TooLarge), "{compression:?}: {unpacked:?}");
            assert!(into.is_empty() && into.capacity() < 4 << 20, "{}", into.capacity());
        }
    }

    #[test]
    fn what_is_not_compressed_or_cut_off_is_damaged() {
        for (compression, packed) in [
            (PayloadCompression::Gzip, gzip(b"some text that is compressed")),
            (PayloadCompression::Zstd, zstd_frame(b"some text that is compressed")),
        ] {
            for payload in [&b"{\"plain\":true}"[..], &packed[..packed.len() - 3]] {
                let mut into = b"before".to_vec();
                let unpacked = unpack(payload, compression, 1 << 20, &mut into);
                assert!(matches!(unpacked, Unpacked::Damaged(_)), "{compression:?}: {unpacked:?}");
                assert_eq!(into, b"before");
            }
        }
    }
}
