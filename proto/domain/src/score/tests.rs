use proptest::prelude::*;

use super::*;

fn score(responses: &[f32], positive: &[u32], negative: &[u32]) -> Scores {
    let labels = Labels::new(responses.len(), &[(positive, negative)]).unwrap();
    Scorer::with_depth(&labels, Depth::Spread).score(responses).unwrap().next().unwrap()
}

/// AP by its definition: every distinct response is a threshold, and everything is counted anew at each.
fn brute_force_ap(responses: &[f32], positive: &[u32], negative: &[u32]) -> f64 {
    let at_least = |class: &[u32], t: f32| class.iter().filter(|&&s| responses[s as usize] >= t).count() as f64;
    let mut thresholds: Vec<f32> = positive.iter().chain(negative).map(|&s| responses[s as usize]).collect();
    thresholds.sort_by(|a, b| b.total_cmp(a));
    let (mut ap, mut recall) = (0.0, 0.0);
    for t in thresholds {
        let (tp, fp) = (at_least(positive, t), at_least(negative, t));
        ap += (tp / positive.len() as f64 - recall) * tp / (tp + fp);
        recall = tp / positive.len() as f64;
    }
    ap
}

fn numpy_percentile(mut values: Vec<f32>, q: f64) -> f64 {
    values.sort_by(f32::total_cmp);
    let place = (values.len() - 1) as f64 * q;
    let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
    f64::from(low) + (f64::from(high) - f64::from(low)) * place.fract()
}

/// Few distinct values, so that ties within and across the classes are the rule; sentences may repeat and may stand
/// in both classes.
fn scored() -> impl Strategy<Value = (Vec<f32>, Vec<u32>, Vec<u32>)> {
    (2usize..40).prop_flat_map(|n| {
        let value = prop_oneof![(-4i8..5).prop_map(|v| f32::from(v) * 0.5), -1e3f32..1e3, Just(-0.0)];
        let sentences = || prop::collection::vec(0..n as u32, 1..40);
        (prop::collection::vec(value, n), sentences(), sentences())
    })
}

proptest! {
    #[test]
    fn ap_is_the_definition((responses, positive, negative) in scored()) {
        let found = score(&responses, &positive, &negative);
        let expected = brute_force_ap(&responses, &positive, &negative);
        prop_assert!((found.ap - expected).abs() < 1e-12, "{} {}", found.ap, expected);
    }

    #[test]
    fn values_are_numpys((responses, positive, negative) in scored()) {
        let found = score(&responses, &positive, &negative);
        let on: Vec<f32> = positive.iter().map(|&s| responses[s as usize]).collect();
        let off: Vec<f32> = negative.iter().map(|&s| responses[s as usize]).collect();
        let mean = |v: &[f32]| v.iter().map(|&z| f64::from(z)).sum::<f64>() / v.len() as f64;
        prop_assert!((found.on_mean - mean(&on)).abs() < 1e-9);
        prop_assert!((found.off_mean - mean(&off)).abs() < 1e-9);
        prop_assert!((found.on_p50 - numpy_percentile(on.clone(), 0.5)).abs() < 1e-9);
        prop_assert!((found.on_p90 - numpy_percentile(on, 0.9)).abs() < 1e-9);
    }

    #[test]
    fn no_order_of_sentences_changes_a_bit((responses, positive, negative) in scored(), rotate in 0usize..40) {
        let n = responses.len();
        let moved = |s: u32| ((s as usize + rotate) % n) as u32;
        let mut turned = responses.clone();
        turned.rotate_right(rotate % n);
        let positive_turned: Vec<u32> = positive.iter().rev().map(|&s| moved(s)).collect();
        let negative_turned: Vec<u32> = negative.iter().rev().map(|&s| moved(s)).collect();
        let (a, b) = (score(&responses, &positive, &negative), score(&turned, &positive_turned, &negative_turned));
        prop_assert_eq!(a.ap.to_bits(), b.ap.to_bits());
        prop_assert_eq!(a.on_mean.to_bits(), b.on_mean.to_bits());
        prop_assert_eq!(a.off_mean.to_bits(), b.off_mean.to_bits());
        prop_assert_eq!((a.on_p50.to_bits(), a.on_p90.to_bits()), (b.on_p50.to_bits(), b.on_p90.to_bits()));
        prop_assert_eq!((a.auroc.to_bits(), a.cohens_d.to_bits()), (b.auroc.to_bits(), b.cohens_d.to_bits()));
    }

    #[test]
    fn a_concept_scores_the_same_in_company(
        (responses, positive, negative) in scored(),
        others in prop::collection::vec((prop::collection::vec(0u32..2, 1..9), prop::collection::vec(0u32..2, 1..9)), 0..4),
    ) {
        let alone = score(&responses, &positive, &negative);
        let mut group: Vec<(&[u32], &[u32])> = others.iter().map(|(p, n)| (&p[..], &n[..])).collect();
        group.push((&positive, &negative));
        let labels = Labels::new(responses.len(), &group).unwrap();
        let in_company = Scorer::with_depth(&labels, Depth::Spread).score(&responses).unwrap().last().unwrap();
        prop_assert_eq!(alone, in_company);
    }
}

