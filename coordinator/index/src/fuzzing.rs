//! The codec's door for the fuzzer in `tests/fuzz`; built with the feature `fuzzing` only.

use crate::{
    codec::{bytes_to_floats, floats_to_bytes, seal, unseal},
    key,
    store::Entry,
};

/// Reads bytes as everything that the index keeps, and writes again what could be read.
///
/// # Panics
/// If something comes back as something else.
pub fn read(key: &[u8], value: &[u8]) {
    // As it stands, its checksum is right once in four billion; sealed, its content is what is looked at.
    let _ = unseal(key, value);
    let sealed = seal(key, value);
    assert_eq!(unseal(key, &sealed), Ok(value));
    if let Ok(concept) = key::parse_concept(key) {
        assert_eq!(key::concept(&concept), key, "a key is written as it was read");
    }
    if let Ok(entry) = crate::store::parse::<Entry>(value) {
        let text = serde_json::to_vec(&entry).expect("an entry can be written");
        let again = crate::store::parse::<Entry>(&text).expect("what was written can be read");
        assert_eq!(serde_json::to_vec(&again).expect("an entry can be written"), text);
    }
    let mut floats = Vec::new();
    if bytes_to_floats(value, value.len() / 4, &mut floats).is_ok() {
        assert_eq!(floats_to_bytes(&floats), value);
    }
}
