//! Where a model comes from: NAME=PATH_OR_HUB_ID.

use std::{io::IsTerminal as _, str::FromStr, sync::Arc};

use lode_domain::{
    control::Control,
    id::{BadId, ModelName},
};
use lode_model::{LoadOptions, Model, ModelError, hub};

/// A name and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSource {
    /// What users call the model.
    pub name: ModelName,
    /// A folder, or a hub id.
    pub source: String,
    /// What is done to it, if it is to be a control; the name is the control's then.
    pub control: Option<Control>,
}

impl ModelSource {
    /// A control of this model, under its name.
    ///
    /// # Errors
    /// If that is too long for a name.
    pub fn controlled(self, control: Control) -> Result<Self, BadId> {
        Ok(Self { name: control.name_of(&self.name)?, source: self.source, control: Some(control) })
    }
}

/// A text that names no model source.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadModelSource {
    /// No `=`, or nothing behind it.
    #[error("`{0}` is not NAME=PATH_OR_HUB_ID, for example demo=./models/demo or gpt2=openai-community/gpt2")]
    Form(String),
    /// The name is none.
    #[error(transparent)]
    Name(#[from] BadId),
}

impl FromStr for ModelSource {
    type Err = BadModelSource;

    fn from_str(text: &str) -> Result<Self, BadModelSource> {
        match text.split_once('=') {
            Some((name, source)) if !source.is_empty() => {
                Ok(Self { name: name.parse()?, source: source.to_owned(), control: None })
            }
            _ => Err(BadModelSource::Form(text.to_owned())),
        }
    }
}

/// A model that cannot be had or run.
#[derive(Debug, thiserror::Error)]
#[error("model `{name}`: {error}")]
pub struct LoadError {
    /// What users call it.
    pub name: ModelName,
    /// What is wrong with it.
    pub error: Box<ModelError>,
}

/// Finds a model and loads it; blocks while it does. A download shows its progress on a terminal.
///
/// # Errors
/// If it is not there or cannot be run.
pub fn load(source: &ModelSource, options: &LoadOptions) -> Result<Arc<Model>, LoadError> {
    let failed = |error| LoadError { name: source.name.clone(), error: Box::new(error) };
    let folder = hub::resolve(&source.source, std::io::stderr().is_terminal()).map_err(failed)?;
    let started = std::time::Instant::now();
    let options = LoadOptions { control: source.control, ..*options };
    let model = Model::load(&folder, &options).map_err(failed)?;
    tracing::info!(
        name = %source.name,
        family = model.family(),
        parameters = model.parameters(),
        units = model.unit_space().len(),
        device = model.device_label(),
        hash = model.hash().short(),
        seconds = started.elapsed().as_secs_f32(),
        "model loaded"
    );
    Ok(Arc::new(model))
}

/// What this build is: a hash of the program that runs.
pub(crate) fn this_program() -> String {
    let bytes = std::env::current_exe().and_then(std::fs::read).unwrap_or_default();
    blake3::hash(&bytes).to_string()
}

/// What the processor is, as far as kernels choose their way by it.
pub(crate) fn processor() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let of_kernels = ["model name", "flags", "Features", "CPU part"];
    let mut lines: Vec<&str> =
        told.lines().filter(|line| of_kernels.iter().any(|start| line.starts_with(start))).collect();
    lines.sort_unstable();
    lines.dedup();
    format!("{} {}", std::env::consts::ARCH, lines.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_a_name_and_a_place() {
        let source: ModelSource = "gpt2=openai-community/gpt2".parse().unwrap();
        assert_eq!((source.name.as_str(), source.source.as_str()), ("gpt2", "openai-community/gpt2"));
        for text in ["gpt2", "gpt2=", "=x", "a b=x"] {
            assert!(text.parse::<ModelSource>().is_err(), "{text}");
        }
    }
}
