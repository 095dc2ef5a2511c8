//! Reading and writing whole files, with the path in the error.

use std::{fs, path::Path};

use serde::{Serialize, de::DeserializeOwned};

use crate::error::{DemoError, Result};

/// Writes `contents`, creating the folders above it.
pub fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<()> {
    let written = match path.parent() {
        Some(folder) => fs::create_dir_all(folder).and_then(|()| fs::write(path, contents)),
        None => fs::write(path, contents),
    };
    written.map_err(|source| DemoError::File { path: path.to_owned(), source })
}

/// Writes `value` as indented JSON with a final line feed.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write(path, serde_json::to_string_pretty(value)? + "\n")
}

/// Reads a JSON file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).map_err(|source| DemoError::File { path: path.to_owned(), source })?;
    Ok(serde_json::from_str(&text)?)
}