/// Responses of every kind that decides how they are sorted: ties, zeros of both signs, neighbours that differ in their last
/// bit, ranges that overflow f32, and outliers beside which all others fall on one step.
fn responses(sentences: usize) -> impl Strategy<Value = Vec<f32>> {
    let tied = (-4i8..5).prop_map(|v| f32::from(v) * 0.5).boxed();
    let near = (0u32..9).prop_map(|ulps| f32::from_bits(1.0f32.to_bits() + ulps)).boxed();
    let zero = prop_oneof![Just(0.0f32), Just(-0.0), Just(f32::MIN_POSITIVE), Just(-1e-40)].boxed();
    let wild = prop_oneof![-1e3f32..1e3, Just(f32::MAX), Just(f32::MIN), Just(1e-30)].boxed();
    let even = (-3f32..3.0).boxed();
    let one_kind = prop_oneof![
        Just(tied.clone()),
        Just(near.clone()),
        Just(zero.clone()),
        Just(even.clone()),
        Just(prop_oneof![20 => even, 1 => Just(1e30f32)].boxed()),
        Just(prop_oneof![tied, near, zero, wild].boxed())
    ];
    one_kind.prop_flat_map(move |value| prop::collection::vec(value, sentences))
}

/// A group of concepts over `sentences`: some label most of them, some a few, some repeat theirs.
fn group(sentences: usize) -> impl Strategy<Value = Vec<(Vec<u32>, Vec<u32>)>> {
    let class = move || {
        let any = 0..sentences as u32;
        prop_oneof![
            prop::collection::vec(any.clone(), 1..4),
            prop::collection::vec(any.clone(), sentences..2 * sentences),
            (any, prop_oneof![Just(2usize), Just(300)]).prop_map(|(sentence, times)| vec![sentence; times]),
        ]
    };
    prop::collection::vec((class(), class()), 1..11)
}

/// The scores of a group, one concept after the other, must have the bits of the simple way.
fn check(responses: &[f32], concepts: &[(Vec<u32>, Vec<u32>)]) {
    let classes: Vec<(&[u32], &[u32])> = concepts.iter().map(|(on, off)| (&on[..], &off[..])).collect();
    let labels = Labels::new(responses.len(), &classes).unwrap();
    let (mut scorer, mut deep) = (Scorer::new(&labels), Scorer::with_depth(&labels, Depth::Spread));
    // Twice: nothing may be left over from the unit before.
    for turned in [responses.iter().map(|z| -z).collect(), responses.to_vec()] {
        let bits = |s: Scores| [s.ap, s.on_mean, s.on_p50, s.on_p90, s.off_mean, s.auroc, s.cohens_d].map(f64::to_bits);
        let found: Vec<_> = deep.score(&turned).unwrap().map(bits).collect();
        let expected: Vec<_> = simple::score(&turned, &classes).into_iter().map(bits).collect();
        assert_eq!(found, expected);
        let shallow = |s: Scores| bits(Scores { auroc: 0.0, cohens_d: 0.0, ..s });
        let found: Vec<_> = scorer.score(&turned).unwrap().map(bits).collect();
        assert_eq!(found, simple::score(&turned, &classes).into_iter().map(shallow).collect::<Vec<_>>());
    }
}

