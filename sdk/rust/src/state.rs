//! State as a type: what a plugin keeps for each key between batches.
//!
//! The host keeps states as bytes. [`State`] says how a type stands in them: its fields one after
//! the other, numbers little-endian, lengths as `u32`, with nothing to say which is which. That is
//! compact, and means that any change of the type is a change of the state version.

use crate::{batch::States, reply::ChangedStates};

pub use tidegate_plugin_macros::State;

/// A type that can be kept for a key. A key that has no state yet has the default.
///
/// `#[derive(State)]` implements it for structs of such types.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be kept as a state",
    label = "no state holds this type",
    note = "a state is a struct with `#[derive(State)]`, of numbers, `bool`, `String`, `Option`, \
            `Vec`, arrays and such structs"
)]
pub trait State: Sized {
    /// Appends the value's bytes.
    fn encode(&self, bytes: &mut Vec<u8>);

    /// Takes a value off the front, or finds that these are no bytes of one.
    fn decode(bytes: &mut &[u8]) -> Option<Self>;
}

/// The bytes of a state.
pub fn encode<S: State>(state: &S) -> Vec<u8> {
    let mut bytes = Vec::new();
    state.encode(&mut bytes);
    bytes
}

/// A state out of its bytes, all of them: for [`Migrate`](crate::Migrate), with the type that the
/// state had in its version.
///
/// # Errors
/// When they are no bytes of one.
pub fn decode<S: State>(mut bytes: &[u8]) -> Result<S, String> {
    let state = S::decode(&mut bytes).filter(|_| bytes.is_empty());
    state.ok_or_else(|| "the state is none of its version".to_owned())
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl State for $number {
            fn encode(&self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }

            fn decode(bytes: &mut &[u8]) -> Option<Self> {
                let (head, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(<$number>::from_le_bytes(*head))
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64, i8, i16, i32, i64, f32, f64);

impl State for bool {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(*self));
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        match u8::decode(bytes)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl State for String {
    fn encode(&self, bytes: &mut Vec<u8>) {
        (self.len() as u32).encode(bytes);
        bytes.extend_from_slice(self.as_bytes());
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let len = u32::decode(bytes)? as usize;
        let (head, rest) = bytes.split_at_checked(len)?;
        *bytes = rest;
        String::from_utf8(head.to_vec()).ok()
    }
}

impl<T: State> State for Option<T> {
    fn encode(&self, bytes: &mut Vec<u8>) {
        self.is_some().encode(bytes);
        if let Some(value) = self {
            value.encode(bytes);
        }
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        match bool::decode(bytes)? {
            true => T::decode(bytes).map(Some),
            false => Some(None),
        }
    }
}

impl<T: State> State for Vec<T> {
    fn encode(&self, bytes: &mut Vec<u8>) {
        (self.len() as u32).encode(bytes);
        self.iter().for_each(|value| value.encode(bytes));
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let len = u32::decode(bytes)?;
        (0..len).map(|_| T::decode(bytes)).collect()
    }
}

impl<T: State, const N: usize> State for [T; N] {
    fn encode(&self, bytes: &mut Vec<u8>) {
        self.iter().for_each(|value| value.encode(bytes));
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let values: Option<Vec<T>> = (0..N).map(|_| T::decode(bytes)).collect();
        values?.try_into().ok()
    }
}

/// The states of a batch's keys as a type: decoded once, changed row by row, and sent back where
/// their bytes changed.
#[derive(Debug)]
pub struct KeyedStates<'a, S> {
    before: States<'a>,
    now: Vec<Option<S>>,
}

impl<'a, S: State + Default> KeyedStates<'a, S> {
    /// The states of a batch, not looked at yet.
    pub fn of(states: States<'a>) -> Self {
        KeyedStates { before: states, now: (0..states.keys()).map(|_| None).collect() }
    }

    /// The state of a row's key.
    ///
    /// # Panics
    /// When the host brings bytes that are no state of this type. It keeps states by version, so
    /// that means that the type was changed and its version was not.
    #[inline]
    pub fn of_row(&mut self, row: usize) -> &mut S {
        let key = self.before.rows[row] as usize;
        self.now[key].get_or_insert_with(|| match self.before.get(key) {
            [] => S::default(),
            mut bytes => {
                let state = S::decode(&mut bytes).filter(|_| bytes.is_empty());
                state.expect("the stored state is one of this state version")
            }
        })
    }

    /// The states whose bytes changed.
    pub fn finish(self) -> ChangedStates {
        let mut changed = ChangedStates::default();
        let mut bytes = Vec::new();
        for (key, state) in self.now.iter().enumerate() {
            let Some(state) = state else { continue };
            bytes.clear();
            state.encode(&mut bytes);
            if bytes != self.before.get(key) {
                changed.set(key, &bytes);
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back<S: State + PartialEq + std::fmt::Debug>(state: S, len: usize) {
        let mut bytes = Vec::new();
        state.encode(&mut bytes);
        assert_eq!(bytes.len(), len, "{state:?}");
        let mut rest = &bytes[..];
        assert_eq!(S::decode(&mut rest), Some(state));
        assert!(rest.is_empty());
        for cut in 0..bytes.len() {
            assert_eq!(S::decode(&mut &bytes[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn values_come_back_and_are_compact() {
        comes_back(1.5_f64, 8);
        comes_back(true, 1);
        comes_back("größe".to_owned(), 4 + 7);
        comes_back(Some(7_u16), 3);
        comes_back(vec![1_i64, -1], 4 + 16);
        comes_back([1_u8, 2, 3], 3);
    }

    #[test]
    fn hostile_lengths_are_refused_without_allocating_them() {
        assert_eq!(Vec::<u64>::decode(&mut &[0xff; 12][..]), None);
        assert_eq!(String::decode(&mut &[0xff; 12][..]), None);
    }

    #[test]
    fn only_what_changed_is_sent_back() {
        let offsets = [0, 0, 4, 8];
        let bytes = [1, 0, 0, 0, 2, 0, 0, 0];
        let rows = [2, 0, 1, 2];
        let mut states =
            KeyedStates::<u32>::of(States { rows: &rows, offsets: &offsets, bytes: &bytes });
        *states.of_row(0) += 1;
        *states.of_row(3) += 1;
        assert_eq!(*states.of_row(2), 1);
        let changed = states.finish();
        assert_eq!(changed.keys, [2]);
        assert_eq!(changed.values.bytes, [4, 0, 0, 0]);
    }
}
