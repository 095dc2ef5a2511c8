//! `config.json`: typed look-ups that name the file and the key when something is wrong.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::{ModelError, error::Result};

/// A JSON object read from a file, or an object inside it.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    path: PathBuf,
    /// Keys that lead to this object, `rope_parameters.`; empty at the top.
    prefix: String,
    fields: Map<String, Value>,
}

impl Config {
    /// Reads a JSON object from `path`.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
        let bad = |problem: String| ModelError::BadJson { path: path.to_owned(), problem };
        match serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))? {
            Value::Object(fields) => Ok(Self { path: path.to_owned(), prefix: String::new(), fields }),
            _ => Err(bad("not a JSON object".to_owned())),
        }
    }

    /// The value under `key`; null counts as absent, as it does in Hugging Face configs.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.fields.values()
    }

    /// Whether any of the values is itself an object.
    pub fn is_nested(&self) -> bool {
        self.fields.values().any(Value::is_object)
    }

    /// The object under `key`.
    pub fn object(&self, key: &str) -> Result<Option<Self>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(fields)) => {
                let prefix = format!("{}{key}.", self.prefix);
                Ok(Some(Self { path: self.path.clone(), prefix, fields: fields.clone() }))
            }
            Some(_) => Err(self.wrong(key, "an object")),
        }
    }

    /// The size under `key`: a positive integer.
    pub fn size(&self, key: &str) -> Result<usize> {
        self.optional_size(key)?.ok_or_else(|| self.wrong(key, "a positive integer"))
    }

    /// The size under `key`, or a default.
    pub fn size_or(&self, key: &str, default: usize) -> Result<usize> {
        Ok(self.optional_size(key)?.unwrap_or(default))
    }

    fn optional_size(&self, key: &str) -> Result<Option<usize>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let size = value.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0);
        size.map(Some).ok_or_else(|| self.wrong(key, "a positive integer"))
    }

    /// The number under `key`.
    pub fn number(&self, key: &str) -> Result<f64> {
        self.get(key).and_then(Value::as_f64).ok_or_else(|| self.wrong(key, "a number"))
    }

    /// The number under `key`, or a default.
    pub fn number_or(&self, key: &str, default: f64) -> Result<f64> {
        if self.get(key).is_some() { self.number(key) } else { Ok(default) }
    }

    /// The truth value under `key`, or a default.
    pub fn flag_or(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(key, "true or false")),
        }
    }

    /// The text under `key`.
    pub fn text(&self, key: &str) -> Result<Option<&str>> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| self.wrong(key, "a string")),
        }
    }

    /// The token ids under `key`: one id, a list, or nothing.
    pub fn token_ids(&self, key: &str) -> Result<Vec<u32>> {
        let id = |value: &Value| {
            value.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| self.wrong(key, "a token id or a list"))
        };
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(ids)) => ids.iter().map(id).collect(),
            Some(one) => Ok(vec![id(one)?]),
        }
    }

    /// Longest text in tokens: `n_positions` or `max_position_embeddings`.
    pub fn context_len(&self) -> Result<usize> {
        if self.get("n_positions").is_some() { self.size("n_positions") } else { self.size("max_position_embeddings") }
    }

    /// The error for an option that this crate does not support.
    pub fn refuse(&self, key: &str, reason: impl Into<String>) -> ModelError {
        let value = self.fields.get(key).map_or_else(|| "absent".to_owned(), Value::to_string);
        let option = format!("{}{key} = {value}", self.prefix);
        ModelError::UnsupportedOption { path: self.path.clone(), option, reason: reason.into() }
    }

    /// Refuses `key` unless it is absent or has the one value that is implemented.
    pub fn require(&self, key: &str, only: bool) -> Result<()> {
        match self.flag_or(key, only)? {
            value if value == only => Ok(()),
            _ => Err(self.refuse(key, format!("only {only} is implemented"))),
        }
    }

    /// The error for an architecture that has no file under `src/family/`.
    pub fn unknown_family(&self, family: &str, supported: &[&str]) -> ModelError {
        ModelError::UnsupportedFamily {
            path: self.path.clone(),
            family: family.to_owned(),
            supported: supported.join(", "),
        }
    }

    fn wrong(&self, key: &str, expected: &str) -> ModelError {
        let found = self.fields.get(key).map_or_else(|| "it is absent".to_owned(), |value| format!("found {value}"));
        let problem = format!("`{}{key}` must be {expected}, {found}", self.prefix);
        ModelError::BadJson { path: self.path.clone(), problem }
    }
}
