//! An object's bytes at offsets, for formats that say where what lies: pages of it are kept, since what
//! lies together is asked for in small pieces.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tidegate_core::parquet::ReadAt;

use super::{
    object::{Bucket, Found, Requests},
    stream::Fetch,
};

/// A column's part of a row group is asked for page by page.
const PAGE_BYTES: u64 = 512 << 10;

/// As many columns are read side by side without one taking another's place.
const PAGES_MAX: usize = 64;

/// Reads one object.
pub(super) struct ObjectPages {
    bucket: Arc<Bucket>,
    found: Arc<Found>,
    requests: Requests,
    kept: Mutex<Kept>,
}

/// The pages that were asked for last.
#[derive(Default)]
struct Kept {
    pages: HashMap<u64, Bytes>,
    /// The last that was asked for stands last.
    order: VecDeque<u64>,
}

impl ObjectPages {
    pub(super) fn new(bucket: Arc<Bucket>, found: Arc<Found>, requests: Requests) -> Self {
        ObjectPages { bucket, found, requests, kept: Mutex::default() }
    }

    /// Fetches pages, side by side.
    fn fetch(&self, missing: &[u64]) -> io::Result<Vec<Bytes>> {
        let most = self.bucket.config.chunks_max.max(1);
        let mut fetched = Vec::with_capacity(missing.len());
        for some in missing.chunks(most) {
            let under_way: Vec<Fetch> = some
                .iter()
                .map(|page| {
                    let from = page * PAGE_BYTES;
                    let to = (from + PAGE_BYTES).min(self.found.length);
                    Fetch::start(&self.bucket, &self.found, &self.requests, (from, to))
                })
                .collect();
            for fetch in under_way {
                fetched.push(fetch.wait().map_err(io::Error::other)?.0);
            }
        }
        Ok(fetched)
    }
}

impl ReadAt for ObjectPages {
    fn length(&self) -> u64 {
        self.found.length
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(into.len() as u64).filter(|end| *end <= self.found.length);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        if into.is_empty() {
            return Ok(());
        }
        // One thread reads at a time.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let pages = offset / PAGE_BYTES..=(end - 1) / PAGE_BYTES;
        let known = |page| kept.pages.get(&page).map(|bytes| (page, bytes.clone()));
        let mut found: Vec<(u64, Bytes)> = pages.clone().filter_map(known).collect();
        let missing: Vec<u64> = pages.filter(|page| !kept.pages.contains_key(page)).collect();
        found.extend(missing.iter().copied().zip(self.fetch(&missing)?));
        for (page, bytes) in found {
            let start = page * PAGE_BYTES;
            let (from, to) = (offset.max(start), end.min(start + bytes.len() as u64));
            into[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&bytes[(from - start) as usize..(to - start) as usize]);
            kept.keep(page, bytes);
        }
        Ok(())
    }
}

impl Kept {
    fn keep(&mut self, page: u64, bytes: Bytes) {
        if self.pages.insert(page, bytes).is_some() {
            self.order.retain(|it| *it != page);
        }
        self.order.push_back(page);
        while self.order.len() > PAGES_MAX {
            let oldest = self.order.pop_front().expect("there are some");
            self.pages.remove(&oldest);
        }
    }
}
