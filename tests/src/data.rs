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

/// Concepts of the bundled set that share sentences with each other, cut to `sentences` a class so that they can be mined
/// often; writes them into `folder` and returns their ids.
///
/// # Panics
/// If the bundled set cannot be read or the folder not written.
pub fn few_concepts(folder: &Path, concepts: usize, sentences: usize) -> Vec<String> {
    let list = std::fs::read_to_string(demo_concepts().join("concept_list.csv")).expect("the bundled list");
    let some = list.lines().skip(1).take(concepts);
    let written = some.map(|line| {
        let (group, name) = line.split_once(',').expect("group,concept");
        let path = demo_concepts().join(group).join(format!("{name}.json"));
        let text = std::fs::read_to_string(path).expect("a bundled concept");
        let mut concept: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        for class in ["positive", "negative"] {
            concept["sentences"][class].as_array_mut().expect("sentences").truncate(sentences);
        }
        std::fs::create_dir_all(folder).expect("the folder");
        std::fs::write(folder.join(format!("{group}-{name}.json")), concept.to_string()).expect("a file");
        format!("{group}/{name}")
    });
    written.collect()
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
