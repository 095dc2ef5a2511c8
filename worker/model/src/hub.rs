//! Models by name: a folder, or an id on the Hugging Face hub.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};

use crate::{ModelError, config::Config, error::Result};

/// The folder of model `name`: itself if it is a folder, else fetched from the hub into its cache.
///
/// HF_HOME, HF_ENDPOINT and HF_TOKEN are honoured; with `progress`, downloads show a bar on stderr. Blocks.
///
/// # Errors
/// If `name` is no folder and cannot be had from the hub; the message gives both readings.
pub fn resolve(name: &str, progress: bool) -> Result<PathBuf> {
    fetch(name, progress, Files::All)
}

/// As [`resolve`], without the weights: enough for [`Text::load`](crate::Text::load).
///
/// # Errors
/// As [`resolve`].
pub fn resolve_text(name: &str, progress: bool) -> Result<PathBuf> {
    fetch(name, progress, Files::Text)
}

/// What is fetched of a model.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Files {
    All,
    /// Config and tokenizer.
    Text,
}

fn fetch(name: &str, progress: bool, files: Files) -> Result<PathBuf> {
    let path = Path::new(name);
    if path.is_dir() {
        return Ok(path.to_owned());
    }
    let not_found = |problem: String| ModelError::NotFound { name: name.to_owned(), problem };
    if !is_id(name) {
        return Err(not_found("an id is NAME or OWNER/NAME".to_owned()));
    }
    let mut builder = ApiBuilder::from_env().with_progress(progress);
    if let Some(token) = std::env::var("HF_TOKEN").ok().filter(|token| !token.is_empty()) {
        builder = builder.with_token(Some(token));
    }
    let failed = |error: ApiError| not_found(error.to_string());
    let repo = builder.build().map_err(failed)?.model(name.to_owned());
    let config = repo.get("config.json").map_err(failed)?;
    repo.get("tokenizer.json").map_err(failed)?;
    // Not every model has one.
    if let Err(error) = repo.get("generation_config.json") {
        tracing::debug!(model = name, %error, "no generation_config.json");
    }
    if files == Files::All
        && let Err(error) = repo.get("model.safetensors")
    {
        tracing::debug!(model = name, %error, "no model.safetensors, trying shards");
        fetch_shards(&repo, name)?;
    }
    config.parent().map(Path::to_owned).ok_or_else(|| not_found("its files have no folder".to_owned()))
}

fn fetch_shards(repo: &ApiRepo, name: &str) -> Result<()> {
    let not_found = |problem: String| ModelError::NotFound { name: name.to_owned(), problem };
    let index = repo
        .get("model.safetensors.index.json")
        .map_err(|error| not_found(format!("it has neither model.safetensors nor its index: {error}")))?;
    let map = Config::read(&index)?.object("weight_map")?;
    let mut files: Vec<&str> = map.iter().flat_map(Config::values).filter_map(|file| file.as_str()).collect();
    files.sort_unstable();
    files.dedup();
    for file in files {
        repo.get(file).map_err(|error| not_found(error.to_string()))?;
    }
    Ok(())
}

/// Whether `name` could be an id: one or two parts of letters, digits, `.`, `_` and `-`.
fn is_id(name: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    name.split('/').count() <= 2 && name.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_themselves() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(resolve(folder.path().to_str().unwrap(), false).unwrap(), folder.path());
    }

    #[test]
    fn what_is_neither_folder_nor_id_says_so() {
        for name in ["./no/such/folder", "/nowhere", "a/b/c", "", "../x"] {
            let message = resolve(name, false).unwrap_err().to_string();
            assert!(message.contains("there is no such folder") && message.contains("OWNER/NAME"), "{message}");
        }
        assert!(is_id("gpt2") && is_id("EleutherAI/pythia-70m") && !is_id("a b"));
    }
}
