//! What lies in the index: the first byte says how long the key is, then come key and value.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&split, rest)) = data.split_first() else { return };
    let (key, value) = rest.split_at(rest.len().min(split.into()));
    lode_index::fuzzing::read(key, value);
});
