//! How a model wants conversations written out: the chat template that Hugging Face tokenizers carry.

use std::path::Path;

use lode_domain::chat::ChatTemplate;
use serde_json::Value;

use crate::{ModelError, config::Config, error::Result};

/// The template of a tokenizer that has several.
const DEFAULT: &str = "default";

/// Reads the template of a model's folder: `chat_template.jinja`, or else `chat_template` in `tokenizer_config.json`. `None` if the
/// model was not made for conversations.
///
/// # Errors
/// If a file is there and cannot be read.
pub(crate) fn read(folder: &Path) -> Result<Option<ChatTemplate>> {
    let path = folder.join("tokenizer_config.json");
    let config = if path.exists() { Some(Config::read(&path)?) } else { None };
    let alone = folder.join("chat_template.jinja");
    let source = if alone.exists() {
        Some(std::fs::read_to_string(&alone).map_err(|source| ModelError::Read { path: alone, source })?)
    } else {
        config.as_ref().and_then(|config| config.get("chat_template")).and_then(of_config)
    };
    let token = |key| config.as_ref().and_then(|config| config.get(key)).and_then(token);
    Ok(source.map(|source| ChatTemplate { source, bos_token: token("bos_token"), eos_token: token("eos_token") }))
}

/// One template, or a list of named ones.
fn of_config(value: &Value) -> Option<String> {
    match value {
        Value::String(source) => Some(source.clone()),
        Value::Array(named) => {
            let default = named.iter().find(|one| one["name"] == DEFAULT)?;
            default["template"].as_str().map(str::to_owned)
        }
        _ => None,
    }
}

/// A text, or an object that holds one.
fn token(value: &Value) -> Option<String> {
    value.as_str().or_else(|| value["content"].as_str()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(files: &[(&str, &str)]) -> Result<Option<ChatTemplate>> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        read(folder.path())
    }

    #[test]
    fn templates_stand_in_either_file() {
        let found = |files: &[(&str, &str)]| written(files).unwrap();
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("tokenizer_config.json", r#"{"bos_token": "<s>"}"#)]), None);
        let in_config = r#"{"chat_template": "A", "bos_token": {"content": "<s>"}, "eos_token": null}"#;
        let expected = ChatTemplate { source: "A".into(), bos_token: Some("<s>".into()), eos_token: None };
        assert_eq!(found(&[("tokenizer_config.json", in_config)]), Some(expected.clone()));
        let both = [("tokenizer_config.json", in_config), ("chat_template.jinja", "B")];
        assert_eq!(found(&both), Some(ChatTemplate { source: "B".into(), ..expected }));
        let list =
            r#"{"chat_template": [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]}"#;
        assert_eq!(found(&[("tokenizer_config.json", list)]).unwrap().source, "D");
        assert!(written(&[("tokenizer_config.json", "{")]).is_err());
    }
}
