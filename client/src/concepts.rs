//! CONCEPTS arguments: files and folders become concepts.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use lode_domain::{
    concept::{Concept, ConceptId},
    format::{FormatError, parse_concept_list, parse_pool, parse_reference},
    selection::Selection,
};

/// The list that makes a folder a concept set.
const LIST: &str = "concept_list.csv";

/// A concept and the file it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromFile {
    /// The concept, as the selection keeps it.
    pub concept: Concept,
    /// Its file, as errors and findings name it.
    pub file: PathBuf,
}

/// A concept argument that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Nothing there.
    #[error("{}: no such file or folder{hint}", path.display())]
    NotFound {
        /// As given.
        path: PathBuf,
        /// Who asks for it.
        hint: String,
    },
    /// There, but not for us.
    #[error("{}: permission denied: this user may not read it", path.display())]
    Permission {
        /// The file or folder.
        path: PathBuf,
    },
    /// Bytes that are not text.
    #[error("{}: not UTF-8 text: convert it first", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// Another failure to read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// As the system says.
        source: io::Error,
    },
    /// A file of no known form.
    #[error(
        "{}: unknown extension: concepts come as .json (one concept), .jsonl (a labelled pool), or a folder with {LIST} \
         or GROUP/CONCEPT.json files", path.display()
    )]
    Extension {
        /// The file.
        path: PathBuf,
    },
    /// A folder without a concept in it.
    #[error("{}: neither a {LIST} nor GROUP/CONCEPT.json files in this folder", path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A file that does not hold what the list says.
    #[error("{}: holds concept `{found}`, but {LIST} lists the file as `{listed}`: rename one", path.display())]
    OtherConcept {
        /// The file.
        path: PathBuf,
        /// What it says of itself.
        found: ConceptId,
        /// What the list says.
        listed: ConceptId,
    },
    /// The same concept twice.
    #[error(
        "concept `{concept}` is in {} and again in {}: rename one or leave it out", first.display(), second.display()
    )]
    Repeated {
        /// The concept.
        concept: ConceptId,
        /// Where it came first.
        first: PathBuf,
        /// Where it came again.
        second: PathBuf,
    },
    /// Content of a wrong form.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// Reads every concept of `paths`; each keeps the sentences that `selection` draws.
///
/// # Errors
/// If a path cannot be read or is of no known form, or two hold the same concept.
pub fn read(paths: &[PathBuf], selection: &Selection) -> Result<Vec<FromFile>, ReadError> {
    let mut all = Vec::new();
    let mut first_file: BTreeMap<ConceptId, PathBuf> = BTreeMap::new();
    for path in paths {
        for found in read_one(path, selection)? {
            let concept = found.concept.id.clone();
            if let Some(first) = first_file.insert(concept.clone(), found.file.clone()) {
                return Err(ReadError::Repeated { concept, first, second: found.file });
            }
            all.push(found);
        }
    }
    Ok(all)
}

fn read_one(path: &Path, selection: &Selection) -> Result<Vec<FromFile>, ReadError> {
    let metadata = std::fs::metadata(path).map_err(|error| failed(path, "", error))?;
    if metadata.is_dir() {
        return read_folder(path, selection);
    }
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => Ok(vec![reference(path, "", selection)?]),
        Some("jsonl" | "ndjson") => {
            let pool = parse_pool(&path.display().to_string(), &text(path, "")?, selection)?;
            Ok(pool.into_iter().map(|concept| FromFile { concept, file: path.to_owned() }).collect())
        }
        _ => Err(ReadError::Extension { path: path.to_owned() }),
    }
}

/// A folder with a list, or failing that every JSON file in it and in the folders of it.
fn read_folder(folder: &Path, selection: &Selection) -> Result<Vec<FromFile>, ReadError> {
    let list = folder.join(LIST);
    if list.exists() {
        let listed = parse_concept_list(&list.display().to_string(), &text(&list, "")?)?;
        return listed.into_iter().map(|id| listed_file(folder, id, selection)).collect();
    }
    let mut files = Vec::new();
    for entry in sorted_entries(folder)? {
        if entry.is_dir() {
            files.extend(sorted_entries(&entry)?.into_iter().filter(|path| is_json(path)));
        } else if is_json(&entry) {
            files.push(entry);
        }
    }
    if files.is_empty() {
        return Err(ReadError::EmptyFolder { path: folder.to_owned() });
    }
    files.iter().map(|file| reference(file, "", selection)).collect()
}

fn listed_file(folder: &Path, listed: ConceptId, selection: &Selection) -> Result<FromFile, ReadError> {
    let path = folder.join(listed.group()).join(format!("{}.json", listed.name()));
    let found = reference(&path, &format!("; {LIST} lists concept `{listed}`"), selection)?;
    if found.concept.id != listed {
        return Err(ReadError::OtherConcept { path, found: found.concept.id, listed });
    }
    Ok(found)
}

