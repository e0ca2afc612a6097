//! A sink whose objects are entries of a map.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_core::{
    ObjectDigest, Sink,
    sink::{Naming, Object, SinkError, SinkErrorKind},
};

use super::trouble::{Storm, Trouble, Troubles, lock};

/// Objects in memory. Clones share them.
#[derive(Clone, Debug)]
pub struct MemorySink {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    naming: Naming,
    held: Mutex<Held>,
    troubles: Troubles,
}

#[derive(Debug, Default)]
struct Held {
    objects: BTreeMap<String, Bytes>,
    /// What an unnamed sink was given, in order.
    delivered: Vec<Object>,
    /// What decides which lines are taken, where not all are.
    picky: Option<ChaCha8Rng>,
    /// Writes that were sent and not answered.
    under_way: BTreeMap<u64, Vec<Object>>,
    writes: u64,
}

impl MemorySink {
    /// A sink with named objects.
    pub fn named(name: &str) -> Self {
        MemorySink::new(name, Naming::Named)
    }

    /// A sink whose writes can't be found again.
    pub fn unnamed(name: &str) -> Self {
        MemorySink::new(name, Naming::Unnamed)
    }

    fn new(name: &str, naming: Naming) -> Self {
        let (held, troubles) = Default::default();
        MemorySink { inner: Arc::new(Inner { name: name.to_owned(), naming, held, troubles }) }
    }

    /// All objects, by key.
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        lock(&self.inner.held).objects.clone()
    }

    /// What lies under a key.
    pub fn object(&self, key: &str) -> Option<Bytes> {
        lock(&self.inner.held).objects.get(key).cloned()
    }

    /// What an unnamed sink was given, in order, repetitions included.
    pub fn delivered(&self) -> Vec<Object> {
        lock(&self.inner.held).delivered.clone()
    }

    /// Puts an object under a key as somebody else might.
    pub fn plant(&self, key: &str, content: &[u8]) {
        let content = Bytes::copy_from_slice(content);
        lock(&self.inner.held).objects.insert(key.to_owned(), content);
    }

    /// Takes an object away as nobody should.
    pub fn remove(&self, key: &str) {
        lock(&self.inner.held).objects.remove(key);
    }

    /// The next writes fail, and nothing of them is done.
    pub fn fail_next(&self, times: usize) {
        self.inner.troubles.add(Trouble::Fail, times);
    }

    /// The next writes are done, but their callers hear of a failure.
    pub fn lose_next_response(&self, times: usize) {
        self.inner.troubles.add(Trouble::LoseResponse, times);
    }

    /// From now on a write to an unnamed sink takes some of the lines only, the same for the same
    /// seed, and says which are left.
    pub fn take_some(&self, seed: u64) {
        lock(&self.inner.held).picky = Some(ChaCha8Rng::seed_from_u64(seed));
    }

    /// Writes wait until [`MemorySink::uncork`].
    pub fn cork(&self) {
        self.inner.troubles.cork(true);
    }

    /// Writes go on.
    pub fn uncork(&self) {
        self.inner.troubles.cork(false);
    }

    /// Random trouble, or none.
    pub fn storm(&self, storm: Option<Storm>) {
        self.inner.troubles.storm(storm);
    }

    /// Writes that a dead pipeline had sent arrive now: each creates what is not there yet.
    pub fn land_delayed_writes(&self) {
        let mut held = lock(&self.inner.held);
        for object in std::mem::take(&mut held.under_way).into_values().flatten() {
            held.objects.entry(object.key).or_insert(object.content);
        }
    }
}

impl Held {
    fn create(&mut self, naming: Naming, object: &Object) -> Result<(), SinkError> {
        if naming == Naming::Unnamed {
            self.delivered.push(object.clone());
            return Ok(());
        }
        match self.objects.get(&object.key) {
            Some(content) if *content == object.content => Ok(()),
            Some(content) => Err(occupied(&object.key, ObjectDigest::of(content))),
            None => {
                self.objects.insert(object.key.clone(), object.content.clone());
                Ok(())
            }
        }
    }
}

