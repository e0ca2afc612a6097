//! The states of an intent as one value: written once, read once, never searched.
//!
//! A change is: the stage's name, the key, then a 0 for a removal, or a 1, the version, the
//! expiry (a 0, or a 1 and the time), the hash key (the same) and the bytes. Numbers are
//! little-endian, lengths 32 bits.

use std::{str, sync::Arc};

use tidegate_core::{
    Timestamp,
    checkpoint::{StateChange, StateRow},
};

/// All changes, back to back.
pub(crate) fn encode(changes: &[StateChange]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for StateChange { stage, key, state } in changes {
        push_bytes(&mut encoded, stage.as_bytes());
        encoded.extend_from_slice(&key.to_le_bytes());
        encoded.push(u8::from(state.is_some()));
        if let Some(StateRow { version, expires_at, hash_key, bytes }) = state {
            encoded.extend_from_slice(&version.to_le_bytes());
            encoded.push(u8::from(expires_at.is_some()));
            if let Some(time) = expires_at {
                encoded.extend_from_slice(&time.0.to_le_bytes());
            }
            encoded.push(u8::from(hash_key.is_some()));
            if let Some(hash) = hash_key {
                encoded.extend_from_slice(&hash.to_le_bytes());
            }
            push_bytes(&mut encoded, bytes);
        }
    }
    encoded
}

/// The changes that were encoded; none where the bytes are not what [`encode`] makes.
pub(crate) fn decode(mut encoded: &[u8]) -> Option<Vec<StateChange>> {
    let rest = &mut encoded;
    let mut changes = Vec::new();
    // Changes come stage by stage, mostly.
    let mut stage: Arc<str> = Arc::from("");
    while !rest.is_empty() {
        let name = str::from_utf8(take_bytes(rest)?).ok()?;
        if *name != *stage {
            stage = Arc::from(name);
        }
        let key = u128::from_le_bytes(take(rest)?);
        let state = match take::<1>(rest)? {
            [0] => None,
            _ => {
                let version = u32::from_le_bytes(take(rest)?);
                let expires_at = match take::<1>(rest)? {
                    [0] => None,
                    _ => Some(Timestamp(i64::from_le_bytes(take(rest)?))),
                };
                let hash_key = match take::<1>(rest)? {
                    [0] => None,
                    _ => Some(u128::from_le_bytes(take(rest)?)),
                };
                Some(StateRow { version, expires_at, hash_key, bytes: take_bytes(rest)?.to_vec() })
            }
        };
        changes.push(StateChange { stage: stage.clone(), key, state });
    }
    Some(changes)
}

fn push_bytes(encoded: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("a state is bounded far below 4 GiB");
    encoded.extend_from_slice(&length.to_le_bytes());
    encoded.extend_from_slice(bytes);
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*taken)
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_le_bytes(take(rest)?) as usize;
    let (taken, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_back_and_what_is_cut_short_does_not() {
        let row = |version, expires_at, hash_key, bytes: &[u8]| {
            Some(StateRow { version, expires_at, hash_key, bytes: bytes.to_vec() })
        };
        let change = |stage: &str, key, state| StateChange { stage: stage.into(), key, state };
        let changes = vec![
            change("mean", 1, row(1, None, Some(7), b"")),
            change("mean", u128::MAX, None),
            change("größe", 2, row(u32::MAX, Some(Timestamp(-5)), None, &[7; 300])),
        ];
        let encoded = encode(&changes);
        assert_eq!(decode(&encoded), Some(changes));
        assert_eq!(decode(&[]), Some(Vec::new()));
        assert_eq!(decode(&encoded[..encoded.len() - 1]), None);
    }
}
