//! Concept files: the first byte says which format, the rest is the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lode_domain::{
    format::{parse_concept_list, parse_pool, parse_reference},
    selection::Selection,
};

fuzz_target!(|data: &[u8]| {
    let Some((format, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    match format % 3 {
        0 => drop(parse_reference("a.json", text).map_err(|error| error.to_string())),
        1 => drop(parse_concept_list("concept_list.csv", text).map_err(|error| error.to_string())),
        _ => {
            let concepts = parse_pool("pool.jsonl", text, &Selection::default());
            // What is read has both classes, or it is an error.
            if let Ok(concepts) = &concepts {
                assert!(!concepts.is_empty());
                assert!(concepts.iter().all(|concept| !concept.positive.is_empty() && !concept.negative.is_empty()));
            }
            drop(concepts.map_err(|error| error.to_string()));
        }
    }
});
