//! Broken files are refused, or read as far as they are sound: nothing panics, and nothing is made
//! up.

use super::{
    values::{Raw, file},
    *,
};

/// Reads as far as it goes. Every row that is returned is JSON.
fn read_on(file: Vec<u8>) -> Result<usize, ReadError> {
    let mut rows = File::open(Arc::new(Bytes::from(file)), RowFormat::default())?.rows_behind(0)?;
    let mut count = 0;
    while let Some(JsonRows { bytes, ends, .. }) = rows.read(100, 1 << 20)? {
        let mut start = 0;
        for end in ends {
            crate::json::Validator::default()
                .validate(&bytes[start..end])
                .expect("a row is JSON, whatever lies in the file");
            start = end;
            count += 1;
        }
    }
    Ok(count)
}

fn samples() -> Vec<Vec<u8>> {
    let nested = file(
        "message m { optional group a (LIST) { repeated group list { optional group element { \
         required int32 x; optional binary y (STRING); } } } }",
        &[
            (Raw::Int32(&[1, 2, 3]), Some(&[3, 3, 0, 1, 3]), Some(&[0, 1, 0, 0, 0])),
            (Raw::Bytes(&[b"one", b"three"]), Some(&[4, 3, 0, 1, 4]), Some(&[0, 1, 0, 0, 0])),
        ],
    );
    let row_group = RowGroupLimit { rows: 10, bytes: u64::MAX };
    let flat = |codec| write(&every_kind(15), codec, row_group, 15);
    vec![nested, flat(Codec::Snappy), flat(Codec::Zstd { level: 3 })]
}

#[test]
fn a_file_that_was_cut_is_refused() {
    for file in samples() {
        for length in 0..file.len() {
            let error = read_on(file[..length].to_vec()).expect_err("a part is no file");
            assert!(matches!(error, ReadError::Damaged { .. }), "{length}: {error}");
        }
    }
}

#[test]
fn flipped_bits_break_nothing_but_the_file() {
    let mut refused = 0;
    for file in samples() {
        for at in 0..file.len() {
            for bit in [0, 7] {
                let mut broken = file.clone();
                broken[at] ^= 1 << bit;
                refused += usize::from(read_on(broken).is_err());
            }
        }
    }
    assert!(refused > 500, "only {refused} were refused");
}

#[test]
fn what_lies_under_a_file_may_fail() {
    struct Broken(Bytes);
    impl crate::parquet::ReadAt for Broken {
        fn length(&self) -> u64 {
            self.0.len() as u64
        }
        fn read_at(&self, offset: u64, into: &mut [u8]) -> std::io::Result<()> {
            if offset < 100 {
                return Err(std::io::Error::other("the disk is on fire"));
            }
            self.0.read_at(offset, into)
        }
    }
    let file = write(&every_kind(2000), Codec::Plain, RowGroupLimit::default(), 100);
    let file = File::open(Arc::new(Broken(file.into())), RowFormat::default());
    assert!(matches!(file, Err(ReadError::Io(_))), "{file:?}");
}