proptest! {
    #[test]
    fn the_bits_are_those_of_the_simple_way(
        (responses, concepts) in (1usize..200).prop_flat_map(|n| (responses(n), group(n)))
    ) {
        check(&responses, &concepts);
    }
}

/// More sentences than [`proptest`] has the patience for: the finer steps, in even and in very uneven responses.
#[test]
fn many_sentences_have_the_bits_of_the_simple_way() {
    let sentences = 6_000u32;
    let noise = |s: u32| (s.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32;
    let positive: Vec<u32> = (0..sentences).step_by(400).collect();
    let many: Vec<u32> = (0..sentences).filter(|s| s % 5 == 2).collect();
    let rest: Vec<u32> = (0..sentences).filter(|s| s % 5 != 2).collect();
    let concepts = [(positive, vec![5, 900]), (many, rest)];
    let even = (0..sentences).map(noise).collect::<Vec<_>>();
    let tied = even.iter().map(|z| (z * 50.0).floor()).collect::<Vec<_>>();
    // All but one on the same step.
    let mut uneven = even.clone();
    uneven[17] = -1e30;
    for responses in [even, tied, uneven] {
        check(&responses, &concepts);
    }
}

#[test]
fn ties_are_one_threshold() {
    // Both at one response: AP is the base rate, whatever the order.
    assert_eq!(score(&[1.0, 1.0], &[0], &[1]).ap, 0.5);
    assert_eq!(score(&[0.0, -0.0], &[0], &[1]).ap, 0.5);
    assert_eq!(score(&[2.0, 1.0, 0.0], &[0, 1], &[2]).ap, 1.0);
}

#[test]
fn auroc_and_cohens_d_know_their_ends_and_their_ties() {
    let both = |responses: &[f32], on: &[u32], off: &[u32]| {
        let found = score(responses, on, off);
        (found.auroc, found.cohens_d)
    };
    let most = f64::from(f32::MAX);
    assert_eq!(both(&[3.0, 5.0, 0.0, 2.0], &[0, 1], &[2, 3]), (1.0, 3.0 / 2f64.sqrt()));
    assert_eq!(both(&[0.0, 2.0, 3.0, 5.0], &[0, 1], &[2, 3]), (0.0, -3.0 / 2f64.sqrt()));
    assert_eq!(both(&[1.0, 1.0, 1.0], &[0, 1], &[2]), (0.5, 0.0), "nothing varies");
    assert_eq!(both(&[1.0, 1.0, 0.0, 0.0], &[0, 1], &[2, 3]), (1.0, most), "neither class varies");
    assert_eq!(both(&[0.0, 1.0], &[0], &[1]), (0.0, -most), "one of each varies not");
    // Far from zero, where sums of squares about it would have lost all digits.
    assert_eq!(both(&[1e7 + 3.0, 1e7 + 5.0, 1e7, 1e7 + 2.0], &[0, 1], &[2, 3]), (1.0, 3.0 / 2f64.sqrt()));
}

#[test]
fn unusable_labels_and_responses_are_refused() {
    assert!(matches!(
        Labels::new(2, &[(&[0], &[])]),
        Err(BadLabels::OneClass { concept: 0, positives: 1, negatives: 0 })
    ));
    assert!(matches!(Labels::new(2, &[(&[0], &[2])]), Err(BadLabels::NoSuchSentence { sentence: 2, .. })));
    let labels = Labels::new(2, &[(&[0], &[1])]).unwrap();
    for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(Scorer::new(&labels).score(&[0.0, bad]).err(), Some(NotFinite { sentence: 1 }));
        let many: Vec<f32> = (0..40).map(|s| if s == 13 { bad } else { s as f32 }).collect();
        let labels = Labels::new(40, &[(&[0], &[1])]).unwrap();
        assert_eq!(Scorer::new(&labels).score(&many).err(), Some(NotFinite { sentence: 13 }));
    }
}