/// Objects with some of the lines, and with the others. Those without lines are left out.
fn pick(objects: &[Object], random: &mut ChaCha8Rng) -> [Vec<Object>; 2] {
    let mut picked = [Vec::new(), Vec::new()];
    for object in objects {
        let mut contents = [Vec::new(), Vec::new()];
        for line in object.content.split_inclusive(|byte| *byte == b'\n') {
            contents[usize::from(random.random_bool(0.3))].extend_from_slice(line);
        }
        for (picked, content) in picked.iter_mut().zip(contents) {
            if !content.is_empty() {
                picked.push(Object::new(&object.key, content));
            }
        }
    }
    picked
}

fn occupied(key: &str, found: ObjectDigest) -> SinkError {
    let message = format!("other content lies under `{key}`");
    SinkError::plain(SinkErrorKind::Occupied { key: key.to_owned(), found }, message)
}

fn unavailable() -> SinkError {
    let kind = SinkErrorKind::Unavailable { after: None };
    SinkError::plain(kind, "the memory sink was told to fail")
}

fn leaves_the_sink(key: &str) -> bool {
    key.starts_with('/') || key.split('/').any(|part| part == "..")
}

#[async_trait]
impl Sink for MemorySink {
    fn name(&self) -> &str {
        &self.inner.name
    }

    fn naming(&self) -> Naming {
        self.inner.naming
    }

    async fn write(&self, objects: &[Object]) -> Result<(), SinkError> {
        if let Some(object) = objects.iter().find(|it| leaves_the_sink(&it.key)) {
            let message = format!("key `{}` leaves the sink", object.key);
            return Err(SinkError::plain(SinkErrorKind::Broken, message));
        }
        let number = {
            let mut held = lock(&self.inner.held);
            held.writes += 1;
            let number = held.writes;
            held.under_way.insert(number, objects.to_vec());
            number
        };
        let trouble = self.inner.troubles.strike().await;
        let done = match trouble {
            Some(Trouble::Fail) => 0,
            Some(Trouble::FailHalfway) => objects.len() / 2,
            Some(Trouble::LoseResponse) | None => objects.len(),
        };
        let mut held = lock(&self.inner.held);
        held.under_way.remove(&number);
        if trouble.is_none()
            && self.inner.naming == Naming::Unnamed
            && let Some(random) = &mut held.picky
        {
            let [taken, left] = pick(objects, random);
            held.delivered.extend(taken);
            return if left.is_empty() { Ok(()) } else { Err(unavailable().with_rest(left)) };
        }
        objects[..done].iter().try_for_each(|it| held.create(self.inner.naming, it))?;
        match trouble {
            Some(_) => Err(unavailable()),
            None => Ok(()),
        }
    }

    async fn find(&self, key: &str) -> Result<Option<ObjectDigest>, SinkError> {
        match self.inner.troubles.strike().await {
            Some(_) => Err(unavailable()),
            None => Ok(self.object(key).map(|content| ObjectDigest::of(&content))),
        }
    }

    async fn occupy(&self, empty: &Object, superseded: ObjectDigest) -> Result<(), SinkError> {
        let trouble = self.inner.troubles.strike().await;
        if matches!(trouble, Some(Trouble::Fail | Trouble::FailHalfway)) {
            return Err(unavailable());
        }
        let mut held = lock(&self.inner.held);
        let found = held.objects.get(&empty.key).map(|content| ObjectDigest::of(content));
        if let Some(found) = found.filter(|found| ![superseded, empty.digest].contains(found)) {
            return Err(occupied(&empty.key, found));
        }
        held.objects.insert(empty.key.clone(), empty.content.clone());
        trouble.map_or(Ok(()), |_| Err(unavailable()))
    }
}