fn reference(path: &Path, hint: &str, selection: &Selection) -> Result<FromFile, ReadError> {
    let concept = parse_reference(&path.display().to_string(), &text(path, hint)?)?;
    Ok(FromFile { concept: selection.apply(&concept), file: path.to_owned() })
}

fn text(path: &Path, hint: &str) -> Result<String, ReadError> {
    std::fs::read_to_string(path).map_err(|error| failed(path, hint, error))
}

fn sorted_entries(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let entries = std::fs::read_dir(folder).map_err(|error| failed(folder, "", error))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<Result<_, _>>().map_err(|error| failed(folder, "", error))?;
    paths.sort();
    Ok(paths)
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

fn failed(path: &Path, hint: &str, source: io::Error) -> ReadError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => ReadError::NotFound { path, hint: hint.to_owned() },
        io::ErrorKind::PermissionDenied => ReadError::Permission { path },
        io::ErrorKind::InvalidData => ReadError::NotText { path },
        _ => ReadError::Io { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes `files` into a folder, reads `paths` of it, and gives the concepts or the message.
    fn check(files: &[(&str, &str)], paths: &[&str]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let paths: Vec<PathBuf> = paths.iter().map(|path| folder.path().join(path)).collect();
        match read(&paths, &Selection { limit_per_class: 2, seed: 1 }) {
            Ok(found) => Ok(found.iter().map(|f| f.concept.id.to_string()).collect()),
            Err(error) => Err(error.to_string().replace(&format!("{}/", folder.path().display()), "")),
        }
    }

    fn json(id: &str) -> String {
        let (group, name) = id.split_once('/').unwrap();
        let sentences = r#"{"positive": ["a", "b", "c"], "negative": ["d"]}"#;
        format!(r#"{{"concept": "{name}", "group": "{group}", "sentences": {sentences}}}"#)
    }

    #[test]
    fn every_form_is_read() {
        let (x, y) = (json("g/x"), json("g/y"));
        let list = "group,concept\ng,y\n";
        assert_eq!(check(&[("x.json", &x)], &["x.json"]).unwrap(), ["g/x"]);
        let with_list = [("set/concept_list.csv", list), ("set/g/x.json", &*x), ("set/g/y.json", &*y)];
        assert_eq!(check(&with_list, &["set"]).unwrap(), ["g/y"]);
        assert_eq!(check(&with_list[1..], &["set"]).unwrap(), ["g/x", "g/y"]);
        assert_eq!(check(&with_list, &["set/g"]).unwrap(), ["g/x", "g/y"]);
        let pool = "{\"text\": \"a\", \"concepts\": [\"g/p\"]}\n{\"text\": \"b\", \"concepts\": []}\n";
        assert_eq!(check(&[("p.jsonl", pool), ("x.json", &x)], &["p.jsonl", "x.json"]).unwrap(), ["g/p", "g/x"]);
    }

    #[test]
    fn the_selection_is_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        std::fs::write(&path, json("g/x")).unwrap();
        let found = read(std::slice::from_ref(&path), &Selection { limit_per_class: 2, seed: 1 }).unwrap();
        assert_eq!((found[0].concept.positive.len(), found[0].concept.negative.len()), (2, 1));
        assert_eq!(found[0].file, path);
    }

    #[test]
    fn errors_name_the_file_and_what_to_do() {
        let says = |files: &[(&str, &str)], paths: &[&str], parts: &[&str]| {
            let message = check(files, paths).unwrap_err();
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        };
        let x = json("g/x");
        says(&[], &["no.json"], &["no.json: no such file or folder"]);
        says(&[("x.txt", "")], &["x.txt"], &["x.txt: unknown extension", ".jsonl"]);
        says(&[("set/readme", "")], &["set"], &["set: neither a concept_list.csv nor"]);
        says(&[("x.json", "{\n\"concept\": 1}")], &["x.json"], &["x.json:2:"]);
        let list = "group,concept\ng,z\n";
        says(&[("concept_list.csv", list)], &[""], &["g/z.json: no such file", "lists concept `g/z`"]);
        says(&[("concept_list.csv", list), ("g/z.json", &x)], &[""], &["holds concept `g/x`", "as `g/z`"]);
        says(&[("x.json", &x), ("y.json", &x)], &["x.json", "y.json"], &["`g/x` is in x.json and again in y.json"]);
        let empty = r#"{"concept": "x", "group": "g", "sentences": {"positive": [], "negative": ["d"]}}"#;
        says(&[("x.json", empty)], &["x.json"], &["x.json: concept `g/x` has no positive sentences"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        std::fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
        let message = read(&[path], &Selection::default()).unwrap_err().to_string();
        assert!(message.contains("not UTF-8"), "{message}");
    }
}
