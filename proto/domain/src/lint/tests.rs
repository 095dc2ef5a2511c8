use proptest::prelude::*;

use super::*;

fn concept(positive: &[String], negative: &[String]) -> Concept {
    Concept { id: "group/name".parse().unwrap(), positive: positive.to_vec(), negative: negative.to_vec() }
}

fn own(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// Sixty sentences that differ from each other and from those of another `mark`, of equal length and without a word
/// in common with each other: nothing to find.
fn plain(mark: char) -> Vec<String> {
    (10..70).map(|number| format!("{mark}{number} x{mark}{number}")).collect()
}

/// Words are tokens; at most eight.
fn words(text: &str) -> SentenceLength {
    SentenceLength { tokens: text.split_whitespace().count() as u32, limit: 8 }
}

fn check(positive: &[String], negative: &[String], expected: &[(&str, u32, &str)]) {
    let findings = lint(&concept(positive, negative), Some(&words));
    let found: Vec<(String, u32, &str)> =
        findings.iter().map(|finding| (finding.kind.to_string(), finding.count, finding.example.as_str())).collect();
    let expected: Vec<(String, u32, &str)> =
        expected.iter().map(|&(kind, count, example)| (kind.to_owned(), count, example)).collect();
    assert_eq!(found, expected);
}

fn check_added(positive: &[&str], negative: &[&str], expected: &[(&str, u32, &str)]) {
    check(&[plain('p'), own(positive)].concat(), &[plain('n'), own(negative)].concat(), expected);
}

#[test]
fn nothing_is_wrong_with_plain_sentences() {
    check_added(&[], &[], &[]);
}

#[test]
fn what_changes_the_mining_is_told() {
    check_added(&["", "  "], &[""], &[("empty", 3, "\"\""), ("both-classes", 1, "\"\"")]);
    let findings = lint(&concept(&[plain('p'), own(&[" ", ""])].concat(), &plain('n')), None);
    assert_eq!(
        findings.iter().map(|finding| (finding.kind, finding.count)).collect::<Vec<_>>(),
        [(FindingKind::Empty, 2)]
    );
}

#[test]
fn too_long_sentences_are_told() {
    let long = "this one has nine words in it you see";
    check_added(&[long], &[], &[("too-long", 1, "\"this one has nine words in it you see\"")]);
    let findings = lint(&concept(&[plain('p'), own(&[long])].concat(), &plain('n')), None);
    assert_eq!(findings, [], "without a measure nothing is too long");
}

#[test]
fn copies_are_counted_beyond_the_first() {
    check_added(&["a b", "a b", "a b"], &["c d", "c d"], &[("duplicate", 3, "\"a b\"")]);
    check_added(&["a b", "a b"], &["a b"], &[("duplicate", 1, "\"a b\""), ("both-classes", 1, "\"a b\"")]);
    check_added(&["A b"], &["a b", "a  B."], &[("near-duplicate", 2, "\"A b\" and \"a b\"")]);
    check_added(&["?", "!"], &[], &[]);
}

#[test]
fn damage_is_told_without_breaking_the_terminal() {
    check_added(&["a\u{1b}[31m b"], &["cafÃ© b", "\u{fffd} c", "NÃO é"], &[("encoding", 3, "\"a\\u{1b}[31m b\"")]);
    check_added(&[" a b"], &["c\nd"], &[("whitespace", 2, "\" a b\"")]);
    let long = format!("é{}", "o".repeat(99));
    check_added(&[&long, &long], &[], &[("duplicate", 1, &format!("\"é{}…\"", "o".repeat(59)))]);
}

#[test]
fn classes_too_small_or_out_of_balance_are_told() {
    check(&plain('p')[..49], &plain('n'), &[("too-few", 49, "49 positives, 60 negatives")]);
    check(
        &plain('p')[..5],
        &plain('n'),
        &[("too-few", 5, "5 positives, 60 negatives"), ("imbalance", 12, "5 positives, 60 negatives")],
    );
    check(
        &own(&["one two three four five six seven eight nine"]),
        &plain('n'),
        &[
            ("too-long", 1, "\"one two three four five six seven eight nine\""),
            ("nothing-left", 60, "0 positives, 60 negatives"),
        ],
    );
}

#[test]
fn length_as_the_only_difference_is_told() {
    let longer: Vec<String> = plain('p').iter().map(|text| text.replace(' ', " u")).collect();
    let longest: Vec<String> = plain('p').iter().enumerate().map(|(i, text)| format!("{text} y{i}")).collect();
    check(&longer, &plain('n'), &[]);
    check(&longest, &plain('n'), &[("length-confound", 100, "medians: positives 3 tokens, negatives 2 tokens")]);
    check(&plain('n'), &longest, &[("length-confound", 100, "medians: positives 2 tokens, negatives 3 tokens")]);
}

#[test]
fn one_feature_that_tells_the_classes_apart_is_told() {
    let with = |ending: &str| -> Vec<String> { plain('p').iter().map(|text| text.replace(' ', ending)).collect() };
    check(
        &with(" , "),
        &plain('n'),
        &[
            ("length-confound", 100, "medians: positives 3 tokens, negatives 2 tokens"),
            ("telltale", 60, "the sign `,` in 100% of positives, 0% of negatives"),
        ],
    );
    check(&plain('n'), &with(". "), &[("telltale", 60, "the sign `.` in 0% of positives, 100% of negatives")]);
    let capital: Vec<String> = plain('p').iter().map(|text| text.replacen('p', "P", 1)).collect();
    check(&capital, &plain('n'), &[("telltale", 60, "a capital first letter in 100% of positives, 0% of negatives")]);
}

#[test]
fn strict_fails_on_what_changes_the_mining() {
    let messy = concept(&own(&["a", "a", "", " b"]), &own(&["a", "one two three four five six seven eight nine"]));
    let findings = lint(&messy, Some(&words));
    let kinds: Vec<FindingKind> = strict_errors(&findings).iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, FindingKind::STRICT);
    assert!(findings.len() > kinds.len(), "{findings:?}");
    let message = findings[3].to_string();
    assert_eq!(
        message,
        "warning: both-classes: sentences in both classes: 1; no unit can rank them, so remove them from one (\"a\")"
    );
}

#[test]
fn kinds_are_spelled_alike_everywhere_and_ordered() {
    for kind in FindingKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.to_string());
    }
    assert!(FindingKind::ALL.windows(2).all(|pair| pair[0] < pair[1]));
}

proptest! {
    #[test]
    fn any_concept_can_be_linted_and_order_changes_no_count(
        positive in prop::collection::vec("\\PC{0,6}|[ab ]{0,3}", 0..70),
        negative in prop::collection::vec("\\PC{0,6}|[ab ]{0,3}", 0..70),
    ) {
        let counts = |positive: &[String], negative: &[String]| -> Vec<(FindingKind, u32)> {
            let findings = lint(&concept(positive, negative), Some(&words));
            findings.iter().map(|finding| (finding.kind, finding.count)).collect()
        };
        let forward = counts(&positive, &negative);
        prop_assert!(forward.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let backward = |texts: &[String]| texts.iter().rev().cloned().collect::<Vec<_>>();
        prop_assert_eq!(counts(&backward(&positive), &backward(&negative)), forward);
    }
}
