//! The parity point: the k at which two groups of words are equally probable.

/// Where a curve over k first changes its sign, interpolated between the two k around the change; the first point counts if it
/// is zero itself. Nothing if the sign never changes.
///
/// `curve` is `(k, delta p)`, k ascending.
pub fn parity_point(curve: &[(f64, f64)]) -> Option<f64> {
    crossing(curve).map(|(at, share)| between(curve[at].0, curve[at + usize::from(share > 0.0)].0, share))
}

/// The value of another curve on the same grid at the parity point of `curve`, interpolated likewise.
///
/// Nothing if there is no parity, or the other curve has no value at one of the two k.
pub fn at_parity(curve: &[(f64, f64)], other: &[Option<f64>]) -> Option<f64> {
    let (at, share) = crossing(curve)?;
    let first = (*other.get(at)?)?;
    if share == 0.0 { Some(first) } else { Some(between(first, (*other.get(at + 1)?)?, share)) }
}

/// The place after which the sign changes, and which share of the way to the next place.
fn crossing(curve: &[(f64, f64)]) -> Option<(usize, f64)> {
    if curve.first()?.1 == 0.0 {
        return Some((0, 0.0));
    }
    let changed = |pair: &[(f64, f64)]| (pair[0].1 > 0.0) != (pair[1].1 > 0.0) || pair[1].1 == 0.0;
    let at = curve.windows(2).position(changed)?;
    let (before, after) = (curve[at].1, curve[at + 1].1);
    Some((at, before / (before - after)))
}

fn between(first: f64, second: f64, share: f64) -> f64 {
    first + (second - first) * share
}

/// What to measure next to find the parity point with few k.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This k.
    Measure(u32),
    /// Nothing: the sign changes between these neighbours, or within the tolerance asked for.
    Found(u32, u32),
    /// Nothing: the sign is the same up to the largest k.
    Never,
}

/// Bisection over k in `0..=largest`, given what was measured so far, `(k, delta p)` by ascending k.
///
/// First k = 0, then doubling from 1 on until the sign differs, then halving the gap until it is at most `tolerance` wide. Of a
/// curve that changes its sign several times it finds one change, not always the first.
pub fn bisect(measured: &[(u32, f64)], largest: u32, tolerance: u32) -> Next {
    let Some(&(0, start)) = measured.first() else { return Next::Measure(0) };
    if start == 0.0 {
        return Next::Found(0, 0);
    }
    let changed = measured.iter().position(|&(_, delta)| delta == 0.0 || (delta > 0.0) != (start > 0.0));
    match changed {
        None => match measured.last() {
            Some(&(k, _)) if k >= largest => Next::Never,
            Some(&(k, _)) => Next::Measure((k * 2).clamp(1, largest)),
            None => Next::Measure(0),
        },
        Some(place) => {
            let (below, above) = (measured[place - 1].0, measured[place].0);
            if above - below <= tolerance.max(1) {
                Next::Found(below, above)
            } else {
                Next::Measure(below.midpoint(above))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_change_of_sign_counts() {
        let curve = [(0.0, -0.4), (10.0, -0.1), (20.0, 0.3), (30.0, -0.2)];
        assert!((parity_point(&curve).unwrap() - 12.5).abs() < 1e-12);
        assert!((at_parity(&curve, &[Some(1.0), Some(2.0), Some(4.0), None]).unwrap() - 2.5).abs() < 1e-12);
        assert_eq!(at_parity(&curve, &[Some(1.0), Some(2.0), None, None]), None);
    }

    #[test]
    fn parity_may_be_there_at_once_on_the_grid_or_never() {
        assert_eq!(parity_point(&[(0.0, 0.0), (1.0, 0.5)]), Some(0.0));
        assert_eq!(parity_point(&[(0.0, 0.5), (4.0, 0.0), (8.0, 0.2)]), Some(4.0));
        assert_eq!(parity_point(&[(0.0, 0.5), (4.0, 0.1)]), None);
        assert_eq!(parity_point(&[]), None);
    }

    #[test]
    fn bisection_finds_the_change_with_few_measurements() {
        for change in [1u32, 2, 7, 64, 99, 100] {
            let mut measured: Vec<(u32, f64)> = Vec::new();
            let found = loop {
                match bisect(&measured, 100, 1) {
                    Next::Measure(k) => {
                        assert!(measured.iter().all(|&(known, _)| known != k), "{k} twice");
                        measured.push((k, if k < change { 1.0 } else { -1.0 }));
                        measured.sort_by_key(|&(k, _)| k);
                    }
                    Next::Found(_, above) => break Some(above),
                    Next::Never => break None,
                }
            };
            assert_eq!(found, Some(change));
            assert!(measured.len() <= 15, "{} for {change}", measured.len());
        }
        assert_eq!(bisect(&[(0, 1.0), (100, 0.5)], 100, 1), Next::Never);
    }
}
