//! Token files: what is read opens what it says, and no message repeats what is in the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lode_domain::access::{TokenTable, grants};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match grants(text) {
        Ok(grants) => {
            let table = TokenTable::new(&grants);
            for grant in &grants {
                assert_eq!(table.role(&grant.secret), Some(grant.role));
                assert!(text.contains(grant.secret.reveal()));
            }
        }
        Err(error) => {
            let said = error.to_string();
            let long = text.split_whitespace().filter(|word| word.len() > 12);
            assert!(long.into_iter().all(|word| !said.contains(word)), "{said}");
        }
    }
});
