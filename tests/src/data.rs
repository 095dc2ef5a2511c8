//! What the tests run on: the repository's own data, and more where a `shared` folder lies beside the repository.

use std::path::{Path, PathBuf};

/// The repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lies in the repository").to_owned()
}

/// A path in the folder `shared` beside the repository, if it is there.
pub fn shared(path: &str) -> Option<PathBuf> {
    let found = repository().parent()?.join("shared").join(path);
    found.exists().then_some(found)
}

/// The bundled model.
pub fn demo_model() -> PathBuf {
    repository().join("client/demo/assets/model")
}

/// The bundled concepts.
pub fn demo_concepts() -> PathBuf {
    repository().join("client/demo/assets/concepts")
}

/// A model with concepts and the values that PyTorch and scikit-learn give for them.
#[derive(Debug)]
pub struct Case {
    /// Its folder: `model`, `concepts`, `expected`.
    pub folder: PathBuf,
}

impl Case {
    /// The model's folder.
    pub fn model(&self) -> PathBuf {
        self.folder.join("model")
    }

    /// Concept files, as `(group, name, path)`.
    ///
    /// # Panics
    /// If the folder cannot be read.
    pub fn concepts(&self) -> Vec<(String, String, PathBuf)> {
        let mut found = Vec::new();
        for group in folders(&self.folder.join("concepts")) {
            for file in entries(&group) {
                let name = |path: &Path| path.file_stem().expect("it has a name").to_string_lossy().into_owned();
                found.push((name(&group), name(&file), file));
            }
        }
        found
    }

    /// A file with expected values, if the case has it: `GROUP__NAME.SUFFIX`.
    pub fn expected(&self, group: &str, name: &str, suffix: &str) -> Option<PathBuf> {
        let path = self.folder.join("expected").join(format!("{group}__{name}.{suffix}"));
        path.exists().then_some(path)
    }
}

/// The golden cases of the repository, and the shared ones where they are.
///
/// # Panics
/// If the repository's cannot be read.
pub fn golden_cases() -> Vec<Case> {
    let own = folders(&repository().join("tests/golden/cases"));
    let more = shared("golden").map(|golden| folders(&golden)).unwrap_or_default();
    own.into_iter().chain(more).map(|folder| Case { folder }).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = read.map(|entry| entry.expect("the entry can be read").path()).collect();
    paths.sort();
    paths
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    entries(folder).into_iter().filter(|path| path.is_dir()).collect()
}
