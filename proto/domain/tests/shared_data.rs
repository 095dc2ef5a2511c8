//! Real concept sets, where they are: every file of `shared/data` beside the checkout parses, makes one job, and is
//! linted and planned.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test, whose figures are worth reading")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use lode_domain::{
    concept::Concept,
    format::{parse_concept_list, parse_reference},
    job::Job,
    lint::lint,
    plan::{Holdings, plan},
    selection::Selection,
};

fn json_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            json_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> Concept {
    parse_reference(&path.display().to_string(), &fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn real_concept_sets_parse_and_plan() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if !data.exists() {
        eprintln!("not run: there are no concept sets in {}", data.display());
        return;
    }
    let mut files = Vec::new();
    json_files(&data, &mut files);
    let concepts: Vec<Concept> = files.iter().map(|path| read(path)).collect();
    assert!(!concepts.is_empty());
    for concept in &concepts {
        let findings = lint(concept, None);
        findings.iter().for_each(|finding| eprintln!("{}: {finding}", concept.id));
    }

    let folder = data.join("clinc150");
    let list = folder.join("concept_list.csv");
    let ids = parse_concept_list("concept_list.csv", &fs::read_to_string(list).unwrap()).unwrap();
    let selection = Selection::default();
    let listed: Vec<Concept> = ids
        .iter()
        .map(|id| {
            let concept = read(&folder.join(id.group()).join(format!("{}.json", id.name())));
            assert_eq!(&concept.id, id);
            selection.apply(&concept)
        })
        .collect();
    let job = Job::new(&listed).unwrap();
    assert_eq!(job.concepts.len(), ids.len());

    let weights: Vec<u32> = job.sentences.iter().map(|text| text.split_whitespace().count() as u32).collect();
    for workers in [1, 2, 4, 16] {
        let cost = plan(&job, &weights, &vec![1.0; workers], &Holdings::none(workers, weights.len())).unwrap().cost;
        eprintln!("{workers} workers: {cost:?}, {} forwards saved", cost.saved_sentences());
        assert!(cost.saved_sentences() > 0);
        assert!(cost.makespan <= cost.distinct_tokens as f64);
    }
}
