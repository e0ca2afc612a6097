//! Data keys that KMS has decrypted, so that it is not asked for each record.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// What KMS did not decrypt is asked for again after this: by then a key may have been allowed.
const REFUSED_AGE_MAX: Duration = Duration::from_secs(10);

/// How data keys are kept.
#[derive(Clone, Copy, Debug)]
pub struct DataKeyLimits {
    /// How many; the oldest goes first.
    pub entries_max: usize,
    /// For how long.
    pub age_max: Duration,
    /// For how many records each.
    pub records_max: u64,
}

/// Names a data key as it was encrypted, with the context that it was encrypted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct DataKeyId([u8; 32]);

impl DataKeyId {
    /// Of a key as it was encrypted under another one.
    pub(super) fn of(key: &str, encrypted: &[u8], context: &HashMap<String, String>) -> Self {
        let mut hash = Sha256::new();
        // Each part with its length before it, so that no two have the same bytes.
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        };
        add(key.as_bytes());
        add(encrypted);
        for (name, value) in context.iter().collect::<BTreeMap<_, _>>() {
            add(name.as_bytes());
            add(value.as_bytes());
        }
        DataKeyId(hash.finalize().into())
    }
}

/// What KMS has answered.
#[derive(Clone)]
pub(super) enum Answered {
    /// The key.
    Key(Vec<u8>),
    /// The payload is why there is none: without anything of it.
    Refused(String),
    /// The key that it is encrypted under is why there is none.
    RefusedKey(String),
}

struct Entry {
    answered: Answered,
    until: Instant,
    records_left: u64,
    number: u64,
}

/// The cache. Entries go in the order in which they came.
pub(super) struct DataKeys {
    limits: DataKeyLimits,
    entries: HashMap<DataKeyId, Entry>,
    order: VecDeque<(DataKeyId, u64)>,
    next: u64,
}

impl DataKeys {
    pub(super) fn new(limits: DataKeyLimits) -> Self {
        DataKeys { limits, entries: HashMap::new(), order: VecDeque::new(), next: 0 }
    }

    /// Keeps an answer.
    pub(super) fn insert(&mut self, id: DataKeyId, answered: Answered, now: Instant) {
        let age_max = match answered {
            Answered::Key(_) => self.limits.age_max,
            Answered::Refused(_) | Answered::RefusedKey(_) => {
                self.limits.age_max.min(REFUSED_AGE_MAX)
            }
        };
        let (records_left, number) = (self.limits.records_max, self.next);
        self.next += 1;
        self.entries.insert(id, Entry { answered, until: now + age_max, records_left, number });
        self.order.push_back((id, number));
        while self.order.len() > self.limits.entries_max {
            let Some((id, number)) = self.order.pop_front() else { break };
            // It may have been replaced by a younger one since.
            if self.entries.get(&id).is_some_and(|it| it.number == number) {
                self.entries.remove(&id);
            }
        }
    }

    /// Whether there is an answer, for nobody in particular.
    pub(super) fn has(&self, id: &DataKeyId, now: Instant) -> bool {
        self.entries.get(id).is_some_and(|it| it.until > now && it.records_left > 0)
    }

    /// An answer for one record.
    pub(super) fn take(&mut self, id: &DataKeyId, now: Instant) -> Option<Answered> {
        let entry = self.entries.get_mut(id)?;
        if entry.until <= now || entry.records_left == 0 {
            self.entries.remove(id);
            return None;
        }
        entry.records_left -= 1;
        Some(entry.answered.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: DataKeyLimits =
        DataKeyLimits { entries_max: 3, age_max: Duration::from_secs(60), records_max: 2 };

    fn id(name: &str) -> DataKeyId {
        DataKeyId::of(name, b"encrypted", &HashMap::new())
    }

    fn key(keys: &mut DataKeys, name: &str, now: Instant) -> Option<Vec<u8>> {
        match keys.take(&id(name), now)? {
            Answered::Key(key) => Some(key),
            Answered::Refused(_) | Answered::RefusedKey(_) => None,
        }
    }

    fn with(names: &[&str], now: Instant) -> DataKeys {
        let mut keys = DataKeys::new(LIMITS);
        for name in names {
            keys.insert(id(name), Answered::Key(name.as_bytes().to_vec()), now);
        }
        keys
    }

    #[test]
    fn a_key_is_of_its_bytes_and_its_context() {
        let of = |context: &[(&'static str, &'static str)]| {
            let owned =
                context.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            DataKeyId::of("k", b"e", &owned.collect())
        };
        let all = [
            of(&[]),
            of(&[("a", "b")]),
            of(&[("a", "c")]),
            of(&[("ab", "")]),
            of(&[("a", "b"), ("c", "d")]),
            DataKeyId::of("k", b"f", &HashMap::new()),
            DataKeyId::of("ke", b"", &HashMap::new()),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|other| other != one), "{i}");
        }
        assert!(of(&[("a", "b"), ("c", "d")]) == of(&[("c", "d"), ("a", "b")]));
    }

    #[test]
    fn the_oldest_goes_first() {
        let now = Instant::now();
        let mut keys = with(&["a", "b", "c", "a", "d"], now);
        assert_eq!(key(&mut keys, "b", now), None);
        for name in ["c", "a", "d"] {
            assert_eq!(key(&mut keys, name, now).as_deref(), Some(name.as_bytes()));
        }
    }

    #[test]
    fn a_key_is_used_for_so_many_records() {
        let now = Instant::now();
        let mut keys = with(&["a"], now);
        assert!(keys.has(&id("a"), now) && keys.has(&id("a"), now), "who only looks uses nothing");
        assert!(key(&mut keys, "a", now).is_some());
        assert!(key(&mut keys, "a", now).is_some());
        assert!(!keys.has(&id("a"), now));
        assert!(key(&mut keys, "a", now).is_none());
    }

    #[test]
    fn a_key_gets_old_and_a_refusal_sooner() {
        let now = Instant::now();
        let mut keys = with(&["a"], now);
        keys.insert(id("b"), Answered::Refused("no".to_owned()), now);
        let later = now + Duration::from_secs(59);
        assert!(keys.has(&id("b"), now) && !keys.has(&id("b"), later));
        assert!(key(&mut keys, "a", later).is_some());
        assert!(key(&mut keys, "a", now + Duration::from_secs(60)).is_none());
    }
}
